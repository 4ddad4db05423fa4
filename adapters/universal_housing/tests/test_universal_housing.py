"""Universal Housing: each quirk as a case, the suite, its tail by row version, its world."""

import tomllib
from collections.abc import AsyncIterator, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import text
from sqlalchemy.dialects import mssql

from adapters.engine.journal import INCOMPLETE
from adapters.kit.sql import columns_read
from adapters.port import Adapter, Tail
from adapters.testing import AdapterSuite, Bench
from adapters.testing.sql_cases import EmptySystem, empty_system, mapped_rows
from adapters.universal_housing import UniversalHousingAdapter, UniversalHousingSettings, system
from adapters.universal_housing.adapter import DECLARED
from adapters.universal_housing.world import ETHNICITY, HOUSING, UNLISTED, HousingStory, as_written
from canonical.housing import RentAccount, RentTransaction

CASES = sorted((Path(__file__).resolve().parents[1] / "cases").glob("*.toml"))
SERVERS = [pytest.param(kind, marks=pytest.mark.servers) for kind in ("postgres", "mariadb")]
DAY = date(2026, 6, 1)


def settings(url: str, **given: Any) -> UniversalHousingSettings:
    return UniversalHousingSettings.model_validate({"url": SecretStr(url), "codes": {"ethnicity": ETHNICITY}, **given})


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmptySystem]:
    server = request.getfixturevalue(request.param).database
    with empty_system(server, tmp_path_factory.mktemp("housing"), settings, HOUSING.tables) as empty:
        yield empty


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
async def test_a_quirk_is_read_as_its_case_says(case: Path, served: EmptySystem) -> None:
    await served.holds(tomllib.loads(case.read_text("utf-8"), parse_float=Decimal), system.build, "universal_housing")


def test_every_stream_has_a_case() -> None:
    assert {tomllib.loads(case.read_text("utf-8"))["stream"] for case in CASES} == {each.name for each in DECLARED}


class TestTheSuite(AdapterSuite):
    """The adapter keeps the promises of every adapter. It reads PostgreSQL by row versions, and sweeps MariaDB."""

    @pytest.fixture
    async def adapter(self, served: EmptySystem) -> AsyncIterator[Adapter]:
        told = HousingStory(5, DAY)
        told.estate(0)
        for number in range(1, 5):
            told.tenancy(number, flat=True)
        self.housing, self.told = served, told
        await served.fill(as_written(told.rows))
        adapter = system.build("universal_housing", served.settings.model_copy(update={"page_size": 20}))
        yield adapter
        await adapter.close()

    async def change_one(self, adapter: Adapter) -> str:
        await self.housing.run("UPDATE {schema}member SET relationship = 'X' WHERE house_ref = '000004' AND person_no = 1")
        return "universal_housing:household:000004"

    async def delete_one(self, adapter: Adapter) -> str:
        await self.housing.run("DELETE FROM {schema}rmreqst WHERE rq_ref = '00000003'")
        return "universal_housing:repair:00000003"

    async def break_one(self, adapter: Adapter) -> str:
        await self.housing.run("UPDATE {schema}rtrans SET tag_ref = '' WHERE batchid = 3 AND transno = 0")
        return "universal_housing:rent-transaction:3:0:1:0"

    async def mend_it(self, adapter: Adapter) -> None:
        mended = "UPDATE {schema}rtrans SET tag_ref = '0000003/01', real_value = 1 WHERE batchid = 3 AND transno = 0"
        await self.housing.run(mended)

    async def counted(self, adapter: Adapter) -> dict[str, int]:
        tables = {
            "person": "member", "property": "property", "household": "househ", "tenancy": "tenagree", "rent-account": "tenagree",
            "rent-transaction": "rtrans", "repair": "rmreqst",
        }  # fmt: skip
        return {stream.name: len(self.told.rows[tables[stream.name]]) for stream in adapter.streams()}


