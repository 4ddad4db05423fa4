"""
Every figure over tables of a million rows each, as Delta Lake: `python -m bench.figures [ROWS]`.

It prints the seconds that a figure's numbers take for a year. Making the tables is not counted; opening and reading them is.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import deltalake
import duckdb

from ironbridge.figures.figure import figures, relation_of
from ironbridge.figures.reading import DateRange, FigureReader, Opened
from ironbridge.store.quality import FaultyRow

YEAR = DateRange(date(2026, 1, 1), date(2026, 12, 31))
_CHILD = "'lcs:person:' || (i * 7919 % ($rows // 3 + 1)) AS person"
_DAY = "DATE '2020-01-01' + CAST(i * 31 % 2557 AS INTEGER)"
_MONEY = "CAST({} AS DECIMAL(18, 2))"
_LINE = f"[{{'number': 1, 'account': 'R' || i % 40, 'net': {_MONEY.format('i % 2000 + 1')}, 'tax': {_MONEY.format('0')}, "
_LINES = _LINE + "'dimensions': [{'dimension': 'COSTC', 'value': 'C' || i % 300}]}] AS lines"
_DOCUMENT = (
    "'S' || i % 700001 AS number, 'unit4:supplier:' || i % 20000 AS supplier, 'GBP' AS currency, NULL::DATE AS due_date, "
    f"{_DAY} AS document_date, CASE WHEN i % 5 > 0 THEN {_DAY} + CAST(i % 50 AS INTEGER) END AS payment_date, "
    f"NULL::VARCHAR AS payee, {_LINES}"
)

WORLD = {
    "contact": f"{_CHILD}, {_DAY} AS contact_date, 'S' || i % 9 AS source",
    "care-episode": (
        f"{_CHILD}, {_DAY} AS referral_date, 'R' || i % 9 AS referral_source, i % 5 = 0 AS no_further_action, "
        f"'N' || i % 10 AS primary_need, CASE WHEN i % 4 > 0 THEN {_DAY} + 200 END AS close_date"
    ),
    "assessment": (
        f"{_CHILD}, 'lcs:care-episode:' || i AS episode, {_DAY} AS start_date, "
        f"CASE WHEN i % 9 > 0 THEN {_DAY} + CAST(i % 90 AS INTEGER) END AS authorised_date"
    ),
    "section-47-enquiry": (
        f"{_CHILD}, {_DAY} AS start_date, i % 3 > 0 AS conference_required, "
        f"CASE WHEN i % 3 = 1 THEN {_DAY} + CAST(i % 40 AS INTEGER) END AS conference_date"
    ),
    "care-plan": (
        f"{_CHILD}, CASE WHEN i % 2 = 0 THEN 'CP' ELSE 'CIN' END AS kind, 'lcs:care-episode:' || i AS episode, "
        f"{_DAY} AS start_date, CASE WHEN i % 4 > 0 THEN {_DAY} + 300 END AS end_date, "
        "'NEG' AS initial_category, 'EMO' AS latest_category"
    ),
    "looked-after-episode": (
        f"{_CHILD}, 'lcs:placement:' || i AS placement, {_DAY} AS start_date, "
        f"CASE WHEN i % 4 > 0 THEN {_DAY} + 300 END AS end_date"
    ),
    "placement": (
        f"{_CHILD}, {_DAY} AS start_date, CASE WHEN i % 4 > 0 THEN {_DAY} + 300 END AS end_date, "
        "'U' || i % 6 + 1 AS placement_type"
    ),
    "legal-status": f"{_CHILD}, 'C' || i % 2 + 1 AS legal_status, {_DAY} AS start_date, NULL::DATE AS end_date",
    "care-leaver": (
        f"'lcs:person:' || i AS person, {_DAY} AS contact_date, 'YES' AS in_touch, 'F2' AS activity, "
        "'1' AS accommodation_suitable"
    ),
    "person": "DATE '2004-01-01' + CAST(i * 31 % 3000 AS INTEGER) AS birth_date",
    "supplier": (
        "'S' || i AS number, 'Supplier ' || i % 15000 AS name, NULL::VARCHAR AS vat_number, "
        "CASE WHEN i % 3 > 0 THEN '0' || i END AS company_number, NULL::VARCHAR AS charity_number, false AS redacted, "
        "NULL::VARCHAR AS kind"
    ),
    "invoice": f"{_DOCUMENT}, {_MONEY.format('0')} AS outstanding",
    "credit-note": f"{_DOCUMENT}, NULL::VARCHAR AS corrects",
    "payment": (
        f"{_DAY} AS payment_date, [{{'document': 'unit4:invoice:' || i, 'amount': {_MONEY.format('1')}}}] AS settles"
    ),
    "purchase-order": (
        f"'unit4:supplier:' || i % 20000 AS supplier, 'GBP' AS currency, {_DAY} AS order_date, 'open' AS status, "
        f"[{{'net': {_MONEY.format('i % 900')}, 'invoiced': {_MONEY.format('i % 700')}}}] AS lines"
    ),
}
"""The columns of each entity that figures read, worked out of the row's number `i`."""
_FINANCE = ("supplier", "invoice", "credit-note", "payment", "purchase-order")


def make(folder: Path, entity: str, rows: int) -> None:
    system = "unit4" if entity in _FINANCE else "lcs"
    columns = WORLD[entity].replace("$rows", str(rows))
    table = duckdb.sql(f"SELECT '{system}:{entity}:' || i AS key, {columns} FROM range({rows}) AS r(i)").to_arrow_table()
    deltalake.write_deltalake(folder / relation_of(entity), table)


def opened_below(folder: Path) -> Opened:
    def opened(names: tuple[str, ...]) -> Any:
        connection = duckdb.connect()
        for name in names:
            connection.register(name, deltalake.DeltaTable(folder / name).to_pyarrow_dataset())
        return connection

    return opened


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """The medians of the time that passed and of the processor's."""
    taken, used = [], []
    for _ in range(3):
        began, spent = time.perf_counter(), time.process_time()
        work()
        taken.append(time.perf_counter() - began)
        used.append(time.process_time() - spent)
    return statistics.median(taken), statistics.median(used)


def main(rows: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for entity in WORLD:
            make(folder, entity, rows)
        at = YEAR.first.toordinal() * 86400.0 - date(1970, 1, 1).toordinal() * 86400.0
        faulty = [
            FaultyRow("lcs", "person", f"lcs:person:{i}", f"f{i % 20}", "a rule", at + i % 300 * 86400, incomplete=False)
            for i in range(rows)
        ]
        reader = FigureReader(opened_below(folder), faulty)
        slowest = 0.0
        print(f"{rows:,} rows in each table; medians of three", flush=True)
        for each in figures().values():
            took, used = seconds(lambda of=each: reader.numbers(of, YEAR))
            slowest = max(slowest, took)
            groups = len(reader.numbers(each, YEAR).lines)
            print(f"{each.name:22} {took:6.2f} s, {used:6.2f} s of the processor, {groups:,} groups", flush=True)
        print(f"the slowest takes {slowest:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
