"""The envelope: CloudEvents 1.0 in Kafka's binary mode, written and read."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canonical import ENTITIES, Event, Person
from canonical.errors import BadRecordError
from canonical.event import topic_of

KEY = "liquidlogic:person:1042"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TO_DO = ". To do: publish to this topic through an Ironbridge adapter only"


def event(**changed: Any) -> Event:
    given = {"entity": "person", "source": "liquidlogic", "key": KEY, "owner": KEY, "version": 3, "time": NOON}
    return Event(**{**given, "data": b"{}", "stream": "people", **changed})


def told(headers: dict[str, Any]) -> str:
    with pytest.raises(BadRecordError) as raised:
        Event.from_kafka("canonical.person[0]@7", b"{}", list(headers.items()))
    assert raised.value.__suppress_context__
    return str(raised.value)


EVENTS = st.builds(
    Event,
    entity=st.sampled_from(sorted(ENTITIES)),
    source=st.from_regex(r"[a-z][a-z0-9_.-]{0,20}", fullmatch=True),
    key=st.from_regex(r"[a-z]+:[a-z-]+:[!-~]{1,20}", fullmatch=True),
    owner=st.from_regex(r"[a-z]+:[a-z-]+:[!-~]{1,20}", fullmatch=True),
    version=st.integers(1, 2**31 - 1),
    time=st.datetimes(
        min_value=datetime(1970, 1, 2), max_value=datetime(9998, 1, 1), timezones=st.just(UTC)  # noqa: DTZ001
    ),
    data=st.none() | st.binary(),
    stream=st.just("") | st.from_regex(r"[a-z-]+", fullmatch=True),
    traceparent=st.none() | st.just(TRACE),
    schema_version=st.integers(1, 99),
)  # fmt: skip


def test_a_tombstone_that_a_move_leaves_names_the_new_owner_and_any_other_names_none() -> None:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    gone = Event("care-episode", "legacy", "legacy:care-episode:4", "legacy:person:1", 2, at, None, schema_version=3)
    moved = gone._replace(moved_to="legacy:person:77")
    assert ("ce_movedto", b"legacy:person:77") in moved.headers()
    assert Event.from_kafka("here", None, moved.headers()) == moved
    assert Event.from_kafka("here", None, gone.headers()).moved_to == ""
    assert ("ce_dataschema", b"urn:ironbridge:schema:care-episode:v3") in gone.headers()


def test_the_attributes_are_headers_and_traceparent_stands_beside_them() -> None:
    assert event(traceparent=TRACE).headers() == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"liquidlogic:person:1042@3"),
        ("ce_source", b"urn:ironbridge:liquidlogic"),
        ("ce_type", b"ironbridge.person.v1"),
        ("ce_subject", b"liquidlogic:person:1042"),
        ("ce_time", b"2026-11-22T12:00:00Z"),
        ("ce_dataschema", b"urn:ironbridge:schema:person:v1"),
        ("ce_sequence", b"0000000003"),
        ("ce_partitionkey", b"liquidlogic:person:1042"),
        ("content-type", b"application/json"),
        ("ce_stream", b"people"),
        ("traceparent", TRACE.encode()),
    ]


@settings(deadline=None)
@given(EVENTS)
def test_an_event_is_read_as_it_was_written(one: Event) -> None:
    assert Event.from_kafka("x", one.data, one.headers()) == one


@settings(deadline=None)
@given(EVENTS)
def test_the_headers_keep_the_rules_of_cloudevents(one: Event) -> None:
    headers = one.headers()
    names = [name for name, _ in headers]
    assert len(names) == len(set(names))
    # Attribute names: lower-case letters and digits, at most 20; each with the prefix of the Kafka binding.
    assert all(re.fullmatch(r"ce_[a-z0-9]{1,20}|content-type|traceparent", name) for name in names)
    had = {name: value.decode("utf-8") for name, value in headers}
    assert {"ce_id", "ce_source", "ce_specversion", "ce_type"} <= had.keys()
    assert all(had.values())  # String attributes are not empty
    assert had["ce_specversion"] == "1.0"
    assert urlsplit(had["ce_source"]).scheme == urlsplit(had["ce_dataschema"]).scheme == "urn"
    assert not re.search(r"\s", had["ce_source"] + had["ce_dataschema"] + had["ce_type"])
    # RFC 3339, with its zone.
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", had["ce_time"])
    # A media type that is not CloudEvents' own is what tells binary mode from structured mode.
    assert had["content-type"] == "application/json"


@settings(deadline=None)
@given(st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1))
def test_sequences_sort_as_text_as_the_versions_do(one: int, other: int) -> None:
    first, second = (dict(event(version=version).headers())["ce_sequence"] for version in (one, other))
    assert (first < second) == (one < other)


def test_the_id_is_the_same_for_the_same_key_and_version_whenever_it_is_made() -> None:
    later = event(time=NOON + timedelta(days=1), data=b"other", traceparent=TRACE, stream="again")
    assert event().id == later.id == "liquidlogic:person:1042@3"
    assert event(version=4).id != event().id
    assert event(key="liquidlogic:person:1043").id != event().id


def test_a_deletion_has_no_value_and_keeps_its_headers() -> None:
    gone = event(data=None)
    assert gone.headers() == event().headers()
    assert Event.from_kafka("x", None, gone.headers()) == gone


def test_the_type_and_the_schema_follow_the_entity_and_its_version() -> None:
    newer = event(schema_version=2)
    assert newer.type == "ironbridge.person.v2"
    assert dict(newer.headers())["ce_dataschema"] == b"urn:ironbridge:schema:person:v2"
    assert event().type == Person.event_type()


def test_a_time_of_another_zone_is_read_as_utc() -> None:
    headers = dict(event().headers()) | {"ce_time": b"2026-11-22T13:00:00+01:00"}
    again = Event.from_kafka("x", b"{}", list(headers.items()))
    assert again == event()
    assert again.time.tzinfo is UTC
    summer = event(time=NOON.astimezone(timezone(timedelta(hours=1))))
    assert Event.from_kafka("x", b"{}", summer.headers()).time == NOON


def test_a_garbled_trace_does_not_cost_the_event() -> None:
    for trace in (b"", b"nonsense", b"\xff", TRACE.upper().encode(), f"{TRACE}-x".encode()):
        headers = [*event().headers(), ("traceparent", trace)]
        assert Event.from_kafka("x", b"{}", headers) == event()


def test_headers_of_others_are_left_alone() -> None:
    assert Event.from_kafka("x", b"{}", [("spanId", b"\xff"), *event().headers(), ("ce_other", b"")]) == event()


@pytest.mark.parametrize("optional", ["ce_dataschema", "content-type"])
def test_an_attribute_that_cloudevents_does_not_require_may_be_missing(optional: str) -> None:
    headers = dict(event().headers())
    del headers[optional]
    assert Event.from_kafka("x", b"{}", list(headers.items())) == event()


REQUIRED = [
    "ce_specversion", "ce_type", "ce_source", "ce_subject", "ce_sequence", "ce_id", "ce_time", "ce_partitionkey",
]  # fmt: skip


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_header_is_named(name: str) -> None:
    headers = dict(event().headers())
    del headers[name]
    assert told(headers) == f"canonical.person[0]@7: header {name}: is missing (its shape: nothing){TO_DO}"


def test_a_record_without_headers_names_the_first_that_is_missing() -> None:
    assert told({}) == f"canonical.person[0]@7: header ce_specversion: is missing (its shape: nothing){TO_DO}"


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize(("garbled", "shape"), [(b"", "text "), (None, "text ")])
def test_an_empty_header_is_named(name: str, garbled: bytes | None, shape: str) -> None:
    said = told(dict(event().headers()) | {name: garbled})
    rule = "is not that of an Ironbridge event"
    assert said == f"canonical.person[0]@7: header {name}: {rule} (its shape: {shape}){TO_DO}"


@pytest.mark.parametrize(
    ("name", "garbled", "shape"),
    [
        ("ce_specversion", b"0.3", "text 9.9"),
        ("ce_type", b"com.example.person.v1", "text aaa.aaaaaaa.aaaaaa.a9"),
        ("ce_type", b"ironbridge.person", "text aaaaaaaaaa.aaaaaa"),
        ("ce_type", b"ironbridge.person.1", "text aaaaaaaaaa.aaaaaa.9"),
        ("ce_source", b"urn:other:liquidlogic", "text aaa:aaaaa:aaaaaaaaaaa"),
        ("ce_source", b"urn:ironbridge:", "text aaa:aaaaaaaaaa:"),
        ("ce_sequence", b"three", "text aaaaa"),
        ("ce_sequence", b"-3", "text -9"),
        ("ce_id", b"7f1c", "text 9a9a"),
        ("ce_time", b"yesterday", "text aaaaaaaaa"),
        ("ce_time", b"2026-11-22T12:00:00", "text 9999-99-99a99:99:99"),
        ("ce_time", b"2026-11-22", "text 9999-99-99"),
    ],
)
def test_a_garbled_header_is_named_with_its_shape(name: str, garbled: bytes, shape: str) -> None:
    said = told(dict(event().headers()) | {name: garbled})
    rule = "is not that of an Ironbridge event"
    assert said == f"canonical.person[0]@7: header {name}: {rule} (its shape: {shape}){TO_DO}"


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("ce_id", b"liquidlogic:person:1042@4"),
        ("ce_subject", b"liquidlogic:person:1043"),
        ("ce_subject", b"\xff"),
        ("ce_sequence", b"0000000004"),
        ("ce_sequence", b"0000000000"),
        ("ce_time", b"2026-13-22T12:00:00Z"),
        ("ce_stream", b"\xff"),
    ],
)
def test_headers_that_contradict_each_other_are_no_event(name: str, other: bytes) -> None:
    said = told(dict(event().headers()) | {name: other})
    assert said == f"canonical.person[0]@7: ce_ headers: do not fit together (its shape: 11 headers){TO_DO}"


@settings(deadline=None)
@given(st.sampled_from(REQUIRED), st.binary())
def test_whatever_a_header_holds_it_is_an_event_or_a_bad_record(name: str, garbled: bytes) -> None:
    headers = dict(event().headers()) | {name: garbled}
    try:
        again = Event.from_kafka("x", b"{}", list(headers.items()))
    except BadRecordError:
        return
    assert (again.key, again.version, again.id) == (KEY, 3, event().id)


def test_a_printed_event_does_not_show_its_data() -> None:
    assert "Ann" not in repr(event(data=b'{"names":[{"given":"Ann"}]}'))
    assert KEY in repr(event())


def test_each_entity_type_has_a_topic_of_its_own() -> None:
    assert topic_of("care-episode") == "canonical.care-episode"
    assert topic_of(Person, "test") == "test.person"
    assert len({topic_of(entity) for entity in ENTITIES.values()}) == len(ENTITIES)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_that_there_never_was_is_a_bad_record_to_whoever_reads_it(time: str) -> None:
    assert "ce_ headers: do not fit together" in told({**dict(event().headers()), "ce_time": time.encode()})
