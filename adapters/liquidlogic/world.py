"""
An invented Liquidlogic warehouse for demonstrations and tests: SQLite, PostgreSQL or MariaDB.

`python -m adapters.liquidlogic.world sqlite:///liquidlogic.db --children 300` makes one; `--change 1` alters it.
It only ever touches a database that it made itself, which it knows by a marker table.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from pydantic import SecretStr
from sqlalchemy import (
    BigInteger,
    Column,
    MetaData,
    Table,
    and_,
    delete,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateSchema
from sqlalchemy.sql.elements import quoted_name
from stdnum.gb import upn

from adapters.kit.sql import Tables
from adapters.liquidlogic.adapter import DECLARED
from adapters.liquidlogic.settings import LiquidlogicSettings, UPNReason
from adapters.liquidlogic.world_children import UNLISTED, ChildStory, address, midnight, spoil
from adapters.port import World
from canonical.errors import MisconfiguredError

_MARKER = "IRONBRIDGE_WORLD"
_EDITION = 1


def schema(name: str | None) -> MetaData:
    """HDM's tables as far as the adapter reads them, and the marker."""
    tables, everything = Tables(name), LiquidlogicSettings(url=SecretStr("sqlite://"), upn_reason=UPNReason.FACT_903_DATA)
    for stream in DECLARED:
        stream.reading("liquidlogic", tables, everything)
    metadata = tables.stand_in()
    what = [Column(each, BigInteger) for each in ("EDITION", "CHILDREN", "SEED", "BAD")]
    Table(quoted_name(_MARKER, quote=False), metadata, *[_unquoted(column) for column in what])
    return metadata


def _unquoted(column: Column[Any]) -> Column[Any]:
    return Column(quoted_name(column.name, quote=False), column.type)


async def create(url: str, children: int = 300, seed: int = 893, today: date | None = None) -> int:
    """
    Make a warehouse of so many children, as it would stand on `today`; leave one that is there already as it is.

    Says how many of its records are spoilt on purpose.

    :raises MisconfiguredError: the database holds something that this did not make.
    """
    settings = _settings(url)
    if settings.kind == "sqlite":
        Path(settings.parsed_url.database or "").parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(settings.parsed_url)
    try:
        async with engine.begin() as connection:
            return await _created(connection, settings, children, seed, today or datetime.now(UTC).date())
    finally:
        await engine.dispose()


async def _created(
    connection: AsyncConnection, settings: LiquidlogicSettings, children: int, seed: int, today: date
) -> int:
    metadata = schema(settings.in_schema)
    marker = metadata.tables[_full(metadata, _MARKER)]
    wanted = (_EDITION, children, seed)
    tables = await connection.run_sync(lambda sync: _tables(sync, settings.in_schema))
    if _MARKER.lower() in tables:
        *found, bad = (await connection.execute(select(*marker.c))).one()
        if tuple(found) == wanted:
            return int(bad)
    elif tables:
        fix = "name an empty database in `url`: this one will never be written to"
        raise MisconfiguredError("liquidlogic world", "the database holds tables that it did not make", fix=fix)
    if settings.in_schema is not None:
        await connection.execute(CreateSchema(quoted_name(settings.in_schema, quote=False), if_not_exists=True))
    await connection.run_sync(metadata.drop_all)
    await connection.run_sync(metadata.create_all)
    story, bad = _story(children, seed, today)
    for table in metadata.sorted_tables:
        await _fill(connection, table, story.rows.get(str(table.name), []))
    await connection.execute(insert(marker).values(dict(zip(marker.c.keys(), (*wanted, bad), strict=True))))
    return bad


def _story(children: int, seed: int, today: date) -> tuple[ChildStory, int]:
    story = ChildStory(seed, today)
    story.lists()
    for n in range(children):
        story.child()
        if n % 10 == 0:
            story.somebody_else()
    return story, spoil(story.rows, story.rng)


def _tables(sync: Any, schema_name: str | None) -> set[str]:
    inspector = inspect(sync)
    name = schema_name.lower() if schema_name else None
    return {each.lower() for each in inspector.get_table_names(schema=name)}


