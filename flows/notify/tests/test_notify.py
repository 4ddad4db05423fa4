"""flows/notify: against the suite, its sandbox and Notify's own contract."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from canonical import Payment, Supplier
from canonical.errors import MisconfiguredError
from canonical.finance import SettledDocument
from canonical.people import ContactPoint
from flows.kit.http import client
from flows.kit.requests import LocalBudget
from flows.kit.sandbox import Fault, Rate
from flows.notify import NotifySettings, NotifyTarget, RemittanceAdvice, RemittanceSettings, system
from flows.notify.sandbox import API_KEY, EMAIL, LETTER, SECRET, SERVICE, SMS, NotifySandbox, NotifySandboxSettings
from flows.notify.wire import patience, reference
from flows.port import (
    Absent,
    Body,
    Confirmed,
    Document,
    Fact,
    Facts,
    Held,
    Limits,
    NotDone,
    Nothing,
    Outcome,
    Refused,
    Unavailable,
    Unknown,
    Untold,
    Waiting,
    Write,
)
from flows.testing import SandboxSide, TargetSuite

SUPPLIER = Supplier(
    key="erp:supplier:1",
    number="1",
    name="Mole Drains Ltd",
    contacts=(ContactPoint(system="phone", value="020 7946 0000"), ContactPoint(system="email", value="ap@mole.example")),
)
PAYMENT = Payment(
    key="erp:payment:9",
    number="9",
    supplier=SUPPLIER.key,
    amount=Decimal("1204.50"),
    payment_date=date(2026, 11, 27),
    settles=(SettledDocument(document="erp:invoice:A7"), SettledDocument(document="erp:invoice:A8")),
)
FLOW = RemittanceAdvice("advice", RemittanceSettings.model_validate({"template": EMAIL, "since": "2026-11-01"}))


def wanted(entity: Supplier | Payment, version: int = 2, today: date = date(2026, 11, 28)) -> Document | Nothing | None:
    fact = Fact(entity.type_name, entity.key, entity.owner, version, entity.to_bytes())
    return FLOW.desired(entity.key, Facts([fact], today))


def email(number: int, version: int = 2, to: str = "", **more: Any) -> Document:
    values = {"amount": f"£{version}.00", "payment date": "today", "payment number": str(number), "documents": ["A7"]}
    body = {"template": EMAIL, "version": version, "personalisation": values, "to": to or f"s{number}@mole.example"}
    return Document("email", f"erp:payment:{number}", body | more)


def write(document: Document, **known: Any) -> Write:
    return Write(document.number, document, **known)


@dataclass
class Notified:
    """The target, its sandbox, and all that went between them."""

    target: NotifyTarget
    sandbox: NotifySandbox
    exchanged: list[httpx.Response] = field(default_factory=list)

    async def write(self, *writes: Write) -> list[Outcome]:
        return list(await self.target.write(writes))

    async def confirmed(self, write: Write) -> Confirmed:
        (outcome,) = await self.write(write)
        assert isinstance(outcome, Confirmed), outcome
        return outcome

    @property
    def held(self) -> list[Body]:
        return [*self.sandbox.documents("message").values()]


@asynccontextmanager
async def notifying(settings: NotifySandboxSettings | None = None, key: str = API_KEY) -> AsyncIterator[Notified]:
    async with (
        NotifySandbox(settings) as sandbox,
        client(Limits(), LocalBudget(10_000, 1.0), timeout=httpx.Timeout(2.0)) as http,
    ):
        given = NotifySettings.model_validate({"api_key": key, "base_url": sandbox.url})
        notified = Notified(NotifyTarget("notify", given, http), sandbox)

        async def keep(response: httpx.Response) -> None:
            await response.aread()
            notified.exchanged.append(response)

        http.event_hooks["response"].append(keep)
        yield notified


@pytest.fixture
async def notified() -> AsyncIterator[Notified]:
    async with notifying() as made:
        yield made


class NotifySide(SandboxSide):
    def document(self, number: int, version: int) -> tuple[str, Document]:
        document = email(number, version * 2)
        return document.number, document

    def refusable(self, number: int) -> tuple[str, Document]:
        document = email(number, to="nobody")
        return document.number, document

    def held(self, number: int) -> Body | None:
        told = [each["subject"] for each in self.sandbox.log()]
        handles = {reference(SERVICE, email(number, version)): version for version in (2, 4)}
        newest = [handle for handle in told if handle in handles]
        messages = {each["reference"]: each for each in self.sandbox.documents("message").values()}
        return messages[newest[-1]] if newest else None


class TestNotify(TargetSuite):
    unsays = False

    def same(self, held: Body | None, document: Document) -> bool:
        assert held is not None
        amount = document.body["personalisation"]["amount"]
        return held["email_address"] == document.body["to"] and amount in held["body"]

    @pytest.fixture
    async def side(self) -> AsyncIterator[NotifySide]:
        async with notifying() as made:
            yield NotifySide(made.target, made.sandbox, "/v2/notifications/email")


# -- the flow ------------------------------------------------------------------------------------------------------


def test_a_payment_that_was_made_is_told_to_its_supplier() -> None:
    assert wanted(SUPPLIER) == Document("recipient", SUPPLIER.key, {"to": "ap@mole.example"})
    assert wanted(PAYMENT) == Document(
        "email",
        PAYMENT.key,
        {
            "template": EMAIL,
            "version": 2,
            "personalisation": {
                "amount": "£1,204.50",
                "payment date": "27 November 2026",
                "payment number": "9",
                "documents": ["A7", "A8"],
            },
        },
        {"to": SUPPLIER.key},
    )
    assert FLOW.desired("erp:payment:9", Facts([], date(2026, 11, 28))) is None


@pytest.mark.parametrize(
    ("change", "today", "reason"),
    [
        ({"payment_date": None}, 28, "the payment has no date"),
        ({"amount": Decimal("-1.00")}, 28, "the supplier was given nothing"),
        ({"payment_date": date(2026, 10, 31)}, 28, "the payment is older than `since`"),
        ({}, 26, "the payment's day has not come"),
        ({"payment_date": date(2026, 11, 20)}, 27, "the payment was too long ago to be told"),
    ],
)
def test_a_payment_is_not_told(change: dict[str, Any], today: int, reason: str) -> None:
    assert wanted(PAYMENT.model_copy(update=change), today=date(2026, 11, today)) == Nothing(reason)


def test_a_supplier_without_an_address_leaves_its_payments_waiting() -> None:
    assert wanted(SUPPLIER.model_copy(update={"contacts": ()})) == Nothing("the supplier has no e-mail address")


async def test_an_advice_goes_to_the_address_that_its_supplier_has(notified: Notified) -> None:
    supplier, payment = wanted(SUPPLIER), wanted(PAYMENT)
    assert isinstance(supplier, Document)
    assert isinstance(payment, Document)
    assert await notified.write(write(payment)) == [Waiting(SUPPLIER.key)]
    address = (await notified.confirmed(write(supplier))).ref
    await notified.confirmed(write(payment, refs={"to": address}))
    (message,) = notified.held
    assert (message["email_address"], message["body"]) == (
        "ap@mole.example",
        "We paid you £1,204.50 on 27 November 2026 for:\n\n* A7\n* A8",
    )


# -- told once -----------------------------------------------------------------------------------------------------


async def test_one_version_is_told_once_whatever_becomes_of_the_settings_and_the_address(notified: Notified) -> None:
    first = email(1)
    sent = await notified.confirmed(write(first))
    otherwise = email(1, to="new@mole.example", template=SMS)
    assert await notified.confirmed(write(otherwise, confirmed=first, ref=sent.ref)) == sent
    assert await notified.confirmed(write(first)) == sent  # the state was lost: Notify knows it by its reference
    assert len(notified.held) == 1


async def test_a_new_version_is_told_if_it_says_something_else(notified: Notified) -> None:
    first = email(1)
    sent = await notified.confirmed(write(first))
    later = Document("email", first.number, first.body | {"version": 4})
    assert await notified.confirmed(write(later, confirmed=first, ref=sent.ref)) == sent
    other = Document("email", first.number, email(1, 6).body)
    assert await notified.confirmed(write(other, confirmed=later, ref=sent.ref)) != sent
    assert len(notified.held) == 2


async def test_a_lost_answer_is_found_by_its_reference_and_an_old_one_in_the_ledger(notified: Notified) -> None:
    document = email(1)
    notified.sandbox.faults.append(Fault(kind="cut", when="after", path="/email"))
    assert [type(each) for each in await notified.write(write(document))] == [Unknown]
    (shown,) = await notified.target.read_back([write(document, doubtful=(document,))])
    assert shown == Held(document.body, notified.held[0]["id"])
    old = email(7)  # Notify forgot it long ago
    shown_old = await notified.target.read_back([write(email(7, to="x@y.example"), confirmed=old, doubtful=(old,), ref="r")])
    assert shown_old == [Held(email(7, to="x@y.example").body, "r")]


async def test_nothing_is_sent_while_nobody_says_whether_it_went_before(notified: Notified) -> None:
    for fault in (Fault(kind="status", status=502), Fault(kind="garbage"), Fault(kind="status", status=400)):
        notified.sandbox.faults.append(fault.model_copy(update={"path": "/v2/notifications"}))
        assert [type(each) for each in await notified.write(write(email(1)))] == [NotDone]
    assert notified.held == []


async def test_reading_back_tells_of_a_message_that_did_not_arrive(notified: Notified) -> None:
    document = email(1)
    ref = (await notified.confirmed(write(document))).ref
    known = write(document, confirmed=document, ref=ref)
    assert await notified.target.read_back([known]) == [Held(document.body, ref)]
    notified.sandbox.ends(ref, "permanent-failure")
    assert await notified.target.read_back([known]) == [Held(document.body | {"delivery": "permanent-failure"}, ref)]
    forgotten = write(document, confirmed=document, ref="0e7b5d4c-0000-4000-8000-000000000000")
    assert [type(each) for each in await notified.target.read_back([forgotten])] == [Untold]
    assert await notified.target.read_back([Write(document.number, None, document)]) == [Absent()]


# -- answers -------------------------------------------------------------------------------------------------------


async def test_texts_and_letters_go_too_and_what_is_wrong_with_one_is_said_without_its_values(notified: Notified) -> None:
    def text(to: str) -> Write:
        return write(Document("sms", to, {"template": SMS, "version": 2, "personalisation": {"day": "1"}, "to": to}))

    def letter(*lines: str) -> Write:
        values = {f"address_line_{n}": line for n, line in enumerate(lines, 1)} | {"amount": "£1"}
        return write(Document("letter", lines[0], {"template": LETTER, "version": 2, "personalisation": values}))

    outcomes = await notified.write(
        text("07700 900123"),
        text("020 7946 0000"),
        letter("A Mole", "1 Riverbank", "SW1A 1AA"),
        letter("A Mole", "Riverbank"),
        write(email(1, to="hush@nowhere")),
        write(email(4, to="x")),
        write(email(2, personalisation={"amount": "£1"})),
        write(email(3, template=SMS)),
    )
    assert [each.reason if isinstance(each, Refused) else type(each) for each in outcomes] == [
        Confirmed,
        "phone_number: is not a UK mobile number",
        Confirmed,
        "address: has fewer than 3 lines",
        "email_address: is not a valid e-mail address",
        "email_address: is not 5 to 250 characters long",
        "personalisation: the template wants `documents`, which is not given",
        "the template is for sms, and the message is email",
    ]


async def test_refusals_of_many_in_a_row_are_an_outage_until_a_message_is_taken(notified: Notified) -> None:
    everybody = Fault(kind="status", status=400, path="/email", times=None)
    notified.sandbox.faults.append(everybody)
    reason = "Notify refuses the message (400 unknown error); its words may hold values and are not shown"
    assert await notified.write(*(write(email(n)) for n in (1, 2))) == [Refused(reason)] * 2
    outcomes = await notified.write(*(write(email(n)) for n in (2, 3, 4, 5)))
    assert [type(each) for each in outcomes] == [Unavailable] * 4
    assert [type(each) for each in await notified.write(write(email(6)))] == [Unavailable]
    notified.sandbox.faults.clear()
    await notified.confirmed(write(email(6)))
    notified.sandbox.faults.append(everybody)
    assert await notified.write(write(email(7))) == [Refused(reason)]


async def test_limits_of_a_minute_and_of_a_day_are_told_apart() -> None:
    async with notifying(NotifySandboxSettings(rate=Rate(2, 60.0))) as slow:
        assert await slow.write(write(email(1))) == [Unavailable("429: turned away for now", timedelta(minutes=1))]
    async with notifying(NotifySandboxSettings(daily=1)) as full:
        outcomes = [type(each) for n in (1, 2) for each in await full.write(write(email(n)))]
        assert outcomes == [Confirmed, Unavailable]
        assert patience(full.exchanged[-1], datetime(2026, 11, 28, 23, 50, tzinfo=UTC)) == timedelta(minutes=10)


async def test_a_wrong_key_or_template_stops_the_flow_and_the_check_says_so() -> None:
    async with notifying(key=f"old-{SERVICE}-{SERVICE}") as wrong:
        with pytest.raises(MisconfiguredError, match=r"does not allow us this \(403\)"):
            await wrong.write(write(email(1)))
        assert [each.well for each in await wrong.target.check()] == [False]
    async with notifying() as right:
        with pytest.raises(MisconfiguredError, match="the service has no such template"):
            await right.write(write(email(1, template=SERVICE)))
        assert [each.well for each in await right.target.check()] == [True]
        assert system.flow is not None
        assert system.flow.check is not None
        for template, well in ((EMAIL, True), (SMS, False)):
            given = RemittanceSettings.model_validate({"template": template, "since": "2026-11-01"})
            assert [each.well for each in await system.flow.check(given, right.target)] == [well]


def test_a_key_that_is_none_is_refused_and_not_shown() -> None:
    assert NotifySettings.model_validate({"api_key": f"my-own_key-{SERVICE}-{SECRET}"}).service == SERVICE
    with pytest.raises(ValidationError) as error:
        NotifySettings.model_validate({"api_key": f"my-{SECRET}"})
    assert SECRET not in str(error.value)


# -- the contract --------------------------------------------------------------------------------------------------


class Contract:
    """Notify's OpenAPI file. Its `oneOf`s have alternatives that overlap, so they are read as `anyOf`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Any] = {}
        self.paths: Mapping[str, Any] = self._read("publicapi_spec.json")["paths"]

    def _read(self, name: str) -> Any:
        if name not in self._files:
            self._files[name] = json.loads((self._folder / name).read_text("utf-8"))
        return self._files[name]

    def operation(self, method: str, path: str) -> Any:
        """The operation of a request; fails if there is none."""
        exact = sorted(self.paths, key=lambda each: each.count("{"))
        template = next(each for each in exact if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", each), path))
        return self._read(self.paths[template]["$ref"].removeprefix("./"))[method.lower()]

    def schema(self, node: Any) -> Any:
        """A schema of OpenAPI 3.0 as JSON Schema, without references."""
        if isinstance(node, list):
            return [self.schema(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return self.schema(self._read("schema.json")["components"]["schemas"][node["$ref"].rpartition("/")[2]])
        made = {"anyOf" if name == "oneOf" else name: self.schema(value) for name, value in node.items() if name != "example"}
        return {"anyOf": [made, {"type": "null"}]} if node.get("nullable") is True else made

    def validate(self, content: Any, said: bytes) -> set[str]:
        """Check a body, and give the names that the contract knows of it."""
        schema = self.schema(content["application/json"]["schema"])
        Draft202012Validator(schema).validate(json.loads(said))
        each = schema.get("anyOf", [schema])
        return {name for alternative in each for name in alternative.get("properties", {})}


@pytest.mark.shared
async def test_every_request_and_every_answer_of_the_sandbox_is_as_the_contract_has_it(shared: Path) -> None:
    contract = Contract(shared / "specs" / "govuk-notify")
    async with notifying(NotifySandboxSettings(daily=3)) as notified:
        sms = Document("sms", "n", {"template": SMS, "version": 2, "personalisation": {"day": "1"}, "to": "07700900123"})
        values = {"amount": "£1", "address_line_1": "A", "address_line_2": "B", "address_line_3": "SW1A 1AA"}
        letter = Document("letter", "l", {"template": LETTER, "version": 2, "personalisation": values})
        options = {"email_reply_to_id": SERVICE}
        sent = await notified.confirmed(write(email(1, options=options)))
        for document in (sms, letter, email(3, to="x@nowhere"), email(4, to="x"), email(1)):
            await notified.write(write(document))
        for ref in (sent.ref, SERVICE):
            await notified.target.read_back([write(email(1), confirmed=email(1), ref=ref)])
        await notified.target.check()
        with pytest.raises(MisconfiguredError):
            await notified.write(write(email(4, template=SERVICE)))
        await notified.write(write(email(2)))  # the fourth of a day that takes three; after it nothing is sent for a while
        statuses = {response.status_code for response in notified.exchanged}
        assert statuses == {200, 201, 400, 404, 429}
        for response in notified.exchanged:
            operation = contract.operation(response.request.method, response.request.url.path)
            if response.request.method == "POST":
                body = response.request.content
                assert json.loads(body).keys() <= contract.validate(operation["requestBody"]["content"], body)
            asked = {each["name"] for each in operation.get("parameters", []) if each["in"] == "query"}
            assert response.request.url.params.keys() <= asked
            contract.validate(operation["responses"][str(response.status_code)]["content"], response.content)
