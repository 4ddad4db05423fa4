"""
The register keeps what a hospital's messages so far said of each patient and each stay.

A message says what changed and no more: an empty field means that its value stays, and a merge does not list the stays that
move. So what was said is kept, in a database of our own.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Column, MetaData, String, Table, Text, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from canonical.connect.sql import SqlLogin, translated
from canonical.errors import IronbridgeError, MisconfiguredError, UnavailableError
from canonical.finding import Finding

_TABLES = MetaData()
_PATIENTS = Table(
    "hospital_patient", _TABLES,
    Column("source", String(240), primary_key=True),
    Column("number", String(200), primary_key=True),
    Column("known", Text, nullable=False),
)  # fmt: skip
_STAYS = Table(
    "hospital_stay", _TABLES,
    Column("source", String(240), primary_key=True),
    Column("number", String(200), primary_key=True),
    Column("patient", String(200), nullable=False, index=True),
    Column("known", Text, nullable=False),
)  # fmt: skip

_INSERTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}

_FIX = "name a file in a folder that this account may write to: url = \"sqlite:////var/lib/ironbridge/register.db\""

Known = dict[str, Any]
"""A patient or a stay as the messages so far tell of it: fields by their place, and facts worked out from them."""


class RegisterPage:
    """Reads and writes the register within one transaction."""

    def __init__(self, connection: AsyncConnection, source: str) -> None:
        self._connection = connection
        self._source = source

    async def patient(self, number: str) -> Known:
        return await self._one(_PATIENTS, number)

    async def stay(self, number: str) -> Known:
        return await self._one(_STAYS, number)

    async def stays_of(self, patient: str) -> dict[str, Known]:
        """The stays of a patient, by their numbers."""
        asked = select(_STAYS.c.number, _STAYS.c.known).where(_STAYS.c.source == self._source, _STAYS.c.patient == patient)
        found = await self._connection.execute(asked.order_by(_STAYS.c.number))
        return {number: json.loads(known) for number, known in found}

    async def put_patient(self, number: str, known: Known) -> None:
        await self._put(_PATIENTS, number, known)

    async def put_stay(self, number: str, patient: str, known: Known) -> None:
        await self._put(_STAYS, number, known, patient=patient)

    async def _one(self, table: Table, number: str) -> Known:
        asked = select(table.c.known).where(table.c.source == self._source, table.c.number == number)
        found: str | None = await self._connection.scalar(asked)
        return json.loads(found) if found else {}

    async def _put(self, table: Table, number: str, known: Known, **more: str) -> None:
        new = {"known": json.dumps(known), **more}
        insert = _INSERTS[self._connection.dialect.name](table).values(source=self._source, number=number, **new)
        await self._connection.execute(insert.on_conflict_do_update(index_elements=table.primary_key, set_=new))


class Register:
    """Reaches the register's database, PostgreSQL or SQLite. One adapter writes to it: its copies fence one another off."""

    def __init__(self, name: str, url: SecretStr) -> None:
        self._name = name
        self._login = SqlLogin(f"{name} register", url, 2)
        self._engine: AsyncEngine | None = None

    async def open(self) -> None:
        """
        Connect, unless that is done, and make what is not there: the file, the tables.

        :raises MisconfiguredError: the file cannot be made, or the database is not ours.
        """
        if self._engine is not None:
            return
        if self._file is not None:
            self._made(self._file)
        self._engine = self._login.engine()
        async with self._translated(), self._engine.begin() as connection:
            await connection.run_sync(_TABLES.create_all)

    async def check(self) -> Finding:
        """Look whether the register answers, or can be made. Changes nothing."""
        if self._file is not None and not self._file.exists():
            well = os.access(self._file.parent, os.W_OK | os.X_OK)
            return Finding("the register is not there yet: the first start makes it", well, "" if well else _FIX)
        engine = self._login.engine()
        try:
            async with self._translated(), engine.connect() as connection:
                await connection.execute(select(1))
        finally:
            await engine.dispose()
        return Finding("the register answers", True)

    async def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()

    @asynccontextmanager
    async def page(self) -> AsyncIterator[RegisterPage]:
        """One transaction: what is written in it stays, or none of it does."""
        if self._engine is None:
            raise UnavailableError(self._name, "the register is not open")
        async with self._translated(), self._engine.begin() as connection:
            yield RegisterPage(connection, self._name)

    @property
    def _file(self) -> Path | None:
        return Path(self._login.address.database or "") if self._login.kind == "sqlite" else None

    def _made(self, file: Path) -> None:
        try:
            file.touch(mode=0o600)
        except OSError as error:
            what = f"the register's file cannot be made ({os.strerror(error.errno or 0).lower()})"
            raise MisconfiguredError(self._name, what, fix=_FIX) from error

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            yield
        except IronbridgeError:
            raise
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise translated(error, self._name, "the register", self._login.user) from error
