"""
Every statement of every SQL system that is shipped, compiled for each kind of database, and looked at. No server is asked:
neither an SQL Server nor an Oracle was run here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import ColumnElement, and_, false, select
from sqlalchemy.dialects import mssql, mysql, oracle, postgresql, sqlite
from sqlalchemy.dialects.oracle.base import RESERVED_WORDS
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.default import DefaultDialect

from adapters.kit.sql import Database, SqlAdapter, SqlSettings, SqlStream, beyond, columns_read, row_of
from adapters.kit.sql_check import _LONGEST
from adapters.kit.sql_pages import Pages, Run, swept, untyped
from adapters.kit.sql_reading import Reading
from adapters.kit.sql_tracking import Notes, asking, tables_of, untracked
from adapters.kit.sql_versions import ROWVERSION, TRACKING, XMIN, Horizon, changed
from adapters.port import Tail
from canonical.housing import Property
from canonical.key import key_of

PLACED = {"postgresql": "$1", "mysql": "%s", "mariadb": "%s", "mssql": "?", "sqlite": "?", "oracle": ":a"}
"""The way in which the driver of each kind of database marks a parameter."""
MARKS = {"$1": r"\$\d", "%s": "%[s(]", "?": r"\?", ":a": "(?<!:):[A-Za-z]"}
GIVEN: Mapping[str, Any] = {"low": 1, "high": 9} | {f"same_{n}": n for n in range(9)} | {f"keys_{n}": [1, 2, 3] for n in range(9)}
VERSIONED = {"postgresql": XMIN, "mssql": ROWVERSION}


@cache
def dialect_of(kind: str) -> Dialect:
    """A dialect as our driver has it; Oracle's as of 19c, which has no BOOLEAN yet."""
    made: DefaultDialect = {
        "postgresql": lambda: postgresql.dialect(paramstyle="numeric_dollar"),
        "mysql": lambda: mysql.dialect(paramstyle="format"),
        "mariadb": lambda: mysql.dialect(paramstyle="format", is_mariadb=True),
        "mssql": lambda: mssql.dialect(paramstyle="qmark"),
        "sqlite": lambda: sqlite.dialect(paramstyle="qmark"),
        "oracle": lambda: oracle.dialect(paramstyle="named"),
    }[kind]()
    if kind == "oracle":
        made.supports_native_boolean = False
    return made


@cache
def systems() -> Mapping[str, tuple[Any, Mapping[str, Any]]]:
    """Every kind of system that is installed and read from an SQL database, with the settings of its invented one."""
    found = {}
    for entry in entry_points(group="ironbridge.adapters"):
        system = entry.load()
        if entry.value.startswith("adapters.") and issubclass(system.settings, SqlSettings):
            found[entry.name] = system, system.world().section(Path("nowhere"))
    return found


def adapter_of(name: str, kind: str) -> SqlAdapter:
    system, section = systems()[name]
    given = {**section, "url": f"{kind}://reader@host/legacy", "schema": "LEGACY", "tail": {}}
    if kind in ("sqlite", "mysql", "mariadb"):
        given.pop("schema")
    made = system.build(name, system.settings.model_validate(given))
    assert isinstance(made, SqlAdapter)
    return made


class Said(NamedTuple):
    """A statement as a driver is given it."""

    text: str
    columns: list[str]
    values: Mapping[str, Any]


def compiled(statement: Any, kind: str) -> Said:
    made = statement.compile(dialect=dialect_of(kind))
    whole = made.construct_expanded_state(GIVEN)
    values = made.construct_params(GIVEN)
    return Said(" ".join(whole.statement.split()), [each.keyname for each in made._result_columns], values)


