"""Soft fields: a value that is at fault costs its field, and is told; the record is published."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import date
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import String, insert, text
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.engine.journal import INCOMPLETE, Problem, Step
from adapters.engine.mapping import Made, mapped_or_bad
from adapters.kit.sql import CodeMap, CodesFromSettings, Soft, SqlAdapter, SqlSettings, SqlStream, Tables, row_of
from adapters.port import Record, Row, Stream
from adapters.testing import Bench
from canonical import Address, Name, Person
from canonical.errors import BadRecordError, MisconfiguredError
from canonical.key import key_of
from ironbridge.operate import insight, steer, stuck
from ironbridge.operate.audit import Actor
from ironbridge.runtime.editions import bound
from ironbridge.store import Store, StoredMemory

KINDS = ["sqlite", *(pytest.param(kind, marks=pytest.mark.servers) for kind in ("postgres", "mariadb"))]
NINO, OTHER = "JG103759A", "QQ123456C"  # QQ is the prefix of no number
KEY = "housing:person:7"


TENURE = CodeMap("tenure", {"01": "SOC", " pr": "PRV"}, owner="the housing team", agreed=date(2026, 5, 1))


@row_of("HOME", key="home_id", of="tenant_no")
class Home(NamedTuple):
    street: str | None
    postcode: Soft[str | None]


@row_of("TENANT", key="tenant_no")
class Tenant(NamedTuple):
    tenant_no: int
    surname: str | None
    born: Soft[Annotated[date | None, String(20)]]
    nino: Soft[str | None]
    died: Annotated[date | None, String(20)]
    homes: tuple[Home, ...] = ()


def person(source: str, t: Tenant) -> Person:
    if t.surname == "!":
        raise RuntimeError(t.surname)
    return Person(
        key=key_of(source, "person", t.tenant_no),
        names=(Name(family=t.surname),),
        birth_date=t.born,
        death_date=t.died,
        nino=t.nino,
        addresses=tuple(Address(lines=(home.street or "",), postcode=home.postcode) for home in t.homes),
    )


STREAMS = [SqlStream("tenants", person)]
GOOD: Row = (7, "Darby", "1711-03-17", NINO, None, (("2 Wharf", "TF8 7NH"), ("1 Tontine", "TF8 7AL")))


def made(row: Row) -> Made:
    (stream,) = SqlAdapter("housing", SqlSettings(url=SecretStr("sqlite:///no.db")), STREAMS).streams()
    return mapped_or_bad("here", stream, Record(KEY, (7,), row))


def at(place: int, value: object, row: Row = GOOD) -> Row:
    return (*row[:place], value, *row[place + 1 :])


def said(row: Row) -> dict[str, Any]:
    return dict(json.loads(made(row).data))


def test_a_good_row_lacks_nothing() -> None:
    assert made(GOOD).left_out is None
    assert (said(GOOD)["birth_date"], said(GOOD)["nino"]) == ("1711-03-17", NINO)


@pytest.mark.parametrize(
    ("row", "lacks", "says"),
    [
        (at(2, "17/03/1711"), {"birth_date"}, "TENANT.BORN: is left out: is not a date (its shape: text 99/99/9999)"),
        (at(3, OTHER), {"nino"}, "TENANT.NINO: is left out: "),
        (at(3, OTHER, at(2, "?")), {"birth_date", "nino"}, "TENANT.BORN, TENANT.NINO: is left out: is not a date, "),
        (at(2, "\0?"), {"birth_date"}, "TENANT.BORN: is left out: is not a date (its shape: text ?)"),
    ],
)
def test_a_soft_value_that_cannot_be_read_or_is_refused_costs_its_field_alone(row: Row, lacks: set[str], says: str) -> None:
    whole = said(GOOD)
    assert said(row) == {name: value for name, value in whole.items() if name not in lacks}
    left_out = made(row).left_out
    assert str(left_out).startswith(f"{KEY}: {says}")
    assert str(left_out).endswith("To do: correct it in the source; the record is published without it")
    assert OTHER not in str(left_out)


def test_a_soft_value_in_one_row_of_a_part_costs_no_other_row_its_own() -> None:
    row = at(5, (("2 Wharf", "no idea"), ("1 Tontine", "TF8 7AL")))
    assert [home.get("postcode") for home in said(row)["addresses"]] == [None, "TF8 7AL"]
    assert str(made(row).left_out).startswith(f"{KEY}: HOME.POSTCODE: is left out: ")


@pytest.mark.parametrize("row", [at(4, "?"), at(4, "?", at(3, OTHER)), at(1, "!", at(2, "?")), at(0, None)])
def test_what_is_wrong_with_a_field_that_is_not_soft_still_quarantines_the_row(row: Row) -> None:
    with pytest.raises(BadRecordError) as caught:
        made(row)
    assert "is left out" not in str(caught.value)


def test_a_soft_field_that_may_not_be_empty_is_refused() -> None:
    @row_of("TENANT", key="tenant_no")
    class Hard(NamedTuple):
        tenant_no: int
        nino: Soft[str]

    with pytest.raises(MisconfiguredError, match=r"Hard\.nino: is soft and may not be empty. To do: let it be Soft"):
        Tables()[Hard]


# -- codes -----------------------------------------------------------------------------------------------------------


@row_of("TENANT", key="tenant_no")
class Coded(NamedTuple):
    tenant_no: int
    tenure: Annotated[str, TENURE]
    before: Soft[Annotated[str | None, TENURE]]


def coded(source: str, t: Coded) -> Person:
    return Person(key=key_of(source, "person", t.tenant_no), names=(Name(given=t.before, family=t.tenure),))


def translated(row: Row) -> Made:
    (stream,) = SqlAdapter("housing", SqlSettings(url=SecretStr("sqlite:///no.db")), [SqlStream("coded", coded)]).streams()
    return mapped_or_bad("here", stream, Record(KEY, (7,), row))


@pytest.mark.parametrize(
    ("local", "becomes"), [("01", "SOC"), ("PR  ", "PRV"), ("pr", "PRV"), (" ", None), (None, None)]
)
def test_a_local_code_becomes_the_national_one(local: str | None, becomes: str | None) -> None:
    found = translated((7, "01", local))
    assert found.left_out is None
    assert json.loads(found.data)["names"] == [{"family": "SOC"} | ({"given": becomes} if becomes else {})]


def test_a_code_that_is_not_in_its_map_is_told_with_the_one_who_answers_for_it() -> None:
    found = translated((7, "01", "x9"))
    assert json.loads(found.data)["names"] == [{"family": "SOC"}]
    assert found.left_out is not None
    assert found.left_out.rule == "is left out: X9 is not in the code map tenure, which the housing team agreed on 2026-05-01"
    with pytest.raises(BadRecordError, match=r"TENANT: TENURE: X9 is not in the code map tenure"):
        translated((7, "X9", None))
    with pytest.raises(BadRecordError, match=r"TENANT: TENURE: is empty"):
        translated((7, " ", None))


@pytest.mark.parametrize("written", ["Abraham Darby", "DARBY", "JG103759A", "17/03/1711"])
def test_what_does_not_look_like_a_code_is_told_by_its_shape_alone(written: str) -> None:
    found = translated((7, "01", written)).left_out
    assert found is not None
    assert found.rule.startswith("is left out: what stands there is not in the code map tenure")
    assert written not in str(found)
    assert written.upper() not in str(found)


def test_a_code_map_that_says_nothing_or_two_things_is_refused() -> None:
    for codes in ({}, {"a": "1", "A ": "2"}):
        with pytest.raises(MisconfiguredError, match="the code map tenure: is empty or has two entries for one code"):
            CodeMap("tenure", codes, owner="the housing team", agreed=date(2026, 5, 1))


@row_of("TENANT", key="tenant_no")
class LetTo(NamedTuple):
    tenant_no: int
    tenure: Annotated[str | None, CodesFromSettings("tenure")]
    status: Annotated[str | None, CodeMap("status", {"1": "let"}, owner="us", agreed=date(2026, 5, 1))]


def let(source: str, t: LetTo) -> Person:
    said = Name(given=t.tenure, family=t.status)
    return Person(key=key_of(source, "person", t.tenant_no), names=(said,))


def given(**codes: dict[str, str]) -> Stream:
    """The stream under settings with these code maps."""
    lists = {name: {"owner": "the housing team", "agreed": "2026-05-01", "codes": each} for name, each in codes.items()}
    settings = SqlSettings.model_validate({"url": "sqlite:///no.db", "codes": lists})
    (stream,) = SqlAdapter("housing", settings, [SqlStream("tenants", let)]).streams()
    return stream


def test_codes_that_each_council_has_agreed_for_itself_come_from_its_settings() -> None:
    assert given(tenure={"01": "SOC"}).map((7, " 01", "1")).names == (Name(given="SOC", family="let"),)  # type: ignore[attr-defined]
    theirs = given(tenure={"01": "PRV"}, status={"1": "occupied"})
    assert theirs.map((7, "01", "1")).names == (Name(given="PRV", family="occupied"),)  # type: ignore[attr-defined]
    with pytest.raises(BadRecordError, match="09 is not in the code map tenure, which the housing team agreed on 2026-05-01"):
        theirs.map((7, "09", None))


def test_another_code_map_is_another_edition_of_the_mapping() -> None:
    once, again, other = (bound(given(tenure={"01": code}).map) for code in ("SOC", "SOC", "PRV"))
    assert once == again != other


def test_a_code_map_that_lacks_or_that_nobody_asks_for_is_refused_with_its_name() -> None:
    with pytest.raises(MisconfiguredError, match=r"has no code map tenure\. To do: give \[adapters.housing.codes.tenure\]"):
        given(status={"1": "let"})
    with pytest.raises(MisconfiguredError, match=r"`codes` names no code map: tenur\. To do: its code maps are status, tenure"):
        given(tenure={"01": "SOC"}, tenur={"01": "SOC"})
    for wrong in ({"owner": ""}, {"codes": {}}, {"looks": "["}, {"agreed": "soon"}):
        whole = {"owner": "us", "agreed": "2026-05-01", "codes": {"1": "x"}} | wrong
        with pytest.raises(ValidationError, match=f"codes.tenure.{next(iter(wrong))}"):
            SqlSettings.model_validate({"url": "sqlite:///no.db", "codes": {"tenure": whole}})


@row_of("TENANT", key="tenure")
class CodedKey(NamedTuple):
    tenure: Annotated[str, TENURE]


@row_of("TENANT", key="tenant_no")
class CodedNumber(NamedTuple):
    tenant_no: int
    tenure: Annotated[int, TENURE]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (CodedKey, "CodedKey.tenure: is of the key, and is soft or translated. To do: leave it as it is"),
        (CodedNumber, "CodedNumber.tenure: has a code map and is no text. To do: let it be Annotated"),
    ],
)
def test_a_code_map_where_none_can_be_is_refused(row: type, says: str) -> None:
    with pytest.raises(MisconfiguredError) as caught:
        Tables()[row]
    assert str(caught.value).startswith(says)


# -- through the engine, from real databases -------------------------------------------------------------------------


class Housing:
    """A database of tenants, and what reads it."""

    def __init__(self, url: str) -> None:
        self._engine = create_async_engine(url)
        self.adapter = SqlAdapter("housing", SqlSettings(url=SecretStr(url)), STREAMS)
        self.bench = Bench(self.adapter)

    async def make(self) -> None:
        tables = Tables().stand_in(Tenant, Home)
        async with self._engine.begin() as connection:
            await connection.run_sync(tables.create_all)
            for number in range(7, 12):
                row = {"TENANT_NO": number, "SURNAME": "Darby", "BORN": "1711-03-17", "NINO": NINO}
                await connection.execute(insert(tables.tables["TENANT"]).values(row))

    async def after(self, statement: str) -> list[str]:
        """The keys of what is published once the statement is done."""
        async with self._engine.begin() as connection:
            await connection.execute(text(statement))
        return [event.key for event in await self.bench.read()]

    async def close(self) -> None:
        await self.adapter.close()
        await self._engine.dispose()


@pytest.fixture(params=KINDS)
async def housing(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Housing]:
    async with AsyncExitStack() as stack:
        url = f"sqlite+aiosqlite:///{tmp_path / 'housing.db'}"
        if request.param != "sqlite":
            url = await stack.enter_async_context(request.getfixturevalue(request.param).database())
        housing = Housing(url)
        await housing.make()
        yield housing
        await housing.close()


async def test_a_record_is_published_without_it_told_and_whole_once_it_is_mended(housing: Housing) -> None:
    assert len(await housing.bench.read()) == 5
    assert await housing.after(f"UPDATE TENANT SET NINO = '{OTHER}' WHERE TENANT_NO = 7") == [KEY]
    assert "nino" not in json.loads(housing.bench.log.state()[KEY])
    assert list(housing.bench.problems()) == [KEY + INCOMPLETE]
    assert await housing.after("UPDATE TENANT SET SURNAME = 'D' WHERE TENANT_NO = 8") == ["housing:person:8"]
    assert list(housing.bench.problems()) == [KEY + INCOMPLETE]
    assert await housing.after(f"UPDATE TENANT SET NINO = '{NINO}' WHERE TENANT_NO = 7") == [KEY]
    assert not housing.bench.problems()


@pytest.mark.parametrize(
    ("statement", "left"),
    [("DELETE FROM TENANT WHERE TENANT_NO = 7", []), ("UPDATE TENANT SET DIED = '?' WHERE TENANT_NO = 7", [KEY])],
)
async def test_a_record_that_goes_or_is_quarantined_lacks_nothing_any_more(
    tmp_path: Path, statement: str, left: list[str]
) -> None:
    housing = Housing(f"sqlite+aiosqlite:///{tmp_path / 'housing.db'}")
    await housing.make()
    await housing.after(f"UPDATE TENANT SET NINO = '{OTHER}' WHERE TENANT_NO = 7")
    assert list(housing.bench.problems()) == [KEY + INCOMPLETE]
    await housing.after(statement)
    assert list(housing.bench.problems()) == left
    await housing.close()


# -- what operations sees --------------------------------------------------------------------------------------------


async def test_operations_sees_how_many_records_lack_a_field_and_which(each_store: Store) -> None:
    memory = StoredMemory(each_store, "housing")

    def problem(number: int) -> Problem:
        key, fix = f"housing:person:{number}", "correct it in the source"
        error = BadRecordError(key, field="TENANT.NINO", rule="is left out: is wrong", shape=f"text a{number}", fix=fix)
        return Problem.of(key + INCOMPLETE, error)

    bad = Problem("housing:person:1", "f", "r", "s", "housing.tenants housing:person:1: f: r (its shape: s)")
    await memory.save("tenants", Step(problems=[bad, *map(problem, range(2, 5))]))
    (stands,) = await insight.streams(each_store)
    assert (stands.quarantined, stands.incomplete) == (1, 3)
    listing = await stuck.groups(each_store)
    assert [(g.state, g.word, g.rule, g.count) for g in listing.groups] == [
        ("quarantined", "Quarantined", "f: r", 1), ("incomplete", "Incomplete", "TENANT.NINO: is left out: is wrong", 3),
    ]  # fmt: skip
    assert (listing.counts["quarantined"], listing.counts["incomplete"]) == (1, 3)
    group = await stuck.group(each_store, listing.groups[1].id)
    assert group is not None
    keys = [key async for some in stuck.members(each_store, group) for key in some]
    assert keys == [f"housing:person:{n}{INCOMPLETE}" for n in range(2, 5)]
    assert await steer.drop(each_store, Actor("jo", "command line"), keys[:1], "known") == 1
    assert {row.state for row in await insight.parked(each_store)} == {"quarantined", "incomplete"}
