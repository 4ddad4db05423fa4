"""A flow that is declared in settings alone: what its rules make of facts, and what is refused at start."""

from __future__ import annotations

import tomllib
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime
from typing import Any

import pytest

from canonical import Address, ContactPoint, Event, Invoice, Name, Person, Supplier
from canonical.entity import Entity
from canonical.errors import MisconfiguredError, RefusedError
from canonical.people import Sex
from flows.business_central.sandbox import BusinessCentralSandbox
from flows.engine.agree import Agreement
from flows.kit.plain import short_name
from flows.kit.requests import LocalBudget
from flows.kit.resources import Resources
from flows.kit.toml_flow import TomlFlow, TomlFlowSettings, flow_of
from flows.port import Document, Facts, Nothing
from flows.testing import ArrayInbox, ScriptedTarget, facts_of
from ironbridge.runtime import systems
from ironbridge.runtime.editions import edition, modules, name_of
from ironbridge.settings import Settings, section
from ironbridge.store import Store, StoredLedger

TODAY = date(2026, 4, 1)
CONTACTS = """
entity = "person"
kind = "contacts"
when = [{ field = "death_date", has_come = false, reason = "the person has died" }]
[map]
firstname = "names[0].given"
source = { constant = "council" }
active = true
gender = { field = "sex", codes = { F = 1, M = 2 }, unknown = "leave out" }
"""
ADA = Person(
    key="housing:person:7", names=(Name(given="Ada", family="Ash"),), birth_date=date(1957, 1, 2), sex=Sex.FEMALE,
    addresses=(
        Address(lines=("1 High Street", "Hill"), town="Shrewsbury", start_date=date(2020, 1, 1), end_date=date(2026, 5, 1)),
        Address(town="Ludlow", start_date=date(2026, 5, 1)),
        Address(town="Telford", start_date=date(2010, 1, 1), end_date=date(2020, 1, 1)),
    ),
    contacts=(ContactPoint(system="phone", value="01743 000000"), ContactPoint(system="email", value="ada@example.org")),
    disabilities=("MOB", "VIS"),
)  # fmt: skip


def declared(text: str, **more: Any) -> TomlFlow:
    settings = section("flows.contacts", TomlFlowSettings, tomllib.loads(text) | more)
    assert isinstance(settings, TomlFlowSettings)
    return flow_of("contacts", settings)


def person(**rules: Any) -> TomlFlow:
    return declared('entity = "person"\nkind = "contacts"', map=rules)


def body(flow: TomlFlow, entity: Entity = ADA, today: date = TODAY) -> Any:
    document = flow.desired(entity.key, facts_of(entity, today=today))
    assert isinstance(document, Document)
    return document.body


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("birth_date", "1957-01-02"),
        ({"field": "birth_date", "format": "%d/%m/%Y"}, "02/01/1957"),
        ("names[0].family", "Ash"),
        ("names[1].family", None),
        ("contacts[system=email].value", "ada@example.org"),
        ("contacts[system=fax].value", None),
        ("addresses[current].town", "Shrewsbury"),
        ("disabilities", ["MOB", "VIS"]),
        ("disabilities[1]", "VIS"),
        ({"join": ["names[0].title", "names[0].given", "names[0].family"]}, "Ada Ash"),
        ({"join": ["addresses[current].lines", "addresses[current].town"], "with": ", "}, "1 High Street, Hill, Shrewsbury"),
        ({"join": ["upn", "nino"]}, None),
        ({"field": "names[0].given", "longest": 2}, "Ad"),
        ({"field": "names[0].given", "short_name": True}, short_name("Ada")),
        ({"field": "upn", "absent": "none"}, "none"),
        ({"field": "sex", "codes": {"F": 1, "*": 3}}, 1),
        ({"field": "sex", "codes": {"M": 2, "*": 3}}, 3),
        ({"field": "sex", "codes": {"M": 2}, "unknown": "keep"}, "F"),
        ({"field": "restricted", "codes": {"true": "R", "false": "N"}}, "N"),
        (True, True),
        ({"constant": 0}, 0),
    ],
    ids=str,
)
def test_a_rule_says_what_stands_in_a_field(rule: Any, value: Any) -> None:
    assert body(person(it=rule, key="key")) == ({"key": ADA.key} if value is None else {"key": ADA.key, "it": value})


def test_a_table_of_fields_becomes_a_nested_field_and_an_annotation_keeps_its_dot() -> None:
    nested = {"city": "addresses[current].town", "country": "nationality"}
    flow = person(**{"address": nested, "o@odata.bind": {"constant": "/t"}})
    assert body(flow) == {"address": {"city": "Shrewsbury"}, "o@odata.bind": "/t"}


