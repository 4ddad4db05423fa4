"""The stand-in for a Business Central company: judged against Microsoft's OpenAPI file, held to what it promises."""

import asyncio
import json
import os
import random
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft7Validator, FormatChecker

from flows.business_central.sandbox import BusinessCentralSandbox
from flows.business_central.sandbox_company import BusinessCentralSandboxSettings
from flows.business_central.sandbox_wire import READ_ONLY, SHAPES, ODataError, holds, parse_filter, taken
from flows.kit.sandbox import Rate
from flows.kit.sandbox_faults import Fault

CREDENTIALS = {"grant_type": "client_credentials", "client_id": "ironbridge", "client_secret": "sandbox-secret"}
COMPANY = f"companies({BusinessCentralSandboxSettings().company})"
CHART: Any = {
    "accounts": {"8000": "Office supplies", "8100": "Care homes"},
    "dimensions": {"COSTCENTRE": {"CC1": "Children", "CC2": "Adults"}},
}
SPECIFIED = ("vendors", "purchaseInvoices", "purchaseInvoiceLines", "dimensionLines")
ANY = {"If-Match": "*"}
Json = dict[str, Any]


@asynccontextmanager
async def signed_in(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{url}/{COMPANY}/", timeout=10) as client:
        token = (await client.post(f"{url}/token", data=CREDENTIALS)).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


@asynccontextmanager
async def cloud(**settings: Any) -> AsyncIterator[tuple[BusinessCentralSandbox, httpx.AsyncClient]]:
    async with BusinessCentralSandbox(BusinessCentralSandboxSettings(**settings)) as sandbox:
        sandbox.company.seed(**CHART)
        async with signed_in(sandbox.url) as client:
            yield sandbox, client


async def made(client: httpx.AsyncClient, path: str, body: Json) -> Json:
    answer = await client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    row: Json = answer.json()
    return row


async def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def read(client: httpx.AsyncClient, path: str, **query: str) -> Any:
    answer = await client.get(path, params={f"${name}": value for name, value in query.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def account(client: httpx.AsyncClient, number: str = "8000") -> str:
    [row] = (await read(client, "accounts", filter=f"number eq '{number}'"))["value"]
    return str(row["id"])


async def invoice(client: httpx.AsyncClient, number: str = "INV-1", **fields: Any) -> Json:
    found = (await read(client, "vendors", filter="number eq 'V1'"))["value"]
    vendor = found[0] if found else await made(client, "vendors", {"number": "V1", "displayName": "Acme"})
    line = {
        "lineType": "Account",
        "accountId": await account(client),
        "quantity": 2,
        "unitCost": 10.55,
        "taxCode": "VAT20",
    }
    body = {"vendorId": vendor["id"], "vendorInvoiceNumber": number, "purchaseInvoiceLines": [line]}
    return await made(client, "purchaseInvoices", body | fields)


@pytest.fixture(scope="module")
def schemas(shared: Path) -> Json:
    """Microsoft's shapes, closed: the service refuses properties it does not know, which the file leaves unsaid."""
    file = shared / "specs/business-central/BCOpenApiSpecification.json"
    components = json.loads(file.read_text())["components"]["schemas"]
    for schema in components.values():
        schema["additionalProperties"] = False

    def whole(node: Any) -> Any:
        if isinstance(node, list):
            return [whole(item) for item in node]
        if isinstance(node, dict) and "$ref" in node:
            return whole(components[node["$ref"].rpartition("/")[2]])
        return {name: whole(value) for name, value in node.items()} if isinstance(node, dict) else node

    return {entity_set: whole(components[entity_set[:-1]]) for entity_set in SPECIFIED}


def test_every_property_of_the_published_shapes_is_known_and_no_other(schemas: Json) -> None:
    for entity_set in SPECIFIED:
        mine = SHAPES[entity_set].json_schema()
        theirs, nested = schemas[entity_set]["properties"], mine.get("$defs", {})
        assert theirs.keys() - READ_ONLY == mine["properties"].keys() - {"id"}
        for name, rule in theirs.items():
            if "properties" in rule:
                shape = nested[mine["properties"][name]["$ref"].rpartition("/")[2]]
                assert rule["properties"].keys() == shape["properties"].keys(), name
            elif name not in READ_ONLY:
                assert mine["properties"][name]["type"] == rule["type"], name


def good(rule: Json, luck: random.Random, name: str = "") -> Any:
    if "properties" in rule:
        fields = [n for n in rule["properties"] if luck.random() < 0.6 and (n not in READ_ONLY or n == "id")]
        return {n: good(rule["properties"][n], luck, n) for n in fields}
    match rule["type"], rule.get("format"):
        case "string", "uuid":
            return str(uuid.UUID(int=luck.getrandbits(128), version=4))
        case "string", "date-time":
            return f"2026-{luck.randrange(1, 13):02}-{luck.randrange(1, 29):02}T00:00:00Z"
        case "boolean", _:
            return luck.random() < 0.5
        case "integer", _:
            return luck.randrange(1, 90_000)
        case "number", _:
            return luck.choice([luck.randrange(100), round(luck.random() * 1000, 2)])
    codes = {"lineType": ["Account", "Comment"], "blocked": [" ", "All"]}
    return luck.choice(codes.get(name, ["", "A", "O'B", "é1"]))


def spoil(body: Json, schema: Json, luck: random.Random) -> None:
    container, rules = body, schema["properties"]
    nested = [name for name in body if "properties" in rules[name] and body[name]]
    if nested and luck.random() < 0.5:
        container, rules = body[nested[0]], rules[nested[0]]["properties"]
    name = luck.choice([*container, "unknown"])
    rule = rules.get(name, {"type": "boolean"})
    wrong: list[Any] = [None, [], {"surprise": 1}]
    wrong += [7, True] if rule["type"] == "string" else ["7"]
    if rule.get("format") == "uuid":
        wrong += ["", "{6b9c2f5e-2f55-4f0c-9d0e-1f7a3c1e5a10}", "6b9c2f5e2f554f0c9d0e1f7a3c1e5a10"]
    if rule.get("format") == "date-time":
        wrong += ["2026-02-30T00:00:00Z", "01/02/2026", "1577836800"]
    container[name] = luck.choice(wrong)


def test_random_bodies_are_judged_as_the_published_shapes_judge_them(schemas: Json) -> None:
    luck, verdicts = random.Random(4), []
    for entity_set in SPECIFIED:
        judge = Draft7Validator(schemas[entity_set], format_checker=moments())
        for _ in range(300):
            body = good(schemas[entity_set], luck)
            if entity_set != "dimensionLines":
                body.pop("id", None)
            if luck.random() < 0.4:
                spoil(body, schemas[entity_set], luck)
            verdicts.append(judge.is_valid(body))
            assert accepted(entity_set, body) is verdicts[-1], body
    assert 300 < sum(verdicts) < 1000  # or the test says nothing


def accepted(entity_set: str, body: Json) -> bool:
    try:
        taken(entity_set, body)
    except ODataError:
        return False
    return True


def moments() -> FormatChecker:
    """uuid as jsonschema has it; date-time, for which it needs another package, by the standard library."""
    checker = FormatChecker(["uuid"])

    def is_moment(value: object) -> bool:
        return not isinstance(value, str) or ("T" in value and bool(datetime.fromisoformat(value)))

    checker.checks("date-time", raises=ValueError)(is_moment)
    return checker


async def test_a_vendor_is_made_found_changed_and_deleted() -> None:
    async with cloud() as (sandbox, client):
        vendor = await made(client, "vendors", {"number": "v1", "displayName": "O'Brien & Sons"})
        assert vendor["number"] == "V1"  # a Code column keeps capitals
        for source in ("number eq 'V1'", "number eq 'v1' and displayName eq 'O''Brien & Sons'"):
            assert (await read(client, "vendors", filter=source))["value"] == [vendor]
        place = f"vendors({vendor['id']})"
        changed = await client.patch(place, json={"email": "a@b.uk"}, headers={"If-Match": vendor["@odata.etag"]})
        assert changed.status_code == 200
        assert changed.json() == await read(client, place)
        assert changed.headers["ETag"] == changed.json()["@odata.etag"] != vendor["@odata.etag"]
        assert vendor["@odata.etag"].startswith('W/"')
        assert (await client.delete(place, headers={"If-Match": changed.headers["ETag"]})).status_code == 204
        assert await refused(await client.get(place)) == (404, "BadRequest_NotFound")
        log = sandbox.log()
        assert [(e["subject"], e["operation"]) for e in log] == [("V1", "create"), ("V1", "update"), ("V1", "purge")]
        assert [e["sequence"] for e in log] == [1, 2, 3]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "BadRequest"),
        ({"number": "V2", "nickname": "x"}, "BadRequest"),
        ({"number": 5}, "BadRequest"),
        ({"number": "V2", "balance": 1}, "BadRequest_InvalidOperation"),
        ({"number": "V" * 21}, "Application_StringExceededLength"),
        ({"number": "v1"}, "Internal_EntityWithSameKeyExists"),
    ],
)
async def test_a_vendor_that_cannot_be_is_refused_with_the_documented_code(body: Any, code: str) -> None:
    async with cloud() as (sandbox, client):
        await made(client, "vendors", {"number": "V1"})
        assert await refused(await client.post("vendors", json=body)) == (400, code)
        assert len(sandbox.documents("vendors")) == 1


