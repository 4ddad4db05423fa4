"""Every entity: written and read again, classified field by field, and printed without giving anybody away."""

import re
import string
from datetime import date, datetime
from functools import cache, partial
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from stdnum.gb import nhs, upn, vat

import canonical
from canonical import (
    ENTITIES,
    CarePlan,
    Entity,
    Invoice,
    LedgerDimension,
    Name,
    Person,
    Placement,
    Sensitivity,
    Supplier,
    values,
)
from canonical.children import CHILDREN
from canonical.entity import Part, bad_record, classified
from canonical.errors import BadRecordError
from canonical.key import Key
from canonical.people import Identifier

DIGITS = "0123456789"
ALL = pytest.mark.parametrize("entity", ENTITIES.values(), ids=list(ENTITIES))


def digits(count: int) -> st.SearchStrategy[str]:
    return st.text(DIGITS, min_size=count, max_size=count)


def nhs_number(first: str) -> str:
    return f"{first}{-nhs.checksum(first + '0') % 11}" if len(set(first)) > 1 else "9434765919"


def upn_of(rest: str) -> str:
    return upn.calc_check_digit(rest) + rest


def vat_number(first: str) -> str:
    return f"{first}{-vat.checksum(first + '00') % 97:02}"


UNIT = st.text("ABDEFGHJLNPQRSTUWXYZ", min_size=2, max_size=2)
# No control characters: they are taken out (tests/test_hostile_text.py).
SIGNS = st.characters(exclude_categories=["Cs"], exclude_characters="".join(map(chr, (*range(9), 11, 12, *range(14, 32)))))
WRITTEN = st.text(SIGNS, min_size=1, max_size=30).filter(lambda t: t.strip())

MADE: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Key, st.builds("{}:{}:{}".format, *[st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)] * 2, st.integers(0))),
    (values.NHSNumber, digits(9).map(nhs_number).filter(nhs.is_valid)),
    (values.UPN, st.builds(lambda d, end: upn_of(d + end), digits(11), st.sampled_from("AX19"))),
    (values.VATNumber, digits(7).map(vat_number)),
    (values.NINO, st.from_regex(r"[ABCE][ABCE][0-9]{6}[A-D]", fullmatch=True)),
    (values.UPRN, st.integers(1, 10**12 - 1).map(str)),
    (values.Postcode, st.builds("{}{} {}{}".format, st.sampled_from(["TF1", "SY26", "W1A", "EC1A"]), st.just(""),
                                st.sampled_from(DIGITS), UNIT)),
    (values.SortCode, digits(6)),
    (values.Amount, st.decimals(-(10**15), 10**15, places=2, allow_nan=False)),
    (values.Quantity, st.decimals(0, 10**12 - 1, places=4, allow_nan=False)),
    (values.Currency, st.text(string.ascii_uppercase, min_size=3, max_size=3)),
    (values.Text, WRITTEN),
    (values.Code, WRITTEN),
    (values.Day, st.dates()),
    (values.Instant, st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.timezones())),  # noqa: DTZ001
]  # fmt: skip


def made(hint: Any) -> st.SearchStrategy[Any]:
    """A strategy for a field's annotation; it knows every type that the language has, and fails at a new one."""
    for known, strategy in MADE:
        if hint == known:
            return strategy
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        at = next((n for n, each in enumerate(hint.__metadata__) if isinstance(each, Sensitivity)), -1)
        before, after = hint.__metadata__[:at], hint.__metadata__[at + 1 :]
        inner = made(Annotated[parts[0], *before] if before else parts[0])
        return inner.filter(partial(holds, TypeAdapter(hint))) if after else inner
    if origin in (Union, UnionType):
        return st.one_of(*[made(each) for each in parts])
    if origin is tuple:
        return st.lists(made(parts[0]), min_size=1, max_size=3).map(tuple) | st.just(())
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return whole(hint)
    plain = {type(None): st.none(), bool: st.booleans(), int: st.integers(1, 40), float: st.floats(0, 10**6)}
    return plain[hint] if hint in plain else st.sampled_from(list(hint))