def test_an_address_is_the_current_one_until_the_day_when_the_next_one_begins() -> None:
    flow, known = person(city="addresses[current].town"), facts_of(ADA, today=TODAY)
    flow.desired(ADA.key, known)
    assert known.recheck == date(2026, 5, 1)
    assert body(flow, today=date(2026, 5, 1)) == {"city": "Ludlow"}


def test_a_code_that_nobody_named_parks_its_subject_and_no_reason_holds_it() -> None:
    flow = person(c={"field": "ethnicity", "codes": {"WBRI": 1}})
    with pytest.raises(RefusedError) as told:
        body(flow, ADA.model_copy(update={"ethnicity": "XYZ"}))
    assert str(told.value) == (
        "flows.contacts.map.c: `codes` does not name the code of ethnicity. To do: add it, or say what becomes of it with `*` "
        "or `unknown`"
    )


def asked(flow: TomlFlow, entity: Person, today: date = TODAY) -> tuple[bool, date | None]:
    """Whether there is a document, and from which day on that may be otherwise."""
    known = facts_of(entity, today=today)
    return isinstance(flow.desired(entity.key, known), Document), known.recheck


@pytest.mark.parametrize(
    ("test", "for_ada", "for_nobody"),
    [
        ({"field": "sex", "is": "F"}, True, False),
        ({"field": "sex", "is_not": "F"}, False, True),
        ({"field": "contacts[0].system", "one_of": ["phone", "fax"]}, True, False),
        ({"field": "contacts[0].system", "none_of": ["phone", "fax"]}, False, True),
        ({"field": "restricted", "is": False}, True, True),
        ({"field": "names", "set": True}, True, False),
        ({"field": "upn", "set": False}, True, True),
        ({"field": "birth_date", "has_come": True}, True, False),
        ({"field": "birth_date", "has_passed": False}, False, True),
    ],
    ids=str,
)
def test_a_condition_says_for_whom_there_is_a_document(test: dict[str, Any], *, for_ada: bool, for_nobody: bool) -> None:
    flow = declared('entity = "person"\nkind = "contacts"\nmap = { key = "key" }', when=[test | {"reason": "not wanted"}])
    nobody = Person(key="housing:person:8")
    assert (asked(flow, ADA)[0], asked(flow, nobody)[0]) == (for_ada, for_nobody)
    if not for_nobody:
        assert flow.desired(nobody.key, facts_of(nobody, today=TODAY)) == Nothing("not wanted")


def test_a_day_is_asked_for_once_and_the_subject_is_looked_at_again_when_it_has_come_or_passed() -> None:
    died = ADA.model_copy(update={"death_date": date(2026, 4, 2)})
    assert asked(declared(CONTACTS), died) == (True, date(2026, 4, 2))
    assert asked(declared(CONTACTS), died, date(2026, 4, 2)) == (False, None)
    later = CONTACTS.replace("has_come", "has_passed")
    assert asked(declared(later), died, date(2026, 4, 2)) == (True, date(2026, 4, 3))
    assert asked(declared(later), died, date(2026, 4, 3)) == (False, None)


def test_nothing_is_wanted_where_nothing_is_known() -> None:
    assert declared(CONTACTS).desired(ADA.key, Facts([], TODAY)) is None


