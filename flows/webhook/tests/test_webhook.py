"""flows/webhook: against the suite, its sandbox, the standard's own vectors, and receivers that are not ours."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from pydantic import ValidationError
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.requests import Request
from starlette.responses import Response

from canonical import Invoice, Supplier
from canonical.connect.address import ForbiddenAddressError, pinned
from canonical.connect.standard_webhooks import public_key, signature, signed_content
from canonical.errors import MisconfiguredError
from flows.kit.http import client
from flows.kit.requests import LocalBudget
from flows.kit.sandbox import Fault, serve
from flows.port import Body, Confirmed, Document, Fact, Facts, Limits, Outcome, Refused, Unavailable, Unknown, Write
from flows.testing import SandboxSide, TargetSuite
from flows.webhook import EntityEvents, EntityEventsSettings, ReceiverSettings, WebhookTarget
from flows.webhook.sandbox import SECRET, WebhookSandbox, WebhookSandboxSettings
from ironbridge.kafka.distribution import cache_dir

NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SUPPLIER = Supplier(key="acme:supplier:1", number="1", name="Mole Drains Ltd")


def flow(entities: tuple[str, ...] = ("supplier",), **fields: tuple[str, ...]) -> EntityEvents:
    return EntityEvents("hook", EntityEventsSettings(entities=entities, fields=fields))


def told(supplier: Supplier, version: int, /, **fields: tuple[str, ...]) -> Document:
    fact = Fact("supplier", supplier.key, supplier.owner, version, supplier.to_bytes())
    document = flow(**fields).desired(supplier.key, Facts([fact], date(2026, 11, 28)))
    assert document is not None
    return document


def access(url: str, *secrets: str, allow: tuple[str, ...] = ("127.0.0.0/8",)) -> ReceiverSettings:
    return ReceiverSettings.model_validate({"url": url, "secrets": secrets or (SECRET,), "allow": allow})


@asynccontextmanager
async def target(url: str, *secrets: str, **more: Any) -> AsyncIterator[WebhookTarget]:
    async with client(Limits(), LocalBudget(10_000, 1.0), timeout=httpx.Timeout(2.0)) as http:
        yield WebhookTarget("hook", access(url, *secrets, **more), http)


async def send(target: WebhookTarget, document: Document | None, **known: Any) -> Outcome:
    (outcome,) = await target.write([Write(SUPPLIER.key, document, **known)])
    return outcome


class HookSide(SandboxSide):
    def document(self, number: int, version: int) -> tuple[str, Document]:
        key = f"acme:supplier:{number}"
        return key, told(Supplier(key=key, number=str(number), name=f"Mole Drains {version}"), version * 2)

    def refusable(self, number: int) -> tuple[str, Document]:
        subject, document = self.document(number, 1)
        self.sandbox.faults.append(Fault(kind="refuse", keys=frozenset({subject}), times=None))
        return subject, document

    def held(self, number: int) -> Body | None:
        return self.sandbox.documents("webhook").get(f"acme:supplier:{number}")


class TestWebhooks(TargetSuite):
    reads_answers = False

    @pytest.fixture
    async def side(self) -> AsyncIterator[HookSide]:
        async with WebhookSandbox() as sandbox, target(f"{sandbox.url}/hook") as hook:
            yield HookSide(hook, sandbox, "/hook")


# -- signatures ----------------------------------------------------------------------------------------------------


def test_signatures_are_those_of_the_standards_own_vectors() -> None:
    content = signed_content("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature(NEW, content) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    seed = base64.b64encode(b"TESTSIGNINGKEYDONOTUSETHISFORANY").decode()
    assert signature(f"whsk_{seed}", content) == (
        "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="
    )


@pytest.mark.parametrize("secret", ["", "hush", "whsec_c2hvcnQ=", "whsk_c2hvcnQ=", "whsec_?"])
def test_a_secret_that_is_none_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ValidationError) as error:
        access("https://hooks.example/x", secret)
    assert "whsec_c2" not in str(error.value)


@asynccontextmanager
async def foreign(verify: Any) -> AsyncIterator[tuple[str, list[tuple[str, Any]]]]:
    """A receiver that takes what `verify` does."""
    taken: list[tuple[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        body, headers = await request.body(), dict(request.headers)
        try:
            taken.append((headers["webhook-id"], verify(body, headers)))
            await Response(status_code=204)(scope, receive, send)
        except WebhookVerificationError:
            await Response(status_code=401)(scope, receive, send)

    async with serve(app) as url:
        yield url, taken


async def test_pythons_receiver_takes_webhooks_while_one_secret_replaces_another() -> None:
    async with foreign(Webhook(NEW).verify) as (url, taken), target(url, SECRET, NEW) as both, target(url) as old:
        document = told(SUPPLIER, 1_760_000_000_000)
        assert isinstance(await send(both, document), Confirmed)
        with pytest.raises(MisconfiguredError, match="refused our token"):
            await send(old, document)
    assert [said for _, said in taken] == [
        {
            "type": "supplier.changed",
            "timestamp": "2025-10-09T08:53:20.000Z",
            "data": {
                "key": "acme:supplier:1",
                "owner": "acme:supplier:1",
                "version": 1_760_000_000_000,
                "entity": json.loads(SUPPLIER.to_bytes()),
            },
        }
    ]


async def test_an_asymmetric_signature_is_verified_with_the_public_key_alone() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    secret = "whsk_" + base64.b64encode(bytes(range(32))).decode()
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key(secret).removeprefix("whpk_")))

    def verify(body: bytes, headers: Mapping[str, str]) -> Any:
        content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        public.verify(base64.b64decode(headers["webhook-signature"].removeprefix("v1a,")), content)
        return json.loads(body)

    async with foreign(verify) as (url, taken), target(url, secret) as hook:
        assert isinstance(await send(hook, told(SUPPLIER, 2)), Confirmed)
    assert len(taken) == 1


def node_modules() -> Path:
    """npm's receiver, fetched once for this user and kept beside the other downloads of the tests."""
    cache = cache_dir() / "npm"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / "node_modules" / "standardwebhooks").is_dir():
            command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "standardwebhooks@1"]
            subprocess.run(command, cwd=cache, check=True, capture_output=True, timeout=120)
    return cache


