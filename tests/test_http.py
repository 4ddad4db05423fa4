"""flows/kit/http.py against small real servers: what is asked of them, and what their faults become."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
import trustme
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr

from canonical.connect.oauth import OAuthClient
from canonical.errors import MisconfiguredError
from flows.engine.claims import Claim
from flows.kit.http import (
    TEMPLATE,
    ClientCredentials,
    client,
    exchange,
    json_of,
    trouble,
)
from flows.kit.requests import LocalBudget
from flows.kit.silence import retry_after
from flows.port import LONGEST_SILENCE, Limits, NotDone, Unavailable, Unknown

Says = Callable[[str, dict[str, str], bytes], bytes]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def talking(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that says whatever bytes it likes, on a free port."""
    talks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:-1])}
    return head[0], headers, await reader.readexactly(int(headers.get("content-length", 0)))


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Asked:
    """A server that answers each request with what `says` makes of it, and remembers the requests."""

    def __init__(
        self, says: Callable[[str, dict[str, str], bytes], bytes] = lambda *_: answer("200 OK", b"{}")
    ) -> None:
        self.says = says
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            request = await read_request(reader)
            self.requests.append(request)
            await asyncio.sleep(0.005)
            writer.write(self.says(*request))
            await writer.drain()


class Ledger:
    """A budget that remembers what was asked of it."""

    def __init__(self) -> None:
        self.spent = 0
        self.held: list[timedelta] = []

    async def spend(self, requests: int) -> None:
        self.spent += requests

    async def hold(self, after: timedelta) -> None:
        self.held.append(after)


@asynccontextmanager
async def connected(budget: Ledger | LocalBudget | None = None, **timeouts: float) -> AsyncIterator[httpx.AsyncClient]:
    timeout = httpx.Timeout(5.0, **timeouts)  # type: ignore[arg-type]
    async with client(Limits(concurrency=3), budget or Ledger(), timeout=timeout) as http:
        yield http


def post(http: httpx.AsyncClient, url: str) -> httpx.Request:
    return http.build_request("POST", f"{url}/children/12345", json=[1], extensions={TEMPLATE: "/children/{id}"})


# --- the client -------------------------------------------------------------------------------------------------------


async def test_every_request_is_paid_for_before_it_goes_and_a_retry_after_holds_the_budget():
    budget = Ledger()
    server = Asked(lambda *_: answer("429 Too Many Requests", b"", "Retry-After: 7"))
    async with talking(server) as url, connected(budget) as http:
        await exchange(http, post(http, url))
        server.says = lambda *_: answer("503 Service Unavailable", b"", "Retry-After: 0")
        await exchange(http, post(http, url))
    assert budget.spent == 2
    assert budget.held == [timedelta(seconds=7)]


async def test_a_local_budget_lets_no_more_than_its_requests_into_any_window():
    budget, times = LocalBudget(requests=4, window=0.2), []
    for _ in range(10):
        await budget.spend(1)
        times.append(time.monotonic())
    assert all(later - earlier >= 0.19 for earlier, later in zip(times, times[4:], strict=False))
    assert times[3] - times[0] < 0.1


async def test_a_held_budget_lets_nobody_through_until_the_time_is_over():
    budget = LocalBudget(requests=100, window=1)
    await budget.hold(timedelta(seconds=0.15))
    await budget.hold(timedelta(seconds=0.01))
    started = time.monotonic()
    await budget.spend(1)
    assert time.monotonic() - started >= 0.14


async def test_no_more_connections_are_opened_than_the_target_takes_and_they_are_used_again():
    server = Asked()
    async with talking(server) as url, connected() as http:
        answers = await asyncio.gather(*(exchange(http, post(http, url)) for _ in range(30)))
    assert [a.status_code for a in answers if isinstance(a, httpx.Response)] == [200] * 30
    assert server.connections == 3


class Waits:
    """A budget that lets no request go before so many seconds have passed on a clock that the test gives."""

    def __init__(self, clock: list[float], seconds: float) -> None:
        self.clock, self.seconds = clock, seconds

    async def spend(self, requests: int) -> None:
        self.clock[0] += self.seconds

    async def hold(self, after: timedelta) -> None: ...


@pytest.mark.parametrize(("method", "waited", "sent"), [("POST", 14, 1), ("POST", 16, 0), ("DELETE", 16, 0), ("GET", 16, 1)])
async def test_what_would_change_something_does_not_leave_once_the_claim_has_run_out(method: str, waited: int, sent: int):
    server, clock = Asked(), [100.0]
    async with talking(server) as url, client(Limits(), Waits(clock, waited)) as http:
        claim = Claim([], asked=100.0, clock=lambda: clock[0])
        with claim.at_work() as work:
            answered = await exchange(http, http.build_request(method, url))
        assert len(server.requests) == sent
        if not sent:
            assert answered == NotDone("not sent: this worker's claim on its subjects ran out")
        assert work.refused is (sent == 0)
        assert isinstance(await exchange(http, http.build_request(method, url)), httpx.Response), "no claim, no question"


