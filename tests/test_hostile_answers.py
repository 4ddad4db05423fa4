"""Answers of cloud systems that are not what their contract says: outcomes all the same, and our token goes nowhere else."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from canonical.connect.oauth import OAuthClient
from canonical.errors import IronbridgeError, MisconfiguredError
from flows.business_central import BusinessCentralSettings
from flows.business_central.documents import INVOICE, VENDOR
from flows.business_central.target import BusinessCentralTarget, limits_of
from flows.dfe_csc.refusal import named, reason
from flows.dfe_csc.settings import DfeCscSettings
from flows.dfe_csc.target import DfeCsc
from flows.kit.http import ClientCredentials, client, json_of
from flows.kit.requests import LocalBudget
from flows.kit.silence import retry_after
from flows.port import Confirmed, Document, NotDone, Outcome, ReadBack, Refused, Unavailable, Unknown, Waiting, Write
from tests.test_http import answer, read_request, talking

COMPANY = "6b9c2f5e-2f55-4f0c-9d0e-1f7a3c1e5a10"
TOKEN = json.dumps({"access_token": "our-token", "expires_in": 3600}).encode()
VENDOR_KEY, INVOICE_KEY = "acme:supplier:1", "acme:invoice:7"


def settings(root: str, **more: Any) -> BusinessCentralSettings:
    given = {
        "base_url": root,
        "token_url": f"{root}/token",
        "company": COMPANY,
        "client_id": "us",
        "client_secret": "hush",
    }
    return BusinessCentralSettings.model_validate(given | more)


class Saying:
    """A server that says what it is told to, whatever it is asked, and keeps what it was asked."""

    def __init__(self) -> None:
        self.root = ""
        self.body = b"{}"
        self.status = "200 OK"
        self.asked: list[tuple[str, dict[str, str]]] = []

    def says(self, line: str) -> bytes:
        return TOKEN if "/token" in line else self.body

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Saying"]:
        async def talk(reader: Any, writer: Any) -> None:
            while True:
                line, headers, _ = await read_request(reader)
                self.asked.append((line, headers))
                status = "200 OK" if "/token" in line else self.status
                writer.write(answer(status, self.says(line), "Content-Type: application/json"))
                await writer.drain()

        async with talking(talk) as self.root:
            yield self


@asynccontextmanager
async def target(server: Saying) -> AsyncIterator[BusinessCentralTarget]:
    # Not flows.kit.http.client: that reads the machine's authorities, which takes longer than all the rest of an example.
    async with httpx.AsyncClient(verify=False, trust_env=False) as http:
        yield BusinessCentralTarget("business_central", settings(server.root), http)


# -- paging --------------------------------------------------------------------------------------------------------


class Paged(Saying):
    """Its accounts' next page lies wherever it is told to say."""

    def __init__(self, onward: str) -> None:
        super().__init__()
        self.onward = onward

    def says(self, line: str) -> bytes:
        if "/token" in line:
            return TOKEN
        return json.dumps(
            {"value": [], "@odata.nextLink": self.onward.format(root=self.root, company=COMPANY)}
        ).encode()


@pytest.mark.parametrize(
    "onward",
    [
        "{elsewhere}/companies({company})/accounts?$skiptoken=2",
        "{root}.evil.example/companies({company})/accounts",
        "http://127.0.0.1@evil.example/companies",
        "https://api.businesscentral.dynamics.com.evil.example/v2.0/accounts",
    ],
)
async def test_a_next_page_at_another_address_is_not_asked_for_and_the_token_stays_here(onward: str) -> None:
    other = Saying()
    async with (
        other.serving(),
        Paged(onward.replace("{elsewhere}", other.root)).serving() as server,
        target(server) as bc,
    ):
        with pytest.raises(MisconfiguredError, match="a next page lies outside base_url") as raised:
            await bc._company.know([])
        assert other.asked == []
        assert "@odata.nextLink" in raised.value.fix
        assert [line for line, headers in server.asked if "authorization" in headers] == [
            f"GET /companies({COMPANY})/accounts?$select=id,number HTTP/1.1"
        ]


