"""Every request that the Business Central target sends, held against Microsoft's OpenAPI file and resource pages."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from canonical import CreditNote, Invoice, Supplier
from canonical.errors import UnavailableError
from canonical.people import Address, ContactPoint
from flows.business_central import BusinessCentralSettings, BusinessCentralTarget
from flows.business_central.company import Company
from flows.business_central.documents import INVOICE, VENDOR
from flows.business_central.odata import Answer, Operation, Service, _unpacked
from flows.business_central.sandbox import BusinessCentralSandbox
from flows.business_central.target import limits_of
from flows.business_central.tests.test_business_central import SUPPLIER, Council, cost_centre, council, invoice, line
from flows.business_central.wire import Wire
from flows.kit.http import client
from flows.kit.odata import decoded, encoded, literal, query
from flows.kit.requests import Budget, LocalBudget
from flows.kit.sandbox import serve
from flows.port import Confirmed, Document, Outcome, Refused, Unavailable, Unknown, Untold, Write

CONTRACT = "specs/business-central/BCOpenApiSpecification.json"
# learn.microsoft.com, business-central/dev-itpro/api-reference/v2.0/resources/dynamics_purchasecreditmemo and
# …/dynamics_purchasecreditmemoline (2025): what may be written of what we write.
CREDIT_MEMO = {"creditMemoDate", "dueDate", "vendorId", "vendorCreditMemoNumber", "currencyCode"}
CREDIT_LINE = {"sequence", "accountId", "lineType", "description", "unitCost", "quantity", "taxCode"}

FULL = Supplier(
    key=SUPPLIER.key, number="1001", name="Severn Gorge Joinery Ltd", vat_number="980780684",
    addresses=(Address(lines=("Unit 4", "Ladywood"), town="Ironbridge", postcode="TF8 7NR"),),
    contacts=(ContactPoint(system="phone", value="01952 432100"), ContactPoint(system="email", value="a@b.example")),
)  # fmt: skip


class Overheard(BusinessCentralSandbox):
    """The sandbox, which keeps every batch as it came over the wire."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[str] = []

    async def answer(self, request: Request) -> Response:
        if request.url.path.endswith("/$batch"):
            self.batches.append((await request.body()).decode())
        return await super().answer(request)

    def operations(self) -> Iterator[dict[str, Any]]:
        for batch in self.batches:
            yield from json.loads(batch)["requests"]


@asynccontextmanager
async def overheard() -> AsyncIterator[tuple[Council, Overheard]]:
    async with Overheard() as sandbox:
        sandbox.company.seed({"8000": "Supplies", "8510": "Vehicles"}, {"CC": {"A1": "One", "56HO4155": "Home"}})
        async with client(limits_of(SETTINGS), LocalBudget(6000, 300)) as http:
            yield (
                Council(sandbox, http, dimensions={"COSTCENTRE": "CC"}, tax_codes={"20": "VAT20", "0": "VAT0"}),
                sandbox,
            )


SETTINGS = BusinessCentralSettings.model_validate(
    {
        "base_url": "http://127.0.0.1:1", "company": "6b9c2f5e-2f55-4f0c-9d0e-1f7a3c1e5a10",
        "token_url": "http://127.0.0.1:1/token", "client_id": "ironbridge", "client_secret": "secret",
    }
)  # fmt: skip


async def everything(town: Council) -> None:
    """Create, change, read back and delete one of each, with all that they can hold."""
    first = await town.one(town.new(FULL))
    vendor = town.next(town.new(FULL), first, FULL.model_copy(update={"addresses": (), "name": "Severn"}))
    assert isinstance(first, Confirmed)
    assert isinstance(await town.one(vendor), Confirmed)
    lines = (
        line(1, "0.10", tax="0.02", description="Nails", dimensions=cost_centre("A1")),
        line(2, "-7.00", dimensions=cost_centre("A1")),
        line(3, "1.00", tax="0.00", dimensions=cost_centre("A1")),
    )
    later = (
        line(1, "0.20", account="8510"),
        line(2, "7.00", tax="1.40", dimensions=cost_centre("56HO4155")),
        line(4, "1.00", dimensions=cost_centre("A1")),
    )
    dated: dict[str, Any] = {"document_date": date(2025, 5, 4), "due_date": date(2025, 6, 3)}
    one = invoice(*lines, **dated)
    note = CreditNote(key="payables:credit-note:CN9", number="CN9", supplier=FULL.key, lines=lines, **dated)
    documents: tuple[Invoice | CreditNote, ...] = (one, note)
    for document in documents:
        write = town.new(document, vendorId=first.ref)
        changed = town.next(
            write, await town.one(write), document.model_copy(update={"lines": later, "due_date": None})
        )
        outcome = await town.one(changed)
        assert isinstance(outcome, Confirmed)
        await town.target.read_back([changed])
        removal = town.next(changed, outcome, None)
        assert isinstance(await town.one(removal), Confirmed)
    assert isinstance(await town.one(Write(FULL.key, None, vendor.document, (), first.ref)), Confirmed)


