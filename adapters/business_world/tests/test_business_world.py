"""Business World: each quirk as a case, rows that move to the history, the columns it may ask for, and its world."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import text
from sqlalchemy.dialects import mssql
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.business_world import BusinessWorldAdapter, BusinessWorldSettings, system
from adapters.business_world.adapter import DECLARED
from adapters.business_world.world import SQL_WORLD, given
from adapters.kit.sql import columns_read
from adapters.kit.sql_world import fill
from adapters.port import Adapter, Sweep
from adapters.testing import AdapterSuite
from adapters.testing.suite import Bench
from canonical import Entity, Invoice
from canonical.entity import bad_record
from canonical.errors import BadRecordError

CASES = sorted((Path(__file__).resolve().parents[1] / "cases").glob("*.toml"))
SERVERS = [pytest.param(kind, marks=pytest.mark.servers) for kind in ("postgres", "mariadb")]
TODAY = date(2026, 6, 1)


class Ledger:
    """An empty Business World database, to be filled with the rows of a case."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = create_async_engine(url)
        self.tables = SQL_WORLD.tables(self.settings().in_schema)

    def settings(self, **more: Any) -> BusinessWorldSettings:
        return BusinessWorldSettings.model_validate({**given(self.url), "employee_groups": [], "page_size": 7, **more})

    async def fill(self, rows: Mapping[str, list[dict[str, Any]]]) -> None:
        """Exactly these rows, and no others."""
        async with self.engine.begin() as connection:
            for table in self.tables.sorted_tables:
                await connection.execute(table.delete())
                await fill(connection, table, rows.get(str(table.name), []))

    async def run(self, *statements: str) -> None:
        async with self.engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))


@asynccontextmanager
async def made(kind: str, request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Ledger]:
    async with AsyncExitStack() as stack:
        url = f"sqlite+aiosqlite:///{folder / 'agresso.db'}"
        if kind != "sqlite":
            url = await stack.enter_async_context(request.getfixturevalue(kind).database())
        ledger = Ledger(url)
        async with ledger.engine.begin() as connection:
            await connection.run_sync(ledger.tables.create_all)
        yield ledger
        await ledger.engine.dispose()


async def mapped(adapter: Adapter, name: str) -> dict[str, list[Any]]:
    """Map a stream's rows. Return the entities, the fields that they lost, and the reasons of those in quarantine."""
    stream = next(each for each in adapter.streams() if each.name == name)
    assert isinstance(stream.reading, Sweep)
    found: dict[str, list[Any]] = {"entities": [], "soft": [], "bad": []}
    await adapter.open()
    async for page in stream.reading.pages(None):
        for record in page.records:
            try:
                entity = stream.map(record.row)
            except (BadRecordError, ValidationError) as error:
                bad = error if isinstance(error, BadRecordError) else bad_record(adapter.name, error)
                softened = stream.softly(record.row) if stream.softly else None
                if softened is None:
                    found["bad"].append({"key": record.key, "says": f"{bad.field}: {bad.rule}"})
                    continue
                entity, left = softened
                found["soft"].append({"key": record.key, "says": [f"{each.field}: {each.rule}" for each in left]})
            assert entity.key == record.key
            found["entities"].append(entity)
    await adapter.close()
    return found


async def holds(ledger: Ledger, case: dict[str, Any]) -> None:
    await ledger.fill(case["rows"])
    adapter = system.build("business_world", ledger.settings(**case.get("settings", {})))
    found = await mapped(adapter, case["stream"])
    kind = next(each for each in adapter.streams() if each.name == case["stream"]).entities[0]
    written = [json.dumps(each, default=date.isoformat).encode() for each in case.get("entities", [])]
    assert found["entities"] == [kind.from_bytes(each) for each in written], case["title"]
    assert (found["soft"], found["bad"]) == (case.get("soft", []), case.get("bad", [])), case["title"]


