"""Every wait for the state has an end, and the error names the session that we waited for: real servers, real locks."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import make_url, text

from canonical.errors import UnavailableError
from ironbridge.operate.health import Health
from ironbridge.runtime.bridge import Platform
from ironbridge.settings import Settings
from ironbridge.store import Store, open_store
from ironbridge.store.database import _LOCK
from ironbridge.store.waits import USUAL, ConnectionLimits
from tests.servers import silenced

QUICK = ConnectionLimits(lock=4.0, statement=30.0, idle=60.0, look=0.1)


@asynccontextmanager
async def somebody(url: str, statement: str) -> AsyncIterator[int]:
    """Another program with an open transaction in which it has done something; gives its process in the database."""
    parsed = make_url(url)
    other = await asyncpg.connect(
        host=parsed.host, port=parsed.port, user=parsed.username, database=parsed.database,
        server_settings={"application_name": "nightly report"},
    )  # fmt: skip
    try:
        async with other.transaction():
            await other.execute(statement)
            yield other.get_server_pid()
    finally:
        await other.close()


@asynccontextmanager
async def opened(url: str, patience: ConnectionLimits = QUICK) -> AsyncIterator[Store]:
    store = await open_store(url, patience=patience)
    try:
        yield store
    finally:
        await store.close()


async def written(store: Store) -> None:
    async with store.write() as connection:
        await connection.execute(text("UPDATE flows SET error = 'x' WHERE name = 'f'"))


async def read(store: Store) -> None:
    async with store.read() as connection:
        await connection.execute(text("SELECT count(*) FROM flows"))


@pytest.mark.parametrize(
    "statement", ["LOCK TABLE flows IN ACCESS EXCLUSIVE MODE", "UPDATE flows SET error = 'secret' WHERE name = 'f'"]
)
async def test_a_lock_that_somebody_holds_ends_the_wait_and_is_named(postgres_url: str, statement: str):
    async with opened(postgres_url) as store:
        async with store.write() as connection:
            await connection.execute(text("INSERT INTO flows (name) VALUES ('f')"))
        async with somebody(postgres_url, statement) as pid:
            with pytest.raises(UnavailableError) as caught:
                await written(store)
            said = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "(then)", str(caught.value))
            assert said == (
                "state: we got no lock on it within 15 s: "
                f"process {pid} of the database (nightly report, user ironbridge) holds flows since (then) UTC. "
                f"To do: let it end its transaction, or end it: SELECT pg_terminate_backend({pid})"
            )
        await written(store)


async def test_one_that_reads_behind_a_queue_names_the_head_of_it(postgres_url: str):
    async with (
        opened(postgres_url) as store,
        somebody(postgres_url, "SELECT count(*) FROM flows") as pid,
        asyncio.TaskGroup() as group,
    ):
        # The table's rebuilding waits for the reader, and every later reader waits for the rebuilding.
        rebuilding = group.create_task(_refused(postgres_url, "LOCK TABLE flows IN ACCESS EXCLUSIVE MODE"))
        async with store.read() as connection:
            while not (await connection.execute(text("SELECT 1 FROM pg_locks WHERE NOT granted"))).all():
                await asyncio.sleep(0.01)
        with pytest.raises(UnavailableError) as caught:
            await read(store)
        assert f"process {pid} of the database (nightly report" in str(caught.value)
        rebuilding.cancel()


async def _refused(url: str, statement: str) -> None:
    async with somebody(url, statement):
        raise AssertionError("it should have waited")


async def test_a_migration_that_somebody_keeps_waiting_says_who_does(postgres_url: str):
    async with somebody(postgres_url, f"SELECT pg_advisory_xact_lock({_LOCK})") as pid:
        with pytest.raises(UnavailableError, match=rf"process {pid} of the database .* holds it since .* UTC"):
            await open_store(postgres_url, patience=QUICK)
    await (await open_store(postgres_url, patience=QUICK)).close()


async def test_progress_that_cannot_be_looked_at_says_who_holds_the_lock(postgres_url: str, tmp_path: Path):
    async with (
        opened(postgres_url, QUICK._replace(lock=60.0)) as store,
        somebody(postgres_url, "LOCK TABLE flows IN ACCESS EXCLUSIVE MODE") as pid,
    ):
        (verdict,) = await Health(Platform(Settings(data=tmp_path), store)).progress()
    assert verdict.state == "failing"
    assert verdict.why.startswith(f"no answer within 5 s: process {pid} of the database (nightly report, user ironbridge)")
    assert verdict.why.endswith(f"To do: let it end its transaction, or end it: SELECT pg_terminate_backend({pid})")


async def test_a_statement_without_an_end_is_ended(postgres_url: str):
    async with opened(postgres_url, ConnectionLimits(statement=0.2)) as store:
        with pytest.raises(UnavailableError, match="the database ended a statement that took longer than 60 s"):
            async with store.read() as connection:
                await connection.execute(text("SELECT pg_sleep(600)"))
        await read(store)


async def test_a_transaction_in_which_we_stand_still_lets_go_of_its_locks(postgres_url: str):
    async with opened(postgres_url, ConnectionLimits(idle=0.2)) as store:
        with pytest.raises(UnavailableError):
            await _stand_still(store, postgres_url)
        await written(store)


async def _stand_still(store: Store, url: str) -> None:
    async with store.write() as connection:
        await connection.execute(text("LOCK TABLE flows"))
        async with somebody(url, "LOCK TABLE flows"):
            pass  # the lock is free, although our transaction has not ended
        await connection.execute(text("SELECT 1"))


async def test_a_database_that_goes_silent_under_a_statement_is_given_up_and_another_connection_made(postgres_url: str):
    url = make_url(postgres_url)
    assert url.host is not None
    assert url.port is not None
    async with silenced(url.host, url.port) as line:
        through = url.set(port=line.port).render_as_string(hide_password=False)
        async with opened(through, ConnectionLimits(statement=0.3, silent=0.2)) as store:
            await read(store)
            line.silent()
            async with asyncio.timeout(60):
                with pytest.raises(UnavailableError, match="the database does not answer"):
                    await written(store)
            line.well()
            await written(store)


async def test_connecting_to_a_database_that_says_nothing_ends():
    async with silenced("127.0.0.1", 9) as line:
        line.silent()
        async with asyncio.timeout(60):
            url = f"postgresql+asyncpg://x@127.0.0.1:{line.port}/x?sslmode=disable"
            with pytest.raises(UnavailableError, match="the database does not answer"):
                await open_store(url, patience=ConnectionLimits(connect=0.3))


async def test_an_embedded_state_that_another_program_writes_to_is_said_to_be_locked(tmp_path: Path):
    async with opened(f"sqlite+aiosqlite:///{tmp_path / 'state.sqlite3'}") as store:
        async with store.read() as connection:
            await connection.execute(text("PRAGMA busy_timeout = 50"))
        with closing(sqlite3.connect(tmp_path / "state.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(UnavailableError, match="its file is locked by another program"):
                await written(store)
        await written(store)


async def test_no_free_connection_is_a_matter_of_waiting_and_not_of_settings(postgres_url: str):
    async with opened(postgres_url) as store:
        store.engine.pool._timeout = 0.1  # type: ignore[attr-defined]
        held = [await store.engine.connect() for _ in range(16)]
        try:
            with pytest.raises(UnavailableError, match="none of this process's connections to it became free"):
                await read(store)
        finally:
            for each in held:
                await each.close()


def test_what_ends_a_wait_first_is_what_can_name_its_reason():
    assert USUAL.look < 5.0 < USUAL.lock < USUAL.statement < USUAL.command