def statements(database: Database, reading: Reading, change: ColumnElement[Any] | None = None) -> Iterator[Any]:
    """Everything that a sweep and a tail of a reading may ask, and that `check` does."""
    key, kind = tuple(7 for _ in reading.key), database.session.settings.kind
    pages, columns = Pages(database.session, reading), reading.columns
    whole = (*columns, reading.there) if reading.purged_to is not None else columns
    for run in (swept(reading, ()), swept(reading, key), swept(reading, key).level_with(key)):
        yield run.select(whole, 100)
        yield run.select(whole, 1, skip=3)
    yield swept(reading, key).select(tuple(map(pages._bytes_of, reading.key)), 1, skip=3)
    yield reading.select(reading.key, size=10)
    for part in reading.parts:
        # Texts alone are compared beside the record, and no key of two tables holds a text.
        beside = (part.beside(reading.key),) if len({each.table for each in reading.key}) == 1 else ()
        for each in (part, *beside):
            yield from [each.of_range(same) for same in range(len(reading.key))]
            yield each.of_keys(len(reading.key))
            yield part.of(and_(*[owner == untyped(1) for owner in part.owner]))
    for table, names in columns_read([reading]).items():
        yield select(*[table.c[name] for name in sorted(names)]).select_from(table).where(false())
        yield select(*table.c).limit(1)
    if reading.version is not None:
        since = VERSIONED[kind].since
        yield select(*reading.key).where(changed(reading, lambda version: since(version, 5, Horizon(9, 9))))
    if change is not None:
        for at in ("2026-10-25 01:58:00", "2026-10-25 01:58:00.250000"):
            value = database._value(at)
            place = (beyond((change, *reading.key), [value, *map(untyped, key)]),)
            yield Run(reading, lambda _: (), place, (change,)).select((change, *columns), 100)
            yield Run(reading, lambda _: (), (change >= value,), (change,)).select((change, *columns), 100)


def everything(name: str, kind: str) -> Iterator[Said]:
    adapter = adapter_of(name, kind)
    for reading in adapter.readings.values():
        for statement in statements(adapter.database, reading, reading.columns[-1]):
            yield compiled(statement, kind)


def limited(text: str, kind: str) -> None:
    """Rows are limited in the way of this database, and in no other one's."""
    ways = {"LIMIT": "LIMIT ", "TOP": "SELECT TOP ", "FETCH": "FETCH FIRST "}
    own = {"mssql": "TOP", "oracle": "FETCH"}.get(kind, "LIMIT")
    for word, written in ways.items():
        # SQL Server's OFFSET wants FETCH FIRST behind it.
        other = word != own and not (kind == "mssql" and word == "FETCH" and "OFFSET" in text)
        assert not (other and written in text), text


NAMES = sorted(systems())


@pytest.mark.parametrize("kind", PLACED)
@pytest.mark.parametrize("name", NAMES)
def test_every_statement_of_a_shipped_system_is_written_as_each_database_takes_it(name: str, kind: str) -> None:
    said = list(everything(name, kind))
    adapter = adapter_of(name, kind)
    assert len(said) >= 12 * len(adapter.readings)
    tables = {str(table.name) for table in columns_read(adapter.readings.values())}
    for each in said:
        assert each.text.startswith("SELECT "), each.text
        limited(each.text, kind)
        assert {mark for mark, found in MARKS.items() if re.search(found, each.text)} <= {PLACED[kind]}, each.text
        if kind in ("postgresql", "mssql", "oracle"):
            bare = re.findall(r"(?:FROM|JOIN) \(*\"?([A-Za-z_][\w$]*)\b(?!\.)", each.text)
            assert tables.isdisjoint(bare), each.text
        if kind == "oracle":
            insist_on_oracle(each)


ODD_ON_ORACLE = re.compile(
    r"''|\bAS (BLOB|TEXT|VARCHAR)\b|\bWHERE (true|false)\b|(FROM|JOIN) [\w.\"]+ AS |\) AS \w+ (ON|WHERE|ORDER|FETCH)"
)


def insist_on_oracle(said: Said) -> None:
    """A limit makes a view of a SELECT, whose columns need names of their own; an empty text is NULL, and equals nothing."""
    assert len(set(said.columns)) == len(said.columns), said.text
    compared = re.findall(r"(?:=|<|>|LIKE) :(\w+)", said.text)
    assert "" not in [said.values.get(name) for name in compared], said.text
    assert not ODD_ON_ORACLE.search(said.text), said.text
    quoted = {name for name in re.findall(r'"([^"]*)"', said.text) if not re.fullmatch(r"[A-Z_\d]+_\d", name)}
    assert not quoted, said.text  # in quotes Oracle would find a name in no other case; an alias is our own


@pytest.mark.parametrize("name", NAMES)
def test_no_shipped_name_is_longer_than_a_database_takes(name: str) -> None:
    read = columns_read(adapter_of(name, "oracle").readings.values())
    names = {str(table.name) for table in read} | {column for columns in read.values() for column in columns}
    assert max(map(len, names)) <= min(_LONGEST.values())
    assert {each.lower() for each in names} & RESERVED_WORDS == set()
    # Oracle before 12.2 takes 30: Liquidlogic's warehouse, which lives on SQL Server, has no copy there.
    assert (max(map(len, names)) > 30) == (name == "liquidlogic")


