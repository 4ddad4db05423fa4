"""Webhooks that come in: who may send, what is answered when, and which connections end."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import httpx
import pytest
from pydantic import SecretStr, ValidationError
from standardwebhooks import Webhook

from adapters.engine.pump import Pump
from adapters.kit.http_in import CameIn
from adapters.kit.rows import row_of
from adapters.kit.webhook import SignatureSettings, WebhookAdapter, WebhookSettings, WebhookStream, events_of
from adapters.port import Adapter
from adapters.testing import AdapterSuite, Bench, Faults
from canonical import Person
from canonical.errors import UnavailableError
from canonical.key import key_of
from canonical.people import Name
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.settings import KafkaSettings
from ironbridge.store import Store, StoredMemory
from tests.servers import Kafka
from tests.test_pump_servers import committed


def secret_of(text: str) -> str:
    return f"whsec_{base64.b64encode(text.encode()).decode()}"


SECRET = secret_of("the sender and we know this")
SIGNED = SignatureSettings(secrets=(SecretStr(SECRET),))


@row_of("tenants", key="id")
class Tenant(NamedTuple):
    id: int
    surname: str
    born: date | None


def person(source: str, row: Tenant) -> Person:
    return Person(key=key_of(source, "person", row.id), names=(Name(family=row.surname),), birth_date=row.born)


TENANTS = WebhookStream(
    "tenants", person, item="data.tenant", deleted=frozenset({"tenant.deleted"}), takes=frozenset({"tenant.changed"}),
    position="data.version",
)  # fmt: skip


def made(*streams: WebhookStream, **given: Any) -> WebhookAdapter:
    settings = WebhookSettings(**{"port": 0, "signature": SIGNED, "deadline": timedelta(seconds=5)} | given)
    return WebhookAdapter("housing", settings, streams or [TENANTS], wait=0.1)


def event(number: int, version: int, kind: str = "tenant.changed", **said: Any) -> dict[str, Any]:
    tenant = {"id": number, "surname": "Darby", "born": "1711-03-17"} | said
    return {"type": kind, "timestamp": "2026-05-01T10:00:00Z", "data": {"version": version, "tenant": tenant}}


def signed(body: str, secret: str = SECRET, at: datetime | None = None, number: str = "msg_1") -> dict[str, str]:
    """The headers that the official library makes."""
    at = at or datetime.now(UTC)
    signature = Webhook(secret).sign(number, at, body)
    return {"webhook-id": number, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


class Away(Faults):
    """Kafka is away as long as `away` is set."""

    away = False

    def point(self, name: str) -> None:
        if name == "publish" and self.away:
            raise UnavailableError("kafka", "is away")


class Running:
    """An adapter, a pump that reads all the time, and a client."""

    def __init__(self, adapter: WebhookAdapter) -> None:
        self.adapter = adapter
        self.bench = Bench(adapter)
        self.kafka = Away()
        self.http = httpx.AsyncClient(timeout=20, trust_env=False)

    async def run(self) -> None:
        pump = self.bench.pump(self.kafka)
        while True:
            try:
                await pump.ready()
                for stream in self.adapter.streams():
                    await pump.read(stream)
            except UnavailableError:
                await asyncio.sleep(0.02)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.adapter.listener.port}"

    async def post(self, said: Any, path: str = "tenants", headers: Mapping[str, str] | None = None) -> httpx.Response:
        body = said if isinstance(said, str) else json.dumps(said)
        return await self.http.post(f"{self.url}/{path}", content=body, headers=signed(body) if headers is None else headers)

    def told(self) -> list[tuple[str, bool]]:
        return [(event.key, event.data is not None) for event in self.bench.log.told()]


@asynccontextmanager
async def running(*streams: WebhookStream, **given: Any) -> AsyncIterator[Running]:
    it = Running(made(*streams, **given))
    work = asyncio.create_task(it.run())
    async with asyncio.timeout(10):
        while not it.adapter.listener.port:
            await asyncio.sleep(0.005)
    try:
        yield it
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await it.http.aclose()
        await it.adapter.close()


class TestWebhooks(AdapterSuite):
    """A sender that sends again, in order, what was not answered with 200 or 422."""

    @pytest.fixture
    async def adapter(self) -> AsyncIterator[Adapter]:
        self.it = WebhookAdapter("housing", WebhookSettings(port=0, signature=SIGNED), [TENANTS], wait=0.5)
        self.sent = self.underway = 0
        self.unanswered: list[Any] = []
        self.tasks = set[asyncio.Task[None]]()
        await self.it.listener.listen()
        for number in range(5):
            await self.send(number)
        yield self.it
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.it.close()

    async def send(self, number: int, kind: str = "tenant.changed", **said: Any) -> None:
        self.sent += 1
        intake = self.it._intakes["tenants"]
        before = len(intake._waiting)
        self._begin([event(number, self.sent, kind, **said)])
        async with asyncio.timeout(10):
            while self.it.listener.port and len(intake._waiting) == before:
                await asyncio.sleep(0.005)

    def _begin(self, events: list[Any]) -> None:
        task = asyncio.create_task(self._post(events))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _post(self, events: list[Any]) -> None:
        self.underway += 1
        try:
            async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
                while not self.it.listener.port:
                    await asyncio.sleep(0.005)
                body = json.dumps(events)
                url = f"http://127.0.0.1:{self.it.listener.port}/tenants"
                status = (await http.post(url, content=body, headers=signed(body))).status_code
        except httpx.HTTPError:
            status = 0
        self.underway -= 1
        if status not in (200, 422):
            self.unanswered += events
        if self.unanswered and not self.underway:
            again = sorted(self.unanswered, key=lambda each: each["data"]["version"])
            self.unanswered.clear()
            self._begin(again)

    async def change_one(self, adapter: Adapter) -> str:
        await self.send(3, surname="Other")
        return "housing:person:3"

    async def delete_one(self, adapter: Adapter) -> str:
        await self.send(4, "tenant.deleted")
        return "housing:person:4"

    async def break_one(self, adapter: Adapter) -> str:
        await self.send(2, surname=["a", "list"])
        return "housing:person:2"

    async def mend_it(self, adapter: Adapter) -> None:
        await self.send(2, surname="Mended")

    async def counted(self, adapter: Adapter) -> Mapping[str, int]:
        return {"tenants": 5}


# -- answers ---------------------------------------------------------------------------------------------------------


async def test_an_answer_of_200_means_that_the_events_are_in_kafka() -> None:
    async with running() as it:
        it.kafka.away = True
        asking = asyncio.create_task(it.post(event(1, 1)))
        async with asyncio.timeout(10):
            while not it.adapter._intakes["tenants"]._waiting:
                await asyncio.sleep(0.005)
        assert (it.told(), asking.done()) == ([], False)
        it.kafka.away = False
        answer = await asking
        assert (answer.status_code, answer.text) == (200, "1 taken in")
        assert it.told() == [("housing:person:1", True)]


async def test_503_is_answered_while_kafka_is_away_and_the_repetition_is_taken_in_once() -> None:
    async with running(patience=timedelta(seconds=0.3)) as it:
        it.kafka.away = True
        answer = await it.post(event(1, 1))
        assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (503, "it cannot be taken in now", "1")
        it.kafka.away = False
        assert (await it.post(event(1, 1))).status_code == 200
        assert (await it.post(event(1, 1))).status_code == 200
        assert it.told() == [("housing:person:1", True)]


async def test_what_is_sent_again_late_brings_no_old_content_back_and_a_deletion_deletes() -> None:
    async with running() as it:
        for said in (event(1, 2, surname="New"), event(1, 1, surname="Old"), event(1, 3, "tenant.deleted"), event(1, 2)):
            assert (await it.post(said)).status_code == 200
        assert it.told() == [("housing:person:1", True), ("housing:person:1", False)]


async def test_a_record_in_quarantine_is_answered_with_the_reason_and_the_others_are_taken_in() -> None:
    async with running() as it:
        answer = await it.post([event(1, 1), event(2, 1, surname=" ")])
        assert (answer.status_code, answer.text) == (422, "surname: is empty")
        assert it.told() == [("housing:person:1", True)]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ("{not json", 400, "the body is not JSON"),
        ("[1]", 400, "the body is no object, and no list of objects"),
        (json.dumps({"type": "tenant.changed", "data": 1}), 400, "there is no object at `data.tenant`"),
        (json.dumps(event(1, 1, id=None)), 400, "an item has no key (id: is not a whole number)"),
        (
            json.dumps({"type": "tenant.changed", "data": {"tenant": {"id": 1}}}),
            400,
            "there is no number or text at `data.version`, and so nobody knows whether it is new",
        ),
        (json.dumps({"type": "invoice.paid", "data": 1}), 200, "there is nothing to take in"),
        ("[]", 200, "there is nothing to take in"),
    ],
)
async def test_what_cannot_be_read_is_answered_with_the_reason(body: str, status: int, text: str) -> None:
    async with running() as it:
        answer = await it.post(body)
        assert (answer.status_code, answer.text) == (status, text)
        assert it.told() == []


async def test_another_address_and_another_method_are_refused() -> None:
    async with running() as it:
        answer = await it.post({}, "tenant")
        assert (answer.status_code, answer.text) == (404, "there is no stream here; there are /tenants")
        answer = await it.http.get(f"{it.url}/tenants")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.servers
async def test_in_a_real_kafka_the_events_lie_there_once_the_answer_has_come(apache_kafka: Kafka, store: Store) -> None:
    prefix = apache_kafka.prefix().rstrip(".")
    kafka = KafkaSettings(broker="none", bootstrap_servers=apache_kafka.bootstrap, topic_prefix=prefix, partitions=3)
    adapter = made()
    pump = Pump(adapter, KafkaJournal(kafka, "housing", [Person]), StoredMemory(store, "housing"), edition="1")
    await pump.ready()
    (stream,) = adapter.streams()

    async def read() -> None:
        while True:
            await pump.read(stream)

    reading = asyncio.create_task(read())
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        async with asyncio.timeout(20):
            while not adapter.listener.port:
                await asyncio.sleep(0.01)
        for number in range(3):
            body = json.dumps(event(number, 1))
            answer = await http.post(f"http://127.0.0.1:{adapter.listener.port}/tenants", content=body, headers=signed(body))
            assert answer.status_code == 200
            assert len(await committed(kafka, "person")) == number + 1
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await pump.close()


# -- signatures ------------------------------------------------------------------------------------------------------

BODY = json.dumps(event(1, 1))
OTHER = secret_of("somebody else knows this one")


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        (dict, "there is no header webhook-id"),
        (lambda: signed(BODY, OTHER), "no signature is of a secret of ours"),
        (lambda: signed(BODY + " "), "no signature is of a secret of ours"),
        (lambda: signed(BODY) | {"webhook-id": "msg_2"}, "no signature is of a secret of ours"),
        (lambda: signed(BODY) | {"webhook-signature": "v1"}, "no signature is of a secret of ours"),
        (lambda: signed(BODY) | {"webhook-timestamp": "soon"}, "webhook-id or webhook-timestamp is not as the standard has it"),
        (lambda: signed(BODY, at=datetime.now(UTC) - timedelta(minutes=6)), "webhook-timestamp is too far from our clock"),
        (lambda: signed(BODY, at=datetime.now(UTC) + timedelta(minutes=6)), "webhook-timestamp is too far from our clock"),
    ],
)
async def test_a_signature_that_is_not_good_is_refused(headers: Callable[[], dict[str, str]], why: str) -> None:
    async with running() as it:
        answer = await it.post(BODY, headers=headers())
        assert (answer.status_code, answer.text) == (401, why)
        assert it.told() == []


async def test_while_a_secret_is_replaced_both_count() -> None:
    both = SignatureSettings(secrets=(SecretStr(OTHER), SecretStr(SECRET)))
    old, new = signed(BODY), signed(BODY, OTHER)
    async with running(signature=both) as it:
        assert (await it.post(BODY, headers=old)).status_code == 200
        assert (await it.post(BODY, headers=new)).status_code == 200
    async with running() as it:
        several = old | {"webhook-signature": f"v1a,x {new['webhook-signature']} {old['webhook-signature']}"}
        assert (await it.post(BODY, headers=several)).status_code == 200


async def test_a_body_signed_as_github_signs_is_taken_in() -> None:
    key = "it is a secret to everybody"
    stream = WebhookStream("tenants", person, type="header:X-GitHub-Event", takes=frozenset({"tenant"}))
    body = json.dumps({"id": 1, "surname": "Darby", "born": None})
    digest = hmac.new(key.encode(), body.encode(), hashlib.sha256).hexdigest()
    async with running(stream, signature=SignatureSettings(scheme="hmac", secrets=(SecretStr(key),))) as it:
        good = {"X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Event": "tenant"}
        assert (await it.post(body, headers=good)).text == "1 taken in"
        assert (await it.post(body, headers=good | {"X-GitHub-Event": "ping"})).text == "there is nothing to take in"
        assert (await it.post(body, headers={"X-Hub-Signature-256": digest})).status_code == 401
        assert (await it.post(body, headers={})).text == "there is no header X-Hub-Signature-256"


def test_a_known_signature_of_githubs_documentation_is_good() -> None:
    settings = SignatureSettings(scheme="hmac", secrets=(SecretStr("It's a Secret to Everybody"),))
    known = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert settings.fault({"x-hub-signature-256": known}, b"Hello, World!") is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"scheme": "standard"}, "`secrets` are needed"),
        ({"scheme": "none", "secrets": ("x" * 20,)}, "looks at none"),
        ({"secrets": ("whsec_short",)}, "is shorter than 16 bytes"),
        ({"scheme": "hmac", "secrets": ("short",)}, "is shorter than 16 bytes"),
    ],
)
def test_settings_of_signatures_that_cannot_be_meant_are_refused(given: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        SignatureSettings(**given)


# -- CloudEvents -----------------------------------------------------------------------------------------------------

CLOUD = {"specversion": "1.0", "id": "1", "source": "/housing", "type": "tenant.changed", "sequence": "0001"}
TENANT = {"id": 1, "surname": "Darby", "born": None}
OF_THE_CLOUD = WebhookStream(
    "tenants", person, takes=frozenset({"tenant.changed"}), deleted=frozenset({"tenant.deleted"}), position="sequence"
)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (CLOUD | {"data": TENANT}, {"content-type": "application/cloudevents+json"}),
        ([CLOUD | {"data": TENANT}], {"content-type": "application/cloudevents-batch+json"}),
        (TENANT, {f"ce-{name}": value for name, value in CLOUD.items()} | {"content-type": "application/json"}),
    ],
    ids=["structured", "batch", "binary"],
)
async def test_a_cloud_event_is_taken_in(body: Any, headers: dict[str, str]) -> None:
    async with running(OF_THE_CLOUD) as it:
        written = json.dumps(body)
        answer = await it.post(written, headers=headers | signed(written))
        assert (answer.status_code, answer.text) == (200, "1 taken in")
        assert it.told() == [("housing:person:1", True)]


def test_the_attributes_of_a_binary_cloud_event_are_its_headers() -> None:
    headers = {"ce-specversion": "1.0", "ce-type": "x", "host": "h"}
    assert events_of(CameIn("POST", "/", headers, b"{}")) == [{"specversion": "1.0", "type": "x", "data": {}}]


# -- connections -----------------------------------------------------------------------------------------------------


async def raw(it: Running, sent: bytes) -> bytes:
    """What is answered to these bytes until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", it.adapter.listener.port)
    writer.write(sent)
    async with asyncio.timeout(10):
        said = await reader.read()
    writer.close()
    return said