class Contract:
    def __init__(self, shared: Path) -> None:
        self.spec = json.loads((shared / CONTRACT).read_text())
        self._places = [(re.compile(self._pattern(path)), item) for path, item in self.spec["paths"].items()]

    @staticmethod
    def _pattern(template: str) -> str:
        return re.sub(r"\\\{\w+\\\}", "[^(),/]+", re.escape(template))

    def item(self, url: str) -> dict[str, Any]:
        """The path item of an address."""
        path = "/" + urlsplit(url).path
        found = [item for pattern, item in self._places if pattern.fullmatch(path)]
        assert found, f"no such path in the file: {path}"
        return dict(found[0])

    def parameters(self, item: dict[str, Any], method: str) -> dict[str, dict[str, Any]]:
        listed = [*item.get("parameters", ()), *item[method].get("parameters", ())]
        known = [self.spec["components"]["parameters"][p["$ref"].split("/")[-1]] if "$ref" in p else p for p in listed]
        return {p["name"]: p for p in known}

    def check_body(self, name: str, body: dict[str, Any], *, navigation: str = "") -> None:
        # The file's request bodies leave out key properties (a line's `sequence`, a dimension line's `parentId`), which
        # the pages' examples send: names are held against the entity, types against both.
        entity = self.spec["components"]["schemas"][name]
        assert body.keys() - {navigation} <= entity["properties"].keys(), name
        checker = FormatChecker(formats=["uuid"])  # not date-time: see test_dates_are_those_of_the_resource_pages
        for schema in (entity, self.spec["components"]["requestBodies"][name]["content"]["application/json"]["schema"]):
            whole = {"components": self.spec["components"], **schema}
            Draft202012Validator(whole, format_checker=checker).validate(body)


async def test_every_operation_and_body_is_one_of_microsofts_file(shared: Path) -> None:
    contract = Contract(shared)
    seen: set[tuple[str, str]] = set()
    async with overheard() as (town, sandbox):
        await everything(town)
        operations = list(sandbox.operations())
    for operation in operations:
        method, url = operation["method"], operation["url"]
        name = re.sub(r"\([^)]*\)", "", urlsplit(url).path).split("/")[-1]
        seen.add((method, name))
        if "CreditMemo" in name:
            continue
        item = contract.item(url)
        assert method.lower() in item, (method, url)
        allowed = contract.parameters(item, method.lower())
        asked = dict(parse_qsl(urlsplit(url).query))
        assert asked.keys() <= allowed.keys(), url
        if expand := asked.get("$expand"):
            assert expand.split("(")[0] in allowed["$expand"]["schema"]["items"]["enum"]
        if method == "PATCH":
            assert operation["headers"]["If-Match"]
        if "body" in operation:
            single = name.removesuffix("s")
            lines = "purchaseInvoiceLines" if single == "purchaseInvoice" else ""
            contract.check_body(single, operation["body"], navigation=lines)
            for each in operation["body"].get(lines, ()):
                contract.check_body("purchaseInvoiceLine", each)
    things = ("vendors", "purchaseInvoices", "purchaseInvoiceLines", "dimensionLines", "purchaseCreditMemos")
    assert {(method, thing) for thing in things for method in ("POST", "PATCH", "DELETE")} <= seen


async def test_every_purchase_credit_memo_is_one_of_the_resource_pages() -> None:
    async with overheard() as (town, sandbox):
        await everything(town)
        operations = [each for each in sandbox.operations() if "CreditMemo" in each["url"] and "body" in each]
    assert operations
    for operation in operations:
        body = dict(operation["body"])
        lines = body.pop("purchaseCreditMemoLines", [])
        own = CREDIT_LINE if "purchaseCreditMemoLines" in operation["url"] else CREDIT_MEMO
        assert body.keys() <= own
        assert all(each.keys() <= CREDIT_LINE for each in lines)


async def test_dates_are_those_of_the_resource_pages() -> None:
    """The file says date-time; the entity has a date (Edm.Date), which takes no time, and the pages' examples too."""
    async with overheard() as (town, sandbox):
        await everything(town)
        bodies = [each["body"] for each in sandbox.operations() if "body" in each]
    dates = [body[name] for body in bodies for name in ("invoiceDate", "creditMemoDate", "dueDate") if name in body]
    assert set(dates) == {"2025-05-04", "2025-06-03", "0001-01-01"}


