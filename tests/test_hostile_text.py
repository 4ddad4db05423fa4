"""What no store can hold: control characters, half characters, keys without an end. One value never stops a batch."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from adapters.engine.mapping import mapped, mapped_or_bad
from adapters.port import Record, Row, Stream, Sweep
from canonical import Identifier, Person, Supplier
from canonical.errors import BadRecordError, RefusedError
from flows.engine.ledger import Arrivals
from flows.port import Confirmed, Refused
from ironbridge.store import Store, open_store
from ironbridge.store.history import known_by
from tests.agreement import World, supplier, supplier_key
from tests.states import state_database, state_file

CONTROLS = "".join(map(chr, (*range(9), 11, 12, *range(14, 32))))


@pytest.fixture(params=["sqlite", "postgresql"])
async def state(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[Store]:
    """The state on both of its databases."""
    async with AsyncExitStack() as stack:
        if request.param == "postgresql":
            url = await stack.enter_async_context(state_database(request.getfixturevalue("postgres")))
        else:
            url = await state_file(tmp_path / "state.sqlite3")
        opened = await open_store(url)
        stack.push_async_callback(opened.close)
        yield opened


# -- canonical text ------------------------------------------------------------------------------------------------


def test_canonical_json_holds_no_control_character_and_keeps_tabs_and_lines() -> None:
    who = Supplier(key="a:supplier:1", number=f"L1{CONTROLS}", name=f"Severn{CONTROLS}\tGorge\r\nJoinery \0")
    read = Supplier.from_bytes(who.to_bytes())
    assert (read.number, read.name) == ("L1", "Severn\tGorge\r\nJoinery")


@pytest.mark.parametrize("text", ["C:\\u0000", "a \\b \\f c", '"\\"', "ends with \\", "\\\\u0001", "é \u2028 \x7f"])
def test_what_only_looks_like_an_escape_is_text(text: str) -> None:
    who = Supplier(key="a:supplier:1", number="1", name=text)
    assert Supplier.from_bytes(who.to_bytes()).name == text


def test_text_that_is_nothing_but_control_characters_is_refused_by_the_field() -> None:
    with pytest.raises(BadRecordError, match="number: String should have at least 1 character"):
        Supplier(key="a:supplier:1", number="\0\0", name="Ashgrove").to_bytes()


def test_an_event_of_another_publisher_is_read_without_its_control_characters() -> None:
    data = b'{"key":"a:supplier:1","number":"L1\\u0000","name":"Ash\\u001fgrove"}'
    assert Supplier.from_bytes(data).name == "Ashgrove"
    assert known_by("supplier", data) == {"L1"}


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"7", b'{"number":7}', b'{"number":["\\ud800"]}'])
def test_an_event_that_is_no_such_entity_is_known_by_nothing(data: bytes) -> None:
    assert known_by("supplier", data) == set()


def _person(row: Row) -> Person:
    number, legacy, sex = row
    system = [Identifier(system="legacy", value=legacy.strip())] if legacy and legacy.strip() else []
    return Person(key=f"a:person:{number}", identifiers=tuple(system), sex=sex)


async def _nothing(_: object) -> AsyncIterator[Any]:
    return
    yield


PERSONS = Stream("person", (Person,), _person, Sweep(_nothing))


@pytest.mark.parametrize(("legacy", "value"), [("L3\0\0", "L3"), ("\0\0\0", None), (" \0", None), (None, None)])
def test_a_column_filled_up_with_nuls_says_what_it_says_without_them(legacy: str | None, value: str | None) -> None:
    data = mapped(PERSONS, Record("a:person:1", (1,), (1, legacy, "F"))).data
    assert [each.value for each in Person.from_bytes(data).identifiers] == ([] if value is None else [value])


@pytest.mark.parametrize("error", [RecursionError, NotImplementedError, MemoryError, StopIteration, KeyError, OSError])
def test_whatever_a_mapping_raises_is_the_one_rows_and_is_named_by_type_and_place(error: type[Exception]) -> None:
    def broken(row: Row) -> Person:
        raise error("Mrs Somebody")

    stream = Stream("person", (Person,), broken, Sweep(_nothing))
    with pytest.raises(BadRecordError) as raised:
        mapped_or_bad("a.person", stream, Record("a:person:1", (1,), (1, "\0", "F")))
    assert re.fullmatch(
        rf"a\.person: the mapping \(test_hostile_text\.py:\d+\): failed with {error.__name__} \(its shape: a row\)\. To do: "
        r"mend the adapter's mapping; the row is read again with the next edition of its code",
        str(raised.value),
    )


# -- the state -----------------------------------------------------------------------------------------------------


async def test_a_value_that_the_state_cannot_hold_is_no_outage(postgres_store: Store) -> None:
    world = World(postgres_store)
    nul = supplier(1)._replace(owner="payables:supplier:\0")
    with pytest.raises(RefusedError, match=r"^state: cannot hold a value \(CharacterNotInRepertoireError\)"):
        await world.ledger.ingest(Arrivals([(nul, 0)]), [])
    long = supplier(1)._replace(key="".join(map(chr, range(256, 2600))))
    with pytest.raises(RefusedError, match=r"^state: cannot hold a value \(ProgramLimitExceededError\)"):
        await world.ledger.ingest(Arrivals([(long, 0)]), [])


@pytest.mark.parametrize("place", range(5))
async def test_an_event_that_the_state_cannot_hold_is_rejected_and_the_others_of_its_poll_are_delivered(
    state: Store, place: int
) -> None:
    world = World(state)
    half = "\ud800"  # neither database takes half a character
    events = [supplier(n) for n in range(1, 5)]
    events.insert(place, supplier(9)._replace(owner=f"payables:supplier:{half}"))
    await world.arrive(*events)
    await world.agree()
    assert await world.states() == {supplier_key(n): "agreed" for n in range(1, 5)}
    assert world.agreement.tally.rejected == 1
    [reject] = await world.rows("SELECT place, what FROM rejects")
    assert reject["place"] == f"supplier {supplier_key(9)}@1"
    assert str(reject["what"]).startswith(f"purchasing: the event {supplier_key(9)}@1: state: cannot hold a value (")


async def test_an_outcome_that_the_state_cannot_hold_parks_its_subject_and_leaves_it_in_doubt(state: Store) -> None:
    world = World(state)
    await world.arrive(*(supplier(n) for n in range(1, 4)))
    world.target.answer(supplier_key(2), Confirmed("half a character: \ud800"))
    await world.agree()
    assert await world.states() == {
        supplier_key(1): "agreed", supplier_key(2): "parked", supplier_key(3): "agreed",
    }  # fmt: skip
    row = await world.row(supplier_key(2))
    assert str(row["reason"]).startswith("its outcome cannot be kept: state: cannot hold a value (")
    assert row["doubtful"] is not None
    await world.arrive(supplier(2, 2))
    await world.agree()
    assert (await world.row(supplier_key(2)))["state"] == "agreed"


async def test_a_reason_with_a_nul_is_kept_as_far_as_it_can_be_printed(state: Store) -> None:
    world = World(state)
    world.target.answer(supplier_key(1), Refused("no such\0 vendor \ud800"))
    await world.arrive(supplier(1))
    await world.agree()
    assert (await world.row(supplier_key(1)))["reason"] == "no such? vendor ?"
