"""A record of two tables: its key has a column of each, and what belongs to it may lie in the tables that it is read from."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import SecretStr
from sqlalchemy import MetaData

from adapters.kit.sql import Choice, Joined, SqlAdapter, SqlSettings, SqlStream, Tables, row_of
from adapters.testing.sql_cases import EmptySystem, empty_system, mapped_rows
from canonical.children import Assessment
from canonical.errors import MisconfiguredError
from canonical.key import key_of


@row_of("GROUP_MEMBERS", key=("group_no", "member_no"))
class GroupMember(NamedTuple):
    group_no: int
    member_no: int


@row_of("STEPS", key="step_no", of="group_no", to="group_no")
class StepOfGroup(NamedTuple):
    step_no: int


@row_of("STEPS", key=("step_no", "member_no"), also={"group_no": int, "kind": str})
class MembersStep(NamedTuple):
    step_no: int
    member_no: Joined[int]
    of_group: tuple[StepOfGroup, ...]


@row_of("STEPS", key=("step_no", "name"))
class NamedStep(NamedTuple):
    step_no: int
    name: Joined[str]


def steps(tables: Tables, _: SqlSettings) -> Choice:
    them, members = tables[MembersStep], tables[GroupMember]
    joined = them.join(members, members.c.GROUP_NO == them.c.GROUP_NO)
    return Choice(them.c.KIND.in_(["A"]), joined, {"member_no": members.c.MEMBER_NO})


def named(tables: Tables, _: SqlSettings) -> Choice:
    members = tables[GroupMember]
    return Choice(source=tables[NamedStep].join(members, members.c.GROUP_NO > 0), joined={"name": members.c.MEMBER_NO})


def assessment(source: str, s: MembersStep) -> Assessment:
    others = tuple(str(each.step_no) for each in s.of_group)
    return Assessment(key=key_of(source, "assessment", s.step_no, s.member_no), person="x:person:1", factors=others)


def of_name(source: str, s: NamedStep) -> Assessment:
    return Assessment(key=key_of(source, "assessment", s.step_no, s.name), person="x:person:1")


async def read(system: EmptySystem, stream: SqlStream) -> dict[str, tuple[str, ...]]:
    members = [{"GROUP_NO": group, "MEMBER_NO": member} for group, member in ((1, 7), (1, 8), (1, 9), (2, 9))]
    rows = [(1, 1, "A"), (2, 2, "A"), (3, 1, "A"), (4, 1, "A"), (5, 2, "B"), (6, 3, "A")]
    told = [{"STEP_NO": step, "GROUP_NO": group, "KIND": kind} for step, group, kind in rows]
    await system.fill({"GROUP_MEMBERS": members, "STEPS": told})
    adapter = SqlAdapter("x", system.settings, [stream])
    await adapter.open()
    try:
        assert [each.what for each in await adapter.check() if not each.well] == []
        found = await mapped_rows(adapter.streams()[0])
    finally:
        await adapter.close()
    return {each.key: each.factors for each in found.entities if isinstance(each, Assessment)}


def settings(url: str) -> SqlSettings:
    return SqlSettings(url=SecretStr(url), page_size=2)


@pytest.mark.parametrize("kind", ["sqlite", *[pytest.param(kind, marks=pytest.mark.servers) for kind in ("postgres", "mariadb")]])
def test_a_step_about_three_people_is_three_records_each_with_its_parts(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = None if kind == "sqlite" else request.getfixturevalue(kind).database
    stream = SqlStream("step", assessment, steps)
    def made(schema: str | None) -> MetaData:
        tables = Tables(schema)
        stream.reading("x", tables, settings("sqlite://"))
        return tables.stand_in()

    with empty_system(server, tmp_path, settings, made) as system:
        assert asyncio.run(read(system, stream)) == {
            "x:assessment:1:7": ("1", "3", "4"), "x:assessment:1:8": ("1", "3", "4"), "x:assessment:1:9": ("1", "3", "4"),
            "x:assessment:2:9": ("2", "5"),
            "x:assessment:3:7": ("1", "3", "4"), "x:assessment:3:8": ("1", "3", "4"), "x:assessment:3:9": ("1", "3", "4"),
            "x:assessment:4:7": ("1", "3", "4"), "x:assessment:4:8": ("1", "3", "4"), "x:assessment:4:9": ("1", "3", "4"),
        }  # fmt: skip


def test_a_key_with_text_of_a_joined_table_is_refused() -> None:
    with pytest.raises(MisconfiguredError, match="its key has a column of a joined table, and is not of whole numbers"):
        SqlAdapter("x", settings("sqlite://"), [SqlStream("step", of_name, named)])
