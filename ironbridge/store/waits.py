"""
The limits of every wait for the state, and the session that holds a lock that we wait for.

The database itself ends each wait if it can: it then also releases the locks that we hold. The client's own limits are a
little longer, for a database that does not answer at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ironbridge.store.statement import text

CONNECT = 10.0
"""Seconds to open a connection, with TLS and the sign-in."""
POOL = 30.0
"""Seconds for one of this process's connections to become free; longer than `LOCK`, so that the error names the lock."""
LOCK = 15.0
"""Seconds for a lock. We hold locks for milliseconds; a slice of a large job holds them for a second or two."""
STATEMENT = 60.0
"""Seconds for a statement. Our longest one counts a table of millions, in a few seconds."""
IDLE = 60.0
"""Seconds that a transaction may stay open without a statement, so that a process that stands still loses its locks."""
MIGRATION = 3600.0
"""Seconds for a statement of a migration, which may rewrite a whole table."""
SILENT = 10.0
"""Seconds after the server's own limit within which a living server has answered."""
LOOK = 3.0
"""Seconds until we look for the holder of a lock. A probe waits for 5, so this comes before it gives up."""
_PING = 5.0  # seconds for an idle connection to answer, and for a look


class ConnectionLimits(NamedTuple):
    """The limits that a connection gets when it is opened (seconds): see the constants above."""

    lock: float = LOCK
    statement: float = STATEMENT
    idle: float = IDLE
    look: float = LOOK
    silent: float = SILENT
    connect: float = CONNECT

    @property
    def command(self) -> float:
        """Seconds of silence after which a database is taken for gone."""
        return self.statement + self.silent

    def settings(self) -> dict[str, str]:
        """PostgreSQL's settings for a session, in milliseconds; dead peers are noticed after a minute at both ends."""
        return {
            "lock_timeout": str(round(self.lock * 1000)),
            "statement_timeout": str(round(self.statement * 1000)),
            "idle_in_transaction_session_timeout": str(round(self.idle * 1000)),
            "tcp_keepalives_idle": "30",
            "tcp_keepalives_interval": "10",
            "tcp_keepalives_count": "3",
        }


USUAL = ConnectionLimits()


def limit(engine: AsyncEngine, patience: ConnectionLimits = USUAL) -> None:
    """Set the limits of each new connection by a statement: a pooler in between refuses unknown words in the greeting."""
    words = "; ".join(f"SET {name} = '{value}'" for name, value in patience.settings().items())

    def opened(connection: Any, _record: Any) -> None:
        connection.run_async(lambda raw: raw.execute(words))

    def failed(context: Any) -> None:
        # asyncpg's own limit: a server that was silent for so long has left this connection useless.
        if isinstance(context.original_exception, TimeoutError):
            context.is_disconnect = True

    event.listen(engine.sync_engine, "connect", opened)
    event.listen(engine.sync_engine, "handle_error", failed)


def ping(connection: Any) -> None:
    """:raises TimeoutError: the server does not answer. The caller handles the driver's other errors."""
    connection.run_async(lambda raw: raw.fetchrow(";", timeout=_PING))


@dataclass
class Holders:
    """
    Looks for the session that holds the lock that one of our statements waits for, with a connection of its own.

    The look begins only after some seconds: a quick statement costs only a timer that is set and cancelled.
    """

    engine: AsyncEngine
    """An engine that opens a connection each time, because the usual connections may all be waiting for that lock."""
    look: float = LOOK
    clock: Callable[[], float] = time.monotonic
    _found: list[Holder] = field(default_factory=list)
    _when: float = -math.inf
    _turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))

    def lately(self, seconds: float = LOCK) -> tuple[str, str]:
        """The session that held the lock, and how to end it; empty if we waited for none within so many seconds."""
        found = self._found if self.clock() - self._when <= seconds else []
        ends = ", ".join(f"SELECT pg_terminate_backend({each.pid})" for each in found)
        return "; ".join(map(str, found)), f"let it end its transaction, or end it: {ends}" if found else ""

    @asynccontextmanager
    async def watching(self, connection: AsyncConnection) -> AsyncIterator[None]:
        """Watch while statements run on a connection: if one is given up, `lately` then names the session that held it up."""
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        pid = driver.get_server_pid() if driver is not None else 0
        looking: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self.look, lambda: looking.append(loop.create_task(self._look(pid))))
        try:
            yield
        finally:
            timer.cancel()
            for task in looking:
                task.cancel()

    async def _look(self, pid: int) -> None:
        """Look now and then until the statement is over. A look that finds nobody or fails does not harm the statement."""
        while True:
            with contextlib.suppress(SQLAlchemyError, OSError):
                async with asyncio.timeout(_PING), self._turn, self.engine.connect() as connection:
                    rows = (await connection.execute(text(_HOLDERS), {"pid": pid})).all()
                if rows:
                    self._found, self._when = [Holder(*row) for row in rows], self.clock()
            await asyncio.sleep(self.look)


# pg_blocking_pids also names sessions that only wait before us in the queue: the one at its head holds the lock. A session
# that waits for a row holds the lock on the place in its queue (a tuple's), which names the table.
_HOLDERS = """
WITH RECURSIVE ahead(pid, depth) AS (
  SELECT b, 1 FROM unnest(pg_blocking_pids(CAST(:pid AS integer))) AS b
  UNION SELECT b, ahead.depth + 1 FROM ahead, unnest(pg_blocking_pids(ahead.pid)) AS b WHERE ahead.depth < 8
)
SELECT a.pid, COALESCE(a.application_name, ''), COALESCE(a.usename, ''), COALESCE(a.xact_start, a.state_change),
       COALESCE((SELECT string_agg(DISTINCT c.relname, ', ') FROM pg_locks w JOIN pg_class c ON c.oid = w.relation
                 WHERE w.pid = CAST(:pid AS integer) AND (NOT w.granted OR w.locktype = 'tuple')), '')
FROM pg_stat_activity a
WHERE a.pid IN (SELECT pid FROM ahead) AND cardinality(pg_blocking_pids(a.pid)) = 0
ORDER BY 4 LIMIT 3
"""


class Holder(NamedTuple):
    """A session of the database that holds a lock. It never shows SQL, which may quote a record."""

    pid: int
    application: str
    user: str
    since: datetime | None
    tables: str

    def __str__(self) -> str:
        about = ", ".join(each for each in (_plain(self.application), f"user {_plain(self.user)}" if self.user else "") if each)
        since = f" since {self.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        return f"process {self.pid} of the database ({about}) holds {self.tables or 'it'}{since}"


def _plain(words: str, longest: int = 60) -> str:
    return "".join(c for c in words[:longest] if c.isprintable())