@pytest.mark.servers
async def test_a_change_of_a_part_that_commits_late_is_published_by_the_tail(postgres_url: str) -> None:
    await HOUSING.create(postgres_url, 10, 5)
    housing = EmptySystem(settings(postgres_url), HOUSING.tables("dbo"))
    adapter = system.build("universal_housing", settings(postgres_url))
    bench = Bench(adapter)
    await bench.read()
    async with housing.connection() as early:
        await early.execute(text("UPDATE dbo.rmworder SET wo_status = '400' WHERE rq_ref = '00000006'"))
        await housing.run("UPDATE {schema}tenagree SET tenure = 'FLX' WHERE tag_ref = '0000007/01'")
        assert [event.key for event in await bench.read()] == ["universal_housing:tenancy:0000007/01"]
    assert [event.key for event in await bench.read()] == ["universal_housing:repair:00000006"]
    assert await bench.read() == []
    await adapter.close()


def test_every_statement_compiles_for_sql_server_and_is_read_by_tstamp() -> None:
    adapter = UniversalHousingAdapter("universal_housing", settings("mssql://reader:hush@housing/uhlive"))
    for reading in adapter.readings.values():
        page = str(reading.page(100, after=True).compile(dialect=mssql.dialect()))
        assert page.startswith("SELECT TOP ")
        assert "FROM dbo." in page
        assert [version.key for version in reading.versions] == ["tstamp"] * (1 + len(reading.parts))
    assert all(isinstance(stream.reading, Tail) for stream in adapter.streams())
    asked = {str(table.name): names for table, names in columns_read(adapter.readings.values()).items()}
    assert sorted(asked) == ["contacts", "househ", "member", "property", "rmreqst", "rmworder", "rtrans", "tenagree"]
    assert all("tstamp" in names for names in asked.values())


def test_a_column_that_is_no_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="uprn_column"):
        settings("sqlite://", uprn_column="u_llpg; DROP TABLE property")


# -- the invented system -------------------------------------------------------------------------------------------


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Adapter]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'housing.db'}"
    assert await HOUSING.create(url, 12, 5) == 4
    adapter = system.build("universal_housing", settings(url))
    await adapter.open()
    yield adapter
    await adapter.close()


async def test_a_wrong_value_costs_its_field_a_lost_receipt_its_row_and_a_days_work_is_published(
    world: Adapter, tmp_path: Path
) -> None:
    bench = Bench(world)
    events = await bench.read()
    problems = {key: (problem.field, problem.rule) for key, problem in bench.problems().items()}
    assert sorted(key.endswith(INCOMPLETE) for key in problems) == [False, True, True, True]
    assert sorted(field for field, _ in problems.values()) == [
        "member.ethnic_origin", "member.ni_no", "property.uprn", "tag_ref"
    ]  # fmt: skip
    assert any(f": {UNLISTED} is not in the code map ethnicity" in rule for _, rule in problems.values())
    assert not set(problems) & {event.key for event in events}
    assert len(await HOUSING.change(f"sqlite+aiosqlite:///{tmp_path / 'housing.db'}", 1)) == 4
    changed = {event.key.split(":")[1] for event in await bench.read()}
    assert changed == {"rent-transaction", "rent-account", "tenancy", "person", "household", "repair"}


async def test_a_balance_is_the_sum_of_the_transactions_unless_a_receipt_was_lost(world: Adapter) -> None:
    found = {stream.name: (await mapped_rows(stream)).entities for stream in world.streams()}
    owed = {each.key: each.balance for each in found["rent-account"] if isinstance(each, RentAccount)}
    for each in found["rent-transaction"]:
        assert isinstance(each, RentTransaction)
        assert each.account is not None
        owed[each.account] = (owed[each.account] or Decimal(0)) - each.amount
    assert [key for key, rest in owed.items() if rest] == ["universal_housing:rent-account:0000012/01"]