def test_all_faults_are_told_at_once_each_with_its_setting_and_the_nearest_word() -> None:
    faulty = """
    entity = "person"
    kind = "contacts"
    nummber = "key"
    when = [{ field = "death_dat", has_come = false, reason = "x" }, { field = "sex", is = "X", reason = "x" },
            { field = "upn", has_come = true, reason = "x" }, { field = "restricted", is = "yes", reason = "x" },
            { field = "names", is = "Ada", reason = "x" }]
    refers = { carer = "upn" }
    [map]
    a = "nams[0].given"
    b = "names.given"
    c = "names[0]"
    d = "names[first].given"
    e = "names[current].given"
    f = "contacts[sytem=email].value"
    g = { field = "sex", codes = { F = 1, N = 2 } }
    h = { field = "birth_date", formt = "%d" }
    i = { field = "birth_date", format = "%A" }
    j = { field = "upn", format = "%d" }
    k = 1.5
    l = "upn[0]"
    m = "upn.value"
    n = { field = "sex", join = ["upn"] }
    o = { join = ["upn"], codes = { A = 1 } }
    """
    with pytest.raises(MisconfiguredError) as told:
        declared(faulty)
    assert told.value.where == "flows.contacts"
    assert told.value.what.split("; ") == [
        "`map.h.formt` is not a setting, did you mean `format`?",
        "map.k: is a field of the entity, a constant, or a table with `field`, `join`, `constant` "
        "(anything more is a flow in Python: `ironbridge new flow`)",
        "map.n: needs exactly one of `field`, `join`, `constant`",
        "`nummber` is not a setting, did you mean `number`?",
        "map.a: person has no field `nams`, did you mean `names`?",
        "map.b: `names` is a list: say which one, e.g. `names[0].given`",
        "map.c: `names[0]` has fields of its own, name one of them: given, family, title",
        "map.d: `names[first]`: write `[0]` for the first one, `[current]` or `[field=value]`",
        "map.e: `names[current]`: only parts with a start_date and an end_date can be current, say `[0]` or `[field=value]`",
        "map.f: `contacts[sytem=email]`: its parts have no field `sytem`, did you mean `system`?",
        "map.g: `N` is no code of `sex` (there are: F, M, U)",
        "map.g: `codes` does not name M, U: add them, or say what becomes of them with `*` or `unknown`",
        "map.i: `format` is made of %d, %m, %Y, %y, %j, %H, %M and %S",
        "map.j: `upn` is no day",
        "map.l: `upn` is no list: leave `[0]` out",
        "map.m: `upn` has no fields of its own: `.value` leads nowhere",
        "map.o: `codes` and `format` are for one `field`, and not for joined ones "
        "(anything more is a flow in Python: `ironbridge new flow`)",
        "when.0: person has no field `death_dat`, did you mean `death_date`?",
        "when.1: `X` is no code of `sex` (there are: F, M, U)",
        "when.2: `upn` is no day",
        "when.3: `restricted` is true or false",
        "when.4: `names` is no single value: ask whether it is `set`, or name a part or field of it",
        "refers.carer: `upn` names no other record: it holds no key",
    ]


def test_an_entity_that_there_is_not_is_told_with_the_nearest() -> None:
    with pytest.raises(MisconfiguredError, match="entity: there is no entity `persn`, did you mean `person`"):
        declared('entity = "persn"\nkind = "contacts"\nmap = { a = "names" }')


# -- an ordinary flow -------------------------------------------------------------------------------------------------------

PURCHASES = """
entity = "supplier"
kind = "vendor"
number = "number"
map = { number = "number", displayName = "name" }
[also.purchaseInvoice]
entity = "invoice"
number = "number"
refers = { vendorId = "supplier" }
map = { vendorInvoiceNumber = "number", dueDate = "due_date" }
"""
JOINERY = Supplier(key="payables:supplier:1", number="V1", name="Severn Gorge Joinery Ltd")
BILL = Invoice.model_validate(
    {
        "key": "payables:invoice:9", "number": "I9", "supplier": JOINERY.key, "currency": "GBP", "due_date": "2026-05-01",
        "lines": [{"number": 1, "net": "10.00"}],
    }
)  # fmt: skip


class Worker:
    """A worker of a flow in a state, with a target in memory."""

    def __init__(self, store: Store, text: str, target: ScriptedTarget) -> None:
        self.flow = declared(text)
        self.edition = edition(name_of(TomlFlow), self.flow.entities, self.flow.settings)
        ledger = StoredLedger(store, "contacts")
        self.agreement = Agreement(self.flow, target, ledger, edition=self.edition, today=lambda: TODAY)

    async def work(self, *entities: Entity) -> None:
        inbox, now = ArrayInbox(), datetime.now(UTC)
        inbox.add(*(Event(e.type_name, "payables", e.key, e.owner, 1, now, e.to_bytes()) for e in entities))
        await self.agreement.ingest(inbox)
        while await self.agreement.step():
            pass


async def test_a_document_waits_for_the_one_that_it_refers_to_and_another_map_looks_at_all_subjects_again(store: Store) -> None:
    target = ScriptedTarget()
    first = Worker(store, PURCHASES, target)
    await first.work(BILL)
    assert target.documents == {}
    await first.work(JOINERY)
    bill = Document("purchaseInvoice", "I9", {"dueDate": "2026-05-01", "vendorInvoiceNumber": "I9"}, {"vendorId": JOINERY.key})
    vendor = Document("vendor", "V1", {"displayName": JOINERY.name, "number": "V1"})
    assert target.documents == {JOINERY.key: vendor, BILL.key: bill}
    second = Worker(store, PURCHASES.replace('displayName = "name"', 'displayName = "number"'), target)
    await second.work()
    assert second.edition != first.edition
    assert target.documents[JOINERY.key].body == {"displayName": "V1", "number": "V1"}
    assert [subject for subject, _ in target.effects] == [JOINERY.key, BILL.key, JOINERY.key], "the invoice is the same"
    turned = PURCHASES.replace('{ number = "number", displayName = "name" }', '{ displayName = "name", number = "number" }')
    assert turned != PURCHASES
    assert Worker(store, turned, target).edition == first.edition, "the order of a map changes nothing"


