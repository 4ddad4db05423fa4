"""The Dataverse target and its flows against the sandbox, a real server on a port of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from typing import Any

import httpx
import pytest

from canonical import Involvement, Person, Supplier
from canonical.errors import MisconfiguredError
from canonical.people import Name
from flows.dataverse import accounts, cases, system
from flows.dataverse.accounts import Accounts, AccountSettings
from flows.dataverse.cases import Cases, CaseSettings
from flows.dataverse.contacts import Contacts, ContactSettings
from flows.dataverse.sandbox import DataverseSandbox, DataverseSandboxSettings
from flows.dataverse.sandbox_tables import KEY, TABLES, SandboxColumn, SandboxTable
from flows.dataverse.settings import DataverseSettings
from flows.dataverse.target import DataverseTarget
from flows.dataverse.tests.environment import document_of, environment, facts_of, settings_of
from flows.kit.plain import short_name
from flows.port import Absent, Confirmed, Document, Held, Nothing, Outcome, Refused, Unknown, Waiting, Write

Dataverse = tuple[DataverseTarget, DataverseSandbox]
CHILD = Person(key="mosaic:person:7", names=(Name(given="Ada", family="Okafor"),))
TEAM = Involvement(key="mosaic:involvement:3", person=CHILD.key, team="North", role="SW")
TENANCY = SandboxTable(
    "cr1_tenancy", "cr1_tenancies", {"cr1_rent": SandboxColumn("amount"), "cr1_note": SandboxColumn()},
    {"cr1_Tenant": "contact"}, key=("cr1_estate", "cr1_number"),
)  # fmt: skip
THEIRS = {"cr1_tenancy": {
    "entity_set": "cr1_tenancies", "key": ["cr1_estate", "cr1_number"], "whole": ["cr1_number"], "amounts": ["cr1_rent"],
    "lookups": {"cr1_Tenant": "contact"},
}}  # fmt: skip


@pytest.fixture
async def there() -> AsyncIterator[Dataverse]:
    sandbox = DataverseSandbox(DataverseSandboxSettings(tables=(*TABLES, TENANCY)))
    async with environment(sandbox, tables=THEIRS) as made:
        yield made


def flow_of(there: Dataverse) -> Cases:
    return Cases("cases", CaseSettings(), settings_of(there[1]))


async def one(there: Dataverse, write: Write) -> Outcome:
    (outcome,) = await there[0].write([write])
    return outcome


async def confirmed(there: Dataverse, write: Write) -> Confirmed:
    outcome = await one(there, write)
    assert isinstance(outcome, Confirmed), outcome
    return outcome


def tenancy(number: str, **body: Any) -> Document:
    return Document("cr1_tenancy", number, body, refers={"cr1_Tenant": CHILD.key})


# -- what stands for what --------------------------------------------------------------------------------------------


def test_people_suppliers_and_teams_become_contacts_accounts_and_cases() -> None:
    settings: Any = None  # no flow depends on them
    who = CHILD.model_copy(update={"death_date": date(2025, 1, 1)})
    contact = document_of(Contacts("people", ContactSettings(), settings), who)
    assert contact.body == {"firstname": "Ada", "lastname": "Okafor", "statecode": 1, "statuscode": 2}
    firm = Supplier(key="payables:supplier:1", number="1", name="Joinery Ltd", end_date=date(2027, 1, 1))
    facts = facts_of(firm)
    account = Accounts("accounts", AccountSettings(), settings).desired(firm.key, facts)
    assert account == Document(
        "account", short_name(firm.key),
        {"name": "Joinery Ltd", "customertypecode": 10, "accountnumber": "1", "statecode": 0, "statuscode": 1},
    )  # fmt: skip
    assert facts.recheck == date(2027, 1, 1)
    case = document_of(Cases("cases", CaseSettings(), settings), TEAM)
    assert case == Document(
        "incident", short_name(TEAM.key),
        {"title": "North", "description": "SW", "casetypecode": 3, "statecode": 0, "statuscode": 1},
        {"customerid_contact": CHILD.key},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("entity", "why"),
    [
        (CHILD.model_copy(update={"restricted": True}), "the record is restricted"),
        (CHILD.model_copy(update={"names": ()}), "the person has no name"),
        (TEAM.model_copy(update={"team": None}), "no team is named"),
    ],
)
def test_what_is_not_to_be_seen_there_is_not_sent(entity: Person | Involvement, why: str) -> None:
    settings: Any = None
    assert Cases("cases", CaseSettings(), settings).desired(entity.key, facts_of(entity)) == Nothing(why)


# -- any table -------------------------------------------------------------------------------------------------------


async def test_a_table_of_the_councils_own_is_written_by_a_key_of_two_columns_with_exact_amounts(there: Dataverse) -> None:
    await confirmed(there, Write(CHILD.key, document_of(flow_of(there), CHILD)))
    document, refs = tenancy("O'Hare Court:12", cr1_rent="123456789012.10"), {"cr1_Tenant": short_name(CHILD.key)}
    made = await confirmed(there, Write("h:tenancy:1", document, refs=refs))
    assert made.body == document.body
    row = there[1].row("cr1_tenancy", "O'Hare Court:12")
    assert row
    assert (row["cr1_rent"], row["_cr1_Tenant"]) == (123456789012.10, refs["cr1_Tenant"])
    assert await there[0].read_back([Write("h:tenancy:1", document, refs=refs)]) == [Held(document.body, made.ref, made.tag)]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (tenancy("Court"), "the number or an amount of the document: has not as many parts as the key has columns"),
        (tenancy("Court:twelve"), "the number or an amount of the document: cr1_number: is no whole number"),
        (tenancy("A/B:12"), "the number: holds a sign that Dataverse finds no record by; use `flows.kit.plain.short_name`"),
        (tenancy("Court:12", cr1_rent="much"), "an amount: is no number"),
        (tenancy("Court:12", cr1_number=12), "cr1_number: is a column of the key, which stands in the address alone"),
        (replace(tenancy("Court:12"), refers={"owner": "x"}), "owner: the table has no such lookup in the settings"),
    ],
)  # fmt: skip
async def test_what_cannot_be_asked_for_is_refused_without_a_request(there: Dataverse, document: Document, why: str) -> None:
    assert await one(there, Write("h:tenancy:1", document)) == Refused(why)
    assert there[1].requests == 0


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"hair": "grey"}, "hair: 400 0x80048d19"),
        ({"gendercode": 9}, "gendercode: 400 0x8004431a"),
        ({"firstname": "A" * 51}, "firstname: 400 0x80044331"),
        ({"birthdate": "04/03/2012"}, "birthdate: 400 0x80048d19"),
        ({"statecode": 0, "statuscode": 2}, "400 0x80048408"),
    ],
)
async def test_a_refusal_names_the_column_and_the_code_and_never_a_value(
    there: Dataverse, changes: dict[str, Any], why: str
) -> None:
    document = document_of(flow_of(there), CHILD)
    bad = replace(document, body=document.body | changes)
    assert await one(there, Write(CHILD.key, bad)) == Refused(why)
    assert there[1].row("contact", document.number) is None


async def test_the_sandbox_refuses_what_the_target_never_sends(there: Dataverse) -> None:
    target, sandbox = there
    number, url = short_name(CHILD.key), f"{target.root}/contacts({KEY}='{short_name(CHILD.key)}')"
    await confirmed(there, Write(CHILD.key, document_of(flow_of(there), CHILD)))

    async def status(method: str, url: str, body: Any = None, **headers: str) -> tuple[int, str]:
        answer = await target._exchanged(method, url, "/test", json=body, headers=headers)
        assert isinstance(answer, httpx.Response)
        return answer.status_code, answer.json()["error"]["code"] if answer.content else ""

    assert await status("PATCH", url, {KEY: number}) == (400, "0x80040216")
    assert await status("PATCH", url, {}, **{"If-None-Match": "*"}) == (412, "0x80060892")
    assert await status("PATCH", url, {}, **{"If-Match": 'W/"0"'}) == (412, "0x80060882")
    assert await status("PATCH", f"{target.root}/contacts({KEY}='NEW')", {}, **{"If-Match": "*"}) == (404, "")
    assert await status("PATCH", f"{target.root}/contacts(lastname='NEW')", {}) == (400, "0x80060888")
    assert await status("PATCH", f"{target.root}/incidents({KEY}='NEW')", {"title": "x"}) == (400, "")
    assert await status("PATCH", f"{target.root}/incidents({KEY}='NEW')", {"statecode": 1, "statuscode": 5}) == (400, "")
    tag = f'W/"{(sandbox.row("contact", number) or {})["versionnumber"]}"'
    with pytest.raises(MisconfiguredError, match="redirect"):  # 304: nothing that the target ever asks for
        await status("GET", url, None, **{"If-None-Match": tag})


# -- lookups ---------------------------------------------------------------------------------------------------------


async def test_a_case_waits_for_its_child_and_is_bound_to_it_by_key(there: Dataverse) -> None:
    write = Write(TEAM.key, document_of(flow_of(there), TEAM), refs={"customerid_contact": short_name(CHILD.key)})
    assert await one(there, write) == Waiting(CHILD.key)
    await confirmed(there, Write(CHILD.key, document_of(flow_of(there), CHILD)))
    await confirmed(there, write)
    row = there[1].row("incident", short_name(TEAM.key))
    assert row
    assert row["_customerid_contact"] == short_name(CHILD.key)


async def test_a_lookup_that_somebody_changed_is_seen_when_it_is_read_back(there: Dataverse) -> None:
    target, sandbox = there
    await confirmed(there, Write(CHILD.key, document_of(flow_of(there), CHILD)))
    write = Write(TEAM.key, document_of(flow_of(there), TEAM), refs={"customerid_contact": short_name(CHILD.key)})
    await confirmed(there, write)
    sandbox.write(sandbox.kinds["contact"], "OTHER", {})
    sandbox.write(sandbox.kinds["incident"], short_name(TEAM.key), {"_customerid_contact": "OTHER"})
    (shown,) = await target.read_back([write])
    assert isinstance(shown, Held)
    assert shown.body == document_of(flow_of(there), TEAM).body | {"customerid_contact": "OTHER"}


# -- doubts ----------------------------------------------------------------------------------------------------------


async def test_two_upserts_of_one_key_at_once_make_one_row_and_the_other_is_read_back(there: Dataverse) -> None:
    write = Write(CHILD.key, document_of(flow_of(there), CHILD))
    outcomes = await there[0].write([write, write])
    assert {type(each) for each in outcomes} <= {Confirmed, Unknown}
    assert any(isinstance(each, Confirmed) for each in outcomes)
    assert there[1].held.counts["contact"] == 1
    (shown,) = await there[0].read_back([write])
    assert isinstance(shown, Held)


async def test_a_row_that_somebody_deleted_is_in_doubt_and_then_made_again(there: Dataverse) -> None:
    flow = flow_of(there)
    first, second = document_of(flow, CHILD), document_of(flow, CHILD.model_copy(update={"names": (Name(family="Obi"),)}))
    made = await confirmed(there, Write(CHILD.key, first))
    await confirmed(there, Write(CHILD.key, None, first))
    write = Write(CHILD.key, second, first, (), made.ref, made.tag)
    assert await one(there, write) == Unknown("somebody deleted the record there since it was read (404)")
    assert await there[0].read_back([write]) == [Absent()]
    assert isinstance(await one(there, Write(CHILD.key, second)), Confirmed)


async def test_an_answer_without_the_row_confirms_and_leaves_the_tag_open() -> None:
    async with environment(DataverseSandbox(DataverseSandboxSettings(shows=False))) as there:
        document = document_of(flow_of(there), CHILD)
        assert await one(there, Write(CHILD.key, document)) == Confirmed(document.number)


async def test_a_table_that_is_not_there_stops_the_target_and_parks_nobody() -> None:
    async with environment(tables={"contact": {"entity_set": "contactz", "key": [KEY]}}) as there:
        with pytest.raises(MisconfiguredError, match="there is no table contactz"):
            await one(there, Write(CHILD.key, document_of(flow_of(there), CHILD)))


# -- checking --------------------------------------------------------------------------------------------------------


class Reduced(DataverseSandbox):
    """An environment in which one thing is not as it should be."""

    def __init__(self, **definition: Any) -> None:
        super().__init__()
        self._changed = definition

    def _metadata(self, path: str) -> dict[str, Any] | None:
        said = super()._metadata(path)
        return said | {name: value for name, value in self._changed.items() if name in said} if said else said


@pytest.mark.parametrize(
    ("definition", "what"),
    [
        ({"Keys": []}, f"alternate key of contact: {KEY}: there is none"),
        ({"Keys": [{"KeyAttributes": [KEY], "EntityKeyIndexStatus": "Pending"}]}, "its index is not built yet"),
        ({"Keys": [{"KeyAttributes": [KEY], "EntityKeyIndexStatus": "Failed"}]}, "its index failed"),
        ({"IsOptimisticConcurrencyEnabled": False}, "optimistic concurrency of contact: it is off"),
        ({"EntitySetName": "persons"}, "table contact: its name in addresses is another one"),
        ({"RolePrivileges": [{"PrivilegeId": "Read-contact"}]}, "rights in contact: Create is missing"),
        ({"Privileges": "all"}, "rights in contact: Delete is missing"),
    ],
)
async def test_check_finds_what_would_stop_the_first_write(definition: dict[str, Any], what: str) -> None:
    async with environment(Reduced(**definition)) as (target, _):
        bad = [finding for finding in await target.check() if not finding.well]
        assert any(what in finding.what for finding in bad), bad
        assert all(finding.fix for finding in bad)


async def test_check_is_content_with_an_environment_as_it_should_be_and_finds_choices_without_a_value(
    there: Dataverse,
) -> None:
    assert [finding.what for finding in await there[0].check() if not finding.well] == []
    assert len(await there[0].check()) == 1 + 3 * 4
    assert system.flow
    assert system.flow.check
    assert accounts.system.check
    assert cases.system.check
    assert all(f.well for f in await system.flow.check(ContactSettings(), there[0]))
    assert all(f.well for f in await cases.system.check(CaseSettings(), there[0]))
    (finding,) = await accounts.system.check(AccountSettings(relationship=77), there[0])
    assert finding.what == "choice account.customertypecode: has no value 77"


async def test_a_flow_s_fields_are_held_against_the_columns_and_lookups_that_a_table_has() -> None:
    tenancies = {"entity_set": "cr1_tenancies", "key": ["cr1_ironbridgekey"], "lookups": {"cr1_Tenant": "contact"}}
    async with environment(tables={"cr1_tenancy": tenancies, "cr1_gone": tenancies}) as (target, _):
        contact, tenancy = await target.columns("contact"), await target.columns("cr1_tenancy")
        assert {"firstname", "department", "statecode"} <= set(contact or ())
        assert {"cr1_rent", "cr1_Tenant"} <= set(tenancy or ())
        assert await target.columns("invoice") is None
        with pytest.raises(MisconfiguredError, match=r"table cr1_gone: 404 0x80060888"):
            await target.columns("cr1_gone")


async def test_a_secret_that_is_wrong_is_found_by_check_and_told_with_what_to_do() -> None:
    async with environment(client_secret="wrong") as (target, _):
        (finding,) = await target.check()
        assert (finding.well, finding.what) == (False, "the token endpoint says 401: invalid_client")


def test_the_execution_time_of_20_minutes_in_5_cannot_be_used_up_with_the_usual_settings() -> None:
    field = DataverseSettings.model_fields["concurrency"]
    assert field.default * 300 <= 1200