async def test_amounts_are_numbers_with_exactly_their_digits_on_the_wire() -> None:
    async with overheard() as (town, sandbox):
        vendor = await town.vendor()
        await town.one(town.new(invoice(line(1, "0.10"), line(2, "1234567890123.45")), vendorId=vendor.ref))
        (sent,) = [batch for batch in sandbox.batches if "purchaseInvoiceLines" in batch and '"POST"' in batch]
    assert re.findall(r'"unitCost":([^,}]+)', sent) == ["0.10", "1234567890123.45"]


def test_the_largest_amount_comes_through_json_unharmed() -> None:
    amount = Decimal("1234567890123456.78")
    assert encoded({"unitCost": amount, "n": [1, True, None, 'é"']}) == (
        '{"unitCost":1234567890123456.78,"n":[1,true,null,"\\u00e9\\""]}'
    )
    assert decoded('{"unitCost": 1234567890123456.78}') == {"unitCost": amount}


def test_a_quote_cannot_end_a_filter_early() -> None:
    assert literal("O'Hare") == "'O''Hare'"
    assert query("vendors", filter="number eq 'A&B +1'") == "vendors?$filter=number%20eq%20'A%26B%20%2B1'"


async def test_a_batch_never_holds_more_operations_than_the_settings_say() -> None:
    async with council(batch=3) as town:
        vendor = await town.vendor()
        lines = [line(n, "1.00") for n in range(1, 8)]
        write = town.new(invoice(*lines), vendorId=vendor.ref)
        first = await town.one(write)
        changed = town.next(write, first, invoice(*(line(n, "2.00") for n in range(3, 10))))
        before = town.sandbox.requests
        assert isinstance(await town.one(changed), Confirmed)
        # One to look; two lines to delete, five to change, two to make: nine operations in three.
        assert town.sandbox.requests - before == 4
        (held,) = town.held("purchaseInvoices")
        assert [each["unitCost"] for each in held["purchaseInvoiceLines"]] == [2.0] * 7


# -- the second edition: shapes of the resource pages, which the sandbox does not have ---------------------------------


class Chart(Company):
    def __init__(self) -> None:
        self._accounts, self._numbers = {"8000": "acc"}, {"acc": "8000"}


def document(kind: str, body: dict[str, Any]) -> Document:
    return Document(kind, "N", body)


def test_in_v2_a_vendors_address_stands_flat() -> None:
    wire = Wire("v2.0", Chart())
    wanted = document(
        VENDOR, {"number": "1", "address": {"street": "Unit 4", "city": "Ironbridge", "postalCode": "TF8 7NR"}}
    )
    (creation,) = wire.creation(wanted, None).operations
    flat_body = {"number": "1", "addressLine1": "Unit 4", "city": "Ironbridge", "postalCode": "TF8 7NR"}
    assert creation == Operation("POST", "vendors", flat_body)
    record = wire.record(VENDOR, {"id": "v", "@odata.etag": "t", **flat_body, "addressLine2": "", "state": "Salop"})
    assert wire.body(record, wanted, (), None) == wanted.body
    moved = document(VENDOR, {"number": "1", "address": {"street": "Unit 5", "city": "Ironbridge"}})
    assert list(wire.changes(record, moved, [wanted], None).operations) == [
        Operation("PATCH", "vendors(v)", {"addressLine1": "Unit 5", "postalCode": ""}, "t")
    ]


