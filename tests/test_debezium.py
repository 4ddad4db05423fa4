"""Debezium's messages as records: envelopes, unwrapped rows, positions, types, and what is no row."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

import pytest
from aiokafka import ConsumerRecord

from adapters.kit.debezium import DebeziumAdapter, DebeziumSettings, DebeziumStream, Epoch
from adapters.kit.debezium_events import DebeziumReader, position_of
from adapters.kit.debezium_values import Writing
from adapters.kit.rows import Soft, row_of
from adapters.kit.streams import FlatRows
from adapters.kit.typed import UnreadValue
from adapters.port import Gone, Record, UnreadRow
from canonical import Person
from canonical.errors import MisconfiguredError
from canonical.key import key_of
from canonical.people import Name


@row_of("tenants", key="tenant_no")
class Tenant(NamedTuple):
    tenant_no: int
    surname: str | None
    born: date | None
    rent: Decimal | None
    changed: datetime | None
    notes: Soft[str | None]


def person(source: str, row: Tenant) -> Person:
    return Person(key=key_of(source, "person", row.tenant_no), names=(Name(family=row.surname),), birth_date=row.born)


TENANTS = DebeziumStream("tenants", person, "housing.public.tenants")
GOOD = {"tenant_no": 7, "surname": "Darby", "born": -94519, "rent": None, "changed": None, "notes": None}
PG = {"connector": "postgresql", "lsn": 100, "sequence": '["90","100"]', "snapshot": "false"}


at = datetime.fromisoformat


def reader(stream: DebeziumStream = TENANTS, era: int = 0, **given: Any) -> DebeziumReader:
    settings = DebeziumSettings(bootstrap_servers="none", era=era, **given)
    writing = Writing(settings.zone, settings.decimals == "string", settings.unavailable)
    return DebeziumReader(FlatRows("housing", stream), writing, settings.era)


def message(value: Any, key: Any = None, offset: int = 5, headers: tuple[tuple[str, bytes], ...] = ()) -> ConsumerRecord:
    told = None if value is None else value if isinstance(value, bytes) else json.dumps(value).encode()
    named = {"tenant_no": 7} if key is None else key
    return ConsumerRecord("t", 0, offset, 0, 0, json.dumps(named).encode(), told, None, 0, 0, headers)


def envelope(op: str, after: Any = None, before: Any = None, source: Mapping[str, Any] = PG) -> dict[str, Any]:
    return {"before": before, "after": after, "source": {**source}, "op": op, "ts_ms": 1}


def with_schema(payload: Any, **fields: Mapping[str, Any]) -> dict[str, Any]:
    row = [{"field": name, **schema} for name, schema in fields.items()]
    schema = {"type": "struct", "name": "x.Envelope", "fields": [{"type": "struct", "field": "after", "fields": row}]}
    return {"schema": schema, "payload": payload}


def read(value: Any, **given: Any) -> Any:
    word = reader(**given)(message(value))
    assert isinstance(word, Record), word
    return Tenant(*word.row)


# -- what a message says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["c", "u", "r"])
def test_a_row_that_was_made_changed_or_read_is_a_record(op: str) -> None:
    word = reader()(message(envelope(op, GOOD)))
    assert isinstance(word, Record)
    assert (word.key, word.row) == ("housing:person:7", (7, "Darby", date(1711, 3, 21), None, None, None))
    assert word.position == (() if op == "r" else (0, 100, 100))


def test_a_deletion_and_its_tombstone_are_one_word() -> None:
    it = reader()
    assert it(message(envelope("d", before={"tenant_no": 7}))) == Gone("housing:person:7", (0, 100, 100))
    assert it(message(None)) is None
    assert it(message(None)) == Gone("housing:person:7")


def test_a_tombstone_whose_deletion_was_compacted_away_is_a_deletion() -> None:
    it = reader()
    assert it(message(envelope("d"), key={"tenant_no": 8})) == Gone("housing:person:8", (0, 100, 100))
    assert it(message(None)) == Gone("housing:person:7")


@pytest.mark.parametrize(
    "value",
    [
        {"ts_ms": 1},
        {"schema": {"type": "struct", "name": "io.debezium.connector.common.Heartbeat"}, "payload": {"ts_ms": 1}},
        {"status": "BEGIN", "id": "5:1", "event_count": None, "data_collections": None, "ts_ms": 1},
        {"source": {}, "databaseName": "x", "schemaName": "y", "ddl": "ALTER TABLE", "tableChanges": []},
        {"op": "m", "source": {"lsn": 1}, "ts_ms": 1, "message": {"prefix": "foo", "content": "Ymfy"}},
    ],
    ids=["heartbeat", "heartbeat with its schema", "transaction", "schema change", "logical message"],
)
def test_what_is_about_no_row_is_passed_over(value: Any) -> None:
    assert reader()(message(value)) is None


@pytest.mark.parametrize(
    ("value", "field", "rule"),
    [
        (envelope("t"), "op", "says that the table was emptied (TRUNCATE), and not which rows it held"),
        (envelope("x", GOOD), "op", "is none of c, u, d, r, t, m"),
        (envelope("u"), "after", "is missing"),
        (b"{not json", "the message", "is not JSON"),
        (b"[1]", "the message", "is no structure"),
        (envelope("u", GOOD | {"tenant_no": 8}), "the key", "is another one in the row than in the message's key"),
    ],
)
def test_what_cannot_be_read_is_quarantined_under_a_key_of_its_own(value: Any, field: str, rule: str) -> None:
    word = reader()(message(value, offset=17))
    assert isinstance(word, Record)
    assert (word.key, type(word.row)) == ("housing:person:unread 0 17", UnreadRow)
    assert isinstance(word.row, UnreadRow)
    assert word.row.field == field
    assert word.row.rule.startswith(rule)


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        (b"\x00\x00\x00\x00\x01x", b"{}", "a message is not JSON: it is written by a schema registry"),
        (b"Struct{tenant_no=7}", b'{"x": 1}', "a message's key is not JSON"),
        (None, b'{"x": 1}', "a message has another key than tenant_no: none"),
        (b'{"id": 7}', b'{"x": 1}', "a message has another key than tenant_no: id"),
    ],
)
def test_keys_that_tell_no_record_stop_the_stream(key: bytes | None, value: bytes, what: str) -> None:
    bad = ConsumerRecord("t", 0, 1, 0, 0, key, value, None, 0, 0, ())
    with pytest.raises(MisconfiguredError) as told:
        reader()(bad)
    assert told.value.what == what


def test_an_unwrapped_row_is_read_and_its_deletion() -> None:
    it = reader()
    word = it(message(GOOD | {"__deleted": "false", "__op": "u", "__lsn": 100}))
    assert isinstance(word, Record)
    assert (word.row[1], word.position) == ("Darby", (0, 100, 100))
    assert it(message(GOOD | {"__deleted": "true"})) == Gone("housing:person:7")
    said = it(message(GOOD, headers=(("__op", b"u"), ("__source_lsn", b"120"))))
    assert isinstance(said, Record)
    assert said.position == (0, 120, 120)
    assert it(message(None, offset=9)) == Gone("housing:person:7")


def test_a_key_with_its_schema_and_columns_in_capitals_are_read() -> None:
    value = {name.upper(): value for name, value in GOOD.items()}
    key = {"schema": {"type": "struct", "fields": [{"type": "int32", "field": "TENANT_NO"}]}, "payload": {"TENANT_NO": 7}}
    word = reader()(message(envelope("c", value), key=key))
    assert isinstance(word, Record)
    assert word.row[:2] == (7, "Darby")


# -- positions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "op", "position"),
    [
        (PG, "u", (3, 100, 100)),
        (PG | {"sequence": '["150","100"]'}, "u", (3, 150, 100)),
        (PG | {"sequence": '[null,"100"]', "snapshot": "last"}, "r", ()),
        (PG | {"snapshot": "incremental"}, "r", (3, 100, 100)),
        ({"lsn": 100}, None, ()),
        ({"file": "mysql-bin.000003", "pos": 154, "row": 2, "snapshot": "false"}, "u", (3, 3, 154, 2)),
        ({"file": "mysql-bin.000003", "pos": 154, "row": 0, "snapshot": "true"}, "r", (3, 3, 154, 0)),
        ({"scn": "120", "commit_scn": "150", "snapshot": "false"}, "u", (3, 150, 120)),
        ({"scn": "140", "commit_scn": None, "snapshot": "true"}, "r", (3, 140, 140)),
        ({"scn": "140", "commit_scn": None, "snapshot": "false"}, "u", ()),
        (
            {"commit_lsn": "00000027:00000758:0005", "change_lsn": "00000027:00000758:0003", "event_serial_no": 2},
            "u",
            (3, 39, 1880, 5, 39, 1880, 3, 2),
        ),
        ({"commit_lsn": "00000027:00000758:0005", "change_lsn": None}, "r", (3, 39, 1880, 5, 0, 0, 0, 0)),
        ({"lsn": "x"}, "u", ()),
        ({}, "u", ()),
    ],
)
def test_a_message_stands_where_its_source_committed_it(source: Any, op: str | None, position: tuple[int, ...]) -> None:
    assert position_of(source, op, 3) == position


def test_a_transaction_that_was_open_during_an_incremental_snapshot_is_newer_than_its_rows() -> None:
    """Its change lies before the snapshot's place in the log, and its commit behind it."""
    snapshot = position_of({"lsn": 180, "sequence": '["150","180"]', "snapshot": "incremental"}, "r", 0)
    late = position_of({"lsn": 120, "sequence": '["190","120"]', "snapshot": "false"}, "u", 0)
    assert late > snapshot