async def test_a_change_needs_the_current_tag() -> None:
    for stale in (412, 409):
        async with cloud(stale_status=stale, duplicate_status=409) as (sandbox, client):
            vendor = await made(client, "vendors", {"number": "V1"})
            place = f"vendors({vendor['id']})"
            for method in ("PATCH", "DELETE"):
                missing = await client.request(method, place, json={"email": "a"})
                assert await refused(missing) == (400, "BadRequest_InvalidToken")
            assert (await client.patch(place, json={"email": "a"}, headers=ANY)).status_code == 200
            for method in ("PATCH", "DELETE"):
                late = await client.request(
                    method, place, json={"email": "b"}, headers={"If-Match": vendor["@odata.etag"]}
                )
                assert await refused(late) == (stale, "Request_EntityChanged")
            assert await refused(await client.post("vendors", json={"number": "V1"})) == (
                409,
                "Internal_EntityWithSameKeyExists",
            )
            assert sandbox.documents("vendors")[vendor["id"]]["email"] == "a"


async def test_the_server_works_out_amounts_tax_and_totals() -> None:
    async with cloud() as (_, client):
        second = {"lineType": "Account", "accountId": await account(client), "quantity": -1, "unitCost": 3}
        made_so = await invoice(client, discountAmount=1, invoiceDate="2026-01-02", dueDate="2026-02-01T00:00:00Z")
        place = f"purchaseInvoices({made_so['id']})"
        await made(client, f"{place}/purchaseInvoiceLines", second)
        whole = await read(client, place, expand="purchaseInvoiceLines,vendor")
        first, other = whole["purchaseInvoiceLines"]
        assert (first["amountExcludingTax"], first["totalTaxAmount"], first["amountIncludingTax"]) == (
            21.1,
            4.22,
            25.32,
        )
        assert (first["sequence"], other["sequence"]) == (10_000, 20_000)
        assert first["description"] == "Office supplies"  # the account's name, where the caller gives none
        assert (first["invoiceDiscountAllocation"], other["invoiceDiscountAllocation"]) == (1.17, -0.17)
        assert whole["totalAmountExcludingTax"] == 17.1
        assert (whole["totalTaxAmount"], whole["totalAmountIncludingTax"]) == (3.99, 21.09)
        assert (whole["invoiceDate"], whole["dueDate"]) == ("2026-01-02", "2026-02-01")
        assert (whole["vendorNumber"], whole["vendorName"], whole["vendor"]["number"]) == ("V1", "Acme", "V1")
        assert "purchaseInvoiceLines" not in made_so