def test_in_v2_a_line_has_an_id_and_its_dimensions_lie_under_it() -> None:
    wire = Wire("v2.0", Chart())
    shown = {
        "id": "d", "@odata.etag": "t", "vendorId": "V", "vendorInvoiceNumber": "N",
        "purchaseInvoiceLines": [
            {
                "id": "l1", "@odata.etag": "t1", "sequence": 10000, "lineType": "Account", "accountId": "acc",
                "description": "Nails", "quantity": 1, "unitCost": Decimal("1.0"),
                "dimensionSetLines": [{"id": "x", "@odata.etag": "tx", "code": "CC", "valueCode": "A1"}],
            },
            {"id": "l2", "@odata.etag": "t2", "sequence": 20000, "lineType": "Account", "accountId": "acc"},
        ],
    }  # fmt: skip
    body = {"sequence": 10000, "lineType": "Account", "account": "8000", "description": "Nails", "quantity": 1}
    wanted = document(
        INVOICE,
        {
            "vendorInvoiceNumber": "N",
            "purchaseInvoiceLines": [body | {"unitCost": "2.00", "dimensions": {"CC": "B2", "WARD": "W1"}}],
        },
    )
    record = wire.record(INVOICE, shown)
    assert list(wire.changes(record, wanted, (), "v").operations) == [
        Operation("DELETE", "purchaseInvoiceLines(l2)", etag="t2"),
        Operation("PATCH", "purchaseInvoiceLines(l1)", {"unitCost": Decimal("2.00")}, "t1"),
        Operation("PATCH", "purchaseInvoiceLines(l1)/dimensionSetLines(x)", {"valueCode": "B2"}, "tx"),
        Operation("POST", "purchaseInvoiceLines(l1)/dimensionSetLines", {"code": "WARD", "valueCode": "W1"}),
    ]
    assert wire.by_ref(INVOICE, "d").path == (
        "purchaseInvoices(d)?$expand=purchaseInvoiceLines($expand=dimensionSetLines)"
    )


# -- answers that the sandbox never gives ----------------------------------------------------------------------------


class Scripted:
    """A server that answers every question as it is told (that it knows no vendor), and every POST inside a batch."""

    def __init__(self, *answers: dict[str, Any] | None, look: dict[str, Any] | None = None) -> None:
        self._answers = list(answers)
        self._look = look or NOTHING

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body: Any = {"access_token": "t", "expires_in": 3600}
        if request.url.path.endswith("/$batch"):
            asked = json.loads(await request.body())["requests"]
            told = [self._answers.pop(0) if each["method"] != "GET" else self._look for each in asked]
            body = {"responses": [{"id": each["id"], **t} for each, t in zip(asked, told, strict=True) if t]}
        elif request.method == "GET":
            body = self._look["body"]
        await JSONResponse(body)(scope, receive, send)


NOTHING = {"status": 200, "body": {"value": []}}
ID_AND_TAG = ("0b6ee0ee-3c2b-4b0e-8a57-0d9c9a2f7f11", "t")
MADE = {"status": 201, "body": {"id": ID_AND_TAG[0], "@odata.etag": ID_AND_TAG[1]}}


class Told(LocalBudget):
    """A budget that notes what it was told to hold."""

    def __init__(self) -> None:
        super().__init__(6000, 300)
        self.held: list[timedelta] = []

    async def hold(self, after: timedelta) -> None:
        self.held.append(after)


@asynccontextmanager
async def scripted(server: Scripted, budget: Budget | None = None) -> AsyncIterator[BusinessCentralTarget]:
    async with serve(server) as url, client(limits_of(SETTINGS), budget or LocalBudget(6000, 300)) as http:
        settings = SETTINGS.model_copy(update={"base_url": url, "token_url": f"{url}/token"})
        yield BusinessCentralTarget("business_central", settings, http)


async def answered(*answers: dict[str, Any] | None) -> list[Outcome]:
    async with scripted(Scripted(*answers)) as target:
        vendor = Document(VENDOR, "1", {"number": "1", "displayName": "Somebody"})
        return list(await target.write([Write(f"payables:supplier:{n}", vendor) for n in range(len(answers))]))


def refusal(status: int, code: str, **headers: str) -> dict[str, Any]:
    error = {"code": code, "message": "Vendor 'Somebody' was not liked"}
    return {"status": status, "headers": headers, "body": {"error": error}}