def test_only_what_its_documents_depend_on_is_part_of_its_edition() -> None:
    code = modules([name_of(TomlFlow), name_of(Person)])
    assert {name for name in code if name.startswith("flows.")} == {
        "flows.kit.plain", *(f"flows.kit.toml_flow.{module}" for module in ("documents", "flow", "near", "paths", "rules"))
    }
    assert "canonical.finance" not in code, "a change of an invoice makes nobody look at the contacts again"


def test_a_document_is_recalled_by_its_key_where_the_key_tells_its_number() -> None:
    assert declared(CONTACTS).recall(ADA.key, ADA.key) == [Document("contacts", "7", {})]
    short = declared('entity = "person"\nkind = "contact"\nnumber = { field = "key", short_name = true }\nmap = { upn = "upn" }')
    assert short.recall(ADA.key, ADA.key) == [Document("contact", short_name(ADA.key), {})]
    assert declared(PURCHASES).recall(JOINERY.key, JOINERY.key) == []


def test_a_subject_that_this_flow_never_writes_is_not_waited_for_and_a_number_that_is_not_known_is_told() -> None:
    alone = declared('entity = "invoice"\nkind = "bill"\nrefers = { vendor = "supplier" }\nmap = { number = "number" }')
    with pytest.raises(RefusedError, match=r"flows\.contacts\.refers\.vendor: the record that it names is of a type of which"):
        alone.desired(BILL.key, facts_of(BILL, today=TODAY))
    by_upn = declared('entity = "person"\nkind = "contacts"\nnumber = "upn"\nmap = { key = "key" }')
    with pytest.raises(RefusedError, match=r"flows\.contacts\.number: the record has none"):
        by_upn.desired(ADA.key, facts_of(ADA, today=TODAY))


@pytest.mark.parametrize(
    ("also", "says"),
    [
        ({"vendor": {"entity": "invoice", "map": {"a": "key"}}}, "`vendor` is in `also`"),
        ({"other": {"entity": "supplier", "map": {"a": "key"}}}, "one supplier is one document"),
        ({"other": {"entity": "invoice", "map": {"a": "nmber"}}}, "also.other.map.a: invoice has no field `nmber`, did you mean"),
    ],
)
def test_two_documents_of_one_flow_are_told_apart(also: dict[str, Any], says: str) -> None:
    with pytest.raises(MisconfiguredError, match=says):
        declared(PURCHASES, also=also)


# -- at a target that ships ------------------------------------------------------------------------------------------------


def finance(sandbox: BusinessCentralSandbox, text: str) -> systems.FlowPlan:
    access = {
        "system": "business_central", "base_url": f"{sandbox.url}/v2.0/tenant/production/api/v2.0",
        "company": sandbox.settings.company, "token_url": f"{sandbox.url}/tenant/oauth2/v2.0/token",
        "client_id": sandbox.settings.client_id, "client_secret": sandbox.settings.client_secret,
    }  # fmt: skip
    flows = {"vendors": {"target": "bc", "within": 60, **tomllib.loads(text)}}
    return systems.flows(Settings(targets={"bc": access}, flows=flows))["vendors"]


async def test_a_check_holds_the_map_against_the_fields_that_the_target_has() -> None:
    async with BusinessCentralSandbox(None) as sandbox, AsyncExitStack() as stack:
        resources = await stack.enter_async_context(Resources("bc", LocalBudget.of))
        plan = finance(sandbox, PURCHASES)
        target = plan.target.build(resources)
        assert isinstance(plan.build(), TomlFlow)
        assert [each.what for each in await plan.check(target)] == [
            "vendor: the target has all 2 fields", "purchaseInvoice: the target has all 2 fields"
        ]  # fmt: skip
        assert await plan.check(ScriptedTarget()) == [], "it cannot tell its fields"
        faulty = PURCHASES.replace("displayName =", "displayname =").replace("purchaseInvoice", "bill")
        assert [(each.what, each.well) for each in await finance(sandbox, faulty).check(target)] == [
            ("map.displayname: vendor has no field `displayname`, did you mean `displayName`?", False),
            ("the target takes no documents of the kind `bill`", False),
        ]


def test_a_section_that_names_a_system_is_that_systems_even_if_it_has_a_map() -> None:
    access = {"base_url": "https://x", "company": "6b9c2f5e-2f55-4f0c-9d0e-1f7a3c1e5a10", "token_url": "https://x/t"}
    bc = access | {"system": "business_central", "client_id": "a", "client_secret": "b"}
    section_of = {"target": "bc", "system": "business_central", "map": {}}
    with pytest.raises(MisconfiguredError, match="`map` is not a setting"):
        systems.flows(Settings(targets={"bc": bc}, flows={"vendors": section_of}))