async def test_a_next_page_outside_the_apis_own_path_is_not_asked_for() -> None:
    for onward in ("{root}/api/../admin", "{root}/apiary"):
        async with Paged(onward).serving() as server:
            chosen = settings(f"{server.root}/api", token_url=f"{server.root}/token")
            async with client(limits_of(chosen), LocalBudget(6000, 300)) as http:
                with pytest.raises(MisconfiguredError, match="a next page lies outside base_url"):
                    await BusinessCentralTarget("bc", chosen, http)._company.know([])


async def test_pages_that_go_round_in_a_circle_end() -> None:
    async with (
        Paged("{root}/companies({company})/accounts?$select=id,number").serving() as server,
        target(server) as bc,
    ):
        said = await bc._company.know([])
    assert said == NotDone("accounts and dimensions cannot be read: their pages go round in a circle")


# -- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://api.businesscentral.dynamics.com/v2.0", "is not https"),
        ("http://8.8.8.8/api", "is not https"),
        ("https://us:hush@api.example/v2.0", "holds a user or a password"),
    ],
)
def test_an_address_in_the_clear_or_with_a_password_is_refused_without_repeating_it(address: str, why: str) -> None:
    dfe = {
        "la_code": 893,
        "token_url": "https://a.example/t",
        "client_id": "us",
        "client_secret": "x",
        "supplier_key": "y",
    }
    for check in (lambda: settings(address), lambda: DfeCscSettings.model_validate(dfe | {"api_endpoint": address})):
        with pytest.raises(ValidationError, match=why) as raised:
            check()
        assert "hush" not in str(raised.value)


# -- answers of any shape ------------------------------------------------------------------------------------------

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["1E+999999999", "NaN", "0001-01-01", "²", COMPANY, "8000"])
)  # fmt: skip
NAMES = st.sampled_from(
    ["id", "number", "sequence", "value", "error", "code", "status", "body", "headers", "address", "vendorId", "quantity",
     "unitCost", "purchaseInvoiceLines", "dimensionLines", "@odata.etag", "valueCode", "Retry-After", "accountId"]
)  # fmt: skip
ANYTHING = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6))
ROW = st.dictionaries(NAMES, ANYTHING, max_size=8)
LINES = st.fixed_dictionaries(
    {
        "id": LEAVES,
        "purchaseInvoiceLines": st.lists(ROW | st.fixed_dictionaries({"sequence": LEAVES, "quantity": LEAVES})),
    }
)
RESPONSE = st.fixed_dictionaries(
    {"id": st.sampled_from(["0", "1", 0, None]), "status": st.sampled_from([200, 201, 404, "200", None, 99, 412])},
    optional={"body": st.fixed_dictionaries({"value": st.lists(ROW | LINES | ANYTHING, max_size=3)}) | ROW | LINES | ANYTHING,
              "headers": st.dictionaries(st.sampled_from(["Retry-After", "x"]), LEAVES) | ANYTHING},
)  # fmt: skip
BATCH = st.fixed_dictionaries({"responses": st.lists(RESPONSE | ANYTHING, max_size=3) | ANYTHING}) | ANYTHING

SUPPLIER = Document(VENDOR, "1", {"number": "1", "displayName": "Ashgrove", "address": {"city": "Telford"}})
BILL = Document(INVOICE, "7", {"vendorInvoiceNumber": "7", "purchaseInvoiceLines": []}, refers={"vendorId": VENDOR_KEY})
WRITES = [
    Write(VENDOR_KEY, SUPPLIER),
    Write(VENDOR_KEY, SUPPLIER, ref=COMPANY),
    Write(VENDOR_KEY, None, ref=COMPANY, confirmed=SUPPLIER),
    Write(INVOICE_KEY, BILL, refs={"vendorId": COMPANY}),
    Write(INVOICE_KEY, BILL, ref=COMPANY, refs={"vendorId": COMPANY}, doubtful=(BILL,)),
]