# -- values ----------------------------------------------------------------------------------------------------------


def typed_value(field: str, schema: Mapping[str, Any], value: Any) -> Any:
    return getattr(read(with_schema(envelope("c", GOOD | {field: value}), **{field: schema})), field)


def name(said: str, kind: str = "int64") -> dict[str, Any]:
    return {"type": kind, "name": said}


DECIMAL = {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "2"}}
ZONED = name("io.debezium.time.ZonedTimestamp", "string")


@pytest.mark.parametrize(
    ("field", "schema", "value", "becomes"),
    [
        ("born", name("io.debezium.time.Date", "int32"), 17702, date(2018, 6, 20)),
        ("born", name("org.apache.kafka.connect.data.Date", "int32"), -1, date(1969, 12, 31)),
        ("born", name("io.debezium.time.IsoDate", "string"), "2018-06-20Z", date(2018, 6, 20)),
        ("born", ZONED, "2018-06-19T23:00:00Z", date(2018, 6, 20)),
        ("changed", name("io.debezium.time.Timestamp"), -1, at("1969-12-31 23:59:59.999000")),
        ("changed", name("org.apache.kafka.connect.data.Timestamp"), 1529507596945, at("2018-06-20 15:13:16.945000")),
        ("changed", name("io.debezium.time.MicroTimestamp"), 1529507596945104, at("2018-06-20 15:13:16.945104")),
        ("changed", name("io.debezium.time.NanoTimestamp"), 1529507596945104999, at("2018-06-20 15:13:16.945104")),
        ("changed", name("io.debezium.time.MicroTimestamp"), 9223372036825200000, at("9999-12-31 23:59:59.999999")),
        ("changed", name("io.debezium.time.IsoTimestamp", "string"), "2018-06-20T15:13:16Z", at("2018-06-20 15:13:16")),
        ("changed", ZONED, "2018-06-20T13:37:03Z", datetime(2018, 6, 20, 13, 37, 3, tzinfo=UTC)),
        ("notes", name("io.debezium.time.MicroTime"), 37800000000, "10:30:00"),
        ("rent", DECIMAL, "BOI=", Decimal("12.50")),
        ("rent", DECIMAL, "/w==", Decimal("-0.01")),
        ("rent", DECIMAL, 12.5, Decimal("12.5")),
        ("rent", name("io.debezium.data.VariableScaleDecimal", "struct"), {"scale": 1, "value": "fQ=="}, Decimal("12.5")),
        ("rent", {"type": "string"}, "12.50", "12.50"),
        ("notes", name("io.debezium.data.Bits", "bytes"), "AQI=", 513),
    ],
)  # fmt: skip
def test_a_value_is_read_as_its_schema_says(field: str, schema: Mapping[str, Any], value: Any, becomes: Any) -> None:
    found = typed_value(field, schema, value)
    assert (found, type(found)) == (becomes, type(becomes))


