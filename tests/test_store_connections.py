"""The state's connections: none is given out dead, whoever cut it."""

import asyncio

import asyncpg
import pytest
from asyncpg.exceptions import InterfaceError, InternalClientError
from sqlalchemy import text

from canonical.errors import UnavailableError
from ironbridge.store import Store, open_store
from ironbridge.store.faults import translated
from tests.servers import HOST, Postgres


async def _backend(store: Store) -> int:
    async with store.read() as connection:
        return int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def test_a_connection_that_the_database_cut_is_not_given_out_again(postgres: Postgres, postgres_url: str):
    store = await open_store(postgres_url)
    try:
        first = await _backend(store)
        assert await _backend(store) == first, "it is kept between two statements"
        other = await asyncpg.connect(host=HOST, port=postgres.port, user="ironbridge", database="postgres")
        await other.execute("SELECT pg_terminate_backend($1)", first)
        await other.close()
        await asyncio.sleep(0.2)  # the farewell has to arrive
        assert await _backend(store) != first
    finally:
        await store.close()


async def test_a_read_changes_nothing_of_what_a_write_may_undo(postgres_url: str):
    store = await open_store(postgres_url)
    try:
        await _backend(store)  # on the connection that the write gets next
        try:
            async with store.write() as connection:
                await connection.execute(text("INSERT INTO copies (adapter, claims) VALUES ('a', 1)"))
                raise _ChangedOurMindError
        except _ChangedOurMindError:
            pass
        async with store.read() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM copies"))).scalar_one() == 0
    finally:
        await store.close()


class _ChangedOurMindError(Exception):
    pass


@pytest.mark.parametrize("error", [InternalClientError("cannot switch to state 15"), InterfaceError("closed"), OSError("gone")])
def test_whatever_a_driver_says_of_a_server_that_goes_in_mid_sentence_is_an_outage(error: Exception) -> None:
    with pytest.raises(UnavailableError, match="the database does not answer"), translated():
        raise error
