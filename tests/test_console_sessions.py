"""Sessions of the console: when they end, and that nothing brings them back. A real provider, a real state."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from canonical.errors import UnavailableError
from ironbridge.console import serve
from ironbridge.console.sessions import Session, Sessions
from ironbridge.console.sign_in import ProviderAnswer
from ironbridge.kafka.process import free_port
from ironbridge.runtime.bridge import Platform
from ironbridge.settings import ConsoleSettings, HttpSettings, Settings
from ironbridge.store import Store
from tests.servers import running_issuer

PEOPLE = {"otto": ["ironbridge-operator"], "vera": ["ironbridge-viewer"]}
MINUTE = 60.0


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with running_issuer(PEOPLE) as url:
        yield url


@dataclass
class Consoles:
    """Two consoles over one state, behind one address for people, and the state's clock."""

    store: Store
    issuer: str
    ports: list[int]
    now: float

    async def sign_in(self, stack: AsyncExitStack, name: str) -> httpx.AsyncClient:
        """Somebody's browser, signed in at the first console."""
        browser = await self.browser(stack)
        sent = await browser.get("/sign-in", params={"next": "/stuck"})
        async with httpx.AsyncClient(trust_env=False) as people:
            back = await people.post(sent.headers["location"], data={"sub": name})
        assert (await browser.get(back.headers["location"])).headers["location"] == "/stuck"
        return browser

    async def browser(self, stack: AsyncExitStack, cookies: httpx.Cookies | None = None, which: int = 0) -> httpx.AsyncClient:
        url = f"http://127.0.0.1:{self.ports[which]}"
        return await stack.enter_async_context(
            httpx.AsyncClient(base_url=url, cookies=cookies, trust_env=False, timeout=60)
        )

    async def become(self, name: str, roles: list[str]) -> None:
        """Give somebody other roles at the provider from now on."""
        async with httpx.AsyncClient(trust_env=False) as admin:
            done = await admin.put(f"{self.issuer}/users/{name}", json={"preferred_username": name, "roles": roles})
            assert done.status_code == 204

    async def disable(self, name: str) -> None:
        async with httpx.AsyncClient(trust_env=False) as admin:
            assert (await admin.post(f"{self.issuer}/users/{name}/revoke-tokens")).status_code == 204


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def consoles(store: Store, tmp_path: Path, issuer: str, stack: AsyncExitStack) -> Consoles:
    made = Consoles(store, issuer, [free_port(), free_port()], store.clock())
    store.clock = lambda: made.now
    for port in made.ports:
        await stack.enter_async_context(console(made, port, tmp_path))
    for name, roles in PEOPLE.items():
        await made.become(name, roles)
    return made


def console(consoles: Consoles, port: int, folder: Path) -> AbstractAsyncContextManager[str | None]:
    settings = Settings(
        data=folder,
        http=HttpSettings(listen=f"127.0.0.1:{port}"),
        console=ConsoleSettings(
            issuer=consoles.issuer, client_id="ironbridge", client_secret=SecretStr("any"),
            public_url=f"http://127.0.0.1:{consoles.ports[0]}",
        ),
    )  # fmt: skip
    return serve.served(Platform(settings, consoles.store))


async def token(browser: httpx.AsyncClient) -> str:
    found = re.search(r'name="token" value="([^"]+)"', (await browser.get("/records")).text)
    assert found is not None
    return found[1]


async def test_who_signs_out_is_signed_out_in_every_copy_of_the_cookie(consoles: Consoles, stack: AsyncExitStack):
    otto = await consoles.sign_in(stack, "otto")
    copy = await consoles.browser(stack, httpx.Cookies(otto.cookies))
    assert (await copy.get("/stuck")).status_code == 200
    assert (await otto.post("/sign-out", data={"token": await token(otto)})).headers["location"] == "/signed-out"
    for browser in (otto, copy):
        assert (await browser.get("/stuck")).headers["location"] == "/sign-in?next=/stuck"


async def test_a_session_is_known_to_every_console_of_the_state_and_after_a_restart(
    consoles: Consoles, stack: AsyncExitStack, tmp_path: Path
):
    otto = await consoles.sign_in(stack, "otto")
    other = await consoles.browser(stack, httpx.Cookies(otto.cookies), which=1)
    assert "otto" in (await other.get("/stuck")).text
    consoles.ports.append(free_port())
    await stack.enter_async_context(console(consoles, consoles.ports[-1], tmp_path))
    restarted = await consoles.browser(stack, httpx.Cookies(otto.cookies), which=-1)
    assert "otto" in (await restarted.get("/stuck")).text