@pytest.mark.parametrize(
    ("field", "schema", "value", "rule"),
    [
        ("rent", {"type": "double"}, 12.5, "is sent as a double, which cannot hold a tenth"),
        ("rent", DECIMAL, "?", "is not a number"),
        ("rent", name("org.apache.kafka.connect.data.Decimal", "bytes"), "BOI=", "is not as its type says"),
        ("notes", {"type": "bytes"}, "BOI=", "is binary"),
        ("notes", {"type": "array"}, ["a"], "is a list or a structure"),
        ("notes", name("io.debezium.time.MicroDuration"), 1, "is of the type MicroDuration, which is not read"),
        ("born", name("io.debezium.time.Date", "int32"), 2**31 - 1, "is not as its type says"),
        ("changed", ZONED, "soon", "is not as its type says"),
    ],
)
def test_a_value_that_is_not_as_its_schema_says_is_not_read(field: str, schema: Any, value: Any, rule: str) -> None:
    found = typed_value(field, schema, value)
    assert isinstance(found, UnreadValue)
    assert found.rule.startswith(rule)


@row_of("tenants", key="tenant_no")
class TimedTenant(NamedTuple):
    tenant_no: int
    surname: str | None
    changed: Annotated[datetime | None, Epoch.MICROSECONDS]


