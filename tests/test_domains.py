"""The entities of each domain: to whom they belong, what they hold and refuse, and whose words they use."""

import inspect
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from canonical import ENTITIES, Entity, Sensitivity, adults, workforce
from canonical.adults import ADULTS
from canonical.entity import classified
from canonical.errors import BadRecordError

OWNED = {
    "assignment": ("person", {"person": "hr:person:7"}),
    "adult-service": ("person", {"person": "mosaic:person:7"}),
    "enrolment": ("person", {"person": "census:person:7"}),
    "hospital-stay": ("person", {"person": "hospital:person:7", "number": "V1"}),
    "review": ("person", {"person": "mosaic:person:7", "kind": "CLA"}),
    "rent-account": ("tenancy", {"tenancy": "uh:tenancy:T1", "number": "R1"}),
    "rent-transaction": ("tenancy", {"tenancy": "uh:tenancy:T1", "amount": "-80.00"}),
    "repair": ("property", {"property": "uh:property:P1", "number": "9"}),
    "purchase-order": ("supplier", {"supplier": "unit4:supplier:S1", "number": "9"}),
    "payment": ("supplier", {"supplier": "unit4:supplier:S1", "number": "9", "amount": "12.50"}),
    "journal-line": ("journal", {"journal": "unit4:journal:4001", "line_number": 0, "amount": "-12.50"}),
}
"""By entity: the field that holds its owner's key, and the fields that it needs besides its own key."""

ALONE = {
    "property": {"number": "P1"},
    "household": {"number": "H1"},
    "tenancy": {"number": "T1", "household": "uh:household:H1", "property": "uh:property:P1"},
    "council-tax-account": {"number": "400123456"},
    "benefit-claim": {"number": "70012"},
    "post": {"number": "P-1"},
    "customer": {"number": "C1", "name": "Abraham Darby"},
}
"""An entity that belongs to none lies under its own key."""


def made(name: str, /, **fields: Any) -> Any:
    return ENTITIES[name].model_validate({"key": f"legacy:{name}:1"} | fields)


@pytest.mark.parametrize("name", OWNED)
def test_what_belongs_to_an_owner_lies_with_it_and_is_nothing_without(name: str) -> None:
    field, fields = OWNED[name]
    assert made(name, **fields).owner == fields[field]
    with pytest.raises(ValidationError, match=f"{field}\n  Field required"):
        made(name, **{each: value for each, value in fields.items() if each != field})


@pytest.mark.parametrize("name", ALONE)
def test_what_belongs_to_none_lies_alone(name: str) -> None:
    assert made(name, **ALONE[name]).owner == f"legacy:{name}:1"


def test_a_tenancy_s_account_and_the_transactions_on_it_lie_together() -> None:
    tenancy = ENTITIES["tenancy"].model_validate({"key": "uh:tenancy:T1", "number": "T1"})
    account = made("rent-account", tenancy=tenancy.key, number="R1", rent="98.76", balance="-0.10")
    charge = made("rent-transaction", tenancy=tenancy.key, account=account.key, amount="98.76")
    assert {tenancy.owner, account.owner, charge.owner} == {tenancy.key}
    assert account.balance + charge.amount == Decimal("98.66")


def test_a_property_leads_to_the_one_that_it_is_a_part_of() -> None:
    block = made("property", number="B1", level="B")
    flat = ENTITIES["property"].model_validate({"key": "uh:property:F1", "number": "F1", "parent": block.key, "uprn": "0010"})
    assert (flat.parent, flat.uprn) == (block.key, "10")


def test_parts_come_with_what_they_belong_to() -> None:
    members = [{"person": "uh:person:H1-1", "responsible": True}, {"person": "uh:person:H1-2", "relationship": "C"}]
    assert [m.person for m in made("household", number="H1", members=members).members] == ["uh:person:H1-1", "uh:person:H1-2"]
    orders = [{"number": "W1", "estimated_cost": "50"}, {"number": "W2", "completed_date": "2026-04-01"}]
    assert len(made("repair", number="1", property="uh:property:1", orders=orders).orders) == 2
    homes = [{"dwelling": "D1", "end_date": "2026-03-31"}, {"dwelling": "D2", "address": {"postcode": "tf87dt"}}]
    assert made("council-tax-account", number="1", occupations=homes).occupations[1].address.postcode == "TF8 7DT"
    households = [{"start_date": "2026-04-01", "members": ["academy:person:1:1", "academy:person:1:2"]}]
    assert len(made("benefit-claim", number="1", households=households).households[0].members) == 2
    lines = [{"number": 1, "net": "100", "invoiced": "30"}]
    [line] = made("purchase-order", number="1", supplier="unit4:supplier:1", lines=lines).lines
    assert line.net - line.invoiced == 70
    settles = [{"document": "unit4:invoice:1", "amount": "12.50"}]
    assert made("payment", number="1", supplier="unit4:supplier:1", amount="12.50", settles=settles).settles[0].amount == 12.5