# -- a system as Oracle's E-Business Suite, and as an SQL Server whose changes are tracked ------------------------------


@row_of("AP_INVOICE_LINES_ALL", key=("invoice_id", "line_number"), of="invoice_id")
class PayableLine(NamedTuple):
    line_number: int


@row_of("AP_INVOICES_ALL", key="invoice_id", purged_to="AP_HISTORY_INVOICES_ALL")
class Payable(NamedTuple):
    invoice_id: int
    invoice_num: str
    lines: tuple[PayableLine, ...]


def payable(source: str, row: Payable) -> Property:
    return Property(key=key_of(source, "property", row.invoice_id), number=row.invoice_num)


@row_of("rooms", key=("house", "room"), of="agreement_no")
class RoomOf(NamedTuple):
    room: str


@row_of("agreements", key="agreement_no", moves_to="old_agreements")
class Agreement(NamedTuple):
    agreement_no: int
    rooms: tuple[RoomOf, ...]


def agreement(source: str, row: Agreement) -> Property:
    return Property(key=key_of(source, "property", row.agreement_no), number=str(row.agreement_no))


def made(url: str, stream: SqlStream, **more: Any) -> SqlAdapter:
    return SqlAdapter("books", SqlSettings.model_validate({"url": SecretStr(url), **more}), [stream])


def test_oracle_reads_the_keys_of_purged_rows_in_their_places() -> None:
    adapter = made("oracle://reader@host/EBS", SqlStream("payables", payable), schema="AP")
    reading = adapter.readings["payables"]
    run = swept(reading, (7,))
    assert compiled(run.select((*reading.columns, reading.there), 100), "oracle").text == (
        "SELECT c0, c1, c2 FROM (SELECT * FROM (SELECT AP.AP_INVOICES_ALL.INVOICE_ID AS c0, "
        "AP.AP_INVOICES_ALL.INVOICE_NUM AS c1, "
        "AP.AP_INVOICES_ALL.INVOICE_ID AS c2, AP.AP_INVOICES_ALL.INVOICE_ID AS c3 FROM AP.AP_INVOICES_ALL "
        "WHERE AP.AP_INVOICES_ALL.INVOICE_ID IS NOT NULL AND AP.AP_INVOICES_ALL.INVOICE_ID > :param_1 "
        "ORDER BY AP.AP_INVOICES_ALL.INVOICE_ID FETCH FIRST 100 ROWS ONLY) s0 "
        "UNION ALL SELECT * FROM (SELECT AP.AP_HISTORY_INVOICES_ALL.INVOICE_ID AS c0, AP.AP_INVOICES_ALL.INVOICE_NUM AS c1, "
        "AP.AP_INVOICES_ALL.INVOICE_ID AS c2, AP.AP_HISTORY_INVOICES_ALL.INVOICE_ID AS c3 FROM AP.AP_HISTORY_INVOICES_ALL "
        "LEFT OUTER JOIN AP.AP_INVOICES_ALL ON AP.AP_INVOICES_ALL.INVOICE_ID = AP.AP_HISTORY_INVOICES_ALL.INVOICE_ID "
        "WHERE AP.AP_INVOICES_ALL.INVOICE_ID IS NULL AND AP.AP_HISTORY_INVOICES_ALL.INVOICE_ID IS NOT NULL "
        "AND AP.AP_HISTORY_INVOICES_ALL.INVOICE_ID > :param_1 ORDER BY AP.AP_HISTORY_INVOICES_ALL.INVOICE_ID "
        "FETCH FIRST 100 ROWS ONLY) s1) s ORDER BY c3 FETCH FIRST 100 ROWS ONLY"
    )
    for statement in statements(adapter.database, reading):
        insist_on_oracle(compiled(statement, "oracle"))


def test_oracle_finds_late_changes_by_an_index_on_a_date() -> None:
    tail = {"payables": "LAST_UPDATE_DATE"}
    adapter = made("oracle://reader@host/EBS", SqlStream("payables", payable), schema="AP", tail=tail)
    change = adapter._change("payables")
    whole, fine = [adapter.database._value(at) for at in ("2026-10-25 01:58:00", "2026-10-25 01:58:00.250000")]
    assert compiled(select(change).where(change >= whole), "oracle").text.endswith(
        "WHERE AP.AP_INVOICES_ALL.LAST_UPDATE_DATE >= CAST(:param_1 AS DATE)"
    )
    [at] = compiled(select(change).where(change >= fine), "oracle").values.values()
    assert at == datetime.fromisoformat("2026-10-25 01:58:00.250000"), "a fraction is of a TIMESTAMP, and none of it is lost"


