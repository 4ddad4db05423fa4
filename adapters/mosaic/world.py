"""
An invented Mosaic mart for demonstrations and tests: SQLite, PostgreSQL or MariaDB.

`python -m adapters.mosaic.world sqlite:///mosaic.db --size 300` makes one; `--change 1` alters it.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import delete, insert, select, update

from adapters.kit.sql_world import DaysWork, Rows, SqlWorld
from adapters.mosaic.adapter import DECLARED, KnownQuestion, KnownStepType, KnownWorkerType
from adapters.mosaic.settings import MosaicSettings
from adapters.mosaic.world_families import (
    ASSESSMENT,
    CIN_PLAN,
    QUESTIONS,
    UNLISTED,
    WORKERS,
    FamilyStory,
    address,
    midnight,
    spoil,
)

COUNCIL: dict[str, Any] = {
    "steps": {"assessment": list(ASSESSMENT), "cin_plan": list(CIN_PLAN)},
    "questions": {name: list(codes) for name, codes in QUESTIONS.items()},
    "worker_types": list(WORKERS),
}
"""The settings of the invented council."""


def _settings(url: str) -> MosaicSettings:
    return MosaicSettings(url=SecretStr(url), **COUNCIL)


def _story(children: int, seed: int, today: date) -> tuple[Rows, int]:
    story, made = FamilyStory(seed, today), 0
    story.lists()
    while made < children:
        made += story.family(children - made)
    return story.rows, spoil(story.rows, story.rng)


async def _new_child(work: DaysWork) -> str | None:
    people, referrals = work.table("DM_PERSONS"), work.table("DM_CIN_REFERRALS")
    person, referral = await work.next_number(people), await work.next_number(referrals)
    story = FamilyStory(work.rng.randrange(2**32), work.today)
    story.lists()
    story.child("Newcome", work.today - timedelta(days=1500))
    told = {**story.rows["DM_PERSONS"][0], "PERSON_ID": person, "PERSON_ID_LEGACY": f"N{person}"}
    await work.connection.execute(insert(people).values(told))
    asked = {"REFERRAL_ID": referral, "PERSON_ID": person, "REFERRAL_DATE": midnight(work.today), "SOURCE_OF_REFERRAL": "2A"}
    await work.connection.execute(insert(referrals).values(asked))
    return f"Person {person} was referred for the first time (referral {referral})."


async def _move(work: DaysWork) -> str | None:
    homes = work.table("DM_ADDRESSES")
    number = await work.pick(homes, homes.c.END_DATE.is_(None))
    if number is None:
        return None
    person = (await work.connection.execute(select(homes.c.PERSON_ID).where(homes.c[0] == number))).scalar_one()
    yesterday = midnight(work.today - timedelta(days=1))
    await work.connection.execute(update(homes).where(homes.c[0] == number).values(END_DATE=yesterday))
    new = await work.next_number(homes)
    values = address(work.rng, int(person), new, "1 Mill Lane, Ludford", work.today, None)
    await work.connection.execute(insert(homes).values(values))
    return f"Person {person} moved: address {number} ended, address {new} began."


async def _close(work: DaysWork) -> str | None:
    referrals = work.table("DM_CIN_REFERRALS")
    referral = await work.pick(referrals, referrals.c.CLOSURE_DATE.is_(None))
    if referral is None:
        return None
    values = {"CLOSURE_DATE": midnight(work.today), "CLOSURE_REASON": "RC7"}
    await work.connection.execute(update(referrals).where(referrals.c[0] == referral).values(values))
    return f"Referral {referral} was closed, for each of the children that it is about."


async def _merge(work: DaysWork) -> str | None:
    """The mart moves a double's work to the master, and the double is there no more."""
    people, referrals = work.table("DM_PERSONS"), work.table("DM_CIN_REFERRALS")
    double = await work.pick(people, people.c.PERSON_ID_LEGACY.like("D%"))
    if double is None:
        return None
    old = (await work.connection.execute(select(people.c.PERSON_ID_LEGACY).where(people.c[0] == double))).scalar_one()
    master = int(str(old).removeprefix("D"))
    await work.connection.execute(update(referrals).where(referrals.c.PERSON_ID.in_([double])).values(PERSON_ID=master))
    await work.connection.execute(delete(people).where(people.c[0] == double))
    return f"Person {double} was merged into person {master}."


async def _second_category(work: DaysWork) -> str | None:
    categories = work.table("DM_REGISTRATION_CATEGORIES")
    plan = await work.pick(categories, categories.c.CIN_ABUSE_CATEGORY_CODE != "SAB")
    if plan is None:
        return None
    values = {"REGISTRATION_ID": plan, "CATEGORY_START_DATE": midnight(work.today), "CIN_ABUSE_CATEGORY_CODE": "SAB"}
    await work.connection.execute(insert(categories).values(values))
    return f"Child protection plan {plan} got another category."


async def _mend(work: DaysWork) -> str | None:
    people = work.table("DM_PERSONS")
    if (person := await work.pick(people, people.c.RESTRICTED == "?")) is not None:
        await work.connection.execute(update(people).where(people.c[0] == person).values(RESTRICTED="N"))
        return f"The restriction of person {person} was corrected."
    if (person := await work.pick(people, people.c.FULL_ETHNICITY_CODE == UNLISTED)) is not None:
        await work.connection.execute(update(people).where(people.c[0] == person).values(FULL_ETHNICITY_CODE="WHITE_BRIT"))
        return f"The ethnicity of person {person} was corrected."
    return None


def _section(folder: Path) -> dict[str, Any]:
    return {"url": f"sqlite+aiosqlite:///{folder / 'mosaic.sqlite3'}", "every": 1, **COUNCIL}


WORLD = SqlWorld(
    "mosaic", "children", 400, DECLARED, _settings, _story,
    (_new_child, _move, _close, _merge, _second_category, _mend),
    _section, more=(KnownStepType, KnownQuestion, KnownWorkerType), in_demonstration=False,
)  # fmt: skip

if __name__ == "__main__":
    WORLD.main()