@pytest.mark.parametrize("kind", ["sqlite", *SERVERS])
async def test_every_quirk_is_read_as_its_case_says(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    async with made(kind, request, tmp_path) as ledger:
        cases = [tomllib.loads(case.read_text("utf-8")) for case in CASES]
        for case in cases:
            await holds(ledger, case)
    assert {case["stream"] for case in cases} == {declared.name for declared in DECLARED}


class TestTheSuite(AdapterSuite):
    """The adapter keeps the promises of every adapter. The items are of two clients and lie in both tables."""

    only_named = frozenset({"journal"})

    @pytest.fixture(params=SERVERS)
    async def adapter(self, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Adapter]:
        async with made(request.param, request, tmp_path) as self.ledger:
            about = {"apar_id": "10001", "sequence_no": 0, "voucher_type": "PI", "amount": 5}
            items = [{"client": client, "voucher_no": n, **about} for client in ("FC", "TR") for n in range(1, 11)]
            lines = [{**item, "account": "2110", "cur_amount": 5} for item in items]
            await self.ledger.fill({
                "asutrans": items[::2], "asuhistr": items[1::2], "agltransact": lines,
                "asuheader": [{"client": client, "apar_id": "10001", "apar_name": "Coalport Care"} for client in ("FC", "TR")],
            })  # fmt: skip
            adapter = system.build("business_world", self.ledger.settings())
            yield adapter
            await adapter.close()

    async def change_one(self, adapter: Adapter) -> str:
        """The item is settled: it moves, and its record changes."""
        await self.ledger.run(*settling("client = 'TR' AND voucher_no = 9", "status = 'C'"))
        return "business_world:invoice:TR:10001:9:0"

    async def delete_one(self, adapter: Adapter) -> str:
        await self.ledger.run("DELETE FROM asuhistr WHERE client = 'FC' AND voucher_no = 8")
        return "business_world:invoice:FC:10001:8:0"

    async def break_one(self, adapter: Adapter) -> str:
        await self.ledger.run("UPDATE asutrans SET voucher_type = 'ZZ' WHERE client = 'FC' AND voucher_no = 3")
        return "business_world:invoice:FC:10001:3:0"

    async def mend_it(self, adapter: Adapter) -> None:
        await self.ledger.run("UPDATE asutrans SET voucher_type = 'PI', status = 'P' WHERE client = 'FC' AND voucher_no = 3")

    async def counted(self, adapter: Adapter) -> dict[str, int]:
        there = {"supplier": 2, "invoice": 20, "journal-line": 20}
        return {stream.name: there.get(stream.name, 0) for stream in adapter.streams()}


def settling(which: str, changed: str) -> Iterator[str]:
    """The statements of a full settlement."""
    yield f"INSERT INTO asuhistr SELECT * FROM asutrans WHERE {which}"
    yield f"DELETE FROM asutrans WHERE {which}"
    yield f"UPDATE asuhistr SET {changed} WHERE {which}"


def readings() -> Mapping[str, Any]:
    return BusinessWorldAdapter("business_world", settings("mssql://reader@finance/agrprod")).readings


def settings(url: str, **more: Any) -> BusinessWorldSettings:
    return BusinessWorldSettings.model_validate({**given(url), **more})


def test_every_table_and_column_we_ask_for_is_one_that_is_publicly_known(shared: Path) -> None:
    notes = (shared / "reference" / "adapters-next.md").read_text("utf-8")
    known = set(re.findall(r"\w+", notes.partition("## Unit4 Business World")[2].partition("\n## ")[0]))
    known |= {f"dim_{n}" for n in range(1, 8)}
    asked = {str(table.name): names for table, names in columns_read(readings().values()).items()}
    assert {name: columns - known for name, columns in asked.items() if columns - known or name not in known} == {}
    assert {"asutrans", "asuhistr"} <= asked.keys()
    assert asked["asutrans"] == asked["asuhistr"]


def test_every_statement_is_one_that_sql_server_understands() -> None:
    for reading in readings().values():
        page = str(reading.page(100, after=True).compile(dialect=mssql.dialect()))
        assert "TOP " in page
        assert "LIMIT" not in page
        for part in reading.parts:
            assert str(part.of_range(1).compile(dialect=mssql.dialect())).startswith("SELECT ")


def test_a_voucher_type_of_a_kind_that_there_is_not_is_refused() -> None:
    codes = given("sqlite://")["codes"]
    wrong = {**codes, "voucher_type": {**codes["voucher_type"], "codes": {"PI": "bill"}}}
    with pytest.raises(ValidationError, match="a code's kind is one of invoice, credit-note, payment, reversal, budget"):
        settings("sqlite://", codes=wrong)


# -- the invented one ------------------------------------------------------------------------------------------------


async def everything(url: str) -> tuple[dict[str, Entity], set[str]]:
    """Every entity by its key, and the keys of what cannot be mapped."""
    entities, bad = {}, set()
    adapter = system.build("business_world", settings(url, page_size=97))
    for declared in DECLARED:
        found = await mapped(adapter, declared.name)
        entities |= {entity.key: entity for entity in found["entities"]}
        bad |= {each["key"] for each in found["bad"]}
    return entities, bad


@pytest.mark.servers
@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
async def test_the_same_world_maps_to_the_same_entities_on_every_database(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'agresso.db'}"
    bad = await SQL_WORLD.create(url, 40, today=TODAY)
    async with request.getfixturevalue(kind).database() as there:
        await SQL_WORLD.create(there, 40, today=TODAY)
        assert await everything(there) == await everything(url)
        assert await SQL_WORLD.change(there, 3) == await SQL_WORLD.change(url, 3)
        entities, spoilt = await everything(url)
        assert await everything(there) == (entities, spoilt)
    assert len(spoilt) == bad - 1, "a day's work mends one"
    assert Counter(entity.type_name for entity in entities.values()).keys() == {each.name for each in DECLARED}


async def test_of_a_day_s_work_an_item_that_moves_is_changed_and_nothing_is_deleted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'agresso.db'}"
    await SQL_WORLD.create(url, 40, today=TODAY)
    bench = Bench(system.build("business_world", settings(url, page_size=60)))
    await bench.read()
    for day in range(2):
        said = await SQL_WORLD.change(url, day)
        events = await bench.read()
        assert [event.key for event in events if event.data is None] == []
        for sentence in said:
            number = re.search(r"[Ii]tem (\d+)", sentence)
            if number and ("settled" in sentence or "taken back" in sentence):
                [told] = [event for event in events if f":{number[1]}:" in event.key and event.entity != "payment"]
                invoice = Invoice.from_bytes(told.data or b"")
                assert (invoice.outstanding == 0) == ("settled" in sentence)
    await bench.adapter.close()