async def test_a_role_that_is_taken_away_at_the_provider_ends_here_within_minutes(
    consoles: Consoles, stack: AsyncExitStack
):
    otto = await consoles.sign_in(stack, "otto")
    form = {"token": await token(otto), "key": "nobody:is:1", "group": "none"}
    await consoles.become("otto", ["ironbridge-viewer"])
    assert (await otto.post("/stuck/retry", data=form)).status_code == 303
    consoles.now += 6 * MINUTE
    assert (await otto.post("/stuck/retry", data=form)).status_code == 403
    assert (await otto.get("/stuck")).status_code == 200
    await consoles.become("otto", [])
    consoles.now += 6 * MINUTE
    assert (await otto.get("/stuck")).status_code == 303
    await consoles.become("otto", ["ironbridge-operator"])
    assert (await otto.get("/stuck")).status_code == 303, "an ended session does not come back"


async def test_somebody_who_is_disabled_at_the_provider_is_signed_out_here_within_minutes(
    consoles: Consoles, stack: AsyncExitStack
):
    vera = await consoles.sign_in(stack, "vera")
    consoles.now += 6 * MINUTE
    assert (await vera.get("/stuck")).status_code == 200
    await consoles.disable("vera")
    consoles.now += 6 * MINUTE
    answers = await asyncio.gather(*(vera.get("/stuck") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {303}


async def test_a_session_ends_after_its_hours_however_much_it_is_used(consoles: Consoles, stack: AsyncExitStack):
    vera = await consoles.sign_in(stack, "vera")
    for _ in range(7):
        consoles.now += 60 * MINUTE
        assert (await vera.get("/stuck")).status_code == 200
    consoles.now += 61 * MINUTE
    assert (await vera.get("/stuck")).status_code == 303


async def test_the_state_holds_nothing_that_a_session_could_be_taken_over_with(consoles: Consoles, stack: AsyncExitStack):
    vera = await consoles.sign_in(stack, "vera")
    cookie = str(vera.cookies["ironbridge"])
    async with consoles.store.read() as connection:
        ((found, refresh),) = (await connection.execute(text("SELECT id, refresh FROM sessions"))).all()
    assert found not in cookie
    assert bytes(refresh).startswith(b"eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0."), "it is encrypted"


# -- a provider that gives other answers -------------------------------------------------------------------------------

VERA = ProviderAnswer("v", "vera", ("look",), "refresh")


@dataclass
class Provider:
    """The provider's answer when it is asked again, and how often it was asked."""

    says: ProviderAnswer | UnavailableError | None = VERA
    asked: int = 0

    async def again(self, refresh: str) -> ProviderAnswer | None:
        self.asked += 1
        assert refresh.startswith("refresh")
        await asyncio.sleep(0)
        if isinstance(self.says, UnavailableError):
            raise self.says
        return self.says


async def test_many_requests_at_once_ask_the_provider_once(each_store: Store):
    now = [each_store.clock()]
    each_store.clock = lambda: now[0]
    provider = Provider()
    here, there = (Sessions(each_store, ConsoleSettings(), provider.again) for _ in range(2))
    word = await here.begin(VERA)
    now[0] += 60 * MINUTE
    found = await asyncio.gather(*(sessions.find(word) for sessions in (here, there) for _ in range(5)))
    assert set(found) == {Session("vera", ("look",))}
    assert provider.asked == 1


async def test_a_provider_that_is_away_signs_nobody_out_at_once_and_everybody_in_the_end(each_store: Store):
    now = [each_store.clock()]
    each_store.clock = lambda: now[0]
    provider = Provider(UnavailableError("console", "away"))
    sessions = Sessions(each_store, ConsoleSettings(), provider.again)
    word = await sessions.begin(VERA)
    now[0] += 6 * MINUTE
    assert await sessions.find(word) is not None
    assert await sessions.find(word) is not None
    assert provider.asked == 1, "a provider that is away is not asked with every request"
    now[0] += 10 * MINUTE
    assert await sessions.find(word) is None
    provider.says = VERA
    now[0] += MINUTE
    assert await sessions.find(word) is not None


async def test_a_fresh_token_takes_the_place_of_the_last_one(store: Store):
    now = [store.clock()]
    store.clock = lambda: now[0]
    provider = Provider(ProviderAnswer("v", "vera", ("act", "look"), "refresh 2"))
    sessions = Sessions(store, ConsoleSettings(), provider.again)
    word = await sessions.begin(VERA)
    now[0] += 6 * MINUTE
    assert await sessions.find(word) == Session("vera", ("act", "look"))
    provider.says = ProviderAnswer("somebody else", "vera", ("look",), None)
    now[0] += 6 * MINUTE
    assert await sessions.find(word) is None


async def test_a_session_that_cannot_be_confirmed_again_ends_when_that_is_due(store: Store):
    now = [store.clock()]
    store.clock = lambda: now[0]
    sessions = Sessions(store, ConsoleSettings(), Provider().again)
    word = await sessions.begin(ProviderAnswer("v", "vera", ("look",), None))
    now[0] += 4 * MINUTE
    assert await sessions.find(word) is not None
    now[0] += 2 * MINUTE
    assert await sessions.find(word) is None