def tracked() -> SqlAdapter:
    stream = SqlStream("agreements", agreement)
    url = "mssql://reader@host/books"
    return made(url, stream, schema="dbo", tail={"agreements": "change tracking"}, tail_overlap=timedelta(0))


def test_sql_server_tells_changed_records_by_the_keys_that_it_notes() -> None:
    reading = tracked().readings["agreements"]
    new = changed(reading, lambda version: TRACKING.since(version, 2001, Horizon(3000, 3000, 1990)))
    either = (
        "SELECT dbo.agreements.agreement_no AS key_0, dbo.agreements.agreement_no AS to_0 FROM dbo.agreements UNION "
        "SELECT dbo.old_agreements.agreement_no AS key_0, dbo.old_agreements.agreement_no AS to_0 FROM dbo.old_agreements"
    )
    assert compiled(select(*reading.key).where(new), "mssql").text == (
        "SELECT dbo.agreements.agreement_no FROM dbo.agreements WHERE EXISTS (SELECT * FROM ("
        "SELECT dbo.agreements.agreement_no AS agreement_no FROM dbo.agreements WHERE EXISTS (SELECT 1 "
        "FROM CHANGETABLE(CHANGES dbo.agreements, 2001) AS [CT] WHERE [CT].agreement_no = dbo.agreements.agreement_no) "
        f"UNION ALL SELECT records.key_0 AS key_0 FROM dbo.rooms JOIN ({either}) AS records "
        "ON records.to_0 = dbo.rooms.agreement_no WHERE EXISTS (SELECT 1 FROM CHANGETABLE(CHANGES dbo.rooms, 2001) AS [CT] "
        "WHERE [CT].house = dbo.rooms.house AND [CT].room = dbo.rooms.room)) AS changed "
        "WHERE dbo.agreements.agreement_no = changed.agreement_no)"
    )
    page = compiled(swept(replace(reading, where=new), (7,)).select(reading.columns, 100), "mssql").text
    assert "CHANGETABLE(CHANGES dbo.old_agreements, 2001) AS [CT] WHERE [CT].agreement_no = dbo.old_agreements" in page


def test_sql_server_is_asked_how_far_its_notes_go_back() -> None:
    tables = tables_of(tracked().readings["agreements"])
    assert [str(each) for each in tables] == ["dbo.agreements", "dbo.rooms", "dbo.old_agreements"]
    said = compiled(asking(tables), "mssql")
    assert said.text.startswith("SELECT CHANGE_TRACKING_CURRENT_VERSION() AS ")
    assert said.text.count("CHANGE_TRACKING_MIN_VALID_VERSION(OBJECT_ID(?))") == 3
    assert {"dbo.agreements", "dbo.rooms", "dbo.old_agreements"} <= set(said.values.values())


@pytest.mark.parametrize(
    ("cursor", "since"), [(1990, 1990), (2500, 2500), (1989, 0), (3001, 0)], ids=["oldest", "usual", "cleared", "restored"]
)
def test_a_cursor_that_the_notes_no_longer_reach_means_all_rows(cursor: int, since: int) -> None:
    assert TRACKING.place(TRACKING.cursor(cursor), Horizon(3000, 3000, 1990)).since == since


def test_a_table_that_is_not_tracked_is_named_with_what_to_ask_for() -> None:
    adapter = tracked()
    rooms = tables_of(adapter.readings["agreements"])[1]
    [fault] = untracked(adapter.database.session, Notes(9, 1, (rooms,)))
    assert str(fault) == (
        "books: dbo.rooms: its changes are not tracked, or we may not see them. To do: ask for ALTER TABLE dbo.rooms ENABLE "
        "CHANGE_TRACKING and GRANT VIEW CHANGE TRACKING ON dbo.rooms TO reader"
    )
    with pytest.raises(ValidationError, match="only SQL Server has change tracking"):
        SqlSettings.model_validate({"url": "postgresql://reader@host/books", "tail": {"a": "change tracking"}})
    assert isinstance(adapter.streams()[0].reading, Tail)
