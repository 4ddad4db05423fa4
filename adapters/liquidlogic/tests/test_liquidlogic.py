"""Liquidlogic: each quirk as a case, the columns it may ask for, its settings and its check."""

import csv
import json
import tomllib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import insert, text
from sqlalchemy.dialects import mssql
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import CreateSchema

from adapters.kit.sql import columns_read
from adapters.liquidlogic import LiquidlogicAdapter, LiquidlogicSettings, system
from adapters.liquidlogic.adapter import DECLARED
from adapters.liquidlogic.settings import STREAMS
from adapters.liquidlogic.world import create, schema
from adapters.port import Adapter, AdapterSystem, Stream, Sweep, Tail
from adapters.testing import AdapterSuite
from canonical.children import CareEpisode
from canonical.entity import Entity, bad_record
from canonical.errors import BadRecordError

FOLDER = Path(__file__).resolve().parents[1]
CASES = sorted((FOLDER / "cases").glob("*.toml"))
SERVERS = [pytest.param(kind, marks=pytest.mark.servers) for kind in ("postgres", "mariadb")]


class Warehouse:
    """An empty HDM, to be filled with the rows of a case."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = create_async_engine(url)
        self._name = self.settings().in_schema
        self._tables = schema(self._name)

    def settings(self, **given: Any) -> LiquidlogicSettings:
        return LiquidlogicSettings(url=SecretStr(self.url), **given)

    async def make(self) -> None:
        async with self._engine.begin() as connection:
            if self._name:
                await connection.execute(CreateSchema(self._name.lower()))
            await connection.run_sync(self._tables.create_all)

    async def fill(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        """Exactly these rows, and no others."""
        async with self._engine.begin() as connection:
            for table in self._tables.sorted_tables:
                await connection.execute(table.delete())
                for row in rows.get(str(table.name), []):
                    await connection.execute(insert(table).values(row))

    async def run(self, statement: str) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(text(statement.replace("{hdm}", f"{self._name}." if self._name else "")))

    async def close(self) -> None:
        await self._engine.dispose()


@asynccontextmanager
async def made(kind: str, request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Warehouse]:
    async with AsyncExitStack() as stack:
        if kind == "sqlite":
            url = f"sqlite+aiosqlite:///{folder / 'hdm.db'}"
        else:
            url = await stack.enter_async_context(request.getfixturevalue(kind).database())
        warehouse = Warehouse(url)
        await warehouse.make()
        yield warehouse
        await warehouse.close()


@pytest.fixture
async def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Warehouse]:
    async with made("sqlite", request, tmp_path) as warehouse:
        yield warehouse


@asynccontextmanager
async def adapter_of(settings: LiquidlogicSettings) -> AsyncIterator[LiquidlogicAdapter]:
    adapter = system.build("liquidlogic", settings)
    await adapter.open()
    yield adapter
    await adapter.close()


def stream_of(adapter: Adapter, name: str) -> Stream:
    return next(stream for stream in adapter.streams() if stream.name == name)


async def mapped(stream: Stream) -> tuple[list[Entity], list[dict[str, str]]]:
    """What a stream's rows become, and what is quarantined with why."""
    assert isinstance(stream.reading, Sweep)
    entities: list[Entity] = []
    bad = []
    async for page in stream.reading.pages(None):
        for record in page.records:
            try:
                entity = stream.map(record.row)
            except BadRecordError as error:
                bad.append({"key": record.key, "says": str(error).partition(": ")[2]})
            except ValidationError as error:
                bad.append({"key": record.key, "says": str(bad_record("liquidlogic", error)).partition(": ")[2]})
            else:
                assert entity.key == record.key
                assert type(entity) in stream.entities
                entities.append(entity)
    return entities, bad


async def holds(warehouse: Warehouse, case: dict[str, Any]) -> None:
    await warehouse.fill(case["rows"])
    async with adapter_of(warehouse.settings(**case.get("settings", {}))) as adapter:
        stream = stream_of(adapter, case["stream"])
        entities, bad = await mapped(stream)
    written = [json.dumps(each, default=date.isoformat).encode() for each in case.get("entities", [])]
    assert entities == [stream.entities[0].from_bytes(each) for each in written], case["title"]
    assert bad == case.get("bad", []), case["title"]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
