"""Rows that a system moves to another table when it is done with them: neither deleted, nor doubled, nor lost."""

from __future__ import annotations

import asyncio
from datetime import date, datetime
from decimal import Decimal
from random import Random
from typing import Annotated, NamedTuple

import pytest
from sqlalchemy import CHAR, String, text
from sqlalchemy.dialects import mssql
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.kit.rows import DayWritten, row_of
from adapters.kit.sql import Choice, SqlStream, Tables, columns_read
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


# -- SAP: an item is cleared, its key of the clearing changes, and it lies in another table ----------------------------


@row_of("BSIK", key=("bukrs", "belnr", "gjahr", "buzei"), moves_to="BSAK", also={"mandt": str})
class SapItem(NamedTuple):
    bukrs: Annotated[str, CHAR(4)]
    belnr: Annotated[str, CHAR(10)]
    gjahr: Annotated[str, CHAR(4)]
    buzei: Annotated[str, CHAR(3)]
    lifnr: Annotated[str, CHAR(10)]
    augdt: Annotated[date | None, DayWritten("%Y%m%d", none="00000000"), String(8)]
    augbl: str | None
    wrbtr: Decimal
    shkzg: str


def sap_item(source: str, row: SapItem) -> Invoice:
    net = row.wrbtr if row.shkzg == "H" else -row.wrbtr
    key, supplier = key_of(source, "invoice", *row[:4]), key_of(source, "supplier", row.lifnr)
    lines = (DocumentLine(number=int(row.buzei), net=net),)
    return Invoice(key=key, number=row.belnr, supplier=supplier, lines=lines, payment_date=row.augdt)


def of_one_client(tables: Tables, _: object) -> Choice:
    return Choice(tables[SapItem].c.MANDT == "100")


async def test_an_item_that_sap_clears_is_the_one_that_it_was(server: Server) -> None:
    stream = SqlStream("items", sap_item, of_one_client)
    tables = Tables()
    stream.reading("x", tables, None)
    engine = create_async_engine(server.url)
    async with engine.begin() as connection:
        await connection.run_sync(tables.stand_in().create_all)
    await engine.dispose()
    open_one = "('1000', '51000000{n}', '2026', '001', '0000100234', '00000000', NULL, 42.5, 'H', '100')"
    items = "INSERT INTO {t} (BUKRS, BELNR, GJAHR, BUZEI, LIFNR, AUGDT, AUGBL, WRBTR, SHKZG, MANDT) "
    await server.run(*[items.format(t="BSIK") + "VALUES " + open_one.format(n=n) for n in range(10, 30)])
    council = Council(server.adapter(stream, page=7))
    await council.read()
    assert (len(council.published), council.problems) == (20, {})
    before = len(council.log.told())
    cleared = "BUKRS, BELNR, GJAHR, BUZEI, LIFNR, '20261031', '1500000001', WRBTR, SHKZG, MANDT"
    await server.run(
        items.format(t="BSAK") + f"SELECT {cleared} FROM BSIK WHERE BELNR = '5100000015'",
        "DELETE FROM BSIK WHERE BELNR = '5100000015'",
    )
    await council.read()
    [paid] = council.log.told()[before:]
    assert paid.key == "homes:invoice:1000:5100000015:2026:001"
    assert b'"payment_date":"2026-10-31"' in (paid.data or b"").replace(b" ", b"")
    assert (len(council.published), council.problems) == (20, {})
    await council.pump.close()


# -- Oracle's E-Business Suite: old invoices are purged, and little of them is kept -------------------------------------


@row_of("ap_invoice_lines_all", key=("invoice_id", "line_number"), of="invoice_id")
class EbsLine(NamedTuple):
    line_number: int
    amount: Decimal


@row_of("ap_invoices_all", key="invoice_id", purged_to="ap_history_invoices_all", also={"org_id": int})
class EbsInvoice(NamedTuple):
    invoice_id: int
    invoice_num: str
    vendor_id: int
    last_update_date: datetime
    lines: tuple[EbsLine, ...]


def ebs_invoice(source: str, row: EbsInvoice) -> Invoice:
    lines = tuple(DocumentLine(number=each.line_number, net=each.amount) for each in row.lines)
    supplier = key_of(source, "supplier", row.vendor_id)
    return Invoice(key=key_of(source, "invoice", row.invoice_id), number=row.invoice_num, supplier=supplier, lines=lines)


def of_one_unit(tables: Tables, _: object) -> Choice:
    return Choice(tables[EbsInvoice].c.org_id == 81)


INVOICES = SqlStream("invoices", ebs_invoice, of_one_unit)


async def suite_of(server: Server, **settings: object) -> Council:
    """Thirty invoices, of which the seven first ones were purged long ago."""
    tables = Tables()
    INVOICES.reading("x", tables, None)
    engine = create_async_engine(server.url)
    async with engine.begin() as connection:
        await connection.run_sync(tables.stand_in().create_all)
    await engine.dispose()
    await server.run(
        *[f"INSERT INTO ap_history_invoices_all VALUES ({n})" for n in range(1, 8)],
        *[
            "INSERT INTO ap_invoices_all (invoice_id, invoice_num, vendor_id, last_update_date, org_id) "
            f"VALUES ({n}, 'INV {n}', 4, '2026-01-{n:02} 10:00:00', 81)"
            for n in range(8, 31)
        ],
        *[f"INSERT INTO ap_invoice_lines_all VALUES ({n}, 1, 9.5)" for n in range(8, 31)],
    )
    return Council(server.adapter(INVOICES, page=4, **settings))


async def test_a_purged_row_is_not_deleted_and_stays_as_it_was_told(server: Server) -> None:
    council = await suite_of(server)
    await council.read()
    assert council.published == {f"homes:invoice:{n}" for n in range(8, 31)}
    assert [finding.what for finding in await council.adapter.check() if not finding.well] == []
    before = len(council.log.told())
    purged = "invoice_id IN (9, 10, 11, 12, 13, 20, 30)"
    await server.run(
        f"INSERT INTO ap_history_invoices_all SELECT invoice_id FROM ap_invoices_all WHERE {purged}",
        f"DELETE FROM ap_invoices_all WHERE {purged}",
        f"DELETE FROM ap_invoice_lines_all WHERE {purged}",
        "DELETE FROM ap_invoices_all WHERE invoice_id = 14",
        "UPDATE ap_invoices_all SET invoice_num = 'new' WHERE invoice_id = 21",
    )
    await council.read()
    told = [(event.key, event.data is not None) for event in council.log.told()[before:]]
    assert told == [("homes:invoice:21", True), ("homes:invoice:14", False)]
    assert council.problems == {}
    assert await keys(council) == [f"homes:invoice:{n}" for n in range(1, 31) if n != 14]
    await council.pump.close()


async def test_a_tail_by_the_last_update_reads_from_a_little_before_it_and_no_purged_row(server: Server) -> None:
    council = await suite_of(server, tail={"invoices": "last_update_date"})
    [stream] = council.adapter.streams()
    assert isinstance(stream.reading, Tail)
    await council.read()
    found = [page async for page in stream.reading.pages(None)]
    assert [record.position for page in found for record in page.records] == [(n,) for n in range(8, 31)]
    late = "UPDATE ap_invoices_all SET last_update_date = '2026-01-30 09:59:00' WHERE invoice_id = 12"
    await server.run(late)  # written before the cursor's time, committed behind it
    again = [record.position async for page in stream.reading.pages(found[-1].cursor) for record in page.records]
    assert again == [(12,), (30,)]
    await council.pump.close()