async def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() -> None:
    async with running(max_kilobytes=1) as it:
        answer = await it.post("x" * 2000)
        assert (answer.status_code, answer.text) == (413, "the message is larger than 1 kilobytes")

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b"x" * 1000

        answer = await it.http.post(f"{it.url}/tenants", content=pieces())
        assert answer.status_code == 413


async def test_a_half_sent_request_ends_its_connection() -> None:
    async with running(deadline=timedelta(seconds=0.3)) as it:
        assert await raw(it, b"") == b""
        assert await raw(it, b"POST /tenants HTTP/1.1\r\nHost: x\r\n") == b""
        assert await raw(it, b"POST /tenants HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{") == b""
        assert (await raw(it, b"what is this\r\n\r\n")).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert (await raw(it, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000)).startswith(b"HTTP/1.1 431 ")


async def test_connections_beyond_the_limit_are_turned_away() -> None:
    async with running(connections=2) as it:
        held = [await asyncio.open_connection("127.0.0.1", it.adapter.listener.port) for _ in range(2)]
        assert await raw(it, b"") == b""  # connections are taken in the order in which they came
        for _, writer in held:
            writer.close()
        async with asyncio.timeout(10):
            while True:
                try:
                    answer = await it.post(event(1, 1))
                    break
                except httpx.HTTPError:
                    await asyncio.sleep(0.02)
        assert answer.status_code == 200


async def test_many_requests_over_one_connection_and_over_many_are_all_answered() -> None:
    async with running() as it:
        answers = await asyncio.gather(*[it.post(event(number, 1)) for number in range(15)])
        answers += [await it.post(event(number, 1)) for number in range(15, 40)]
        assert {answer.status_code for answer in answers} == {200}
        assert len(it.told()) == 40


async def test_a_check_takes_no_port_and_says_who_may_send() -> None:
    adapter = made()
    (finding,) = await adapter.check()
    assert (finding.what, finding.well) == ("127.0.0.1:0 can be listened on, without TLS, from senders who sign", True)
    assert adapter.listener.port == 0
    _, finding = await made(signature=SignatureSettings(scheme="none")).check()
    assert (finding.what, finding.well) == ("anybody who reaches the port may send records", False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (finding,) = await made(port=taken.getsockname()[1]).check()
        assert not finding.well
        assert "cannot listen on" in finding.what
