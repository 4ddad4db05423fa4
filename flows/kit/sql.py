"""
A SQL database that a target writes to. Each change is one transaction: done whole, or not at all.

An error becomes an outcome, as in `flows.kit.http`. Until the commit is sent nothing was done; only the commit itself can
be in doubt.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, Row, literal, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from canonical.connect.sql import Meaning, SqlLogin, codes, translated
from canonical.errors import IronbridgeError, MisconfiguredError, RefusedError, UnavailableError
from canonical.finding import Finding
from flows.engine.claims import seconds_left
from flows.kit.requests import OutOfHandError, Requests
from flows.port import NotDone, Refused, Unknown, Untold

_MEANINGS: Sequence[Meaning] = [
    (
        r"42501|1044|1142|1143|1370|229|230|916|25006|1290|readonly database|ORA-01031|ORA-01456",
        MisconfiguredError,
        "we may not write it",
        "ask for the rights that `{user}` needs on its tables",
    ),
    (
        r"42P01|3F000|42S02|1146|208|no such table|42703|42S22|1054|207|no such column|ORA-00942|ORA-00904",
        MisconfiguredError,
        "there is no such table or column",
        "check the database's name in its URL, and make the tables that the target's page describes",
    ),
    (
        r"22...|23...|1048|1062|1264|1366|1406|1451|1452|515|547|2601|2627|2628|8152"
        r"|ORA-00001|ORA-01400|ORA-01438|ORA-0229[012]|ORA-12899|IntegrityError|DataError",
        RefusedError,
        "a rule of the table refuses it",
        "",
    ),
]
_ROLLED_BACK = re.compile(r"22...|23...|40...|1205|1213|database is locked|IntegrityError")
"""Codes of a commit that the database refused: nothing was done then either."""


@dataclass(slots=True)
class _Stage:
    committing: bool = False


class TargetDatabase:
    """
    One database, as one target may see it. `resources.sql(limits, url)` makes it; it connects at the first request.

    Each call is a request: it spends the target's budget, checks the worker's claim before it changes something, and opens a
    span called `what`, which holds no value of a record. At most `limits.concurrency` connections work at once. A statement that
    may be sent twice (an upsert, a delete by key) makes a change that was in doubt harmless to repeat.

    :raises MisconfiguredError: the URL, the login, its rights, a table or a column is wrong.
    """

    def __init__(self, login: SqlLogin, requests: Requests) -> None:
        self._login = login
        self._requests = requests
        self._engine: AsyncEngine | None = None

    async def change(self, what: str, *statements: Executable) -> Sequence[int] | NotDone | Refused | Unknown:
        """Run the statements in one transaction. The numbers of rows that they changed mean that it is committed."""
        stage = _Stage()
        try:
            async with self._request(what, changes=True) as connection:
                counts = [(await connection.execute(each)).rowcount for each in statements]
                self._still_ours()
                stage.committing = True
                await connection.commit()
                return counts
        except UnavailableError as error:
            if stage.committing and not any(map(_ROLLED_BACK.fullmatch, codes(error.__cause__))):
                return Unknown(f"the commit was not answered: {error.what}")
            return NotDone(error.what)
        except RefusedError as error:
            return Refused(error.what)

    async def rows(self, what: str, statement: Executable) -> Sequence[Row[Any]] | Untold:
        """The rows of a question that changes nothing."""
        try:
            async with self._request(what, changes=False) as connection:
                return (await connection.execute(statement)).all()
        except UnavailableError as error:
            return Untold(error.what)

    async def check(self, *questions: Executable) -> Sequence[Finding]:
        """Look whether the database answers, and each question too, such as a SELECT of every table; it changes nothing."""
        try:
            async with self._request("SELECT 1", changes=False) as connection:
                await connection.execute(select(literal(1)))
                for question in questions:
                    await connection.execute(question)
        except IronbridgeError as error:
            return [Finding(f"{self._login.where}: {error.what}", False, error.fix)]
        return [Finding(f"{self._login.where}: the database answers", True)]

    async def close(self) -> None:
        if self._engine is not None:
            await self._engine.dispose()

    @asynccontextmanager
    async def _request(self, what: str, *, changes: bool) -> AsyncIterator[AsyncConnection]:
        """One transaction; it is rolled back unless it was committed. Driver errors leave as ours."""
        async with self._requests.request(what, changes=changes):
            try:
                self._engine = self._engine or self._login.engine()
                async with asyncio.timeout(self._login.patience), self._engine.connect() as connection:
                    yield connection
            except (SQLAlchemyError, OSError, ImportError) as error:
                raise translated(error, self._login.where, user=self._login.user, meanings=_MEANINGS) from error

    def _still_ours(self) -> None:
        """Look at the claim once more: the statements may have waited for a lock for longer than it lasts."""
        if seconds_left() <= 0:
            raise OutOfHandError(self._login.where, "not done: this worker's claim on its subjects ran out")