@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no Node on this machine")
async def test_nodes_receiver_takes_a_change_and_a_deletion() -> None:
    program = Path(__file__).with_name("receiver.mjs")
    node = await asyncio.create_subprocess_exec("node", program, node_modules(), NEW, stdout=asyncio.subprocess.PIPE)
    assert node.stdout is not None
    try:
        port = int(await node.stdout.readline())
        async with target(f"http://127.0.0.1:{port}/", NEW) as hook:
            document = told(SUPPLIER, 2)
            sent = await send(hook, document)
            gone = await send(hook, None, confirmed=document)
        lines = [json.loads(await node.stdout.readline()) for _ in range(2)]
    finally:
        node.kill()
        await node.communicate()
    assert isinstance(sent, Confirmed)
    assert isinstance(gone, Confirmed)
    assert lines == [{"id": sent.ref, "type": "supplier.changed"}, {"id": gone.ref, "type": "supplier.deleted"}]


# -- ids -----------------------------------------------------------------------------------------------------------


async def test_all_attempts_of_one_version_have_one_id_and_each_version_has_another() -> None:
    other = replace_name("Vole Drains Ltd")
    async with WebhookSandbox() as sandbox, target(f"{sandbox.url}/hook") as hook:
        first, second, third = told(SUPPLIER, 2), told(other, 4), told(SUPPLIER, 6)  # the third looks like the first
        sandbox.faults.append(Fault(kind="cut", when="after"))
        assert isinstance(await send(hook, first), Unknown)
        await send(hook, first, doubtful=(first,))
        await send(hook, second, confirmed=first)
        await send(hook, third, confirmed=second)
        sandbox.faults.append(Fault(kind="cut", when="after"))
        await send(hook, None, confirmed=third)
        await send(hook, None, doubtful=(third,))  # what the runtime makes of it once nobody can say what is there
        assert [*sandbox.seen.values()] == [2, 1, 1, 2]
        assert sandbox.documents("webhook") == {}


def replace_name(name: str) -> Supplier:
    return SUPPLIER.model_copy(update={"name": name})


async def test_a_new_version_that_says_nothing_new_is_not_sent() -> None:
    async with WebhookSandbox() as sandbox, target(f"{sandbox.url}/hook") as hook:
        known = told(SUPPLIER, 2, supplier=("number",))
        assert isinstance(await send(hook, known), Confirmed)
        after = told(replace_name("Vole Drains Ltd"), 4, supplier=("number",))
        assert isinstance(await send(hook, after, confirmed=known, ref="msg_1"), Confirmed)
        assert sandbox.requests == 1