async def test_a_body_of_megabytes_arrives_whole_and_with_its_length():
    server = Asked()
    body = b"0123456789" * 300_000
    async with talking(server) as url, connected() as http:
        assert isinstance(await exchange(http, http.build_request("POST", url, content=body)), httpx.Response)
    _, headers, received = server.requests[0]
    assert (headers["content-length"], received) == (str(len(body)), body)
    assert "transfer-encoding" not in headers


async def test_a_request_is_one_client_span_that_goes_along_and_names_no_id(spans: InMemorySpanExporter):
    server = Asked(lambda *_: answer("400 Bad Request", b"child 12345"))
    async with talking(server) as url, connected() as http:
        await exchange(http, post(http, url))
    span: ReadableSpan = spans.get_finished_spans()[-1]
    assert span.name == "POST /children/{id}"
    assert span.kind is trace.SpanKind.CLIENT
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "url.template": "/children/{id}",
        "server.address": "127.0.0.1",
        "server.port": int(url.rpartition(":")[2]),
        "http.response.status_code": 400,
        "error.type": "400",
    }
    assert "12345" not in span.to_json()
    carried = server.requests[0][1]["traceparent"].split("-")
    assert carried[1:3] == [f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"]


async def test_a_fault_of_the_connection_is_on_the_span_without_its_text(spans: InMemorySpanExporter):
    async with connected() as http:
        await exchange(http, post(http, "http://127.0.0.1:9"))
    span = spans.get_finished_spans()[-1]
    assert (span.attributes or {})["error.type"] == "ClientConnectorError"
    assert not span.events


async def test_the_proxy_of_the_environment_is_used_and_no_proxy_is_honoured(monkeypatch: pytest.MonkeyPatch):
    proxy, direct = Asked(), Asked()
    async with talking(proxy) as proxy_url, talking(direct) as url, connected() as http:
        monkeypatch.setenv("http_proxy", proxy_url)
        await exchange(http, http.build_request("GET", "http://api.example/x"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        await exchange(http, http.build_request("GET", f"{url}/y"))
    assert [request[0] for request in proxy.requests] == ["GET http://api.example/x HTTP/1.1"]
    assert [request[0] for request in direct.requests] == ["GET /y HTTP/1.1"]


# --- faults become outcomes -------------------------------------------------------------------------------------------


async def test_a_server_that_does_not_listen_is_unavailable():
    async with connected() as http:
        assert await exchange(http, post(http, "http://127.0.0.1:9")) == NotDone("not sent: ClientConnectorError")


async def test_a_name_that_is_not_known_is_unavailable():
    async with connected() as http:
        assert await exchange(http, post(http, "http://nobody.invalid")) == NotDone(
            "not sent: ClientConnectorDNSError"
        )


async def test_an_answer_that_does_not_come_in_time_is_unknown():
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(5)

    async with talking(silent) as url, connected(read=0.1) as http:
        assert await exchange(http, post(http, url)) == Unknown("sent, but the answer was lost: SocketTimeoutError")


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1", b"nonsense\r\n\r\n"])
async def test_a_connection_that_breaks_off_after_the_request_is_unknown(said: bytes):
    async def breaks_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(said)
        await writer.drain()

    async with talking(breaks_off) as url, connected() as http:
        lost = await exchange(http, post(http, url))
    assert isinstance(lost, Unknown)
    assert lost.reason.startswith("sent, but the answer was lost: ")


async def test_a_connection_that_is_reset_while_the_body_goes_out_is_unknown():
    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(10)
        writer.transport.abort()

    async with talking(resets) as url, connected() as http:
        request = http.build_request("POST", url, content=b"x" * 20_000_000)
        assert isinstance(await exchange(http, request), Unknown)


def serving(ca: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


async def test_a_certificate_of_another_name_or_authority_stops_everything(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    for context in (serving(ours, "elsewhere.example"), serving(theirs, "127.0.0.1")):
        server = Asked()
        async with talking(server, context) as url, connected() as http:
            with pytest.raises(MisconfiguredError) as stopped:
                await exchange(http, post(http, url), where="dfe_csc")
        assert str(stopped.value) == (
            "dfe_csc: the certificate of 127.0.0.1 is not trusted or not in that name. To do: check the address; where "
            "the council's network inspects TLS, point SSL_CERT_FILE to its authority"
        )
        assert server.requests == []
    async with talking(Asked(), serving(ours, "127.0.0.1")) as url, connected() as http:
        assert isinstance(await exchange(http, post(http, url)), httpx.Response)


async def test_a_handshake_that_fails_is_unavailable():
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer("400 Bad Request"))
        await writer.drain()

    async with talking(plain) as url, connected() as http:
        said = await exchange(http, post(http, url.replace("http://", "https://")))
    assert isinstance(said, Unavailable)
    assert said.reason.startswith("not sent: ")


@pytest.mark.parametrize("url", ["ftp://example.com", "nothing"])
async def test_an_address_that_is_none_stops_everything(url: str):
    async with connected() as http:
        with pytest.raises(MisconfiguredError, match=r"the address is not a URL\. To do: write it as https://"):
            await exchange(http, httpx.Request("POST", url), where="dfe_csc")


# --- what a status, a header, a body say ------------------------------------------------------------------------------


def replied(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_retry_after_is_read_as_seconds_and_as_a_date():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after(replied(429, retry_after="17")) == timedelta(seconds=17)
    assert (
        timedelta(seconds=85) < (retry_after(replied(429, retry_after=soon)) or timedelta(0)) <= timedelta(seconds=90)
    )
    past = retry_after(replied(429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"))
    assert past == timedelta(0)


@pytest.mark.parametrize("said", ["soon", "-3", "1.", ".5", "1e3", "3, soon", ",", "²"])
def test_a_retry_after_that_cannot_be_read_is_as_none(said: str):
    assert retry_after(httpx.Response(429, headers=[(b"retry-after", said.encode())])) is None
    assert retry_after(replied(429)) is None


def test_a_retry_after_with_parts_of_a_second_counts_and_of_several_the_longest_is_meant():
    def said(*values: str) -> timedelta | None:
        return retry_after(httpx.Response(429, headers=[("retry-after", value) for value in values]))

    assert said("30.5") == timedelta(seconds=30.5)
    assert said("7", "30") == said("30", "7") == said("7, 30") == timedelta(seconds=30)
    assert said("soon", "7") == timedelta(seconds=7)
    assert said("5", "Wed, 21 Oct 2015 07:28:00 GMT") == timedelta(seconds=5)


def test_a_retry_after_of_0_asks_for_nothing():
    assert retry_after(replied(503, retry_after="0")) == timedelta(0)
    assert isinstance(trouble(replied(502, retry_after="0"), "x"), Unknown)
    assert isinstance(trouble(replied(502, retry_after="0.0"), "x"), Unknown)
    assert trouble(replied(503, retry_after="0"), "x") == Unavailable("503: turned away for now", timedelta(0))


def test_a_retry_after_of_a_day_or_a_year_is_cut_to_a_quarter_of_an_hour():
    assert retry_after(replied(503, retry_after="86400")) == LONGEST_SILENCE
    assert retry_after(replied(503, retry_after="31536000")) == LONGEST_SILENCE
    assert retry_after(replied(503, retry_after="9" * 40)) == LONGEST_SILENCE


def test_a_retry_after_that_is_a_date_is_read_by_the_clock_that_wrote_it():
    dates = {"retry_after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert retry_after(replied(503, **dates)) == timedelta(seconds=30)


def test_only_what_was_turned_away_is_unavailable_and_a_failed_gateway_is_unknown():
    assert trouble(replied(429, retry_after="3"), "x") == Unavailable("429: turned away for now", timedelta(seconds=3))
    assert trouble(replied(503), "x") == Unavailable("503: turned away for now", None)
    assert isinstance(trouble(replied(502, retry_after="2"), "x"), Unavailable)
    for code in (500, 502, 504, 520):
        assert isinstance(trouble(replied(code), "x"), Unknown)
    for code in (200, 201, 204, 400, 404, 409, 412, 413):
        assert trouble(replied(code), "x") is None


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (401, "x: refused our token (401). To do: run `ironbridge check x`"),
        (403, "x: does not allow us this (403). To do: run `ironbridge check x`"),
        (302, "x: the address answers with a redirect (302). To do: check the address"),
    ],
)
def test_what_only_a_person_can_mend_says_how(code: int, says: str):
    with pytest.raises(MisconfiguredError) as stopped:
        trouble(replied(code), "x")
    assert str(stopped.value) == says


def test_an_answer_that_is_not_json_is_unknown():
    page = httpx.Response(200, headers={"content-type": "text/html; charset=utf-8"}, content=b"<html>sign in")
    assert json_of(page) == Unknown("200, but the answer is not JSON (text/html)")
    assert json_of(httpx.Response(200, content=b'["a"]')) == ["a"]


# --- tokens -----------------------------------------------------------------------------------------------------------


class Issuer(Asked):
    """A token endpoint and an API in one: tokens t1, t2 …; the API takes those that are in `good`."""

    def __init__(self, expires_in: object = 3600) -> None:
        super().__init__(self.reply)
        self.expires_in = expires_in
        self.issued = 0
        self.good: set[str] | None = None

    def reply(self, line: str, headers: dict[str, str], _: bytes) -> bytes:
        if "/token" in line:
            self.issued += 1
            token = {"access_token": f"t{self.issued}", "expires_in": self.expires_in}
            return answer("200 OK", json.dumps(token).encode())
        if self.good is not None and headers["authorization"].removeprefix("Bearer ") not in self.good:
            return answer("401 Unauthorized")
        return answer("200 OK", b"[]")


def credentials(url: str) -> ClientCredentials:
    return ClientCredentials(OAuthClient("dfe_csc", f"{url}/token", "us", SecretStr("s3cret"), "api/.default"))


async def test_a_token_is_asked_for_once_and_used_for_all():
    server = Issuer()
    async with talking(server) as url, connected() as http:
        auth = credentials(url)
        await asyncio.gather(*(exchange(http, post(http, url), auth) for _ in range(12)))
    assert server.issued == 1
    line, headers, body = server.requests[0]
    assert (line, headers["content-type"]) == ("POST /token HTTP/1.1", "application/x-www-form-urlencoded")
    assert body == b"grant_type=client_credentials&client_id=us&client_secret=s3cret&scope=api%2F.default"
    assert {h["authorization"] for line, h, _ in server.requests if "children" in line} == {"Bearer t1"}


async def test_a_token_is_renewed_before_it_expires():
    server = Issuer(expires_in=0.2)
    async with talking(server) as url, connected() as http:
        auth = credentials(url)
        for _ in range(2):
            await exchange(http, post(http, url), auth)
            await asyncio.sleep(0.185)
    assert server.issued == 2


async def test_a_401_renews_once_for_all_and_repeats_each_request_once():
    server = Issuer()
    async with talking(server) as url, connected() as http:
        auth = credentials(url)
        await exchange(http, post(http, url), auth)
        server.good = {"t2"}
        answers = await asyncio.gather(*(exchange(http, post(http, url), auth) for _ in range(9)))
    assert [a.status_code for a in answers if isinstance(a, httpx.Response)] == [200] * 9
    assert server.issued == 2


async def test_a_401_after_a_renewed_token_is_handed_back_and_not_tried_again():
    server = Issuer()
    server.good = set()
    async with talking(server) as url, connected() as http:
        refused = await exchange(http, post(http, url), credentials(url))
    assert isinstance(refused, httpx.Response)
    assert refused.status_code == 401
    assert [line.split()[1] for line, _, _ in server.requests] == ["/token", "/children/12345"] * 2


@pytest.mark.parametrize("error", ["invalid_client", "s3cret was wrong"])
async def test_a_client_that_is_not_known_stops_everything_and_names_the_variable(error: str):
    server = Asked(lambda *_: answer("401 Unauthorized", json.dumps({"error": error}).encode()))
    async with talking(server) as url, connected() as http:
        with pytest.raises(MisconfiguredError) as stopped:
            await exchange(http, post(http, url), credentials(url))
    said = "invalid_client" if error == "invalid_client" else "no token in the answer"
    assert str(stopped.value) == (
        f"dfe_csc: the token endpoint says 401: {said}. To do: check client_id, scope, token_url and "
        "IRONBRIDGE_TARGETS__DFE_CSC__CLIENT_SECRET, then run `ironbridge check dfe_csc`"
    )
    assert len(server.requests) == 1


async def test_a_token_endpoint_that_fails_means_that_nothing_was_sent():
    async def cut(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(reader)

    tired = Asked(lambda *_: answer("503 Service Unavailable", b"", "Retry-After: 4"))
    api = Asked()
    async with talking(api) as url, talking(cut) as cuts, talking(tired) as tires, connected() as http:
        lost = await exchange(http, post(http, url), credentials(cuts))
        turned_away = await exchange(http, post(http, url), credentials(tires))
        again = await exchange(http, post(http, url), credentials(tires))
    assert lost == NotDone("not sent: ServerDisconnectedError")
    assert turned_away == again == NotDone("no token: its endpoint answered 503", timedelta(seconds=4))
    assert api.requests == []


async def test_a_token_can_be_obtained_to_see_whether_all_is_well():
    server, tired = Issuer(), Asked(lambda *_: answer("429 Too Many Requests"))
    async with talking(server) as url, talking(tired) as tires, connected() as http:
        auth = credentials(url)
        assert await auth.obtain(http) is None
        await exchange(http, post(http, url), auth)
        assert await credentials(tires).obtain(http) == NotDone("no token: its endpoint answered 429", None)
    assert server.issued == 1


async def test_a_token_without_a_readable_lifetime_is_used_all_the_same():
    server = Issuer(expires_in="soon")
    async with talking(server) as url, connected() as http:
        auth = credentials(url)
        for _ in range(2):
            assert isinstance(await exchange(http, post(http, url), auth), httpx.Response)
    assert server.issued == 1
