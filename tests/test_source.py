"""`ironbridge try` and `ironbridge profile`: what an adapter makes of its system, before anything is published."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from adapters.port import Page, Parcel, Position, Push, Record, Stream
from adapters.testing.table import Line, TableAdapter
from canonical import CareEpisode
from canonical.errors import IronbridgeError, MisconfiguredError
from ironbridge.operate.source import MANY, profiled, tried
from ironbridge.runtime.systems import adapter_system
from ironbridge.store import open_store
from ironbridge.store.audit import newest
from tests.test_cli import invoke


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of a small warehouse, in which two dates are none, and of a folder with extracts."""
    data = tmp_path_factory.mktemp("source")
    warehouse, drop = data / "hdm.db", data / "drop"
    _make("liquidlogic", {"url": f"sqlite+aiosqlite:///{warehouse}"}, 30)
    _make("payables", {"folders": [str(drop)], "layouts": ["erp-invoices", "payments-list"]}, 60)
    (drop / "erp-invoices-2026-12.csv").write_text("neither\nthis\n")
    engine = create_engine(f"sqlite:///{warehouse}")
    with engine.begin() as connection:
        wrong = "UPDATE FACT_INVOLVEMENTS SET START_DTTM = 'Thursday' WHERE FACT_INVOLVEMENTS_ID IN (1001, 1003)"
        connection.execute(text(wrong))
        connection.execute(text("UPDATE DIM_PERSON SET FORENAME = 'Zebedee' WHERE DIM_PERSON_ID = 1001"))
    engine.dispose()
    settings = data / "ironbridge.toml"
    settings.write_text(
        f'data = "{data}"\n[kafka]\nbroker = "none"\nbootstrap_servers = "127.0.0.1:1"\n'
        f'[adapters.liquidlogic]\nurl = "sqlite+aiosqlite:///{warehouse}"\n'
        f'[adapters.payables]\nfolders = ["{drop}"]\nlayouts = ["erp-invoices", "payments-list"]\nsettle = 0\n'
    )
    return settings


def _make(kind: str, given: dict[str, object], size: int) -> None:
    system, settings = adapter_system(kind, given)
    assert system.world is not None
    asyncio.run(system.world().make(settings, size, 1))


def test_the_first_rows_are_shown_beside_what_they_become_and_no_value_of_a_person(file: Path) -> None:
    status, said = invoke("try", "liquidlogic", "person", "--rows", "2", "--file", str(file))
    assert status == 0
    for told in ("liquidlogic:person:1001", "liquidlogic:person:1003", "FORENAME: text aaaaaaa", "•••"):
        assert told in said
    assert said.count("person, as published") == 2
    assert "Zebedee" not in said


def test_a_row_that_is_not_published_comes_with_the_reason(file: Path) -> None:
    status, said = invoke("try", "liquidlogic", "involvement", "--file", str(file))
    assert status == 1
    assert said.count("not published: ") == 2
    assert "START_DTTM: is not a date (its shape: text aaaaaaaa)" in " ".join(said.split())
    assert "Thursday" not in said


def test_values_are_shown_with_a_reason_that_goes_on_record(file: Path) -> None:
    assert invoke("migrate", "--file", str(file))[0] == 0
    asked = ("try", "liquidlogic", "person", "--rows", "1", "--reveal", "--file", str(file))
    with pytest.raises(MisconfiguredError, match="no reason is given"):
        invoke(*asked)
    status, said = invoke(*asked, "--why", "the mapping of forenames")
    assert (status, "Zebedee" in said) == (0, True)

    async def on_record() -> list[tuple[str, str]]:
        store = await open_store(f"sqlite+aiosqlite:///{file.parent / 'state.sqlite3'}")
        entries = await newest(store, 5, None)
        await store.close()
        return [(entry.action, entry.why) for entry in entries]

    assert asyncio.run(on_record()) == [("reveal", "the mapping of forenames")]