async def _fill(connection: AsyncConnection, table: Table, rows: list[dict[str, Any]]) -> None:
    names = [str(column.name) for column in table.c]
    whole = [{name: row.get(name) for name in names} for row in rows]
    for start in range(0, len(whole), 2000):
        await connection.execute(insert(table), whole[start : start + 2000])


def _full(metadata: MetaData, name: str) -> str:
    return f"{metadata.schema}.{name}" if metadata.schema else name


def _settings(url: str) -> LiquidlogicSettings:
    return LiquidlogicSettings(url=SecretStr(url))


class _World:
    """The tables of a made warehouse, for changing them."""

    def __init__(self, connection: AsyncConnection, seed: int) -> None:
        name = None if connection.dialect.name in ("sqlite", "mysql", "mariadb") else "Child_Social"
        self._metadata = schema(name)
        self.connection = connection
        self.rng = Random(seed)  # noqa: S311 (a story, not a secret)
        self.today = datetime.now(UTC).date()

    def table(self, name: str) -> Table:
        return self._metadata.tables[_full(self._metadata, name)]

    async def pick(self, table: Table, *conditions: Any) -> int | None:
        """The key of one of the rows that these conditions leave."""
        key = table.c[0]
        keys = (await self.connection.execute(select(key).where(key != -1, *conditions).order_by(key))).scalars().all()
        return int(self.rng.choice(keys)) if keys else None

    async def next_number(self, table: Table) -> int:
        return int((await self.connection.execute(select(func.max(table.c[0])))).scalar_one() or 1000) + 1


async def change(connection: AsyncConnection, seed: int) -> list[str]:
    """
    Do a day's work: a new child, a move, an episode closed, a category changed, a plan deleted, one bad row mended.

    Says in plain sentences what it did, by the records' numbers. The caller commits.

    :raises MisconfiguredError: the database was not made by `create`.
    """
    world = _World(connection, seed)
    name = world.table(_MARKER).schema
    if _MARKER.lower() not in await connection.run_sync(lambda sync: _tables(sync, name)):
        fix = "make the demonstration warehouse first: python -m adapters.liquidlogic.world URL"
        raise MisconfiguredError("liquidlogic world", "the database was not made by it", fix=fix)
    steps = [_new_child, _move, _close_episode, _recategorise, _delete_plan, _mend]
    return [sentence for step in steps if (sentence := await step(world)) is not None]


async def _new_child(world: _World) -> str | None:
    people, referrals = world.table("DIM_PERSON"), world.table("FACT_REFERRALS")
    person, referral = await world.next_number(people), await world.next_number(referrals)
    story = ChildStory(world.rng.randrange(2**32), world.today)
    story.child()
    told = {**story.rows["DIM_PERSON"][0], "DIM_PERSON_ID": person}
    await world.connection.execute(insert(people).values(told))
    asked = {**story.rows["FACT_REFERRALS"][0], "FACT_REFERRAL_ID": referral, "DIM_PERSON_ID": person}
    asked |= {"REFRL_START_DTTM": midnight(world.today), "REFRL_END_DTTM": None, "OUTCOME_NFA_FLAG": "N"}
    await world.connection.execute(insert(referrals).values(asked))
    return f"Person {person} was referred for the first time (referral {referral})."


async def _move(world: _World) -> str | None:
    homes = world.table("DIM_PERSON_ADDRESS")
    number = await world.pick(homes, homes.c.END_DTTM.is_(None))
    if number is None:
        return None
    person = (await world.connection.execute(select(homes.c.DIM_PERSON_ID).where(homes.c[0] == number))).scalar_one()
    yesterday = midnight(world.today - timedelta(days=1))
    await world.connection.execute(update(homes).where(homes.c[0] == number).values(END_DTTM=yesterday))
    new = await world.next_number(homes)
    await world.connection.execute(insert(homes).values(address(world.rng, person, new, world.today, None)))
    return f"Person {person} moved: address {number} ended, address {new} began."


