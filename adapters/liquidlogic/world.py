"""
An invented Liquidlogic warehouse for demonstrations and tests: SQLite, PostgreSQL or MariaDB.

`python -m adapters.liquidlogic.world sqlite:///liquidlogic.db --children 300` makes one; `--change 1` alters it.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import MetaData, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from stdnum.gb import upn

from adapters.kit.sql_world import DaysWork, Rows, SqlWorld
from adapters.liquidlogic.adapter import DECLARED
from adapters.liquidlogic.settings import LiquidlogicSettings, UPNReason
from adapters.liquidlogic.world_children import UNLISTED, ChildStory, address, midnight, spoil


def schema(name: str | None) -> MetaData:
    """HDM's tables as far as the adapter reads them, and the marker."""
    return WORLD.tables(name)


async def create(url: str, children: int = 300, seed: int = 893, today: date | None = None) -> int:
    """
    Make a warehouse of so many children, as it would stand on `today`; leave one that is there already as it is.

    Says how many of its records are spoilt on purpose.

    :raises MisconfiguredError: the database holds something that this did not make.
    """
    return await WORLD.create(url, children, seed, today)


async def change(connection: AsyncConnection, seed: int) -> list[str]:
    """
    Do a day's work: a new child, a move, an episode closed, a category changed, a plan deleted, one bad row mended.

    Says in plain sentences what it did, by the records' numbers. The caller commits.

    :raises MisconfiguredError: the database was not made by `create`.
    """
    return await WORLD.work_in(connection, seed)


def _settings(url: str) -> LiquidlogicSettings:
    return LiquidlogicSettings(url=SecretStr(url), upn_reason=UPNReason.FACT_903_DATA)


def _story(children: int, seed: int, today: date) -> tuple[Rows, int]:
    story = ChildStory(seed, today)
    story.lists()
    for n in range(children):
        story.child()
        if n % 10 == 0:
            story.somebody_else()
    return story.rows, spoil(story.rows, story.rng)


async def _new_child(work: DaysWork) -> str | None:
    people, referrals = work.table("DIM_PERSON"), work.table("FACT_REFERRALS")
    person, referral = await work.next_number(people), await work.next_number(referrals)
    story = ChildStory(work.rng.randrange(2**32), work.today)
    story.child()
    told = {**story.rows["DIM_PERSON"][0], "DIM_PERSON_ID": person}
    await work.connection.execute(insert(people).values(told))
    asked = {**story.rows["FACT_REFERRALS"][0], "FACT_REFERRAL_ID": referral, "DIM_PERSON_ID": person}
    asked |= {"REFRL_START_DTTM": midnight(work.today), "REFRL_END_DTTM": None, "OUTCOME_NFA_FLAG": "N"}
    await work.connection.execute(insert(referrals).values(asked))
    return f"Person {person} was referred for the first time (referral {referral})."


async def _move(work: DaysWork) -> str | None:
    homes = work.table("DIM_PERSON_ADDRESS")
    number = await work.pick(homes, homes.c.END_DTTM.is_(None))
    if number is None:
        return None
    person = (await work.connection.execute(select(homes.c.DIM_PERSON_ID).where(homes.c[0] == number))).scalar_one()
    yesterday = midnight(work.today - timedelta(days=1))
    await work.connection.execute(update(homes).where(homes.c[0] == number).values(END_DTTM=yesterday))
    new = await work.next_number(homes)
    await work.connection.execute(insert(homes).values(address(work.rng, person, new, work.today, None)))
    return f"Person {person} moved: address {number} ended, address {new} began."


async def _close_episode(work: DaysWork) -> str | None:
    referrals = work.table("FACT_REFERRALS")
    referral = await work.pick(referrals, referrals.c.REFRL_END_DTTM.is_(None), referrals.c.DIM_PERSON_ID != -1)
    if referral is None:
        return None
    values = {"REFRL_END_DTTM": midnight(work.today), "DIM_LOOKUP_REFRL_ENDRSN_ID_CODE": "RC7"}
    await work.connection.execute(update(referrals).where(referrals.c[0] == referral).values(values))
    return f"Referral {referral} was closed."


async def _recategorise(work: DaysWork) -> str | None:
    plans = work.table("FACT_CP_PLAN")
    plan = await work.pick(plans, plans.c.CP_CATEGORY_DESC != "MUL - Multiple")
    if plan is None:
        return None
    values = {"CP_CATEGORY_DESC": "MUL - Multiple"}
    await work.connection.execute(update(plans).where(plans.c[0] == plan).values(values))
    return f"Child protection plan {plan} got another category."


async def _delete_plan(work: DaysWork) -> str | None:
    summaries, plans = work.table("FACT_CARE_PLAN_SUMMARY"), work.table("FACT_CARE_PLANS")
    cin = select(plans.c.FACT_CARE_PLAN_SUMMARY_ID).where(plans.c.DIM_LOOKUP_PLAN_TYPE_ID_CODE == "FP")
    shown = func.coalesce(summaries.c.DIM_LOOKUP_PLAN_STATUS_ID_CODE, "A") != "z"
    plan = await work.pick(summaries, and_(summaries.c[0].in_(cin), shown))
    if plan is None:
        return None
    await work.connection.execute(delete(plans).where(plans.c.FACT_CARE_PLAN_SUMMARY_ID.in_([plan])))
    await work.connection.execute(delete(summaries).where(summaries.c[0] == plan))
    return f"Child in need plan {plan} was deleted."


async def _mend(work: DaysWork) -> str | None:
    people = work.table("DIM_PERSON")
    written = await work.connection.execute(
        select(people.c[0], people.c.UPN)
        .where(people.c.UPN.is_not(None), people.c.DUPLICATED_DTTM.is_(None))
        .order_by(people.c[0])
    )
    for person, number in written:
        tidy = str(number).strip()
        if re.fullmatch(r"[A-Z]\d{12,}", tidy) and not upn.is_valid(tidy):
            right = upn.calc_check_digit(tidy[:13][1:]) + tidy[1:13]
            await work.connection.execute(update(people).where(people.c[0] == person).values(UPN=right))
            return f"The UPN of person {person} was corrected."
    unlisted = await work.pick(people, people.c.ETHNICITY_MAIN_CODE == UNLISTED)
    if unlisted is None:
        return None
    await work.connection.execute(update(people).where(people.c[0] == unlisted).values(ETHNICITY_MAIN_CODE="WBR"))
    return f"The ethnicity of person {unlisted} was corrected."


def _section(folder: Path) -> dict[str, Any]:
    return {"url": f"sqlite+aiosqlite:///{folder / 'liquidlogic.sqlite3'}", "every": 1}


WORLD = SqlWorld(
    "liquidlogic", "children", 400, DECLARED, _settings, _story,
    (_new_child, _move, _close_episode, _recategorise, _delete_plan, _mend),
    _section, sized="CHILDREN",
)  # fmt: skip

if __name__ == "__main__":
    WORLD.main()