CHILD = {"person": "mosaic:person:7"}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("review", CHILD, "kind: Field required"),
    ("review", CHILD | {"kind": "LAC"}, "kind: Input should be 'CP', 'CLA' or 'PATHWAY'"),
    ("visit", CHILD | {"kind": "CLA", "seen": "perhaps"}, "seen: Input should be a valid boolean"),
    ("missing-episode", CHILD | {"kind": "X"}, "kind: Input should be 'M' or 'A'"),
    ("health-check", CHILD | {"kind": "SDQ"}, "kind: Input should be 'HEALTH_ASSESSMENT', 'HEALTH_CHECK'"),
    ("legal-status", CHILD | {"start_date": "01/04/2026"}, "start_date: date is not of the form YYYY-MM-DD"),
    ("adult-assessment", CHILD | {"cared_for": ["a:person:1"] * 4}, "cared_for: Tuple should have at most 3 items"),
    ("adult-assessment", CHILD | {"adults_cared_for": -1}, "adults_cared_for: Input should be greater than or equal to 0"),
    ("adult-service", CHILD | {"unit_cost": "18.505"}, "unit_cost: amount has parts of a penny"),
    ("adult-service", CHILD | {"planned_units": "-7"}, "planned_units: quantity is below zero"),
    ("property", {"number": "P1", "uprn": "TF8"}, "uprn: UPRN is not of up to 12 digits"),
    ("household", {"number": "H1", "members": [{"responsible": True}]}, "members.0.person: Field required"),
    ("rent-transaction", {"tenancy": "uh:tenancy:1"}, "amount: Field required"),
    ("council-tax-account", {"number": "1", "occupations": [{}]}, "occupations.0.dwelling: Field required"),
    ("benefit-claim", {"number": "1", "households": [{"members": ["Ann"]}]}, "households.0.members.0: String should match"),
    ("assignment", CHILD | {"full_time_equivalent": "0.55555"}, "full_time_equivalent: quantity has more than four digits"),
    ("purchase-order", {"number": "1", "supplier": "a:supplier:1", "lines": [{"number": 1}]}, "lines.0.net: Field required"),
    ("customer", {"number": "C1"}, "name: Field required"),
]


@pytest.mark.parametrize(("name", "fields", "told"), REFUSED)
def test_what_an_entity_cannot_be_is_refused_by_field_and_rule(name: str, fields: dict[str, Any], told: str) -> None:
    entity = ENTITIES[name]
    whole = json.dumps({"key": f"legacy:{name}:1"} | fields).encode()
    with pytest.raises(BadRecordError) as raised:
        entity.from_bytes(whole)
    assert str(raised.value).startswith(f"{name}: {told}")


def test_what_a_council_does_for_an_adult_is_special_category() -> None:
    kinds = {(e.type_name, path): kind for e in ADULTS for path, kind in classified(e)}
    open_ones = {path for (_, path), kind in kinds.items() if kind is Sensitivity.PLAIN}
    assert open_ones == {"key", "person", "reference", "cared_for"}
    assert {path for (_, path), kind in kinds.items() if kind is Sensitivity.FINANCIAL} == {"unit_cost", "cost_frequency"}


def test_what_a_hospital_tells_of_a_stay_is_special_category() -> None:
    open_ones = {path for path, kind in classified(ENTITIES["hospital-stay"]) if kind is not Sensitivity.SPECIAL}
    assert open_ones == {"key", "person", "number"}


def test_money_is_financial_and_never_a_float() -> None:
    money = re.compile(r"amount|cost$|^rent$|charge$|balance|outstanding|vat$|\.(net|tax|received|invoiced)$")
    kinds = [(e.type_name, path, kind) for e in ENTITIES.values() for path, kind in classified(e) if money.search(path)]
    assert len(kinds) > 15
    assert [each for each in kinds if each[2] is not Sensitivity.FINANCIAL] == []
    floats = [(e.type_name, n) for e in ENTITIES.values() for n, f in e.model_fields.items() if "float" in str(f.annotation)]
    assert floats == [("placement", "distance_miles")]


def test_the_client_level_data_fields_named_in_the_notes_exist(shared: Any) -> None:
    rows = (shared / "data" / "social-care" / "cld" / "cld_r2_fields.csv").read_text("utf-8").splitlines()
    named = set(re.findall(r"`([A-Z][A-Za-z0-9]*_\w+)`", inspect.getsource(adults)))
    assert len(named) > 10
    assert named <= {row.rpartition(",")[2] for row in rows}


def test_the_fields_of_the_safeguarding_dataset_named_in_the_notes_exist(shared: Any) -> None:
    rows = (shared / "reference" / "ssd_fields.csv").read_text("utf-8").splitlines()
    named = set(re.findall(r"`(prof_\w+)`", inspect.getsource(workforce)))
    assert len(named) > 2
    assert named <= {row.split(",")[1] for row in rows}


@pytest.mark.parametrize("entity", ENTITIES.values(), ids=list(ENTITIES))
def test_people_can_look_up_what_an_entity_is_known_by(entity: type[Entity]) -> None:
    paths = dict(classified(entity))
    for path in entity.known_by:
        outer, inner = path.partition("[].")[::2]
        field = entity.model_fields[outer]
        assert path in paths or outer in paths, f"{entity.type_name} has no {path}"
        assert inner == "" or "tuple" in str(field.annotation)