async def _close_episode(world: _World) -> str | None:
    referrals = world.table("FACT_REFERRALS")
    referral = await world.pick(referrals, referrals.c.REFRL_END_DTTM.is_(None), referrals.c.DIM_PERSON_ID != -1)
    if referral is None:
        return None
    values = {"REFRL_END_DTTM": midnight(world.today), "DIM_LOOKUP_REFRL_ENDRSN_ID_CODE": "RC7"}
    await world.connection.execute(update(referrals).where(referrals.c[0] == referral).values(values))
    return f"Referral {referral} was closed."


async def _recategorise(world: _World) -> str | None:
    plans = world.table("FACT_CP_PLAN")
    plan = await world.pick(plans, plans.c.CP_CATEGORY_DESC != "MUL - Multiple")
    if plan is None:
        return None
    values = {"CP_CATEGORY_DESC": "MUL - Multiple"}
    await world.connection.execute(update(plans).where(plans.c[0] == plan).values(values))
    return f"Child protection plan {plan} got another category."


async def _delete_plan(world: _World) -> str | None:
    summaries, plans = world.table("FACT_CARE_PLAN_SUMMARY"), world.table("FACT_CARE_PLANS")
    cin = select(plans.c.FACT_CARE_PLAN_SUMMARY_ID).where(plans.c.DIM_LOOKUP_PLAN_TYPE_ID_CODE == "FP")
    shown = func.coalesce(summaries.c.DIM_LOOKUP_PLAN_STATUS_ID_CODE, "A") != "z"
    plan = await world.pick(summaries, and_(summaries.c[0].in_(cin), shown))
    if plan is None:
        return None
    await world.connection.execute(delete(plans).where(plans.c.FACT_CARE_PLAN_SUMMARY_ID.in_([plan])))
    await world.connection.execute(delete(summaries).where(summaries.c[0] == plan))
    return f"Child in need plan {plan} was deleted."


async def _mend(world: _World) -> str | None:
    people = world.table("DIM_PERSON")
    written = await world.connection.execute(
        select(people.c[0], people.c.UPN)
        .where(people.c.UPN.is_not(None), people.c.DUPLICATED_DTTM.is_(None))
        .order_by(people.c[0])
    )
    for person, number in written:
        tidy = str(number).strip()
        if re.fullmatch(r"[A-Z]\d{12,}", tidy) and not upn.is_valid(tidy):
            right = upn.calc_check_digit(tidy[:13][1:]) + tidy[1:13]
            await world.connection.execute(update(people).where(people.c[0] == person).values(UPN=right))
            return f"The UPN of person {person} was corrected."
    unlisted = await world.pick(people, people.c.ETHNICITY_MAIN_CODE == UNLISTED)
    if unlisted is None:
        return None
    await world.connection.execute(update(people).where(people.c[0] == unlisted).values(ETHNICITY_MAIN_CODE="WBR"))
    return f"The ethnicity of person {unlisted} was corrected."


async def _made(settings: LiquidlogicSettings, children: int, seed: int) -> str:
    bad = await create(settings.url.get_secret_value(), children, seed)
    return f"{children} children in {settings.parsed_url.database}, {bad} records spoilt on purpose"


async def _changed(settings: LiquidlogicSettings, seed: int) -> list[str]:
    engine: AsyncEngine = create_async_engine(settings.parsed_url)
    try:
        async with engine.begin() as connection:
            return await change(connection, seed)
    finally:
        await engine.dispose()


def _section(folder: Path) -> dict[str, Any]:
    return {"url": f"sqlite+aiosqlite:///{folder / 'liquidlogic.sqlite3'}", "every": 1}


WORLD = World("children", 400, _section, _made, _changed)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make or change an invented Liquidlogic warehouse.")
    parser.add_argument("url", help="e.g. sqlite:///liquidlogic.db")
    parser.add_argument("--children", type=int, default=300)
    parser.add_argument("--seed", type=int, default=893)
    parser.add_argument("--change", type=int, metavar="SEED", help="do a day's work in the one that is there")
    asked = parser.parse_args()
    if asked.change is None:
        print(asyncio.run(_made(_settings(asked.url), asked.children, asked.seed)))
    else:
        print("\n".join(asyncio.run(_changed(_settings(asked.url), asked.change))))


if __name__ == "__main__":
    main()