def timed_person(source: str, row: TimedTenant) -> Person:
    return Person(key=key_of(source, "person", row.tenant_no), names=(Name(family=row.surname),))


def test_without_a_schema_what_may_be_read_in_two_ways_is_not_read() -> None:
    assert isinstance(read(GOOD | {"rent": "1234"}).rent, UnreadValue)  # text, or three bytes
    assert isinstance(read(GOOD | {"rent": 12.5}).rent, UnreadValue)
    assert isinstance(read(GOOD | {"changed": 1529507596945104}).changed, UnreadValue)
    assert read(GOOD | {"rent": "1234"}, decimals="string").rent == "1234"
    assert read(GOOD | {"changed": "2018-06-20T13:37:03Z"}).changed == datetime(2018, 6, 20, 13, 37, 3, tzinfo=UTC)
    word = reader(DebeziumStream("tenants", timed_person, "t"))(message(GOOD | {"changed": 1529507596945104}))
    assert isinstance(word, Record)
    assert word.row[2] == at("2018-06-20 15:13:16.945104")


PLACEHOLDER = "__debezium_unavailable_value"


@pytest.mark.parametrize(
    "written", [PLACEHOLDER, base64.b64encode(PLACEHOLDER.encode()).decode(), PLACEHOLDER.encode().hex(), [PLACEHOLDER]]
)
def test_a_value_that_was_not_logged_is_never_published(written: Any) -> None:
    sent = envelope("u", GOOD | {"notes": written})
    assert isinstance(read(sent).notes, UnreadValue)
    assert isinstance(read(sent | {"before": {"notes": written}}).notes, UnreadValue)
    assert read(sent | {"before": {"notes": "long"}}).notes == "long"
    assert read(envelope("u", GOOD | {"notes": "__none"}) | {}, unavailable="__none").notes.rule.startswith("was not sent")


def adapter(*streams: DebeziumStream, **given: Any) -> DebeziumAdapter:
    return DebeziumAdapter("housing", DebeziumSettings(bootstrap_servers="none", **given), streams or [TENANTS])


def test_an_unread_value_quarantines_its_record_or_costs_its_soft_field() -> None:
    (stream,) = adapter().streams()
    hard = reader()(message(envelope("u", GOOD | {"surname": PLACEHOLDER})))
    soft = reader()(message(envelope("u", GOOD | {"notes": PLACEHOLDER})))
    assert isinstance(hard, Record)
    assert isinstance(soft, Record)
    assert stream.softly
    with pytest.raises(Exception, match="surname: was not sent: it did not change"):
        stream.map(hard.row)
    assert stream.softly(hard.row) is None
    softened = stream.softly(soft.row)
    assert softened
    assert [each.field for each in softened.left_out] == ["tenants.notes"]


def test_a_column_that_the_message_lacks_is_not_taken_for_an_empty_one() -> None:
    lacking = {name: value for name, value in GOOD.items() if name != "surname"}
    assert read(envelope("c", lacking)).surname == UnreadValue("the message has no such column")


@row_of("cards", of="tenant_no")
class Card(NamedTuple):
    number: int


@row_of("tenants", key="tenant_no")
class TenantWithCards(NamedTuple):
    tenant_no: int
    cards: tuple[Card, ...]


def holder(source: str, row: TenantWithCards) -> Person:
    return Person(key=key_of(source, "person", row.tenant_no))


def test_a_declaration_that_a_topic_cannot_fill_is_refused() -> None:
    with pytest.raises(MisconfiguredError, match="`cards` is of another table"):
        adapter(DebeziumStream("tenants", holder, "t"))
    with pytest.raises(MisconfiguredError, match="`topics` names no stream: tenant"):
        adapter(topics={"tenant": "x"})
    with pytest.raises(ValueError, match="SASL needs"):
        DebeziumSettings(bootstrap_servers="x", security_protocol="SASL_SSL")
