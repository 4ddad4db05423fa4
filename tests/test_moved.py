"""Rows that a system moves to another table when it is done with them: neither deleted, nor doubled, nor lost."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from random import Random
from typing import NamedTuple

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import mssql
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.kit.rows import row_of
from adapters.kit.sql import SqlStream, columns_read
from adapters.kit.sql_check import ONE_MOMENT
from adapters.port import Sweep, Tail
from canonical import DocumentLine, Invoice
from canonical.key import key_of
from tests.councils import Council, Server

COLUMNS = "company, firm, item, rest, changed"


@row_of("item_lines", order="line", of="item", to="item")
class Line(NamedTuple):
    line: int


@row_of("open_items", key=("company", "firm", "item"), moves_to="closed_items")
class Item(NamedTuple):
    company: str
    firm: int
    item: int
    rest: Decimal
    lines: tuple[Line, ...]


def item(source: str, row: Item) -> Invoice:
    lines = tuple(DocumentLine(number=each.line, net=row.rest) for each in row.lines)
    return Invoice(key=key_of(source, "invoice", *row[:3]), number=str(row.item), supplier=f"{source}:supplier:1", lines=lines)


ITEMS = SqlStream("items", item)
MANY = [(company, n % 5, n) for company in ("A", "B") for n in range(1, 41)]


async def council_of(server: Server, **settings: object) -> Council:
    """Two companies with forty items each; every third one is closed, and each has a line of its own."""
    made = [
        f"CREATE TABLE {name} (company VARCHAR(8), firm INT, item INT, rest DECIMAL(9,2), changed INT, "
        "PRIMARY KEY (company, firm, item))"
        for name in ("open_items", "closed_items")
    ]
    rows = [f"INSERT INTO {'closed_items' if n % 3 else 'open_items'} VALUES ('{c}', {f}, {n}, 9.5, 1)" for c, f, n in MANY]
    lines = [f"INSERT INTO item_lines VALUES ({n}, {n})" for n in range(1, 41)]
    await server.run(*made, "CREATE TABLE item_lines (item INT, line INT)", *rows, *lines)
    return Council(server.adapter(ITEMS, page=7, **settings))


def moving(company: str, number: int, source: str, target: str) -> list[str]:
    which = f"company = '{company}' AND item = {number}"
    return [f"INSERT INTO {target} SELECT {COLUMNS} FROM {source} WHERE {which}", f"DELETE FROM {source} WHERE {which}"]


async def keys(council: Council) -> list[str]:
    [stream] = council.adapter.streams()
    assert isinstance(stream.reading, Sweep)
    return [record.key async for page in stream.reading.pages(None) for record in page.records]


async def test_both_tables_are_one_stream_in_the_order_of_the_key_whatever_the_page(server: Server) -> None:
    council = await council_of(server)
    await council.read()
    assert not council.problems
    assert council.published == {f"homes:invoice:{c}:{f}:{n}" for c, f, n in MANY}
    assert await keys(council) == [f"homes:invoice:{c}:{f}:{n}" for c, f, n in sorted(MANY)]
    [stream] = council.adapter.streams()
    assert isinstance(stream.reading, Sweep)
    pages = [page async for page in stream.reading.pages(None)]
    assert [len(page.records) for page in pages] == [7] * 11 + [3]
    rest = [record.key async for page in stream.reading.pages(pages[3].cursor) for record in page.records]
    assert rest == [record.key for page in pages[4:] for record in page.records]
    assert [finding.what for finding in await council.adapter.check() if not finding.well] == []
    await council.pump.close()


async def test_a_row_that_moves_publishes_what_has_changed_in_it_and_no_deletion(server: Server) -> None:
    council = await council_of(server)
    await council.read()
    before = len(council.log.told())
    await server.run(*moving("A", 3, "open_items", "closed_items"))
    await council.read()
    assert council.log.told()[before:] == [], "the row says what it said"
    await server.run(*moving("B", 6, "open_items", "closed_items"), "UPDATE closed_items SET rest = 0 WHERE item = 6")
    await council.read()
    told = [(event.key, event.data is not None) for event in council.log.told()[before:]]
    assert told == [("homes:invoice:B:1:6", True)]
    await council.pump.close()


async def test_a_row_that_lies_in_both_tables_is_told_and_its_record_stays(server: Server) -> None:
    council = await council_of(server)
    await council.read()
    before = len(council.log.told())
    await server.run(moving("A", 3, "open_items", "closed_items")[0])
    await council.read()
    [said] = council.problems
    assert said.startswith("homes:invoice:A:3:3")
    await server.run(*moving("A", 3, "open_items", "closed_items")[1:])
    await council.read()
    assert (council.log.told()[before:], council.problems) == ([], {})
    await council.pump.close()


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
async def test_a_moved_row_that_cannot_be_read_is_quarantined_alone(server: Server) -> None:
    council = await council_of(server)
    await server.run("UPDATE closed_items SET rest = CAST(X'ff41' AS TEXT) WHERE company = 'A' AND item = 20")
    await council.read()
    assert list(council.problems) == ["homes:invoice:A:0:20"]
    assert len(council.published) == len(MANY) - 1
    await council.pump.close()


async def test_a_tail_reads_the_rows_that_have_changed_in_either_table(server: Server) -> None:
    council = await council_of(server, tail={"items": "changed"})
    [stream] = council.adapter.streams()
    assert isinstance(stream.reading, Tail)
    await council.read()
    await server.run(*moving("A", 3, "open_items", "closed_items"), "UPDATE closed_items SET changed = 2 WHERE item = 3")
    await server.run("UPDATE open_items SET changed = 3 WHERE item = 6 AND company = 'B'")
    found = [r.key async for page in stream.reading.pages((2,)) for r in page.records]
    assert found == ["homes:invoice:A:3:3", "homes:invoice:B:1:6"]
    await council.pump.close()


class Mover:
    """Moves rows to and fro, each in a transaction of its own, until it is told to stop."""

    def __init__(self, server: Server) -> None:
        self._server, self._rng, self.moves = server, Random(7), 0

    async def run(self, stop: asyncio.Event) -> None:
        engine = create_async_engine(self._server.url)
        lies = {(c, n): "closed_items" if n % 3 else "open_items" for c, _, n in MANY}
        while not stop.is_set():
            which = self._rng.choice(list(lies))
            source = lies[which]
            target = lies[which] = "open_items" if source == "closed_items" else "closed_items"
            async with engine.begin() as connection:
                for statement in moving(*which, source, target):
                    await connection.execute(text(statement))
                    await asyncio.sleep(0)
            self.moves += 1
        await engine.dispose()


@pytest.mark.parametrize("server", [pytest.param(k, marks=pytest.mark.servers) for k in ("postgres", "mariadb")], indirect=True)
async def test_rows_that_move_while_pages_are_read_are_each_read_once(server: Server) -> None:
    council = await council_of(server)
    await council.read()
    told, stop, mover = len(council.log.told()), asyncio.Event(), Mover(server)
    running = asyncio.create_task(mover.run(stop))
    for _ in range(10):
        assert sorted(await keys(council)) == sorted(f"homes:invoice:{c}:{f}:{n}" for c, f, n in MANY)
    for _ in range(3):
        await council.read()
    stop.set()
    await running
    assert mover.moves > 20
    assert council.log.told()[told:] == []
    assert not council.problems
    await council.pump.close()


def test_sql_server_is_asked_for_both_tables_in_one_statement_and_seeks_by_the_whole_key() -> None:
    reading = Server("mssql", "mssql://reader@finance/books").adapter(ITEMS).readings["items"]
    written = str(reading.page(100, after=True).compile(dialect=mssql.dialect()))
    assert written.count("FROM open_items") == written.count("FROM closed_items") == 3
    assert written.count("UNION ALL") == 5
    assert written.count("SELECT TOP ") == 7
    assert {str(table) for table in columns_read([reading])} == {"open_items", "closed_items", "item_lines"}
    assert "is_read_committed_snapshot_on" in str(ONE_MOMENT.compile(dialect=mssql.dialect()))