async def test_a_quirk_of_the_warehouse_is_read_as_its_case_says(case: Path, warehouse: Warehouse) -> None:
    await holds(warehouse, tomllib.loads(case.read_text("utf-8")))


@pytest.mark.parametrize("kind", SERVERS)
async def test_every_case_holds_on_a_server_too(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    async with made(kind, request, tmp_path) as warehouse:
        for case in CASES:
            await holds(warehouse, tomllib.loads(case.read_text("utf-8")))


class TestTheSuite(AdapterSuite):
    """What the pump needs of every adapter, read from a real database."""

    @pytest.fixture(params=["sqlite", *SERVERS])
    async def adapter(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Adapter]:
        async with made(request.param, request, tmp_path) as self.warehouse:
            people = [{"DIM_PERSON_ID": n, "FORENAME": f"Child {n}", "IS_CLIENT": "Y"} for n in range(1, 40)]
            homes = [{"DIM_PERSON_ADDRESS_ID": n, "DIM_PERSON_ID": n, "POSTCODE": "SY1 1AA"} for n in range(1, 40)]
            lookups = {
                name: [{"MAIN_CODE": "1", "NAT_ID": "MOB"}] for name in ("DIM_LOOKUP_DFE_ETHNIC", "DIM_LOOKUP_DISAB")
            }
            await self.warehouse.fill({"DIM_PERSON": people, "DIM_PERSON_ADDRESS": homes, **lookups})
            adapter = system.build("liquidlogic", self.warehouse.settings(page_size=7))
            yield adapter
            await adapter.close()

    async def change_one(self, adapter: Adapter) -> str:
        await self.warehouse.run("UPDATE {hdm}DIM_PERSON_ADDRESS SET POSTCODE = 'SY2 2BB' WHERE DIM_PERSON_ID = 9")
        return "liquidlogic:person:9"

    async def delete_one(self, adapter: Adapter) -> str:
        await self.warehouse.run("DELETE FROM {hdm}DIM_PERSON WHERE DIM_PERSON_ID = 20")
        return "liquidlogic:person:20"

    async def break_one(self, adapter: Adapter) -> str:
        await self.warehouse.run("UPDATE {hdm}DIM_PERSON SET ETHNICITY_MAIN_CODE = 'WBR' WHERE DIM_PERSON_ID = 30")
        return "liquidlogic:person:30"

    async def mend_it(self, adapter: Adapter) -> None:
        await self.warehouse.run("INSERT INTO {hdm}DIM_LOOKUP_DFE_ETHNIC (MAIN_CODE, NAT_ID) VALUES ('WBR', 'WBRI')")

    async def counted(self, adapter: Adapter) -> dict[str, int]:
        return {stream.name: 39 if stream.name == "person" else 0 for stream in adapter.streams()}


def test_every_stream_has_a_case() -> None:
    assert {tomllib.loads(case.read_text("utf-8"))["stream"] for case in CASES} == set(STREAMS)
    assert [declared.name for declared in DECLARED] == list(STREAMS)


def readings(**given: Any) -> dict[str, Any]:
    settings = LiquidlogicSettings(url=SecretStr("mssql://reader:hush@hdm/HDM"), **given)
    return LiquidlogicAdapter("liquidlogic", settings).readings


def test_every_column_we_ask_for_is_one_that_the_warehouse_is_known_to_have(shared: Path) -> None:
    known: dict[str, set[str]] = {}
    with (shared / "reference" / "liquidlogic_hdm_columns.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            known.setdefault(row["hdm_table"], set()).add(row["column"])
    read = columns_read(readings(upn_reason="nowhere").values())  # the one table beyond them may be absent, see below
    asked = {str(table.name): names for table, names in read.items()}
    assert {
        name: names - known.get(name, set()) for name, names in asked.items() if names - known.get(name, set())
    } == {}
    assert len(asked) == 24


def test_the_reason_for_a_missing_upn_is_the_only_thing_read_from_elsewhere(shared: Path) -> None:
    with (shared / "reference" / "ssd_fields.csv").open(encoding="utf-8") as file:
        reason = next(row for row in csv.DictReader(file) if row["field"] == "pers_upn_unknown")
    assert reason["liquidlogic_hdm_column"] == "NO_UPN_CODE"
    assert "FACT_903_DATA" in reason["liquidlogic_hdm_tables"]
    plain, asking = columns_read(readings(upn_reason="nowhere").values()), columns_read(readings().values())
    more = {str(table.name): names for table, names in asking.items()}
    assert {name: names for name, names in more.items() if name not in {str(table.name) for table in plain}} == {
        "FACT_903_DATA": {"DIM_PERSON_ID", "NO_UPN_CODE"}
    }


def test_no_table_lists_a_column_that_nothing_reads() -> None:
    asked = columns_read(readings().values())
    listed = {str(table.name): [str(each.name) for each in table.c] for table in schema(None).sorted_tables}
    listed.pop("IRONBRIDGE_WORLD")
    for table, names in asked.items():
        own_key, *others = listed[str(table.name)]
        assert names | {own_key} == {own_key, *others}
    assert {str(table.name) for table in asked} == set(listed)


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize(
    ("name", "written"), [("Child_Social", "FROM [Child_Social]."), ("HDM.Child_Social", "[HDM].[Child_Social].")]
)
def test_every_statement_compiles_for_sql_server(stream: str, name: str, written: str) -> None:
    reading = readings(schema=name)[stream]
    page = str(reading.page(100, after=True).compile(dialect=mssql.dialect()))
    assert page.startswith("SELECT TOP ")
    assert written in page
    assert "LIMIT" not in page
    for part in reading.parts:
        assert str(part.of_range().compile(dialect=mssql.dialect())).startswith("SELECT ")


async def test_a_changed_lookup_changes_the_rows_of_everybody_who_has_the_code(warehouse: Warehouse) -> None:
    person = {"DIM_PERSON_ID": 1, "ETHNICITY_MAIN_CODE": "WBR", "IS_CLIENT": "Y"}
    lookup = {"MAIN_CODE": "WBR", "NAT_ID": "WBRI"}
    rows = []
    for national in ("WBRI", "WOTH"):
        await warehouse.fill({"DIM_PERSON": [person], "DIM_LOOKUP_DFE_ETHNIC": [{**lookup, "NAT_ID": national}]})
        async with adapter_of(warehouse.settings()) as adapter:
            reading = stream_of(adapter, "person").reading
            assert isinstance(reading, Sweep)
            rows += [record.row async for page in reading.pages(None) for record in page.records]
    assert rows[0] != rows[1]


async def test_a_cin_plan_and_a_cp_plan_of_one_number_have_keys_of_their_own(warehouse: Warehouse) -> None:
    await warehouse.fill(
        {
            "FACT_CARE_PLAN_SUMMARY": [{"FACT_CARE_PLAN_SUMMARY_ID": 7, "DIM_PERSON_ID": 1}],
            "FACT_CARE_PLANS": [
                {"FACT_CARE_PLAN_ID": 1, "FACT_CARE_PLAN_SUMMARY_ID": 7, "DIM_LOOKUP_PLAN_TYPE_ID_CODE": "FP"}
            ],
            "FACT_CP_PLAN": [{"FACT_CP_PLAN_ID": 7, "DIM_PERSON_ID": 1}],
        }
    )
    async with adapter_of(warehouse.settings()) as adapter:
        keys = [(await mapped(stream_of(adapter, name)))[0][0].key for name in ("cin-plan", "cp-plan")]
    assert keys == ["liquidlogic:care-plan:cin-7", "liquidlogic:care-plan:cp-7"]


async def test_the_adapters_own_name_is_the_source_of_every_key(warehouse: Warehouse) -> None:
    await warehouse.fill({"FACT_REFERRALS": [{"FACT_REFERRAL_ID": 1, "DIM_PERSON_ID": 2}]})
    adapter = system.build("lcs-north", warehouse.settings())
    await adapter.open()
    entities, _ = await mapped(stream_of(adapter, "care-episode"))
    await adapter.close()
    assert entities == [CareEpisode(key="lcs-north:care-episode:1", person="lcs-north:person:2")]


async def test_a_stream_with_a_change_column_is_tailed_and_checked(warehouse: Warehouse) -> None:
    await warehouse.run("ALTER TABLE {hdm}FACT_INVOLVEMENTS ADD COLUMN LAST_UPDATED_DTTM TIMESTAMP")
    await warehouse.fill({"FACT_INVOLVEMENTS": [{"FACT_INVOLVEMENTS_ID": 1, "DIM_PERSON_ID": 2}]})
    await warehouse.run("UPDATE {hdm}FACT_INVOLVEMENTS SET LAST_UPDATED_DTTM = '2026-01-01 10:00:00.000000'")
    async with adapter_of(warehouse.settings(tail={"involvement": "LAST_UPDATED_DTTM"})) as adapter:
        reading = stream_of(adapter, "involvement").reading
        assert isinstance(reading, Tail)
        pages = [page async for page in reading.pages(None)]
        assert pages[0].cursor == ("2026-01-01 10:00:00.000000", 1)
        assert pages == [page._replace(cursor=pages[0].cursor) async for page in reading.sweep.pages(None)]
    async with adapter_of(warehouse.settings(tail={"involvement": "NO_SUCH_DTTM"})) as adapter:
        wrong = [finding.what for finding in await adapter.check() if not finding.well]
    assert "FACT_INVOLVEMENTS.NO_SUCH_DTTM: there is no such column" in wrong


# -- check -------------------------------------------------------------------------------------------------------


async def test_a_check_of_a_whole_warehouse_finds_all_well(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hdm.db'}"
    await create(url, children=20, today=date(2026, 6, 1))
    async with adapter_of(LiquidlogicSettings(url=SecretStr(url))) as adapter:
        findings = await adapter.check()
    assert [finding for finding in findings if not finding.well] == []
    assert len(findings) == 1 + 25 + 2


async def test_a_check_names_what_is_missing_and_what_to_do(warehouse: Warehouse) -> None:
    await warehouse.run("ALTER TABLE {hdm}DIM_PERSON DROP COLUMN FORMER_UPN")
    await warehouse.run("DROP TABLE {hdm}FACT_S47")
    async with adapter_of(warehouse.settings()) as adapter:
        wrong = {finding.what: finding.fix for finding in await adapter.check() if not finding.well}
    ask = "ask the system's supplier in which version DIM_PERSON has it"
    fill_it = "ask the system's supplier to fill it: without it no code of this list can be translated"
    assert wrong == {
        "DIM_PERSON.FORMER_UPN: there is no such column": ask,
        "FACT_S47: there is no such table": "check `schema`, and the database's name in `url`",
        "DIM_LOOKUP_DFE_ETHNIC: has no rows": fill_it,
        "DIM_LOOKUP_DISAB: has no rows": fill_it,
    }


@pytest.mark.servers
async def test_a_check_says_which_grant_is_missing(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    async with made("postgres", request, tmp_path) as warehouse:
        await warehouse.run("CREATE ROLE hdm_reader LOGIN")
        await warehouse.run("GRANT USAGE ON SCHEMA child_social TO hdm_reader")
        await warehouse.run("GRANT SELECT ON ALL TABLES IN SCHEMA child_social TO hdm_reader")
        await warehouse.run("REVOKE SELECT ON {hdm}FACT_S47 FROM hdm_reader")
        url = warehouse.url.replace("ironbridge@", "hdm_reader@")
        async with adapter_of(LiquidlogicSettings(url=SecretStr(url))) as adapter:
            wrong = [
                finding for finding in await adapter.check() if "has no rows" not in finding.what and not finding.well
            ]
        assert [(finding.what, finding.fix) for finding in wrong] == [
            (
                "Child_Social.FACT_S47: we may not read it",
                "ask for GRANT SELECT ON Child_Social.FACT_S47 TO hdm_reader (on PostgreSQL also USAGE on its schema)",
            )
        ]
        await warehouse.run("DROP OWNED BY hdm_reader")
        await warehouse.run("DROP ROLE hdm_reader")


# -- settings ----------------------------------------------------------------------------------------------------


def test_the_system_is_what_an_entry_point_promises() -> None:
    promised: AdapterSystem[LiquidlogicSettings] = system
    adapter: Adapter = promised.build("liquidlogic", LiquidlogicSettings(url=SecretStr("sqlite:///hdm.db")))
    assert [stream.name for stream in adapter.streams()] == list(STREAMS)
    assert Counter(stream.entities[0].type_name for stream in adapter.streams())["care-plan"] == 2


def test_the_sample_is_a_section_that_works_and_every_setting_stands_in_it() -> None:
    wanted = "\n".join(line.removeprefix("# ") for line in system.sample.splitlines() if "does not belong" not in line)
    section = tomllib.loads(wanted)["adapters"]["liquidlogic"]
    settings = LiquidlogicSettings.model_validate(section)
    assert settings.tail == {"involvement": "LAST_UPDATED_DTTM"}
    names = {field.alias or name for name, field in LiquidlogicSettings.model_fields.items()}
    assert names - set(section) == {"connect_timeout", "codes", "row_versions"}  # it has no code maps and no row versions


def test_the_password_shows_nowhere() -> None:
    settings = LiquidlogicSettings(url=SecretStr("mssql://reader:hush-hush@hdm/HDM"))
    adapter = system.build("liquidlogic", settings)
    assert "hush" not in f"{settings!r}{settings}{settings.model_dump_json()}{adapter.__dict__}"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"schema": "Child_Social; DROP TABLE x"}, "is a name such as Child_Social"),
        ({"tail": {"people": "MODIF_DTTM"}}, "tail.people: no such stream; there are person, care-episode"),
        ({"tail": {"person": "1=1"}}, "tail.person: is a column's name"),
        ({"people": "some"}, "'clients' or 'everybody'"),
        ({"every": 0}, "greater than"),
        ({"page_size": 0}, "greater than or equal to 1"),
        ({"pages": 1}, "Extra inputs are not permitted"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_its_reason(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        LiquidlogicSettings(url=SecretStr("sqlite:///hdm.db"), **given)


def test_the_pause_between_pages_is_for_the_pump_to_keep() -> None:
    settings = LiquidlogicSettings.model_validate({"url": "sqlite:///hdm.db", "pause": 2})
    assert {s.pause.total_seconds() for s in system.build("liquidlogic", settings).streams()} == {2}


def test_cases_write_moments_as_the_warehouse_has_them() -> None:
    for case in CASES:
        for rows in tomllib.loads(case.read_text("utf-8"))["rows"].values():
            for row in rows:
                moments = [value for name, value in row.items() if name.endswith(("_DTTM", "_DATE"))]
                assert all(isinstance(value, datetime) for value in moments)


async def test_a_warehouse_without_the_data_of_the_903_return_is_read_without_them(warehouse: Warehouse) -> None:
    with_a_reason = {"DIM_PERSON_ID": 1, "UPN": "UN7", "IS_CLIENT": "Y"}
    await warehouse.fill({"DIM_PERSON": [with_a_reason, {"DIM_PERSON_ID": 2, "IS_CLIENT": "Y"}]})
    await warehouse.run("DROP TABLE {hdm}FACT_903_DATA")
    async with adapter_of(warehouse.settings()) as adapter:
        entities, bad = await mapped(stream_of(adapter, "person"))
        findings = await adapter.check()
    assert bad == []
    assert [getattr(entity, "upn_unknown_reason", "") for entity in entities] == ["UN7", None]
    (said,) = [finding for finding in findings if "FACT_903_DATA" in finding.what]
    assert (said.what, said.well) == ("FACT_903_DATA: is not there, and is not needed", True)
