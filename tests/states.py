"""
States that need no migration: the product makes the tables once, and each test gets a copy of them.

Migrating takes ten times as long as copying. The tests of the migrations, of the runtime, of the command line and of the
demonstration and the torture still let the product make its tables in an empty database, as an installation does.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import text

from ironbridge.store import open_store
from tests.servers import Postgres

_TEMPLATE = "made"
_file: list[bytes] = []


async def state_file(file: Path) -> str:
    """Put a fresh state into a file; gives its URL."""
    if not _file:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "state.sqlite3"
            await _made(_url(made))
            _file.append(made.read_bytes())
    file.write_bytes(_file[0])
    return _url(file)


@asynccontextmanager
async def state_database(server: Postgres) -> AsyncIterator[str]:
    """The URL of a database with a fresh state, dropped afterwards."""
    if not await server.has(_TEMPLATE):
        async with server.database() as url:
            await _made(url)
            await server.keep(url, _TEMPLATE)
    async with server.database(like=_TEMPLATE) as url:
        yield url


def _url(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


async def _made(url: str) -> None:
    """Make the tables. The identity is left out, so that each copy is an installation of its own."""
    store = await open_store(url)
    async with store.write() as connection:
        await connection.execute(text("DELETE FROM installation"))
    await store.close()