async def test_one_operation_of_a_batch_may_be_throttled_alone() -> None:
    throttled = refusal(429, "Application_TooManyRequests", **{"Retry-After": "7"})
    outcomes = await answered(MADE, throttled, MADE)
    assert [type(outcome) for outcome in outcomes] == [Confirmed, Unavailable, Confirmed]
    assert isinstance(outcomes[1], Unavailable)
    assert outcomes[1].after is not None
    assert outcomes[1].after.total_seconds() == 7


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30),
        ({"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}, 900),
        ({"Retry-After": "86400"}, 900),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_retry_after_inside_a_batch_is_read_in_both_forms_and_holds_the_budget_of_all_workers(
    said: dict[str, str], seconds: int, status: int
) -> None:
    budget, answers = Told(), [MADE, refusal(status, "Busy", **said), refusal(status, "Busy", **{"Retry-After": "1"})]
    vendors = [Document(VENDOR, f"{n}", {"number": f"{n}", "displayName": "Somebody"}) for n in range(3)]
    async with scripted(Scripted(*answers), budget) as target:
        outcomes = await target.write([Write(f"payables:supplier:{v.number}", v) for v in vendors])
    assert [type(outcome) for outcome in outcomes] == [Confirmed, Unavailable, Unavailable]
    assert isinstance(outcomes[1], Unavailable)
    assert outcomes[1].after == timedelta(seconds=seconds)
    assert budget.held == [timedelta(seconds=seconds)], "the longest of the batch, once"


async def test_a_date_inside_a_batch_is_read_by_the_clock_that_the_whole_answer_shows() -> None:
    part = {"id": "0", "status": 429, "headers": {"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT"}}
    whole = httpx.Response(200, headers={"Date": "Wed, 21 Oct 2015 07:28:20 GMT"})
    reply, _ = _unpacked(part, whole, Operation("POST", "vendors", {}))
    assert reply == Answer(429, {}, timedelta(seconds=10))


async def test_an_operation_without_an_answer_is_in_doubt_and_the_others_are_not() -> None:
    outcomes = await answered(MADE, None)
    assert isinstance(outcomes[0], Confirmed)
    assert outcomes[1] == Unknown("POST: the batch was answered without this operation")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (
            refusal(400, "Application_StringExceededLength"),
            Refused("POST vendors: 400 Application_StringExceededLength"),
        ),
        (refusal(422, "Vendor 'Somebody'"), Refused("POST vendors: 422 no error code")),
        (refusal(500, "Internal_ServerError"), Unknown("POST vendors: 500 Internal_ServerError")),
        (refusal(503, "Internal_TenantUnavailable"), Unavailable("POST vendors: 503 Internal_TenantUnavailable")),
    ],
)
async def test_an_answer_becomes_an_outcome_that_quotes_nobody(answer: dict[str, Any], outcome: Outcome) -> None:
    assert await answered(answer) == [outcome]


GARBLED = "the answer has not the form that Business Central's have"
ERROR = {"error": {"code": "Internal_ServerError", "message": "Vendor 'Somebody' was not liked"}}


@pytest.mark.parametrize("body", [ERROR, {}, {"value": None}])
async def test_an_answer_of_200_without_a_list_does_not_say_that_nothing_is_there(body: dict[str, Any]) -> None:
    vendor = Document(VENDOR, "1", {"number": "1", "displayName": "Somebody"})
    in_doubt = Write("payables:supplier:1", vendor, doubtful=(vendor,))
    async with scripted(Scripted(look={"status": 200, "body": body})) as target:  # it has no answer for a POST
        (told,), (outcome,) = await target.read_back([in_doubt]), await target.write([in_doubt])
        assert isinstance(told, Untold)
        assert isinstance(outcome, Unknown)
        assert told.reason == outcome.reason
        assert outcome.reason.endswith(GARBLED)
        (finding, *_) = await target.check_codes([], ["8000"])
        assert GARBLED in finding.what
        with pytest.raises(UnavailableError, match=GARBLED):
            _ = [held async for held in target.holdings()]


@pytest.mark.parametrize("answer", [{"status": 200, "body": ERROR}, {"status": 0, "body": {}}])
async def test_a_change_that_is_answered_with_200_and_an_error_is_in_doubt(answer: dict[str, Any]) -> None:
    assert await answered(answer) == [Unknown(f"POST: {GARBLED}")]


async def test_a_missing_permission_is_said_and_goes_on_by_itself_once_it_is_given() -> None:
    (outcome,) = await answered(refusal(403, "Authorization_RequestDenied"))
    assert isinstance(outcome, Unavailable)
    assert outcome.reason.startswith("POST vendors: 403 Authorization_RequestDenied: give the application a permission")


async def test_a_number_taken_between_our_look_and_our_post_is_looked_at_again() -> None:
    taken = refusal(400, "Internal_EntityWithSameKeyExists")
    assert await answered(taken, MADE) == [Unknown("somebody changed it since we read it"), Confirmed(*ID_AND_TAG)]


async def test_a_gateways_page_in_place_of_an_answer_leaves_the_write_in_doubt() -> None:
    async with serve(_page) as url, client(limits_of(SETTINGS), LocalBudget(6000, 300)) as http:
        settings = SETTINGS.model_copy(update={"base_url": url, "token_url": f"{url}/token"})
        replies = await Service("bc", settings, http).send([Operation("POST", "vendors", {"number": "1"})])
        assert replies == [Unknown("200, but the answer is not JSON: something on the way gave it")]


async def _page(scope: Scope, receive: Receive, send: Send) -> None:
    token = scope["path"].endswith("/token")
    page = (
        JSONResponse({"access_token": "t"})
        if token
        else Response("<html>please sign in</html>", media_type="text/html")
    )
    await page(scope, receive, send)
