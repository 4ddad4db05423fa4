"""Translates the state driver's errors to our own: the meaning of each, and the next step."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import asyncpg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoneFreeError

from adapters.kit import tls
from canonical.errors import IronbridgeError, MisconfiguredError, RefusedError, UnavailableError
from ironbridge.store import waits


class translated:  # noqa: N801 (reads as a word: `with translated():`)
    """
    Translates driver errors to our own. The database's text may quote a row, so only the error's class is kept.

    `holders` names the session that holds the lock that we waited for, and how to end it: see `waits.Holders`.
    """

    def __init__(self, holders: Callable[[], tuple[str, str]] = lambda: ("", "")) -> None:
        self._holders = holders

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, IronbridgeError) or not _of_a_driver(error):
            return
        if shaken := tls.complaint(error):
            raise MisconfiguredError(
                "state", f"the database: {shaken[0]}", fix=shaken[1].format_map(tls.FIXES)
            ) from None
        cause = getattr(error, "orig", None)
        code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
        name = type(getattr(cause, "__cause__", None) or cause or error).__name__
        if _of_data(error, cause, code):
            raise RefusedError(
                "state", f"cannot hold a value ({name})", fix="find the record that is named with this, and mend it"
            ) from None
        # SQLSTATE: 28 login, 3D no such database, 42 no such table or right. These texts name things, never values.
        if code[:2] in ("28", "3D", "42"):
            said = str(getattr(cause, "__cause__", None) or cause).strip().splitlines()[0]
            raise MisconfiguredError(
                "state",
                f"the database refused us: {said} (SQLSTATE {code})",
                fix="check `state.url` and its user's rights",
            ) from None
        if waited := self._waited(error, code, str(cause)):
            raise waited from None
        if isinstance(error, DBAPIError | OSError) or not isinstance(error, SQLAlchemyError) or code:
            raise UnavailableError(
                "state",
                f"the database does not answer ({name})",
                fix="check that it runs and that `state.url` names it",
            ) from None
        raise MisconfiguredError("state", f"cannot be used ({name})", fix="check `state.url`") from error

    def _waited(self, error: BaseException, code: str, said: str) -> UnavailableError | None:
        """The error for a wait that came to its limit: the thing waited for, and the session that held it."""
        if code == "55P03":
            who, fix = self._holders()
            held = f": {who}" if who else ""
            return UnavailableError("state", f"we got no lock on it within {waits.LOCK:.0f} s{held}", fix=fix or _ASK)
        if isinstance(error, NoneFreeError):
            return UnavailableError(
                "state", f"none of this process's connections to it became free within {waits.POOL:.0f} s", fix=_BUSY
            )
        if not code and "database is locked" in said:  # SQLite
            return UnavailableError("state", "its file is locked by another program", fix="end the program that has it open")
        if code in _ENDED:
            what, fix = _ENDED[code]
            return UnavailableError("state", what, fix=fix)
        return None


def _of_data(error: BaseException, cause: Any, code: str) -> bool:
    """
    Whether the database will never take a value, however often it is given it. SQLSTATE 22 is data (a NUL in a text, a number
    out of range), 54000 an entry that is too large for an index; the drivers refuse some values themselves.
    """
    refused = (asyncpg.DataError, sqlite3.DataError, UnicodeError, OverflowError)
    causes = (error, cause, getattr(cause, "__cause__", None))
    return code[:2] == "22" or code == "54000" or any(isinstance(each, refused) for each in causes)


def _of_a_driver(error: BaseException) -> bool:
    """
    The driver's error. SQLAlchemy wraps most of them, but not asyncpg's InternalClientError (a server that went away), nor
    Python's own of a value that SQLite cannot be given.
    """
    known = SQLAlchemyError | OSError | UnicodeError | OverflowError
    return isinstance(error, known) or type(error).__module__.partition(".")[0] == "asyncpg"


_ASK = "find out who holds locks on its tables (pg_locks, pg_stat_activity), and end that session"
_BUSY = "look whether the database is slow or its tables are locked; run more workers rather than larger ones"
_ENDED = {
    "57014": (
        f"the database ended a statement that took longer than {waits.STATEMENT:.0f} s, or that a person cancelled",
        "look at the database's load and disks; run ANALYZE on its tables after a restore",
    ),
    "25P03": (
        f"the database ended our transaction: this process stood still in it for {waits.IDLE:.0f} s",
        "give this process more CPU or memory; it goes on by itself",
    ),
    "40P01": ("two transactions waited for each other, and the database ended ours", "nothing, unless it goes on"),
    "40001": ("another transaction was faster, and the database ended ours", "nothing, unless it goes on"),
}
"""SQLSTATEs of PostgreSQL: a statement or a transaction that the database has ended, and the next step."""
