"""
An invented Business World database for demonstrations and tests: SQLite, PostgreSQL or MariaDB.

`python -m adapters.business_world.world sqlite:///agresso.db --size 300` makes one; `--change 1` does a day's work in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import Column, ColumnElement, RowMapping, Table, and_, delete, func, insert, select, update

from adapters.business_world.adapter import DECLARED
from adapters.business_world.settings import BusinessWorldSettings
from adapters.business_world.world_story import ACCOUNTS, UNMAPPED, LedgerStory, midnight
from adapters.kit.sql_world import DaysWork, Rows, SqlWorld
from adapters.port import World

_AGREED = {"owner": "the accounts payable team", "agreed": "2026-05-01"}
_CODES = {
    "voucher_type": {"PI": "invoice", "CN": "credit-note", "PY": "payment", "RV": "reversal", "BU": "budget", "JL": "journal"},
    "pay_method": {"IP": "30", "CH": "20"},
}


_IDENTIFIERS = (
    "client", "attribute_id", "dim_value", "address_type", "apar_id", "order_id", "line_no", "voucher_no", "sequence_no",
)  # fmt: skip


def given(url: str) -> dict[str, Any]:
    """The section that reads such a database at a URL."""
    return {
        "url": url, "customer_attribute": "A4", "employee_groups": ["EM"],
        "codes": {name: {**_AGREED, "codes": codes} for name, codes in _CODES.items()},
    }  # fmt: skip


def _settings(url: str) -> BusinessWorldSettings:
    return BusinessWorldSettings.model_validate(given(url))


def _section(folder: Path) -> Mapping[str, Any]:
    return {**given(f"sqlite+aiosqlite:///{folder / 'business_world.sqlite3'}"), "every": 1}


def _story(size: int, seed: int, today: date) -> tuple[Rows, int]:
    story = LedgerStory(seed, today)
    story.accounts()
    for number in range(max(size // 6, 12)):
        story.supplier(number)
    for number in range(max(size // 10, 4)):
        story.customer(number)
        story.order(number)
    for _ in range(size):
        story.item()
    story.budget()
    for _ in range(2):
        story.item(voucher_type=UNMAPPED)
    bad = sum(row["voucher_type"] == UNMAPPED for name in ("asutrans", "agltransact") for row in story.rows[name])
    return dict(story.rows), bad


async def _picked(work: DaysWork, table: Table, *conditions: ColumnElement[bool]) -> RowMapping | None:
    """One of the rows that these conditions leave; None if they leave none."""
    found = await work.connection.execute(select(table).where(*conditions).order_by(*_columns(table)))
    rows = found.mappings().all()
    return work.rng.choice(rows) if rows else None


def _this(table: Table, row: RowMapping) -> ColumnElement[bool]:
    return and_(*[column == row[column.name] for column in _columns(table)])


def _columns(table: Table) -> list[Column[Any]]:
    """The columns that tell a table's rows apart."""
    return [table.c[name] for name in _IDENTIFIERS if name in table.c]


async def _new_invoice(work: DaysWork) -> str | None:
    header = await _picked(work, work.table("asuheader"))
    if header is None:
        return None
    story = LedgerStory(work.rng.randrange(2**32), work.today)
    story.rows["asuheader"].append(dict(header))
    last = select(func.max(work.table("agltransact").c.voucher_no))
    item = story.item(voucher_no=int((await work.connection.execute(last)).scalar_one()) + 1, voucher_type="PI")
    for name in ("asutrans", "agltransact"):
        for row in story.rows[name]:
            await work.connection.execute(insert(work.table(name)).values(row))
    return f"Item {item['voucher_no']} of supplier {item['client']}:{item['apar_id']} came in."


async def _settle(work: DaysWork) -> str | None:
    """Full settlement moves the item to the history."""
    row = await _moved(work, "asutrans", "asuhistr", rest_amount=0, rest_curr=0, status="C", payment_date=midnight(work.today))
    return None if row is None else f"Item {row['voucher_no']} was settled, and moved to the history."


async def _take_back(work: DaysWork) -> str | None:
    row = await _moved(work, "asuhistr", "asutrans", status="N", payment_date=midnight(date(1900, 1, 1)))
    return None if row is None else f"The settlement of item {row['voucher_no']} was taken back."


async def _moved(work: DaysWork, source: str, target: str, **changed: Any) -> RowMapping | None:
    here, there = work.table(source), work.table(target)
    row = await _picked(work, here, here.c.voucher_type == "PI")
    if row is None:
        return None
    if target == "asutrans":
        changed |= {"rest_amount": row["amount"], "rest_curr": row["cur_amount"]}
    await work.connection.execute(insert(there).values({**row, **changed}))
    await work.connection.execute(delete(here).where(_this(here, row)))
    return row


async def _move_house(work: DaysWork) -> str | None:
    homes = work.table("agladdress")
    row = await _picked(work, homes, homes.c.attribute_id == "A5", homes.c.address_type == "1", homes.c.sequence_no == 0)
    if row is None:
        return None
    await work.connection.execute(update(homes).where(_this(homes, row)).values(address=f"{work.today:%d} Wharfage"))
    return f"Supplier {row['client']}:{row['dim_value']} moved."


async def _receipt(work: DaysWork) -> str | None:
    lines = work.table("apodetail")
    row = await _picked(work, lines, lines.c.vow_amount < lines.c.amount)
    if row is None:
        return None
    await work.connection.execute(update(lines).where(_this(lines, row)).values(vow_amount=row["amount"]))
    return f"Line {row['line_no']} of order {row['order_id']} was received."


async def _mend(work: DaysWork) -> str | None:
    items = work.table("asutrans")
    row = await _picked(work, items, items.c.voucher_type == UNMAPPED)
    if row is None:
        return None
    await work.connection.execute(update(items).where(_this(items, row)).values(voucher_type="PI"))
    return f"Item {row['voucher_no']} got the voucher type of an invoice."


SQL_WORLD = SqlWorld(
    name="business_world",
    unit="items",
    size=200,
    streams=DECLARED,
    settings=_settings,
    story=_story,
    steps=(_new_invoice, _settle, _take_back, _move_house, _receipt, _mend),
    section=_section,
    in_demonstration=False,
)
WORLD: World[BusinessWorldSettings] = replace(SQL_WORLD.world(), chart={"accounts": ACCOUNTS})

if __name__ == "__main__":
    SQL_WORLD.main()
