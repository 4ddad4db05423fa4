"""KeysOf: made and read in one place, and never two lists of identifiers in one key."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

import canonical
from canonical.key import Key, KeyParts, KeysOf, entity_of, escaped, key_as_written, key_of, read_key

SOURCES = st.from_regex(r"[a-z][a-z0-9_.-]{0,9}", fullmatch=True)
ENTITIES = st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True)
IDENTIFIERS = st.lists(
    st.integers().map(str) | st.text(max_size=8) | st.text(alphabet="A1:-%/ ~é\t", max_size=5), min_size=1, max_size=3
)
SHOWN = TypeAdapter(Key)


@given(SOURCES, ENTITIES, IDENTIFIERS)
def test_a_key_is_read_as_it_was_made(source: str, entity: str, identifiers: list[str]) -> None:
    key = key_of(source, entity, *identifiers)
    read = read_key(key)
    assert (read.source, read.entity, list(read.identifiers)) == (source, entity, identifiers)
    assert entity_of(key) == entity
    assert key_as_written(*read[:2], *map(escaped, identifiers)) == key


@given(IDENTIFIERS, IDENTIFIERS)
def test_different_lists_of_identifiers_are_different_keys(one: list[str], other: list[str]) -> None:
    assert (key_of("a", "b", *one) == key_of("a", "b", *other)) == (one == other)


@given(SOURCES, ENTITIES, IDENTIFIERS.filter(any))
def test_every_key_that_is_not_too_long_can_stand_in_an_entity(source: str, entity: str, identifiers: list[str]) -> None:
    key = key_of(source, entity, *identifiers)
    assert len(key) > 240 or SHOWN.validate_python(key) == key


@given(st.from_regex(r"[a-z]+:[a-z-]+:[!-~]{1,20}", fullmatch=True))
def test_the_parts_of_a_key_make_the_same_key_again(key: str) -> None:
    assert key_as_written(*read_key(key)) == key


@pytest.mark.parametrize(
    ("identifiers", "written"),
    [
        (("1042",), "1042"),
        ((1042,), "1042"),
        ((-7,), "-7"),
        (("A-1", 2), "A-1:2"),
        (("A", "1-2"), "A:1-2"),
        (("A:1",), "A%3A1"),
        (("100%",), "100%25"),
        (("INV/2024_07 (2)",), "INV/2024_07 (2)"),
        ((" two  blanks ",), "%20two %20blanks%20"),
        (("Zoë",), "Zo%C3%AB"),
        (("a\tb",), "a%09b"),
        (("",), ""),
    ],
)
def test_ordinary_identifiers_stand_as_they_are(identifiers: tuple[int | str, ...], written: str) -> None:
    assert key_of("legacy", "thing", *identifiers) == f"legacy:thing:{written}"


def test_one_maker_of_keys_serves_a_table() -> None:
    plans = KeysOf("liquidlogic", "care-plan", prefix="cin-")
    assert plans.of(17) == f"{plans.beginning}17" == "liquidlogic:care-plan:cin-17"
    assert KeysOf("zoo", "room").of("A-1", 2) != KeysOf("zoo", "room").of("A", "1-2")


@pytest.mark.parametrize("text", ["", "person", "person:1042", "may.csv"])
def test_a_text_that_is_no_key_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no key: a key is source:entity:identifier"):
        read_key(text)
    assert entity_of(text) == ""
    with pytest.raises(ValidationError):
        SHOWN.validate_python(text)


def test_an_identifier_that_was_cut_within_a_character_can_still_be_read() -> None:
    assert KeyParts("payables", "supplier", "Zo%C3~1f").identifiers == ("Zo%C3~1f",)


def test_no_other_code_takes_keys_apart_or_puts_them_together() -> None:
    """
    The torture's checker is left out: it takes keys apart by itself, because it may import nothing of ours. A system's own
    tests may write down the keys that they expect.
    """
    root = Path(canonical.__file__).parent.parent
    by_hand = re.compile(r"(key\w*|subject|owner)\.r?(split|partition)\(\":\"|f\"\{[\w.]+\}:([a-z-]+|\{(kind|entity)[\w.]*\}):")
    folders = ("canonical", "adapters", "flows", "ironbridge", "bench", "examples", "tests/fuzzing")
    files = [file for folder in folders for file in sorted((root / folder).rglob("*.py"))]
    found = [
        f"{file.relative_to(root)}: {line.strip()}"
        for file in files
        if file.relative_to(root).as_posix() != "canonical/key.py" and not file.match("tests/*.py")
        for line in file.read_text("utf-8").splitlines()
        if by_hand.search(line)
    ]
    assert found == []
