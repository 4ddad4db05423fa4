"""What errors say, and what they never say."""

import doctest
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canonical import errors
from canonical.errors import (
    BadRecordError,
    FencedError,
    IronbridgeError,
    MisconfiguredError,
    RefusedError,
    UnavailableError,
    shape_of,
)

EVERYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates() | st.decimals(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=5,
)


def test_an_error_says_where_what_and_what_to_do() -> None:
    error = MisconfiguredError("kafka", "no broker is named", fix="set kafka.broker")
    assert str(error) == "kafka: no broker is named. To do: set kafka.broker"
    assert (error.where, error.what, error.fix) == ("kafka", "no broker is named", "set kafka.broker")


def test_an_error_without_a_remedy_ends_with_what() -> None:
    assert str(UnavailableError("kafka", "does not answer")) == "kafka: does not answer"


@pytest.mark.parametrize("kind", [UnavailableError, RefusedError, MisconfiguredError, FencedError, BadRecordError])
def test_every_error_is_caught_as_one_of_ours(kind: type[Exception]) -> None:
    assert issubclass(kind, IronbridgeError)


def test_no_kind_of_error_is_caught_as_another_kind() -> None:
    kinds = [UnavailableError, RefusedError, MisconfiguredError, FencedError, BadRecordError]
    assert not [(a, b) for a in kinds for b in kinds if a is not b and issubclass(a, b)]


def test_a_bad_record_names_field_rule_and_shape() -> None:
    error = BadRecordError("liquidlogic DIM_PERSON", field="UPN", rule="has a wrong check digit", shape="text a999")
    assert str(error) == "liquidlogic DIM_PERSON: UPN: has a wrong check digit (its shape: text a999)"
    assert (error.field, error.rule, error.shape) == ("UPN", "has a wrong check digit", "text a999")


def test_a_bad_record_says_what_to_do_about_it() -> None:
    error = BadRecordError("x", field="f", rule="r", shape="nothing", fix="correct it in Liquidlogic")
    assert str(error) == "x: f: r (its shape: nothing). To do: correct it in Liquidlogic"


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (None, "nothing"),
        ("", "text "),
        ("AB12 3CD", "text aa99 9aa"),
        ("Zoë O'Brien-Ångström", "text aaa a'aaaaa-aaaaaaaa"),
        (12.5, "float 99.9"),
        (-3, "int -9"),
        ("١٢٣", "text 999"),
        ("x\x00\ty", "text a??a"),
        ("½ £3", "text ? ?9"),
        ("a" * 24, "text " + "a" * 24),
        ("a" * 25, "text " + "a" * 24 + "…"),
        (b"Ann", "bytes a'aaa'"),
        ({"Ann": 1}, "dict {'aaa': 9}"),
    ],
)
def test_a_shape_keeps_the_form_and_blots_out_the_rest(value: object, shape: str) -> None:
    assert shape_of(value) == shape


@settings(deadline=None)
@given(EVERYTHING)
def test_a_shape_never_leaks_a_letter_or_a_digit(value: object) -> None:
    kind, _, blotted = shape_of(value).partition(" ")
    assert kind in {"nothing", "text", type(value).__name__}
    assert set(blotted) <= {"a", "9", "…", *string.punctuation, " "}
    assert len(blotted) <= 25


def test_the_examples_in_the_documentation_hold() -> None:
    found = doctest.testmod(errors)
    assert (found.attempted, found.failed) == (1, 0)
