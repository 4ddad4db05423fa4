"""
An invented Academy for demonstrations and tests: SQLite, PostgreSQL or MariaDB.

`python -m adapters.academy.world sqlite:///academy.db --size 100` makes one; `--change 1` works in it for a day.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, time, timedelta
from pathlib import Path
from random import Random
from typing import Any

from pydantic import SecretStr
from sqlalchemy import func, insert, select, update

from adapters.academy.adapter import DECLARED
from adapters.academy.settings import AcademySettings
from adapters.kit.sql_world import DaysWork, Rows, SqlWorld

_OPEN = date(2099, 12, 31)
_NAMES = ("Abraham", "Hannah", "Thomas", "Mary", "John", "Sarah", "William", "Rebecca", "Richard", "Deborah")
_FAMILIES = ("Darby", "Rose", "Telford", "Wilkinson", "Reynolds", "Brooke", "Maw", "Craven", "Doughty", "Hornblower")
_WIDTHS = {"forename": 32, "surname": 32, "addr1": 35, "postcode": 8, "post_code": 10, "lead_liab_surname": 32}
"""Text that Academy fills up with blanks, to these lengths."""


class RevenuesStory:
    """The rows of an invented Academy; the same seed tells the same story."""

    def __init__(self, seed: int, today: date) -> None:
        self.today = today
        self.rng = Random(seed)  # noqa: S311 (a story, not a secret)
        self.rows: Rows = defaultdict(list)

    def home(self, number: int) -> None:
        """A dwelling with its council tax account. In one of three lives somebody who claims a benefit."""
        family, dwelling = self.rng.choice(_FAMILIES), f"{number:09}"
        self._write("ctproperty", property_ref=dwelling, addr1=f"{number} Paradise", addr3="Ironbridge", postcode="TF8 7DT",
                    uprn=f"{100_020_000_000 + number}")  # fmt: skip
        self._write("ctaccount", account_ref=number, account_cd="X", lead_liab_title="MS", lead_liab_forename=self._name(),
                    lead_liab_surname=family, paymeth_code="DD")  # fmt: skip
        began = self.today - timedelta(days=self.rng.randrange(100, 4000))
        self.occupation(number, dwelling, began, _OPEN)
        if number % 3 == 0:
            self._claim(number, family, began)

    def occupation(self, account: int, dwelling: str, began: date, ended: date) -> None:
        self._write("ctoccupation", account_ref=account, property_ref=dwelling, occupation_date=moment(began),
                    vacation_date=moment(ended))  # fmt: skip

    def member(self, claim: int, number: int, house: int, family: str) -> None:
        """A person of a claim; the first one is the claimant."""
        age = self.rng.randrange(7000, 30000) if number == 1 else self.rng.randrange(100, 6000)
        self._write("hbmember", claim_id=claim, person_ref=number, house_id=house, member_id=number, forename=self._name(),
                    surname=family, birth_date=moment(self.today - timedelta(days=age)), gender=self.rng.choice((1, 2)),
                    deceased_date=moment(_OPEN))  # fmt: skip

    def spoil(self) -> int:
        """Make a few values wrong. Say how many."""
        self.rows["hbmember"][0]["nino"] = "UNKNOWN"
        self.rows["hbmember"][-1]["unique_pupil_num"] = "H000000000000"
        self.rows["ctproperty"][0]["postcode"] = "NONE"
        return 3

    def _claim(self, claim: int, family: str, began: date) -> None:
        """A claim of a household that may have moved once since."""
        self._write("hbclaim", claim_id=claim, application_date=moment(began), cancel_date=moment(_OPEN))
        moved = self.today - timedelta(days=60) if self.rng.random() < 0.3 else None
        homes = [(1, began, moved or _OPEN)] + ([(2, moved, _OPEN)] if moved else [])
        for house, start, end in homes:
            self._write("hbhousehold", claim_id=claim, house_id=house, from_date=moment(start), to_date=moment(end),
                        addr1=f"{claim * house} Wharfage", post_code="TF8 7NJ", uprn=f"{100_020_000_000 + claim}")  # fmt: skip
        for number in range(1, self.rng.randrange(2, 5)):
            self.member(claim, number, homes[-1][0], family)

    def _name(self) -> str:
        return self.rng.choice(_NAMES)

    def _write(self, table: str, **row: Any) -> None:
        self.rows[table].append(
            {name: value.ljust(_WIDTHS.get(name, 0)) if isinstance(value, str) else value for name, value in row.items()}
        )


def moment(day: date) -> datetime:
    return datetime.combine(day, time())


def story(homes: int, seed: int, today: date) -> tuple[Rows, int]:
    told = RevenuesStory(seed, today)
    for number in range(1, homes + 1):
        told.home(number)
    return told.rows, told.spoil() if homes > 2 else 0


async def _move(work: DaysWork) -> str | None:
    occupations, homes = work.table("ctoccupation"), work.table("ctproperty")
    account = await work.pick(work.table("ctaccount"))
    now_open = (occupations.c.account_ref == account) & (occupations.c.vacation_date == moment(_OPEN))
    await work.connection.execute(update(occupations).where(now_open).values(vacation_date=moment(work.today)))
    dwelling = (await work.connection.execute(select(func.max(homes.c.property_ref)))).scalar_one()
    told = RevenuesStory(0, work.today)
    told.occupation(account or 0, dwelling, work.today, _OPEN)
    await work.connection.execute(insert(occupations).values(told.rows["ctoccupation"][0]))
    return f"Account {account} moved to dwelling {dwelling}."


async def _birth(work: DaysWork) -> str | None:
    members = work.table("hbmember")
    claim = await work.pick(work.table("hbclaim"))
    if claim is None:
        return None
    last = select(func.max(members.c.person_ref), func.max(members.c.house_id)).where(members.c.claim_id == claim)
    number, house = (await work.connection.execute(last)).one()
    told = RevenuesStory(work.rng.randrange(2**32), work.today)
    told.member(claim, number + 1, house, work.rng.choice(_FAMILIES))
    await work.connection.execute(insert(members).values(told.rows["hbmember"][0]))
    return f"A child came into the household of claim {claim} (person {number + 1})."


async def _payment_method(work: DaysWork) -> str | None:
    accounts = work.table("ctaccount")
    account = await work.pick(accounts, accounts.c.paymeth_code == "DD")
    await work.connection.execute(update(accounts).where(accounts.c.account_ref == account).values(paymeth_code="CASH"))
    return f"Account {account} pays in cash now."


def _settings(url: str) -> AcademySettings:
    return AcademySettings(url=SecretStr(url), claimant_member=1)


def _section(folder: Path) -> dict[str, Any]:
    return {"url": f"sqlite+aiosqlite:///{folder / 'academy.sqlite3'}", "every": 1, "claimant_member": 1}


ACADEMY = SqlWorld(
    "academy", "homes", 100, DECLARED, _settings, story, (_move, _birth, _payment_method), _section, in_demonstration=False
)
WORLD = ACADEMY.world()

if __name__ == "__main__":
    ACADEMY.main()
