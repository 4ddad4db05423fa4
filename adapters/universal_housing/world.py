"""
An invented Universal Housing for demonstrations and tests: SQLite, PostgreSQL or MariaDB.

`python -m adapters.universal_housing.world sqlite:///housing.db --size 120` makes one; `--change 1` works in it for a day.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from pydantic import SecretStr
from sqlalchemy import CHAR, func, insert, select, update

from adapters.kit.sql_world import DaysWork, Rows, SqlWorld
from adapters.universal_housing.adapter import DECLARED
from adapters.universal_housing.settings import UniversalHousingSettings

ETHNICITY = {"owner": "the housing data team", "agreed": "2026-06-01", "codes": {"WB": "WBRI", "BC": "BCRB", "AI": "AIND"}}
UNLISTED = "ZZ9"
"""A code of ethnicity that nobody has agreed on."""

_UNKNOWN = date(1900, 1, 1)
_NAMES = ("Abraham", "Hannah", "Thomas", "Mary", "John", "Sarah", "William", "Rebecca", "Richard", "Deborah")
_FAMILIES = ("Darby", "Rose", "Telford", "Wilkinson", "Reynolds", "Brooke", "Maw", "Craven", "Doughty", "Hornblower")
_STREETS = ("Wharfage", "Church Hill", "Madeley Road", "Paradise", "Hodge Bower", "Belmont Road")
_PROBLEMS = ("Boiler gives no hot water", "Kitchen tap drips", "Window does not close", "No light in the hall")


class HousingStory:
    """The rows of an invented housing system; the same seed tells the same story."""

    def __init__(self, seed: int, today: date) -> None:
        self.today = today
        self.rng = Random(seed)  # noqa: S311 (a story, not a secret)
        self.rows: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def estate(self, number: int) -> None:
        """An estate with two blocks; the estate names itself as the next larger one."""
        estate, place = f"E{number:05}", self.rng.choice(_STREETS)
        self._property(estate, f"{place} estate", "E", estate, None)
        for letter in "AB":
            self._property(f"B{number:05}{letter}", f"{place} {letter} block", "B", estate, None)

    def tenancy(self, number: int, *, flat: bool) -> None:
        """A dwelling with its household, its tenancy, and what happened in it. A house stands alone, a flat in a block."""
        dwelling, house, tag = f"D{number:06}", f"{number:06}", f"{number:07}/01"
        block = f"B{number // 10:05}{self.rng.choice('AB')}" if flat else None
        self._property(dwelling, f"{number} {self.rng.choice(_STREETS)}", "D", block, 100_020_000_000 + number)
        joint = self.rng.random() < 0.3
        self.household(house, dwelling, joint=joint)
        ended = self.rng.random() < 0.15
        began = self.today - timedelta(days=self.rng.randrange(400, 4000))
        balance = sum((row["real_value"] for row in self._ledger(number, tag)), Decimal(0))
        self.rows["tenagree"].append({
            "tag_ref": tag, "house_ref": house, "prop_ref": dwelling, "cot": moment(began),
            "eot": moment(self.today - timedelta(days=30) if ended else _UNKNOWN), "tenure": self.rng.choice(("SEC", "INT")),
            "agr_type": "M", "present": not ended, "terminated": ended, "rentgrp_ref": "RNT", "prd_code": "01",
            "rent": Decimal("98.50"), "service": Decimal("4.20"), "other_charge": Decimal("0.00"), "cur_bal": balance,
            "u_saff_rentacc": f"19{number:08}",
        })  # fmt: skip
        if number % 3 == 0:
            self._repair(number, dwelling, house)

    def household(self, house: str, dwelling: str, *, joint: bool) -> None:
        family, size = self.rng.choice(_FAMILIES), self.rng.randrange(2 if joint else 1, 5)
        contact = int(house)
        for number in range(1, size + 1):
            self.member(house, number, family, tenant=number <= (2 if joint else 1))
        self.rows["househ"].append({
            "house_ref": house, "prop_ref": dwelling, "house_desc": f"{family} household", "con_key": contact,
            "telephone": f"01952 {self.rng.randrange(100_000, 999_999)}", "email_address": "", "joint_ten": joint,
            "vulnerable": self.rng.random() < 0.1, "post_preamble": "", "post_desig": f"{int(house)}", "post_code": "TF8 7DT",
            "corr_desig": f"{int(house)}", "corr_postcode": "TF8 7DT",
        })  # fmt: skip
        self.rows["contacts"].append({"con_key": contact, "con_phone1": f"07700 {900_000 + contact}"})

    def member(self, house: str, number: int, family: str, *, tenant: bool) -> None:
        born = self.today - timedelta(days=self.rng.randrange(7000, 30000) if tenant else self.rng.randrange(100, 7000))
        self.rows["member"].append({
            "house_ref": house, "person_no": number, "title": "", "forename": self.rng.choice(_NAMES), "surname": family,
            "dob": moment(_UNKNOWN if self.rng.random() < 0.08 else born), "gender": self.rng.choice("MF"),
            "ni_no": f"QQ{self.rng.randrange(10**6):06}C".replace("QQ", "JW") if tenant else "",
            "ethnic_origin": self.rng.choice(("WB", "BC", "AI", "")), "nationality": "GB",
            "relationship": "T" if tenant else "C", "responsible": tenant,
        })  # fmt: skip

    def spoil(self) -> int:
        """Make a few values wrong, each in a way of its own. Say how many."""
        self.rows["member"][0]["ni_no"] = "APPLIED FOR"
        self.rows["member"][1]["ethnic_origin"] = UNLISTED
        self.rows["property"][-1]["u_llpg_ref"] = "NOT KNOWN"
        self.rows["rtrans"][-1]["tag_ref"] = ""  # a receipt that nobody has found the tenancy of
        return 4

    def _property(self, ref: str, address: str, level: str, parent: str | None, uprn: int | None) -> None:
        self.rows["property"].append({
            "prop_ref": ref, "short_address": address, "address1": address, "post_code": "TF8 7DT", "level_code": level,
            "major_ref": parent, "cat_type": "DWE" if level == "D" else "BLK", "subtyp_code": "FLT", "ownership": "COUNCIL",
            "num_bedrooms": self.rng.randrange(1, 4) if level == "D" else None, "u_llpg_ref": str(uprn) if uprn else None,
        })  # fmt: skip

    def _ledger(self, number: int, tag: str) -> list[dict[str, Any]]:
        """Weekly charges, and receipts that do not always come."""
        ledger = []
        for week in range(6):
            day = self.today - timedelta(weeks=6 - week)
            ledger.append(transaction(number, 2 * week, tag, "DRE", Decimal("102.70"), day))
            if self.rng.random() < 0.8:
                ledger.append(transaction(number, 2 * week + 1, tag, "RPY", Decimal("-102.70"), day + timedelta(days=3)))
        self.rows["rtrans"] += ledger
        return ledger

    def _repair(self, number: int, dwelling: str, house: str) -> None:
        asked, ref = self.today - timedelta(days=self.rng.randrange(60)), f"{number:08}"
        self.rows["rmreqst"].append({
            "rq_ref": ref, "prop_ref": dwelling, "house_ref": house, "rq_date": moment(asked), "rq_priority": "R",
            "rq_date_due": moment(asked + timedelta(days=20)), "rq_status": "100", "rq_problem": self.rng.choice(_PROBLEMS),
            "rq_name": "", "rq_phone": f"01952 {number:06}",
        })  # fmt: skip
        for order in range(self.rng.randrange(1, 3)):
            self.rows["rmworder"].append({
                "wo_ref": f"{number:08}{order:02}", "rq_ref": ref, "sup_ref": "H01", "wo_status": "200", "created": moment(asked),
                "auth_date": moment(asked), "date_due": moment(asked + timedelta(days=20)), "attend_date": moment(_UNKNOWN),
                "completed": moment(_UNKNOWN), "est_cost": Decimal("64.00"), "act_cost": Decimal("0.00"),
            })  # fmt: skip


def moment(day: date) -> datetime:
    return datetime.combine(day, time())


def transaction(batch: int, number: int, tag: str, kind: str, value: Decimal, day: date) -> dict[str, Any]:
    return {
        "batchid": batch, "transno": number, "line_no": 1, "line_segno": 0, "tag_ref": tag, "trans_type": kind,
        "trans_src": "RSL", "post_date": moment(day), "post_year": day.year, "post_prdno": day.isocalendar().week,
        "real_value": value, "vat_value": Decimal("0.00"),
    }  # fmt: skip


def story(tenancies: int, seed: int, today: date) -> tuple[Rows, int]:
    told = HousingStory(seed, today)
    for number in range(1 + tenancies // 10):
        told.estate(number)
    for number in range(1, tenancies + 1):
        told.tenancy(number, flat=told.rng.random() < 0.7)
    spoilt = told.spoil()
    return as_written(told.rows), spoilt


def as_written(rows: Rows) -> Rows:
    """The rows as the system keeps them: text fills up its CHAR, and what is not there is blank and not null."""
    lengths = {
        str(table.name): {str(each.name): each.type.length or 0 for each in table.c if isinstance(each.type, CHAR)}
        for table in HOUSING.tables(None).sorted_tables
    }
    return {
        name: [{**row, **{each: (row.get(each) or "").ljust(size) for each, size in lengths[name].items()}} for row in some]
        for name, some in rows.items()
    }


async def _pick(work: DaysWork, table: str, column: str, *conditions: Any) -> Any:
    its = work.table(table).c[column]
    return work.rng.choice((await work.connection.execute(select(its).where(*conditions).order_by(its))).scalars().all())


async def _add(work: DaysWork, table: str, row: dict[str, Any]) -> None:
    [whole] = as_written({table: [row]})[table]
    await work.connection.execute(insert(work.table(table)).values(whole))


async def _receipt(work: DaysWork) -> str:
    ledger, agreements = work.table("rtrans"), work.table("tenagree")
    tag = await _pick(work, "tenagree", "tag_ref")
    batch = int((await work.connection.execute(select(func.max(ledger.c.batchid)))).scalar_one()) + 1
    await _add(work, "rtrans", transaction(batch, 1, tag, "RPY", Decimal("-50.00"), work.today))
    lower = update(agreements).where(agreements.c.tag_ref == tag).values(cur_bal=agreements.c.cur_bal - 50)
    await work.connection.execute(lower)
    return f"50.00 was paid on tenancy {tag.strip()} (batch {batch})."


async def _end(work: DaysWork) -> str:
    agreements = work.table("tenagree")
    tag = await _pick(work, "tenagree", "tag_ref", agreements.c.present)
    ended = {"eot": moment(work.today), "present": False, "terminated": True}
    await work.connection.execute(update(agreements).where(agreements.c.tag_ref == tag).values(ended))
    return f"Tenancy {tag.strip()} ended."


async def _birth(work: DaysWork) -> str:
    members = work.table("member")
    house = await _pick(work, "househ", "house_ref")
    last = select(func.max(members.c.person_no)).where(members.c.house_ref == house)
    number = int((await work.connection.execute(last)).scalar_one()) + 1
    told = HousingStory(work.rng.randrange(2**32), work.today)
    told.member(house, number, told.rng.choice(_FAMILIES), tenant=False)
    await _add(work, "member", told.rows["member"][0])
    return f"A child was born into household {house.strip()} (person {number})."


async def _complete(work: DaysWork) -> str:
    orders = work.table("rmworder")
    order = await _pick(work, "rmworder", "wo_ref", orders.c.wo_status != "300")
    done = {"completed": moment(work.today), "act_cost": Decimal("71.50"), "wo_status": "300"}
    await work.connection.execute(update(orders).where(orders.c.wo_ref == order).values(done))
    return f"Work order {order.strip()} was done."


def _settings(url: str) -> UniversalHousingSettings:
    return UniversalHousingSettings.model_validate({"url": SecretStr(url), "codes": {"ethnicity": ETHNICITY}})


def _section(folder: Path) -> dict[str, Any]:
    url = f"sqlite+aiosqlite:///{folder / 'universal_housing.sqlite3'}"
    return {"url": url, "every": 1, "codes": {"ethnicity": ETHNICITY}}


HOUSING = SqlWorld(
    "universal_housing", "tenancies", 120, DECLARED, _settings, story, (_receipt, _end, _birth, _complete), _section,
    in_demonstration=False,
)
WORLD = HOUSING.world()

if __name__ == "__main__":
    HOUSING.main()