def test_of_files_the_newest_comes_first_and_one_that_cannot_be_read_is_told(file: Path) -> None:
    status, said = invoke("try", "payables", "--rows", "300", "--json", "--file", str(file))
    assert status == 1
    broken, *rows = json.loads(said)
    assert broken["row"] == {}
    assert "erp-invoices-2026-12" in broken["fault"]
    assert len({row["type"] for row in rows}) > 1
    assert all(row["fault"] or row["entity"]["owner"] for row in rows)


def test_a_profile_tells_how_full_each_column_is_and_which_rules_are_broken(file: Path) -> None:
    status, said = invoke("profile", "liquidlogic", "involvement", "--json", "--file", str(file))
    [told] = json.loads(said)
    columns = {column["name"]: column for column in told["columns"]}
    assert (status, told["rows"] - told["records"]) == (0, 2)
    assert told["faults"] == [{"field": "START_DTTM", "rule": "is not a date", "rows": 2}]
    assert columns["FACT_INVOLVEMENTS_ID"] == {
        "name": "FACT_INVOLVEMENTS_ID", "filled": told["rows"], "distinct": told["rows"],
    }  # fmt: skip
    assert 0 < columns["END_DTTM"]["filled"] < told["rows"]
    assert told["fields"]["start_date"] == told["records"]
    said = invoke("profile", "liquidlogic", "involvement", "--file", str(file))[1]
    assert "is not a date" in said
    assert "100%" in said


def test_a_file_that_cannot_be_read_is_no_row_of_its_stream(file: Path) -> None:
    [told] = json.loads(invoke("profile", "payables", "--json", "--file", str(file))[1])
    refused = sum(fault["rows"] for fault in told["faults"] if fault["field"] == "file")
    assert refused == 1
    assert sum(fault["rows"] for fault in told["faults"]) == told["rows"] - told["records"] + refused


async def test_whatever_an_adapter_raises_is_told_as_one_of_our_errors_and_the_system_is_left() -> None:
    class Broken(TableAdapter):
        closed = 0

        async def close(self) -> None:
            self.closed += 1

        async def _swept(self, after: Position | None) -> AsyncIterator[Page]:
            yield Page([self.record(1, Line(1, "N1"))], (1,))
            raise KeyError("Zebedee")

    adapter = Broken()
    with pytest.raises(IronbridgeError) as met:
        await profiled(adapter, adapter.streams()[0])
    assert "KeyError" in str(met.value)
    assert "Zebedee" not in str(met.value)
    assert [row.key for row in await tried(adapter, adapter.streams()[0], 1)] == ["legacy:care-episode:1"]
    assert adapter.closed == 2


def test_an_adapter_or_a_stream_that_is_not_there_is_named_with_those_that_are(file: Path) -> None:
    with pytest.raises(MisconfiguredError, match=r"liquidlogik is no adapter\. To do: there are: liquidlogic, payables"):
        invoke("try", "liquidlogik", "--file", str(file))
    with pytest.raises(MisconfiguredError, match="people is no stream of liquidlogic"):
        invoke("profile", "liquidlogic", "people", "--file", str(file))


async def test_more_values_than_are_counted_are_told_as_more() -> None:
    adapter = TableAdapter(page=500)
    adapter.lines = {n: Line(1, "N1") for n in range(MANY + 200)}
    profile = await profiled(adapter, adapter.streams()[0])
    assert profile.rows == MANY + 200
    assert [len(column.distinct) for column in profile.columns.values()] == [MANY + 1, 1, 1]


async def test_what_a_system_sends_is_not_taken() -> None:
    taken: list[Parcel] = []

    async def receive() -> object:
        taken.append(Parcel([Record("a", (), ())]))
        yield taken[-1]

    stream = Stream("sent", (CareEpisode,), TableAdapter().map, Push(receive))  # type: ignore[arg-type]
    assert await tried(TableAdapter(), stream, 5) == []
    assert taken == []