def holds(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


@cache
def whole(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(model, include_extras=True)
    return st.builds(model, **{name: made(hints[name]) for name in model.model_fields})


def person(**fields: Any) -> Person:
    return Person(key="liquidlogic:person:1042", **fields)


@ALL
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_an_entity_that_was_written_is_read_as_it_was(entity: type[Entity], data: st.DataObject) -> None:
    one = data.draw(whole(entity))
    written = one.to_bytes()
    again = entity.from_bytes(written)
    assert again == one
    assert again.to_bytes() == written


@ALL
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_the_same_state_always_gives_the_same_bytes(entity: type[Entity], data: st.DataObject) -> None:
    one = data.draw(whole(entity))
    state = one.model_dump()
    turned = dict(reversed(state.items()))
    assert entity(**turned).to_bytes() == entity(**state).to_bytes() == one.to_bytes()
    assert b":null" not in re.sub(rb'"(\\.|[^"\\])*"', b'""', one.to_bytes())


@ALL
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_a_printed_entity_gives_nobody_away(entity: type[Entity], data: st.DataObject) -> None:
    state = data.draw(whole(entity)).model_dump(exclude_none=True)
    one = entity(**state)
    expected = {
        name: repr(getattr(one, name)) if kind is Sensitivity.PLAIN else f"<{kind}>"
        for name, kind in ((n, next(m for m in i.metadata if isinstance(m, Sensitivity))) for n, i in fields(entity))
    }
    told = ", ".join(f"{name}={shown}" for name, shown in expected.items())
    assert repr(one) == f"{entity.__name__}({told})"
    assert str(one) == " ".join(f"{name}={shown}" for name, shown in expected.items())


def fields(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    return list(model.model_fields.items())


@ALL
def test_every_field_is_classified(entity: type[Entity]) -> None:
    assert [path for path, kind in classified(entity) if kind is None] == []
    assert [name for name, info in fields(entity) if not any(isinstance(m, Sensitivity) for m in info.metadata)] == []


def test_what_points_at_somebody_or_is_special_is_not_plain() -> None:
    kinds = {f"{name}.{path}": kind for name, entity in ENTITIES.items() for path, kind in classified(entity)}
    telling = re.compile(
        r"names|birth|death|\.sex|ethnic|national|disabil|upn$|nhs|nino|postcode|town|lines\[\]\.net|score"
    )
    assert [path for path, kind in kinds.items() if telling.search(path) and kind is Sensitivity.PLAIN] == []
    assert kinds["person.ethnicity"] is kinds["person.disabilities"] is Sensitivity.SPECIAL
    assert kinds["person.names[].given"] is kinds["supplier.name"] is Sensitivity.IDENTIFYING
    assert kinds["invoice.lines[].net"] is kinds["supplier.vat_number"] is Sensitivity.FINANCIAL
    assert kinds["placement.postcode"] is Sensitivity.IDENTIFYING


def test_what_happened_to_a_child_is_special_category() -> None:
    children = [e for e in ENTITIES.values() if e in CHILDREN]
    dates = [(e.type_name, p, k) for e in children for p, k in classified(e) if p.endswith(("_date", "_reason"))]
    assert len(dates) > 20
    assert [each for each in dates if each[2] is not Sensitivity.SPECIAL] == []


def test_every_entity_is_in_the_list_under_its_own_name() -> None:
    def all_of(model: type[BaseModel]) -> list[type[BaseModel]]:
        return [each for sub in model.__subclasses__() for each in (sub, *all_of(sub))]

    ours = [e for e in all_of(Entity) if e.__module__.startswith("canonical.") and not e.__name__.startswith("_")]
    assert sorted(e.__name__ for e in ours) == sorted(e.__name__ for e in ENTITIES.values())
    assert all(name == entity.type_name for name, entity in ENTITIES.items())
    assert all(entity.__name__ in canonical.__all__ for entity in ENTITIES.values())


@ALL
def test_an_entity_says_which_standard_it_follows(entity: type[Entity]) -> None:
    assert entity.standard
    assert entity.__doc__
    assert entity.event_type() == f"ironbridge.{entity.type_name}.v{entity.version}"


@ALL
def test_the_ssd_objects_named_in_the_documentation_exist(entity: type[Entity], shared: Any) -> None:
    rows = (shared / "reference" / "ssd_fields.csv").read_text("utf-8").splitlines()
    objects, columns = {row.split(",")[0] for row in rows}, {row.split(",")[1] for row in rows}
    models: list[type[Part]] = [entity, *(m for m in (Name, canonical.Address, canonical.ImmigrationStatus))]
    for model in models:
        assert set(re.findall(r"`(ssd_\w+)`", model.__doc__ or "")) <= objects
        assert set(re.findall(r"`(pers_\w+)`", model.__doc__ or "")) <= columns


def test_what_belongs_to_a_child_lies_with_the_child_and_a_document_with_its_supplier() -> None:
    child, supplier = "liquidlogic:person:1", "payables:supplier:A1"
    assert person().owner == "liquidlogic:person:1042"
    assert CarePlan(key="liquidlogic:care-plan:7", person=child, kind="CP").owner == child
    assert Placement(key="liquidlogic:placement:7", person=child).owner == child
    invoice = Invoice(key="payables:invoice:9", number="9", supplier=supplier, lines=[{"number": 1, "net": "1"}])
    assert invoice.owner == supplier
    assert Supplier(key=supplier, number="A1", name="Ironworks").owner == supplier
    assert LedgerDimension(key="payables:d:1", dimension="D", code="1", name="One").owner == "payables:d:1"


def test_an_invoice_s_lines_add_up_to_the_penny() -> None:
    lines = [{"number": n, "net": "0.10"} for n in range(1, 4)]
    invoice = Invoice(key="payables:invoice:9", number="9", supplier="payables:supplier:1", lines=lines)
    assert str(invoice.net) == "0.30"


def test_absent_values_are_left_out_and_given_ones_stay_in_declared_order() -> None:
    one = person(sex="F", birth_date=date(2010, 2, 3), names=[{"family": "Darby"}])
    assert one.to_bytes() == (
        b'{"key":"liquidlogic:person:1042","names":[{"family":"Darby"}],"birth_date":"2010-02-03","sex":"F",'
        b'"disabilities":[],"identifiers":[],"addresses":[],"contacts":[],"immigration":[],"restricted":false}'
    )


def test_an_entity_does_not_change() -> None:
    with pytest.raises(ValidationError):
        person().sex = "M"  # type: ignore[assignment]


def test_an_unknown_field_is_refused_where_an_entity_is_made() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        person(shoe_size=7)


def test_a_field_that_a_newer_publisher_added_is_left_out() -> None:
    one = person(names=[Name(given="Ann")])
    newer = one.to_bytes().replace(b'{"given"', b'{"pronounced":"an","given"').replace(b'"sex"', b'"shoe_size":7,"sex"')
    assert Person.from_bytes(newer) == one


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"names":[]}', "person: key: Field required (its shape: nothing)"),
        (
            b'{"key":"a:person:1","names":[{"given":"Ann"},{"given":7}]}',
            "person: names.1.given: Input should be a valid string (its shape: int 9)",
        ),
        (
            b'{"key":"a:person:1","upn":"A801200005001"}',
            "person: upn: UPN has a wrong check digit (its shape: text a999999999999)",
        ),
        (
            b'{"key":"a:person:1","sex":"female"}',
            "person: sex: Input should be 'F', 'M' or 'U' (its shape: text aaaaaa)",
        ),
        (
            b'{"key":"Ann Darby"}',
            "person: key: String should match pattern "
            "'^[a-z][a-z0-9_.-]*:[a-z][a-z0-9-]*:[!-~]+( [!-~]+)*$' (its shape: text aaa aaaaa)",
        ),
        (
            b'["Ann"]',
            "person: the record: Input should be an object (its shape: list ['aaa'])",
        ),
        (
            b"Ann Darby",
            "person: the record: Invalid JSON: expected value at line 1 column 1 (its shape: bytes a'aaa aaaaa')",
        ),
    ],
)
def test_bytes_that_are_no_such_entity_are_told_by_field_rule_and_shape(data: bytes, told: str) -> None:
    with pytest.raises(BadRecordError) as raised:
        Person.from_bytes(data)
    assert str(raised.value) == told
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_the_name_of_an_unknown_field_is_not_repeated_either() -> None:
    with pytest.raises(ValidationError) as raised:
        Person.model_validate({"key": "a:person:1", "names": [{"Ann Darby": "x"}]})
    error = bad_record("legacy", raised.value)
    assert str(error) == "legacy: names.0.text aaa aaaaa: Extra inputs are not permitted (its shape: text a)"


@pytest.mark.parametrize("key", ["a:b:c", "adult.care_2:care-episode:12/3 b", "x:person:-1", "x:p:a:b:c"])
def test_a_key_names_system_entity_and_identifier(key: str) -> None:
    assert Person(key=key).key == key


@pytest.mark.parametrize(
    "key", ["", "a:b", "a:b:", "A:b:c", "1:b:c", "a:b: c", "a:b:c ", "a:b:é", "a:b:c\n", "a:b:" + "c" * 240]
)
def test_what_is_not_a_key_is_refused(key: str) -> None:
    with pytest.raises(ValidationError):
        Person(key=key)


def test_an_identifier_keeps_what_the_legacy_system_wrote_and_takes_off_the_padding() -> None:
    assert Identifier(system="legacy", value="00042   ").value == "00042"