def test_settings_choose_entities_and_fields() -> None:
    assert told(SUPPLIER, 2, supplier=("name",)).body["data"]["entity"] == {"key": SUPPLIER.key, "name": SUPPLIER.name}
    assert flow(("invoice", "supplier")).entities == (Invoice, Supplier)
    assert flow().desired(SUPPLIER.key, Facts([], date(2026, 11, 28))) is None
    for wrong in ({"entities": ["nobody"]}, {"entities": ["supplier"], "fields": {"supplier": ["shoe"]}}):
        with pytest.raises(ValidationError, match=r"there is no type nobody|supplier has no field shoe"):
            EntityEventsSettings.model_validate(wrong)


# -- where it goes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        ("http://hooks.example/x", ("127.0.0.0/8",)),
        ("http://10.1.2.3/x", ("10.0.0.0/8",)),
        ("http://127.0.0.1/x", ()),
        ("https://hush@hooks.example/x", ()),
        ("ftp://hooks.example/x", ()),
    ],
)
def test_an_address_that_is_not_safe_is_refused(url: str, allow: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as error:
        access(url, allow=allow)
    assert "hush" not in str(error.value)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("127.0.0.1", "loopback"),
        ("localhost", "loopback"),
        ("2130706433", "loopback"),  # a number is a way to write 127.0.0.1
        ("[::ffff:127.0.0.1]", "loopback"),
        ("169.254.169.254", "link-local"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("168.63.129.16", "a cloud's own service"),
        ("10.1.2.3", "not public"),
        ("100.64.0.1", "not public"),
        ("fd00:ec2::254", "not public"),
        ("0.0.0.1", "not public"),
        ("224.0.0.1", "not public"),
    ],
)
async def test_a_name_that_stands_for_an_address_of_ours_is_refused(host: str, why: str) -> None:
    with pytest.raises(ForbiddenAddressError, match=why):
        await pinned(host, 443)


async def test_an_address_that_the_settings_name_may_be_sent_to() -> None:
    assert await pinned("10.1.2.3", 443, [ip_network("10.1.0.0/16")]) == "10.1.2.3"
    async with target("https://10.1.2.3/hook", allow=()) as hook:
        with pytest.raises(MisconfiguredError, match="an address that is not sent to"):
            await send(hook, told(SUPPLIER, 2))
        (finding,) = await hook.check()
        assert not finding.well


async def test_a_name_is_looked_up_once_and_its_certificate_is_the_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(served)
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=served)
    port = server.sockets[0].getsockname()[1]
    async with server, target(f"https://localhost:{port}/hook", allow=("127.0.0.0/8", "::1/128")) as hook:
        assert isinstance(await send(hook, told(SUPPLIER, 2)), Confirmed)
    assert f"host: localhost:{port}".encode() in heard[0].lower()


# -- answers -------------------------------------------------------------------------------------------------------


async def test_a_receiver_that_is_gone_is_sent_nothing_more() -> None:
    async with WebhookSandbox(WebhookSandboxSettings(gone=True)) as sandbox, target(f"{sandbox.url}/hook") as hook:
        for _ in range(2):
            outcome = await send(hook, told(SUPPLIER, 2))
            assert isinstance(outcome, Refused)
            assert outcome.reason.startswith("the receiver has ended this address (410 Gone)")
        assert sandbox.requests == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_a_receiver_that_asks_for_patience_has_it(status: int) -> None:
    async with WebhookSandbox() as sandbox, target(f"{sandbox.url}/hook") as hook:
        sandbox.faults.append(Fault(kind="status", status=status, retry_after=90))
        outcome = await send(hook, told(SUPPLIER, 2))
        assert isinstance(outcome, Unavailable)
        assert outcome.after == timedelta(seconds=90)


async def test_a_redirect_is_not_followed_and_a_wrong_path_is_said() -> None:
    async with WebhookSandbox() as sandbox:

        async def away(scope: Any, receive: Any, send: Any) -> None:
            await Response(status_code=308, headers={"Location": f"{sandbox.url}/hook"})(scope, receive, send)

        async with serve(away) as url, target(url) as hook, target(f"{sandbox.url}/elsewhere") as lost:
            with pytest.raises(MisconfiguredError, match="redirect"):
                await send(hook, told(SUPPLIER, 2))
            assert sandbox.requests == 0
            with pytest.raises(MisconfiguredError, match="takes no webhooks at this address"):
                await send(lost, told(SUPPLIER, 2))
