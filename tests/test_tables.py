"""The open tables: columns, rows, what is written where, what is left out, what is deleted, and who may write."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from canonical import ENTITIES, CareEpisode, DocumentLine, Entity, Event, Invoice, Name, Person
from canonical.entity import FINANCIAL, PLAIN
from canonical.errors import BadRecordError, MisconfiguredError, UnavailableError
from canonical.values import Code
from ironbridge.cli.app import app
from ironbridge.operate.table_checks import of_tables
from ironbridge.settings import TablesSettings
from ironbridge.store import open_store
from ironbridge.tables import query, upkeep
from ironbridge.tables.choice import TablePlan, plans
from ironbridge.tables.rows import rows, sorted_out
from ironbridge.tables.schema import schema_of, table_name
from ironbridge.tables.table import OpenTable, OvertakenError
from ironbridge.tables.upkeep import keep_up

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
ALL = ["plain", "identifying", "special", "financial"]
TOPIC = "canonical.person"


def person(number: int = 1, given: str = "Wilhelmina") -> Person:
    return Person(key=f"legacy:person:{number}", names=(Name(given=given),), birth_date=date(2011, 2, 3))


def event(entity: Entity, version: int = 1, time: datetime = NOON, **other: Any) -> Event:
    return Event(entity.type_name, "legacy", entity.key, entity.owner, version, time, **{"data": entity.to_bytes()} | other)


def placed(events: Iterable[Event], begin: int = 0, partition: int = 0) -> pa.Table:
    """Rows of persons that lie one behind another in a partition."""
    made = rows(Person, list(events))
    offsets = pa.array(range(begin, begin + made.num_rows), pa.int64())
    partitions = pa.array([partition] * made.num_rows, pa.int32())
    return made.append_column("_partition", partitions).append_column("_offset", offsets)


def tables(path: Path | str, **given: Any) -> tuple[OpenTable, OpenTable]:
    """The history and the latest table of persons, open."""
    both = tuple(OpenTable(p, {}) for p in plans(TablesSettings(path=str(path), entities=("person",), hold=ALL, **given)))
    for each in both:
        each.open()
    return both  # type: ignore[return-value]


def held(table: OpenTable, *columns: str) -> list[tuple[Any, ...]]:
    found = table.dataset().to_table(columns=list(columns))
    return sorted(zip(*(found[name].to_pylist() for name in columns), strict=True))


# -- columns and rows ------------------------------------------------------------------------------------------------


def test_every_entity_has_columns_and_a_name_that_sql_takes() -> None:
    for entity in ENTITIES.values():
        assert schema_of(entity).names[0] == "key"
        assert table_name(entity).isidentifier()
    kinds = {each.name: str(each.type) for each in schema_of(Invoice)}
    assert (kinds["document_date"], kinds["outstanding"], kinds["_changed"]) == (
        "date32[day]", "decimal128(18, 2)", "timestamp[us, tz=UTC]",
    )  # fmt: skip


def test_a_row_says_what_its_event_says() -> None:
    lines = (DocumentLine(number=1, net=Decimal("12.50")), DocumentLine(number=2, description='a "b"\nc', net=Decimal(-1)))
    invoice = Invoice(key="legacy:invoice:1", number="7", supplier="legacy:supplier:3", lines=lines, due_date=date(2026, 1, 2))
    first, gone = rows(Invoice, [event(invoice, 5), event(invoice, 6, data=None)]).to_pylist()
    assert (first["key"], first["_version"], first["_owner"], first["_deleted"]) == (invoice.key, 5, invoice.supplier, False)
    assert (first["due_date"], first["_changed"], first["currency"]) == (date(2026, 1, 2), NOON, "GBP")
    assert [(line["net"], line["description"]) for line in first["lines"]] == [(Decimal("12.50"), None), (-1, 'a "b"\nc')]
    assert gone["_deleted"]
    assert gone["number"] is None


def test_an_event_of_an_older_release_has_the_defaults_and_one_of_a_newer_has_no_more_columns() -> None:
    [row] = rows(Person, [event(person(), data=b'{"key": "legacy:person:1", "shoe_size": 7}')]).to_pylist()
    assert (row["names"], row["sex"], row["restricted"], row["birth_date"]) == ([], "U", False, None)


def test_a_bad_record_is_named_without_its_content_and_the_others_are_read() -> None:
    wrong = [
        event(person(2), data=b'{"key": "legacy:person:2", "birth_date": "Wilhelmina"}'),
        event(person(3), data=b'{"key": "legacy:person:4"}'),
        event(person(5), data=b'{"key": "legacy:person:5"}\n{"key": "legacy:person:6"}'),
        event(person(6), data=b""),
    ]
    events = [event(person(1)), *wrong, event(person(7))]
    with pytest.raises(BadRecordError):
        rows(Person, events)
    good, bad = sorted_out(Person, events)
    assert (good, len(bad)) == ([0, 5], 4)
    assert "Wilhelmina" not in " ".join(map(str, bad))


def test_a_field_stands_where_its_class_may_stand_and_nowhere_else() -> None:
    def columns(entity: str, **given: Any) -> dict[str, TablePlan]:
        return {p.view: p for p in plans(TablesSettings(path="/t", entities=(entity,), **given))}

    assert {"number", "supplier"} <= set(columns("invoice")["invoice"].columns.names)
    assert {"payee", "outstanding", "lines"}.isdisjoint(columns("invoice")["invoice"].columns.names)
    assert "net" in str(columns("invoice", hold=("plain", "financial"))["invoice"].columns.field("lines").type)
    only_financial = columns("invoice", hold=("financial",))["invoice"].columns.field("lines").type
    assert [each.name for each in only_financial.value_type] == ["description", "net", "tax"]
    apart = columns("person", apart=("identifying",), apart_path="/a")
    assert "names" not in apart["person"].columns.names
    assert {"key", "_version", "names", "nhs_number"} <= set(apart["apart_person"].columns.names)
    assert {"ethnicity", "restricted"}.isdisjoint(apart["apart_person"].columns.names)
    assert apart["apart_person_history"].uri == "/a/person_history"


# -- one table -------------------------------------------------------------------------------------------------------


def test_the_latest_table_has_the_newest_version_of_each_key_and_the_history_has_all(tmp_path: Path) -> None:
    history, latest = tables(tmp_path)
    first = placed([event(person(n), 1) for n in (1, 2, 3)] + [event(person(1, "Mina"), 2)])
    second = placed([event(person(2), 3, data=None), event(person(3), 3, data=None, moved_to="legacy:person:9")], 4)
    there = placed([event(person(3), 4)], 0, partition=1)
    for each in (first, second, there):
        history.write(TOPIC, each)
        latest.write(TOPIC, each)
    assert held(latest, "key", "_version", "_partition") == [("legacy:person:1", 2, 0), ("legacy:person:3", 4, 1)]
    assert latest.dataset().to_table(filter=pa.compute.field("_version") == 2)["names"].to_pylist()[0][0]["given"] == "Mina"
    assert [version for _, version in held(history, "key", "_version")] == [1, 2, 1, 3, 1, 3, 4]


def test_what_a_table_has_is_not_written_again(tmp_path: Path) -> None:
    history, latest = tables(tmp_path)
    batch = placed([event(person(n), 1) for n in range(5)])
    assert [t.write(TOPIC, batch) for t in (history, latest)] == [5, 5]
    again = tables(tmp_path)  # as a new process sees it
    assert [t.write(TOPIC, batch) for t in again] == [0, 0]
    assert [t.write(TOPIC, placed([event(person(n), 1) for n in range(3, 8)], 3)) for t in again] == [3, 3]
    assert [len(held(t, "key")) for t in again] == [8, 8]
    assert again[0].offset(TOPIC, 0) == 8


@pytest.mark.parametrize("history", [True, False])
def test_of_two_writers_at_one_place_the_second_is_refused_and_goes_on_where_the_table_stands(
    tmp_path: Path, *, history: bool
) -> None:
    one, other = tables(tmp_path)[not history], tables(tmp_path)[not history]
    batch = placed([event(person(n), 1) for n in range(3)])
    one.write(TOPIC, batch)
    with pytest.raises(OvertakenError, match="another writer has written"):
        other.write(TOPIC, batch)
    other.open()
    assert other.write(TOPIC, batch) == 0
    assert len(held(other, "key")) == 3


class Grown(Entity):
    """A lamp post, as two releases know it."""

    type_name: ClassVar[str] = "lamp-post"
    standard: ClassVar[str] = "none"
    lit: Annotated[bool, PLAIN] = False


class GrownMore(Grown):
    cost: Annotated[Code | None, FINANCIAL] = None


class GrownOtherwise(Grown):
    lit: Annotated[Code | None, PLAIN] = None  # type: ignore[assignment]


def test_a_new_field_is_a_new_column_and_another_type_is_refused_with_the_remedy(tmp_path: Path) -> None:
    def plan(entity: type[Entity]) -> TablePlan:
        place = [pa.field("_partition", pa.int32(), nullable=False), pa.field("_offset", pa.int64(), nullable=False)]
        return TablePlan(entity, str(tmp_path / "lamp"), True, pa.schema([*schema_of(entity), *place]))

    OpenTable(plan(Grown), {}).open()
    more = OpenTable(plan(GrownMore), {})
    more.open()
    assert "cost" in more.dataset().schema.names
    with pytest.raises(MisconfiguredError, match=r"`lit` has another type.*To do: move .*lamp away"):
        OpenTable(plan(GrownOtherwise), {}).open()


def test_a_class_that_the_settings_leave_out_now_may_not_stay_in_the_table(tmp_path: Path) -> None:
    tables(tmp_path)
    found = list(of_tables(TablesSettings(path=str(tmp_path), entities=("person",))))
    assert [each.well for each in found] == [True, False, False]
    assert "is of a class that the settings leave out" in found[-1].what


# -- deletions -------------------------------------------------------------------------------------------------------


def _on_disk(folder: Path, word: bytes) -> list[str]:
    """The files that hold a word, data files and logs alike; data files are read as tables because they are compressed."""
    found = [f.name for f in folder.rglob("*") if f.is_file() and word in f.read_bytes()]
    for file in folder.rglob("*.parquet"):
        with_it = word.decode() in str(pa.parquet.read_table(file, partitioning=None).to_pylist())
        found += [file.name] if with_it else []
    return found


def test_what_was_deleted_long_ago_leaves_the_history_and_the_disk(tmp_path: Path) -> None:
    import pyarrow.parquet  # noqa: F401

    now = datetime.now(UTC)
    old, young = now - timedelta(days=40), now - timedelta(days=2)
    settings = TablesSettings(path=str(tmp_path), entities=("person",), hold=ALL)
    both = tables(tmp_path)
    batch = [event(person(1), 1, old), event(person(1), 2, old, data=None), event(person(2, "Ada"), 1, old)]
    batch += [event(person(2), 2, young, data=None), event(person(3, "Eve"), 1, old, data=None), event(person(3, "Eve"), 2, now)]
    for each in both:
        each.write(TOPIC, placed(batch))
        keep_up(each, settings)
        each.vacuum(0)
    assert [key[-1] for (key,) in held(both[0], "key")] == ["2", "2", "3", "3"]
    assert [key[-1] for (key,) in held(both[1], "key")] == ["3"]
    assert _on_disk(tmp_path, b"Ada")
    assert not _on_disk(tmp_path, b"Wilhelmina")


def test_an_erased_record_is_nowhere_on_the_disk_and_the_offsets_stay(tmp_path: Path) -> None:
    import pyarrow.parquet  # noqa: F401

    both = tables(tmp_path)
    for each in both:
        each.write(TOPIC, placed([event(person(1), 1), event(person(2, "Ada"), 1), event(person(1), 2)]))
    assert [upkeep.erase(each, ["legacy:person:1"]) for each in both] == [2, 1]
    assert [held(each, "key") for each in both] == [[("legacy:person:2",)]] * 2
    assert not _on_disk(tmp_path, b"Wilhelmina")
    assert [each.offset(TOPIC, 0) for each in tables(tmp_path)] == [3, 3]


def test_many_small_files_become_few_and_hold_the_same(tmp_path: Path) -> None:
    history, _ = tables(tmp_path)
    for number in range(14):
        history.write(TOPIC, placed([event(person(number), 1)], number))
    keep_up(history, TablesSettings(path=str(tmp_path), hold=ALL))
    assert len(history.sizes()) == 1
    assert (len(held(history, "key")), history.offset(TOPIC, 0)) == (14, 14)


# -- an object store -------------------------------------------------------------------------------------------------


def test_tables_in_an_object_store_are_written_checked_and_asked(s3: dict[str, str]) -> None:
    settings = TablesSettings(path="s3://council/tables", entities=("person",), hold=ALL, storage=s3)
    both = [OpenTable(plan, s3) for plan in plans(settings)]
    other = OpenTable(both[1].plan, s3)
    for each in (*both, other):
        each.open()
    batch = placed([event(person(n), 1) for n in range(3)])
    for each in both:
        each.write(TOPIC, batch)
        each.write(TOPIC, placed([event(person(1, "Mina"), 2), event(person(2), 2, data=None)], 3))
    with pytest.raises(OvertakenError):
        other.write(TOPIC, batch)
    connection = query.opened(settings)
    assert connection.execute("SELECT key, names[1].given FROM person ORDER BY key").fetchall() == [
        ("legacy:person:0", "Wilhelmina"), ("legacy:person:1", "Mina"),
    ]  # fmt: skip
    assert connection.execute("SELECT count(*) FROM person_history").fetchall() == [(5,)]
    connection.close()
    assert all(each.well for each in of_tables(settings))


def test_a_store_that_is_away_is_told_without_its_secrets() -> None:
    storage = {"aws_endpoint_url": "http://127.0.0.1:1", "aws_region": "eu-west-2", "aws_allow_http": "true", "max_retries": "0"}
    storage |= {"aws_access_key_id": "ironbridge", "aws_secret_access_key": "hush-hush", "retry_timeout": "1s"}
    settings = TablesSettings(path="s3://council/tables", entities=("person",), storage=storage)
    with pytest.raises(UnavailableError, match="its store does not do as asked") as told:
        OpenTable(plans(settings)[0], storage).open()
    assert "hush" not in str(told.value) + repr(settings)


def test_settings_that_contradict_themselves_are_refused() -> None:
    for given in ({"apart": ["special"]}, {"hold": ["special"], "apart": ["special"], "apart_path": "/a"}):
        with pytest.raises(ValueError, match=r"apart needs apart_path|both name special"):
            TablesSettings(path="/t", **given)
    with pytest.raises(MisconfiguredError, match="did you mean `person`"):
        plans(TablesSettings(path="/t", entities=("persn",)))
    assert plans(TablesSettings(path="/t", entities=("care-episode",)))[1].entity is CareEpisode


# -- the commands ----------------------------------------------------------------------------------------------------


def test_the_commands_list_check_ask_and_erase(tmp_path: Path) -> None:
    file = tmp_path / "ironbridge.toml"
    file.write_text(
        f'data = "{tmp_path}"\n[tables]\npath = "{tmp_path}/t"\nentities = ["person"]\nhold = {json.dumps(ALL)}\n', "utf-8"
    )

    def said(*words: str, status: int = 0) -> str:
        done = CliRunner().invoke(app, [*words, "-f", str(file)])
        assert done.exit_code == status, done.output
        return done.output

    asyncio.run(_state(f"sqlite+aiosqlite:///{tmp_path}/state.sqlite3"))
    for each in tables(tmp_path / "t"):
        each.write(TOPIC, placed([event(person(1), 1), event(person(2, "Ada"), 1)]))
    found = json.loads(said("tables", "list", "--json"))
    assert [(each["name"], each["rows"]) for each in found] == [("person_history", 2), ("person", 2)]
    assert "All is well" in said("tables", "check")
    asked = "SELECT key, names[1].given AS given FROM person ORDER BY key"
    assert said("tables", "query", asked, "--format", "csv").split() == [
        "key,given", "legacy:person:1,Wilhelmina", "legacy:person:2,Ada",
    ]  # fmt: skip
    assert "Deleted 2 rows" in said("tables", "erase", "legacy:person:1", "--why", "article 17")
    assert said("tables", "query", asked, "--format", "csv").split() == ["key,given", "legacy:person:2,Ada"]


async def _state(url: str) -> None:
    await (await open_store(url)).close()