async def test_a_line_is_changed_and_removed_by_either_key_and_the_totals_follow() -> None:
    async with cloud() as (sandbox, client):
        made_so = await invoice(client)
        [line] = (await read(client, f"purchaseInvoices({made_so['id']})/purchaseInvoiceLines"))["value"]
        by_id, by_place = f"purchaseInvoiceLines({line['id']})", f"purchaseInvoiceLines({made_so['id']},10000)"
        assert await read(client, by_id) == await read(client, f"purchaseInvoices({made_so['id']})/{by_place}") == line
        tag = {"If-Match": line["@odata.etag"]}
        changed = (await client.patch(by_place, json={"quantity": 3}, headers=tag)).json()
        assert (changed["id"], changed["amountExcludingTax"]) == (line["id"], 31.65)
        assert await refused(await client.patch(by_place, json={"quantity": 4}, headers=tag)) == (
            412,
            "Request_EntityChanged",
        )
        stale = {"If-Match": made_so["@odata.etag"]}
        place = f"purchaseInvoices({made_so['id']})"
        assert (await client.patch(place, json={"dueDate": "2026-01-01"}, headers=stale)).status_code == 412
        assert (await client.delete(by_id, headers=ANY)).status_code == 204
        assert sandbox.documents("purchaseInvoices")[made_so["id"]]["totalAmountIncludingTax"] == 0
        operations = [(e["subject"], e["operation"]) for e in sandbox.log()[1:]]
        assert operations == [("INV-1", "create"), ("INV-1", "update"), ("INV-1", "update")]


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({}, "Application_DialogException", "A vendorNumber or a vendorID must be provided."),
        ({"vendorId": str(uuid.uuid4())}, "Application_DialogException", 'The "vendorId" does not match to a Vendor.'),
        ({"vendorNumber": "V9"}, "Application_DialogException", 'The "vendorNumber" does not match to a Vendor.'),
        ({"vendorNumber": "V8"}, "Application_DialogException", "blocked"),
        (
            {"vendorNumber": "V1", "purchaseInvoiceLines": [{"accountId": str(uuid.uuid4())}]},
            "Application_",
            "accountId",
        ),
        ({"vendorNumber": "V1", "purchaseInvoiceLines": [{"lineType": "Account"}]}, "Application_", "accountId"),
        ({"vendorNumber": "V1", "purchaseInvoiceLines": [{"itemId": str(uuid.uuid4())}]}, "Application_", "itemId"),
        (
            {"vendorNumber": "V1", "purchaseInvoiceLines": [{"taxCode": "X"}]},
            "Internal_InvalidTableRelation",
            "taxCode",
        ),
        (
            {"vendorNumber": "V1", "purchaseInvoiceLines": [{"sequence": 1}, {"sequence": 1}]},
            "Internal_Entity",
            "exists",
        ),
        (
            {"vendorNumber": "V1", "purchaseInvoiceLines": [{"netAmount": 1}]},
            "BadRequest_InvalidOperation",
            "read-only",
        ),
    ],
)
async def test_an_invoice_that_refers_to_nothing_is_refused_whole(body: Json, code: str, message: str) -> None:
    async with cloud() as (sandbox, client):
        await made(client, "vendors", {"number": "V1"})
        await made(client, "vendors", {"number": "V8", "blocked": "All"})
        answer = await client.post("purchaseInvoices", json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"].startswith(code)
        assert message in answer.json()["error"]["message"]
        assert sandbox.documents("purchaseInvoices") == {}


async def test_a_posted_document_is_changed_no_more_and_its_vendor_stays() -> None:
    async with cloud() as (_, client):
        first, again = await invoice(client), await invoice(client)  # a draft may repeat the vendor's number
        post = "purchaseInvoices({})/Microsoft.NAV.post"
        assert (await client.post(post.format(first["id"]))).status_code == 204
        twice = await client.post(post.format(again["id"]))
        assert "already exists for this vendor" in twice.json()["error"]["message"]
        place = f"purchaseInvoices({first['id']})"
        assert (await read(client, place))["status"] == "Open"
        [line] = (await read(client, f"{place}/purchaseInvoiceLines"))["value"]
        for answer in (
            await client.patch(place, json={"dueDate": "2026-01-01"}, headers=ANY),
            await client.delete(place, headers=ANY),
            await client.patch(f"purchaseInvoiceLines({line['id']})", json={"quantity": 9}, headers=ANY),
            await client.post(f"{place}/purchaseInvoiceLines", json={"description": "more"}),
            await client.post(post.format(first["id"])),
            await client.delete(f"vendors({first['vendorId']})", headers=ANY),
        ):
            assert await refused(answer) == (400, "Application_DialogException")
        empty = await made(client, "purchaseInvoices", {"vendorNumber": "V1"})
        unnumbered = await client.post(post.format(empty["id"]))
        assert await refused(unnumbered) == (400, "Application_FieldValidationException")


async def test_a_credit_memo_has_its_own_names_and_works_as_an_invoice_does() -> None:
    async with cloud() as (sandbox, client):
        settled = await invoice(client)
        lines = [{"lineType": "Account", "lineObjectNumber": "8100", "quantity": 1, "unitCost": 5}]
        body = {"vendorNumber": "V1", "vendorCreditMemoNumber": "cn-1", "creditMemoDate": "2026-01-03"}
        memo = await made(
            client,
            "purchaseCreditMemos",
            body | {"invoiceId": settled["id"], "invoiceNumber": settled["number"], "purchaseCreditMemoLines": lines},
        )
        found = await read(client, "purchaseCreditMemos", filter="vendorCreditMemoNumber eq 'CN-1'")
        assert [row["id"] for row in found["value"]] == [memo["id"]]
        place = f"purchaseCreditMemos({memo['id']})"
        [line] = (await read(client, f"{place}/purchaseCreditMemoLines"))["value"]
        assert (line["documentId"], line["description"], line["netAmount"]) == (memo["id"], "Care homes", 5)
        assert (await client.post(f"{place}/Microsoft.NAV.post")).status_code == 204
        assert sandbox.log()[-1]["subject"] == "CN-1"


async def test_a_dimension_is_put_on_a_line_changed_and_taken_off() -> None:
    async with cloud() as (sandbox, client):
        made_so = await invoice(client)
        [line] = (await read(client, f"purchaseInvoices({made_so['id']})/purchaseInvoiceLines"))["value"]
        wanted = {"parentId": line["id"], "code": "COSTCENTRE", "valueCode": "CC1"}
        dimension = await made(client, "dimensionLines", wanted)
        assert dimension["valueDisplayName"] == "Children"
        assert await refused(await client.post("dimensionLines", json=wanted)) == (
            400,
            "Internal_EntityWithSameKeyExists",
        )
        for wrong in ({"code": "NONE"}, {"valueCode": "CC9"}):
            answer = await client.post(f"purchaseInvoices({made_so['id']})/dimensionLines", json=wanted | wrong)
            assert await refused(answer) == (400, "Internal_InvalidTableRelation")
        place = f"dimensionLines({line['id']},{dimension['id']})"
        tag = {"If-Match": dimension["@odata.etag"]}
        assert (await client.patch(place, json={"valueCode": "cc2"}, headers=tag)).json()["valueCode"] == "CC2"
        [held] = sandbox.documents("purchaseInvoices")[made_so["id"]]["purchaseInvoiceLines"]
        assert [(d["code"], d["valueCode"]) for d in held["dimensionLines"]] == [("COSTCENTRE", "CC2")]
        assert (await client.delete(place, headers=ANY)).status_code == 204
        assert (await read(client, f"purchaseInvoiceLines({line['id']})/dimensionLines"))["value"] == []


async def test_the_chart_is_read_and_not_written() -> None:
    async with cloud() as (sandbox, client):
        [dimension] = (await read(client, "dimensions"))["value"]
        values = (await read(client, f"dimensions({dimension['id']})/dimensionValues", select="code"))["value"]
        assert sorted(value["code"] for value in values) == ["CC1", "CC2"]
        assert await refused(await client.post("accounts", json={"number": "1"})) == (
            405,
            "BadRequest_MethodNotAllowed",
        )
        assert (await client.get(f"{sandbox.url}/companies")).json()["value"][0]["id"] == sandbox.settings.company
        elsewhere = await client.get(f"{sandbox.url}/companies({uuid.uuid4()})/vendors")
        assert await refused(elsewhere) == (404, "Internal_CompanyNotFound")
        assert await refused(await client.get("salesOrders")) == (404, "BadRequest_ResourceNotFound")
        assert sandbox.summary()["effects"] == {}


async def test_lists_are_filtered_selected_cut_and_paged() -> None:
    async with cloud(page_size=2) as (sandbox, client):
        for number in range(5):
            await made(client, "vendors", {"number": f"V{number}", "displayName": "even" if number % 2 == 0 else "odd"})
        page = await read(client, "vendors", filter="displayName eq 'even'", select="number", count="true")
        assert [set(row) for row in page["value"]] == [{"number", "@odata.etag"}] * 2
        assert page["@odata.count"] == 3
        rest = (await client.get(page["@odata.nextLink"])).json()
        assert [row["number"] for row in page["value"] + rest["value"]] == ["V0", "V2", "V4"]
        assert "@odata.nextLink" not in rest
        assert len((await read(client, "vendors", top="1"))["value"]) == 1
        prefix = f"{sandbox.url}/v2.0/tenant/production/api/v2.0/{COMPANY}/vendors"
        assert len((await client.get(prefix, params={"$skip": "4"})).json()["value"]) == 1
        for wrong in (
            {"filter": "number like 'V1'"},
            {"filter": "(number eq 'V1'"},
            {"filter": "a eq 1 b"},
            {"top": "x"},
        ):
            answer = await client.get("vendors", params={f"${name}": value for name, value in wrong.items()})
            assert await refused(answer) == (400, "BadRequest_NotFound")


@pytest.mark.parametrize(
    ("source", "passes"),
    [
        ("number eq 'V1'", True),
        ("balance gt 5 and balance lt 9 or balance eq 5", True),
        ("balance eq 5 or balance lt 9 and balance gt 6", True),
        ("(number eq 'V1' or number eq 'V2') and balance gt 5", False),
        ("displayName eq 'O''Brien (UK) and Sons'", True),
        ("displayName ne 'x' and taxLiable eq false and balance le 5", True),
        ("website eq ''", True),
        ("website eq null", True),
        ("lastModifiedDateTime ge 2026-01-01T00:00:00Z", True),
        ("balance gt 'x'", False),
    ],
)
def test_a_filter_is_read_as_odata_reads_it(source: str, passes: bool) -> None:
    row = {
        "number": "V1",
        "displayName": "O'Brien (UK) and Sons",
        "balance": 5.0,
        "taxLiable": False,
        "lastModifiedDateTime": "2026-05-01T00:00:00Z",
    }
    assert holds(parse_filter(source), row) is passes


def test_an_or_between_two_fields_is_refused_as_business_central_refuses_it() -> None:
    for source in ("number eq 'V1' or balance gt 5", "number eq 'V1' and balance gt 5 or number eq 'V2'"):
        with pytest.raises(ODataError) as refused:
            parse_filter(source)
        assert "not supported on distinct fields" in refused.value.body["error"]["message"]


def operation(key: str, method: str, path: str, body: Json | None = None, **more: Any) -> Json:
    return {"id": key, "method": method, "url": path, "body": body, **more}


async def batch(client: httpx.AsyncClient, *operations: Json, **headers: str) -> httpx.Response:
    root = str(client.base_url).removesuffix(f"{COMPANY}/")
    return await client.post(f"{root}$batch", json={"requests": operations}, headers=headers)


async def test_a_batch_does_each_operation_on_its_own() -> None:
    async with cloud() as (sandbox, client):
        operations = (
            operation("1", "POST", f"{COMPANY}/vendors", {"number": "V1"}),
            operation("2", "POST", f"/{COMPANY}/vendors", {"number": "V1"}),
            operation("3", "PATCH", "$1", {"email": "a@b"}, headers={"If-Match": "*"}),
            operation("4", "GET", f"{COMPANY}/vendors?$filter=number eq 'V1'"),
            operation("5", "DELETE", "$1", headers={"if-match": "*"}, dependsOn=["2"]),
        )
        answer = await batch(client, *operations, Prefer="odata.continue-on-error")
        responses = answer.json()["responses"]
        assert [(r["id"], r["status"]) for r in responses] == [
            ("1", 201),
            ("2", 400),
            ("3", 200),
            ("4", 200),
            ("5", 424),
        ]
        assert responses[3]["body"]["value"] == [responses[2]["body"]]
        assert responses[0]["headers"]["ETag"] == responses[0]["body"]["@odata.etag"]
        stopped = (await batch(client, *operations)).json()["responses"]
        assert [r["status"] for r in stopped] == [400]
        assert len(sandbox.documents("vendors")) == 1
        many = [operation(str(n), "GET", f"{COMPANY}/vendors") for n in range(101)]
        assert await refused(await batch(client, *many)) == (400, "BadRequest")
        assert (await batch(client, *many[:100])).status_code == 200
        assert await refused(await batch(client, {"id": "1"})) == (400, "BadRequest")


async def test_it_throttles_by_rate_and_by_requests_at_once() -> None:
    async with cloud(rate=Rate(requests=3, seconds=60)) as (_, client):
        answers = [await client.get("vendors") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert 58 <= int(answers[-1].headers["Retry-After"]) <= 61
    async with cloud(concurrent=1, queued=2, latency=0.2) as (_, client):
        answers = await asyncio.gather(*(client.get("vendors") for _ in range(6)))
        assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 3
        assert (await client.get("vendors")).status_code == 200
        assert BusinessCentralSandboxSettings().rate == Rate(requests=6000, seconds=300)


async def test_only_the_right_client_is_let_in() -> None:
    async with cloud() as (sandbox, client):
        wrong = await client.post(f"{sandbox.url}/token", data=CREDENTIALS | {"client_id": "x"})
        assert wrong.status_code == 401
        answer = await client.get("vendors", headers={"Authorization": "Bearer x"})
        assert await refused(answer) == (401, "Authentication_InvalidCredentials")


async def test_a_lost_answer_leaves_a_vendor_and_a_lost_request_none() -> None:
    async with cloud() as (sandbox, client):
        for number, when in (("V1", "before"), ("V2", "after")):
            sandbox.faults.append(Fault(kind="cut", when=when))
            with pytest.raises(httpx.TransportError):
                await client.post("vendors", json={"number": number})
        assert [row["number"] for row in sandbox.documents("vendors").values()] == ["V2"]
        await client.post(f"{sandbox.url}/_sandbox/faults", json={"kind": "refuse", "keys": ["V3", "INV-1"]})
        assert await refused(await client.post("vendors", json={"number": "V3"})) == (
            400,
            "Application_DialogException",
        )
        assert (await made(client, "vendors", {"number": "V4"}))["number"] == "V4"
        bad = await client.post("purchaseInvoices", json={"vendorNumber": "V4", "vendorInvoiceNumber": "INV-1"})
        assert await refused(bad) == (400, "Application_DialogException")


async def test_a_repeat_is_told_from_a_change_by_its_digest() -> None:
    async with cloud() as (sandbox, client):
        vendor = await made(client, "vendors", {"number": "V1", "email": "a"})
        for email in ("a", "b", "a"):
            await client.patch(f"vendors({vendor['id']})", json={"email": email}, headers=ANY)
        log = sandbox.log()
        assert [entry["changed"] for entry in log] == [1, 0, 1, 1]
        assert log[0]["digest"] == log[1]["digest"] == log[3]["digest"] != log[2]["digest"]
        assert sandbox.summary()["repeats"] == 1


async def test_what_was_answered_survives_a_kill_of_the_program(tmp_path: Path) -> None:
    chart = tmp_path / "chart.json"
    chart.write_text(json.dumps(CHART))
    options = ["--port", "0", "--data", str(tmp_path / "cloud.sqlite3"), "--chart", str(chart)]
    command = [sys.executable, "-m", "flows.business_central.sandbox", *options]
    held: list[Any] = []
    for _ in range(2):
        program = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert program.stdout
        try:
            url = (await program.stdout.readline()).decode().strip()
            async with signed_in(url) as client:
                if not held:
                    await invoice(client)
                held.append(await read(client, "purchaseInvoices", expand="purchaseInvoiceLines"))
                found = await read(client, "vendors", filter="number eq 'V1'")
                assert len(found["value"]) == 1
                assert (await client.get(f"{url}/_sandbox/summary")).json()["documents"] == {
                    "accounts": 2, "dimensions": 1, "dimensionValues": 2, "vendors": 1, "purchaseInvoices": 1
                }  # fmt: skip
        finally:
            os.kill(program.pid, signal.SIGKILL)
            await program.wait()
    assert held[0] == held[1]