@effort(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=BATCH | st.binary(max_size=12), writes=st.lists(st.sampled_from(WRITES), min_size=1, max_size=2))
async def test_whatever_business_central_answers_is_an_outcome_or_an_error_of_ours(
    body: Any, writes: list[Write]
) -> None:
    server = Saying()
    async with server.serving(), target(server) as bc:
        server.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        for work in (bc.write, bc.read_back):
            try:
                outcomes: list[Outcome | ReadBack] = list(await work(writes))  # type: ignore[operator]
            except IronbridgeError:
                continue
            assert len(outcomes) == len(writes)
            assert all(isinstance(o.ref, str) for o in outcomes if isinstance(o, Confirmed))


@effort(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=ANYTHING)
async def test_whatever_the_accounts_look_like_is_known_or_said_to_be_unreadable(body: Any) -> None:
    server = Saying()
    async with server.serving(), target(server) as bc:
        server.body = json.dumps({"value": body}).encode()
        said = await bc._company.know([[{"sequence": 1, "account": "8000"}]])
        assert said is None or isinstance(said, Unavailable)


@effort(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    body=ANYTHING | st.lists(st.text(max_size=9), max_size=3) | st.binary(max_size=20),
    status=st.sampled_from([200, 201, 204, 400, 413, 404, 500, 503]),
)
async def test_whatever_the_dfe_answers_is_an_outcome_or_an_error_of_ours(body: Any, status: int) -> None:
    server = Saying()
    async with server.serving():
        server.status = f"{status} Whatever"
        server.body = b"" if status == 204 else body if isinstance(body, bytes) else json.dumps(body).encode()
        chosen = DfeCscSettings.model_validate(
            {"la_code": 893, "api_endpoint": server.root, "token_url": f"{server.root}/token", "client_id": "us",
             "client_secret": "hush", "supplier_key": "hush"}
        )  # fmt: skip
        child = Document("child", "1", {"la_child_id": "1"})
        async with httpx.AsyncClient(verify=False, trust_env=False) as http:
            try:
                outcomes = await DfeCsc("dfe_csc", chosen, http).write([Write("liquidlogic:person:1", child)])
            except IronbridgeError:
                return
    assert all(isinstance(outcome, Confirmed | Refused | Unavailable | Unknown | Waiting) for outcome in outcomes)


@effort(deadline=None)
@given(body=ANYTHING | st.binary(max_size=20) | st.fixed_dictionaries({"access_token": LEAVES, "expires_in": LEAVES}))
async def test_whatever_a_token_endpoint_answers_is_a_token_or_an_error_of_ours(body: Any) -> None:
    server = Saying()
    async with server.serving(), httpx.AsyncClient(verify=False, trust_env=False) as http:
        said = body if isinstance(body, bytes) else json.dumps(body).encode()
        server.says = lambda _line: said  # type: ignore[method-assign]
        auth = ClientCredentials(OAuthClient("bc", f"{server.root}/token", "us", SecretStr("hush")))
        with suppress(IronbridgeError):
            fault = await auth.obtain(http)
            assert fault is not None or (await http.get(server.root, auth=auth)).is_success


DATED = st.from_regex(
    r"[A-Z][a-z]{2}, [0-9]{1,12} [A-Z][a-z]{2} [0-9]{1,12} [0-9:]{1,12} (GMT|[+-][0-9]{1,9})", fullmatch=True
)
PRINTED = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


@given(said=PRINTED | DATED)
def test_any_retry_after_is_a_time_of_up_to_a_quarter_of_an_hour_or_none(said: str) -> None:
    waited = retry_after(httpx.Response(429, headers={"Retry-After": said}))
    assert waited is None or 0 <= waited.total_seconds() <= 900


def test_an_answer_that_is_nested_too_deep_is_no_json() -> None:
    said = json_of(httpx.Response(200, content=b"[" * 100_000 + b"]" * 100_000))
    assert said == Unknown("200, but the answer is not JSON (no content type)")


@given(text=st.text() | st.from_regex(r"(\[[0-9 ,]*\]?[ \w]*)*", fullmatch=True), records=st.integers(1, 100))
def test_whatever_a_refusal_says_names_records_of_the_batch_in_our_own_words(text: str, records: int) -> None:
    assert all(0 <= place < records for place in named(text, records))
    assert reason(text, 0, alone=True).startswith("the API refused the record (400): ")
