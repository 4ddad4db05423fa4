"""The console as people meet it: in a real Chromium, by keyboard, on a phone, signed in, and over a council full of canaries."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from canonical.errors import MisconfiguredError
from ironbridge.console.access import check
from ironbridge.console.picture import Lately
from ironbridge.kafka.process import free_port
from ironbridge.operate.reconcile.certificate import Certificate, Compared, Difference, Kind, Where
from ironbridge.settings import ConsoleSettings, HttpSettings, Settings
from tests.fixtures import needed
from tests.servers import Absent
from tests.test_privacy import CANARY

ROOT = Path(__file__).parent.parent
PAGES = [
    "/", "/part/dfe_csc", "/part/liquidlogic.person", "/late", "/stuck", "/records", "/record?key=liquidlogic:person:1002",
    "/record?key=nobody:is:1", "/plan", "/plan/business_central", "/traces", "/audit", "/nowhere",
]  # fmt: skip
PEOPLE = {
    "vera": ["ironbridge-viewer"], "otto": ["ironbridge-operator"], "petra": ["ironbridge-viewer", "ironbridge-personal"],
    "nora": ["something-else"],
}  # fmt: skip


@dataclass(frozen=True)
class Consoles:
    """Where they are, and the folder of the world that they show."""

    open: str
    closed: str
    folder: Path

    def child(self) -> str:
        """A child that has arrived in the cloud."""
        with closing(sqlite3.connect(self.folder / "state.sqlite3", timeout=30)) as connection:
            found = connection.execute(
                "SELECT f.key FROM facts f JOIN subjects s ON s.subject = f.key WHERE s.flow = 'dfe_csc' "
                "AND s.state = 'agreed' AND f.entity = 'person' ORDER BY f.key LIMIT 1"
            )
            return str(found.fetchone()[0])

    def warehouse(self, statement: str) -> None:
        """Somebody works in the legacy database."""
        with closing(sqlite3.connect(self.folder / "liquidlogic.sqlite3", timeout=30)) as connection, connection:
            assert connection.execute(statement).rowcount == 1

    def emptied(self, table: str) -> None:
        """The warehouse is being rebuilt: a table is still empty."""
        with closing(sqlite3.connect(self.folder / "liquidlogic.sqlite3", timeout=30)) as connection, connection:
            connection.execute(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")
            connection.execute(f"DELETE FROM {table}")

    def filled_again(self, table: str) -> None:
        with closing(sqlite3.connect(self.folder / "liquidlogic.sqlite3", timeout=30)) as connection, connection:
            connection.execute(f"INSERT INTO {table} SELECT * FROM kept_{table}")


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    try:
        yield started
    finally:
        assert started.stdin is not None
        started.stdin.close()
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
        assert started.stdout is not None
        started.stdout.close()


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """A small real OpenID Connect provider, and the people whom it knows."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    people = [
        f"--user-claims={json.dumps({'sub': name, 'preferred_username': name, 'roles': roles})}"
        for name, roles in PEOPLE.items()
    ]
    with process("-m", "oidc_provider_mock", "--port", str(port), *people) as provider:
        for _ in range(200):
            try:
                if httpx.get(f"{url}/.well-known/openid-configuration").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url
        provider.terminate()


@pytest.fixture(scope="module")
def consoles(issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consoles]:
    folder = tmp_path_factory.mktemp("console")
    with process("-m", "tests.console_world", str(folder), issuer) as world:
        assert world.stdout is not None
        line = world.stdout.readline()
        assert line, "the world did not come up"
        yield Consoles(**json.loads(line), folder=folder)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with needed():
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        if program is None:
            raise Absent("Chromium (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, consoles: Consoles) -> Iterator[Page]:
    """A window at the console of whoever is at the machine; what it complains of fails the test."""
    context = chromium.new_context(base_url=consoles.open, viewport={"width": 1280, "height": 900})
    window = context.new_page()
    said: list[str] = []
    window.on("console", lambda message: said.append(message.text) if "Failed to load" not in message.text else None)
    window.on("pageerror", lambda error: said.append(str(error)))
    yield window
    context.close()
    assert said == []


Visitor = Callable[[str], httpx.Client]


@pytest.fixture
def visitor(consoles: Consoles) -> Iterator[Visitor]:
    """Somebody's browser at the closed console, as far as cookies go; with a name, after the provider has asked who it is."""
    with ExitStack() as stack:

        def visit(name: str) -> httpx.Client:
            client = stack.enter_context(httpx.Client(base_url=consoles.closed, timeout=60))
            if name:
                sent = client.get("/sign-in", params={"next": "/stuck"})
                back = httpx.post(sent.headers["location"], data={"sub": name})
                client.get(back.headers["location"])
            return client

        yield visit


def token(client: httpx.Client, path: str = "/records") -> str:
    found = re.search(r'name="token" value="([^"]+)"', client.get(path).text)
    assert found is not None
    return found[1]


def assert_accessible(page: Page) -> None:
    """axe finds nothing."""
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()


# -- what it looks like ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_every_page_meets_wcag_wide_and_at_400_percent(page: Page, path: str) -> None:
    page.goto(path)
    for width in (1280, 320):  # 1280 pixels at 400 % are 320
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} scrolls sideways at {width}"
        assert_accessible(page)


def test_a_record_is_found_and_read_by_keyboard_alone(page: Page, consoles: Consoles) -> None:
    child = consoles.child()
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to main content")).to_be_focused()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").strip() == "Find a record":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Find a record")).to_be_visible()
    box = page.get_by_label("Any number of it")
    while not box.evaluate("e => e === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.type(child)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=child)).to_be_visible()
    expect(page.get_by_text("dfe_csc: confirmed").first).to_be_visible()


def test_a_record_is_found_by_a_number_that_stands_in_no_address(page: Page, consoles: Consoles) -> None:
    with closing(sqlite3.connect(consoles.folder / "state.sqlite3", timeout=30)) as connection:
        found = connection.execute(
            "SELECT value, key FROM identifiers WHERE key LIKE 'liquidlogic:person:%' ORDER BY key"
        )
        number, key = found.fetchone()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/records")
    page.get_by_label("Any number of it").fill(number)
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("heading", name=key)).to_be_visible()
    assert not [url for url in asked if number in url]


def test_a_mark_of_state_is_a_shape_and_a_word_besides_its_colour(page: Page) -> None:
    page.goto("/")
    marks = page.locator(".app-mark")
    assert marks.count() > 10
    for mark in marks.all():
        assert mark.inner_text().strip()
        assert mark.locator("svg path, svg circle").count() >= 1


# -- live ----------------------------------------------------------------------------------------------------------------


def test_a_change_in_the_legacy_database_shows_on_the_map_without_a_reload(page: Page, consoles: Consoles) -> None:
    page.goto("/")
    page.evaluate("window.same = true")
    cell = page.locator("[id='row-liquidlogic.person'] [data-label='Published']")
    before = int(cell.inner_text().replace(",", ""))
    consoles.warehouse(
        "UPDATE DIM_PERSON SET FORENAME = FORENAME || 'x' WHERE DIM_PERSON_ID = " + consoles.child().rpartition(":")[2]
    )
    expect(cell).to_have_text(str(before + 1), timeout=15_000)  # 2 s on a machine of its own: bench measures it
    assert page.evaluate("window.same") is True
    expect(page.locator("#live")).to_have_text("Live")
    for _ in range(100):  # it has been published; the flow takes it in a moment later
        page.goto(f"/record?key={consoles.child()}")
        if page.get_by_text("1 field changed: names[0].given").count():
            break
        time.sleep(0.2)
    expect(page.get_by_text("1 field changed: names[0].given")).to_be_visible()


def test_a_live_page_says_when_the_console_has_gone(page: Page) -> None:
    page.goto("/stuck")
    page.route("**/live/**", lambda route: route.fulfill(status=503))
    expect(page.locator("#live")).to_contain_text("Not live", timeout=10_000)


# -- what it lets people do --------------------------------------------------------------------------------------------


def asked_why(page: Page, button: str, box: str, why: str) -> None:
    """Press a button, be asked for a reason, follow the error to its box, give one, and press again."""
    page.get_by_role("button", name=button).click()
    expect(page.get_by_role("alert")).to_contain_text("Say why")
    page.get_by_role("alert").get_by_role("link").click()
    field = page.get_by_role("textbox", name=box)
    expect(field).to_be_focused()
    assert_accessible(page)
    field.fill(why)
    page.get_by_role("button", name=button).click()


def in_group(page: Page, words: str) -> None:
    page.goto("/stuck")
    page.get_by_role("link", name=re.compile(words)).first.click()
    expect(page.get_by_text("Next step:")).to_be_visible()


def test_a_parked_record_is_retried_and_the_page_says_so_once(page: Page) -> None:
    in_group(page, "parked in dfe_csc")
    group = page.url
    page.get_by_role("button", name=re.compile("^Look again at liquidlogic")).first.click()
    expect(page.get_by_role("alert")).to_contain_text("1 record is being looked at again.")
    assert page.url == group
    page.reload()
    expect(page.get_by_role("alert")).to_have_count(0)
    page.goto("/stuck/retry")  # a form's address, out of the browser's history
    expect(page.get_by_role("heading", name="Parked and quarantined")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 375])
def test_one_record_is_given_up_with_a_reason_on_record_and_the_others_stay(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    in_group(page, "records quarantined in ")
    rows = page.locator("tbody tr")
    before, first = rows.count(), rows.first.locator(".app-key").inner_text()
    rows.first.get_by_text("Give up").click()
    give = page.get_by_role("button", name=f"Give it up {first}", exact=True)
    give.click()
    expect(page.get_by_role("alert")).to_contain_text("Say why")
    page.get_by_role("alert").get_by_role("link").click()
    box = page.get_by_role("textbox", name=f"Why {first} is given up", exact=True)
    expect(box).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert_accessible(page)
    box.fill("left the council in 2009")
    with page.expect_response(re.compile("/live/stuck/")):  # what comes in live leaves alone what is being typed
        pass
    expect(box).to_have_value("left the council in 2009")
    give.click()
    expect(page.get_by_role("alert")).to_contain_text("1 record is given up. The next change of its facts brings it back.")
    expect(rows).to_have_count(before - 1)
    expect(page.locator("tbody")).not_to_contain_text(first)


def test_the_story_of_what_needs_a_person_says_what_to_do_and_leads_to_it(page: Page) -> None:
    for words in ("records quarantined in ", "parked in dfe_csc"):
        in_group(page, words)
        group, step = page.url, page.locator(".app-next").first.inner_text()
        page.locator("tbody tr .app-key").first.click()
        expect(page.locator(".app-next").first).to_have_text(step)
        assert_accessible(page)
        page.get_by_role("link", name="Have it looked at again, or give it up").click()
        assert page.url == group


def test_a_group_is_given_up_with_a_reason_on_record_and_is_then_no_more(page: Page) -> None:
    in_group(page, "records quarantined in payables.payables")
    group = page.url
    page.get_by_text("Give up all, with a reason").click()
    page.get_by_role("button", name=re.compile("^Give up all [0-9]+$")).click()
    expect(page.get_by_role("alert")).to_contain_text("Say why")
    page.get_by_role("textbox", name=re.compile("^Why they are")).fill("exported twice by mistake")
    page.get_by_role("button", name=re.compile("^Give up all")).click()
    expect(page.get_by_role("alert")).to_contain_text(re.compile("[0-9]+ records are given up."))
    assert page.url == group
    expect(page.get_by_text("Its records are being looked at again, have got on, or were given up.")).to_be_visible()
    assert_accessible(page)
    page.goto("/audit")
    row = page.get_by_role("row").filter(has_text="exported twice by mistake").first
    expect(row).to_contain_text("gave it up in the console")


def test_a_flow_is_paused_with_a_reason_and_goes_on(page: Page) -> None:
    page.goto("/part/business_central")
    asked_why(page, "Pause business_central", "Why it is paused", "month end")
    expect(page.get_by_role("main").get_by_text("Paused", exact=True)).to_be_visible()
    said = re.compile(r"\(at the machine\) paused it in the console on .*: month end")
    expect(page.get_by_text(said)).to_be_visible()
    page.goto("/late")
    expect(page.get_by_text(said)).to_be_visible()
    page.get_by_role("link", name="resume business_central").click()
    page.get_by_role("button", name="Resume business_central").click()
    expect(page.get_by_role("button", name="Pause business_central")).to_be_visible()


def test_the_silence_that_a_cloud_system_asked_for_is_told_and_lifted_with_a_reason(page: Page, consoles: Consoles) -> None:
    with closing(sqlite3.connect(consoles.folder / "state.sqlite3", timeout=30)) as connection, connection:
        connection.execute("UPDATE budgets SET held = ? WHERE target = 'dfe_csc'", [time.time() + 600])
    page.goto("/part/dfe_csc")
    expect(page.get_by_text("the target asked for silence until").first).to_be_visible(timeout=15_000)
    page.reload()
    asked_why(page, "Release dfe_csc", "Why it is asked again now", "their gateway was restarted")
    expect(page.get_by_role("button", name="Release dfe_csc")).to_have_count(0)
    page.goto("/audit")
    row = page.get_by_role("row").filter(has_text="their gateway was restarted").first
    expect(row).to_contain_text("lifted its silence in the console")


def test_a_flow_is_replayed_and_says_how_many_records_it_looks_at_again(page: Page, consoles: Consoles) -> None:
    def looked_at() -> int:
        with closing(sqlite3.connect(consoles.folder / "state.sqlite3", timeout=30)) as connection:
            found = connection.execute("SELECT sum(seq) FROM subjects WHERE flow = 'business_central' AND state <> 'dropped'")
            return int(found.fetchone()[0])

    page.goto("/part/business_central")
    page.get_by_role("radio", name="All", exact=True).check()
    page.get_by_role("checkbox", name="Take nothing for confirmed").check()
    before = looked_at()
    asked_why(page, "Replay business_central", "Why they are looked at again", "somebody worked in the cloud by hand")
    said = page.get_by_text(re.compile(r"\(at the machine\) had it replayed on .*: [0-9,]+ records to look at again\."))
    expect(said).to_be_visible(timeout=15_000)
    count = int(re.sub(r".*: ([0-9,]+) records.*", r"\1", said.inner_text()).replace(",", ""))
    assert looked_at() >= before + count > before + 50
    expect(page.get_by_role("main").get_by_text("Agrees", exact=True)).to_be_visible(timeout=30_000)  # without a reload
    page.goto("/audit")
    row = page.get_by_role("row").filter(has_text="somebody worked in the cloud by hand").first
    expect(row).to_contain_text("business_central (all, rewrite)")
    expect(row).to_contain_text("had it replayed in the console")


def test_a_stream_is_read_again_whole_and_the_page_shows_how_far_it_is(page: Page) -> None:
    page.goto("/part/liquidlogic.person")
    asked_why(page, "Backfill liquidlogic.person", "Why it is read again", "the topic was restored")
    done = re.compile(r"\(at the machine\) had it read again, whole on .*: [1-9][0-9,]* rows read, 0 events published\.")
    expect(page.get_by_text(done)).to_be_visible(timeout=15_000)
    page.goto("/audit")
    row = page.get_by_role("row").filter(has_text="the topic was restored").first
    expect(row).to_contain_text("liquidlogic.person")


def test_what_the_guard_holds_back_is_shown_and_let_through_with_a_reason(page: Page, consoles: Consoles) -> None:
    consoles.emptied("FACT_DISABILITY")
    page.goto("/stuck")
    card = page.get_by_role("link", name=re.compile("held back in liquidlogic.person"))
    expect(card).to_be_visible(timeout=30_000)
    expect(page.get_by_text("lost their disabilities").first).to_be_visible()
    card.click()
    expect(page.get_by_role("heading", name="Let held changes through: emptied disabilities")).to_be_visible()
    assert_accessible(page)
    asked_why(page, "through", "Why the changes are right", "the table was retired")
    expect(page.get_by_text("let through. It is published with the next reading.").first).to_be_visible()
    expect(page.get_by_text("Held back")).to_have_count(0, timeout=30_000)
    page.goto("/audit")
    expect(page.get_by_role("row").filter(has_text="the table was retired").first).to_contain_text("let it through")
    consoles.filled_again("FACT_DISABILITY")


def test_a_paused_flow_with_work_says_for_how_long_it_waits(page: Page, consoles: Consoles) -> None:
    page.goto("/part/dfe_csc")
    page.get_by_role("textbox", name="Why it is paused").fill("the department counts")
    page.get_by_role("button", name="Pause dfe_csc").click()
    row = page.locator("#row-dfe_csc")
    consoles.warehouse(
        "UPDATE DIM_PERSON SET FORENAME = FORENAME || 'y' WHERE DIM_PERSON_ID = " + consoles.child().rpartition(":")[2]
    )
    page.goto("/")
    expect(row.locator("[data-label='On their way']")).not_to_have_text("0", timeout=15_000)
    expect(row.locator("[data-label='Oldest waits']")).to_have_text(re.compile("( s|min)$"), timeout=15_000)
    expect(page.locator(".app-map")).to_contain_text("oldest waits for")
    page.goto("/part/dfe_csc")
    page.get_by_role("button", name="Resume dfe_csc").click()
    page.goto("/")
    expect(row.locator("[data-label='Oldest waits']")).to_have_text("nothing waits", timeout=15_000)


def test_the_map_says_beside_agrees_what_is_parked_and_what_was_given_up(page: Page) -> None:
    in_group(page, "parked in dfe_csc")
    row = page.locator("tbody tr").first
    row.get_by_text("Give up").click()
    row.get_by_role("textbox").fill("born in another county")
    row.get_by_role("button", name=re.compile("^Give it up")).click()
    page.goto("/")
    state = page.locator("#row-dfe_csc [data-label='State']")
    expect(state).to_have_text(re.compile("Agrees, [0-9]+ parked, [0-9]+ given up"), timeout=15_000)
    expect(page.locator(".app-map")).to_contain_text(re.compile("Agrees, [0-9]+ parked"))
    expect(page.locator(".app-tile").filter(has_text="given up")).to_contain_text(re.compile("[1-9]"))
    expect(page.get_by_text("but for what is parked, quarantined or given up")).to_be_visible(timeout=15_000)


def test_a_rate_is_that_of_the_last_minute_even_where_nobody_has_looked_for_long() -> None:
    now = 0.0
    lately = Lately(lambda: now)
    lately.add({"payables.payables": 10})
    now = 300.0
    lately.add({"payables.payables": 10})
    assert lately.rate("payables.payables") is None
    now = 330.0
    lately.add({"payables.payables": 17})
    assert lately.rate("payables.payables") == 14.0


def test_personal_fields_are_shown_only_for_a_reason_which_goes_on_record(page: Page, consoles: Consoles) -> None:
    page.goto(f"/record?key={consoles.child()}")
    assert CANARY not in page.content()
    assert "•••" in page.content()
    page.get_by_text("Show personal fields").click()
    page.get_by_role("button", name="Show them").click()
    expect(page.get_by_role("alert")).to_contain_text("Say why")
    page.get_by_label("What you need them for").fill("ticket 4711")
    page.get_by_role("button", name="Show them").click()
    expect(page.get_by_text("Personal fields are shown in clear")).to_be_visible()
    assert CANARY in page.content()
    assert CANARY not in page.url
    page.goto("/audit")
    expect(page.get_by_role("row").filter(has_text="saw its personal fields").first).to_contain_text("ticket 4711")


def test_a_plan_is_made_and_shows_that_nothing_was_written(page: Page) -> None:
    page.goto("/plan/dfe_csc")
    page.get_by_role("button", name="Make a plan").click()
    expect(page.get_by_text("Nothing was written.")).to_be_visible(timeout=20_000)


def test_all_sides_of_a_flow_are_compared_and_the_certificate_is_had_in_three_forms(page: Page) -> None:
    page.goto("/agreement/business_central")
    page.get_by_role("button", name="Compare now").click()
    page.get_by_role("link", name="see the certificate").click(timeout=90_000)
    expect(page.get_by_text("Verified through")).to_be_visible()
    assert_accessible(page)
    for form in ("HTML", "CSV", "JSON"):
        with page.expect_download() as download:
            page.get_by_role("link", name=form).click()
        assert download.value.suggested_filename.endswith(form.lower())
        assert CANARY not in download.value.path().read_text(encoding="utf-8")


BROKEN = """() => [...document.querySelectorAll("th, td:not(.key)")].flatMap(cell => {
  const found = [], walk = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
  for (let node; node = walk.nextNode();)
    for (const word of node.data.matchAll(/[A-Za-z_]+/g)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map(r => r.top)).size > 1) found.push(word[0]);
    }
  return found;
})"""


@pytest.mark.parametrize("width", [1000, 375])
def test_a_certificate_breaks_no_word_but_a_long_key(page: Page, width: int) -> None:
    moment = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    key = "payables:invoice:BACS00014:n-91674e86dc3f064c:2025-05-12"
    why = "the target holds another amount than was confirmed. To do: `ironbridge replay business_central --rewrite`"
    whole = Certificate(
        "business_central", moment, moment, "0.1.0", "otto",
        [Compared(Where.CLOUD, "business_central", "every document is read back and compared", 1200, 1100, 1, 2, ["a note"])],
        [Difference(Where.CLOUD, Kind.DIFFERENT, key, "purchaseInvoice", ("vendorInvoiceNumber", "invoiceDate"), why)] * 3,
    )  # fmt: skip
    page.set_viewport_size({"width": width, "height": 900})
    page.set_content(whole.as_html())
    assert page.evaluate(BROKEN) == []
    assert page.locator("td.key").first.bounding_box()["width"] > 150  # type: ignore[index]


def test_a_change_is_followed_step_by_step_from_the_row_to_the_answer(page: Page) -> None:
    page.goto("/traces")
    page.get_by_role("link", name=re.compile("^read ")).first.click()
    steps = page.locator(".app-waterfall tbody tr")
    assert steps.count() >= 3
    expect(page.locator(".app-waterfall")).to_contain_text("publish ")
    expect(page.get_by_role("link", name="Open it in the trace viewer")).to_have_attribute(
        "href", re.compile(r"^https://traces\.example\.gov\.uk/[0-9a-f]{32}$")
    )


# -- who may what --------------------------------------------------------------------------------------------------------


def test_nobody_sees_a_page_without_signing_in(visitor: Visitor) -> None:
    anybody = visitor("")
    for path in PAGES[:-1]:
        sent = anybody.get(path)
        assert sent.status_code == 303, path
        assert sent.headers["location"].startswith("/sign-in?next=")
    assert anybody.get("/live/map", headers={"hx-request": "true"}).status_code == 401
    assert anybody.post("/stuck/retry", data={"key": "x"}).headers["location"] == "/sign-in?next=/"
    assert anybody.get("/healthz").status_code == 200


def test_a_viewer_looks_an_operator_acts_and_a_stranger_does_neither(visitor: Visitor) -> None:
    vera, otto, nora = (visitor(name) for name in ("vera", "otto", "nora"))
    assert nora.get("/").status_code == 303
    assert "vera" in vera.get("/stuck").text
    for client, status in ((vera, 403), (otto, 303)):
        word = token(client)
        form = {"token": word, "why": "a rehearsal"}
        assert client.post("/part/liquidlogic.person/backfill", data=form).status_code == status
        assert client.post("/part/dfe_csc/replay", data=form | {"reach": "hour"}).status_code == status
        done = client.post("/stuck/retry", data={"token": word, "key": "liquidlogic:person:1003", "group": "none"})
        assert done.status_code == status
        assert client.post("/record/reveal", data={"token": word, "key": "x", "why": "y"}).status_code == 403
    assert "Pause dfe_csc" in otto.get("/part/dfe_csc").text
    assert "Pause dfe_csc" not in vera.get("/part/dfe_csc").text
    assert vera.post("/sign-out", data={"token": token(vera)}).headers["location"] == "/signed-out"
    assert vera.get("/").status_code == 303


def test_a_stream_is_not_replayed_a_flow_is_not_read_and_no_other_reach_is_taken(visitor: Visitor) -> None:
    otto = visitor("otto")
    form = {"token": token(otto), "why": "mischief", "reach": "all"}
    for path in ("liquidlogic.person/replay", "dfe_csc/backfill", "liquidlogic.nobody/backfill", "nobody/replay"):
        assert otto.post(f"/part/{path}", data=form).status_code == 404, path
    asked = otto.post("/part/dfe_csc/replay", data=form | {"reach": "for ever"})
    assert asked.status_code == 422
    assert "Choose which records." in asked.text
    assert "mischief" not in otto.get("/audit").text


def test_what_is_under_way_is_not_begun_twice_and_a_reach_is_on_record(visitor: Visitor) -> None:
    otto = visitor("otto")
    path, form = "/part/liquidlogic.cin-plan", {"token": token(otto), "why": "a first reason", "reach": "hour"}
    assert otto.post(f"{path}/pause", data=form).status_code == 303  # so that nobody takes the backfill up
    assert otto.post(f"{path}/backfill", data=form).status_code == 303
    second = otto.post(f"{path}/backfill", data=form | {"why": "a second reason"})
    assert second.status_code == 409
    assert "It is under way already" in second.text
    assert otto.post(f"{path}/resume", data=form).status_code == 303
    assert otto.post("/part/business_central/replay", data=form).status_code == 303
    for _ in range(100):
        if "business_central (changed since 20" in (said := otto.get("/audit").text):
            break
        time.sleep(0.1)
    assert "business_central (changed since 20" in said
    assert "a second reason" not in said


def test_people_come_back_to_a_page_of_ours_after_signing_in(visitor: Visitor) -> None:
    for wanted, got in (("/late", "/late"), ("https://evil.example", "/"), ("//evil.example", "/"), ("/\\evil", "/")):
        client = visitor("")
        sent = client.get("/sign-in", params={"next": wanted})
        asked = parse_qs(urlsplit(sent.headers["location"]).query)
        assert asked["code_challenge_method"] == ["S256"]
        back = httpx.post(sent.headers["location"], data={"sub": "vera"})
        assert client.get(back.headers["location"]).headers["location"] == got


def test_a_form_from_elsewhere_is_refused(visitor: Visitor) -> None:
    otto = visitor("otto")
    word = token(otto)
    form = {"token": word, "why": "mischief"}
    for data, headers in (
        ({"why": "mischief"}, {}),
        (form | {"token": "guessed"}, {}),
        (form, {"sec-fetch-site": "cross-site"}),
        (form, {"origin": "https://evil.example"}),
    ):
        refused = otto.post("/part/dfe_csc/pause", data=data, headers=headers)
        assert refused.status_code == 403, (data, headers)
    assert "mischief" not in otto.get("/audit").text


def test_every_answer_forbids_scripts_of_others_frames_and_memory(consoles: Consoles) -> None:
    for path in ("/", "/nowhere", "/records"):
        headers = httpx.get(consoles.open + path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "httponly; samesite=lax" in headers["set-cookie"]
    assert "<script>" not in httpx.get(consoles.open).text
    assert httpx.get(consoles.open, headers={"host": "evil.example"}).status_code == 400


# -- nobody's data -----------------------------------------------------------------------------------------------------


def test_no_page_and_no_address_shows_personal_data_to_a_viewer(visitor: Visitor) -> None:
    vera = visitor("vera")
    word = token(vera)
    for flow in ("dfe_csc", "business_central"):
        vera.post(f"/plan/{flow}", data={"token": word})
    seen: dict[str, str] = {}
    waiting = [path for path in PAGES if path != "/nowhere"] + ["/live/map", "/live/late", "/live/traces"]
    while waiting and len(seen) < 250:
        path = waiting.pop()
        if path in seen:
            continue
        seen[path] = vera.get(path).text
        links = {link.replace("&amp;", "&") for link in re.findall(r'href="(/[^"]*)"', seen[path])}
        waiting += sorted(link for link in links - seen.keys() if not link.startswith(("/static", "/sign")))
    assert len(seen) > 60
    assert sum("•••" in text for text in seen.values()) > 20, "no record with personal fields was met"
    for path, text in seen.items():
        assert CANARY not in path.lower()
        assert CANARY not in text.lower(), path
    found = vera.post("/records", data={"token": word, "words": f"{CANARY}2"})
    assert CANARY not in found.headers.get("location", "")
    assert CANARY not in found.text


# -- where it may be served ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "console", "sentence"),
    [
        ("0.0.0.0:8080", {}, "would be open to everybody who reaches 0.0.0.0: there is no sign-in"),
        ("127.0.0.1:8080", {"issuer": "https://login.example"}, "client_id, client_secret, public_url is not set"),
        (
            "0.0.0.0:8080",
            {
                "issuer": "https://login.example",
                "client_id": "a",
                "client_secret": "b",
                "public_url": "http://bridge.example",
            },
            "public_url is not https",
        ),
    ],
)
def test_it_refuses_an_address_where_it_would_not_be_safe_and_says_what_to_set(
    listen: str, console: dict[str, str], sentence: str
) -> None:
    settings = Settings(http=HttpSettings(listen=listen), console=ConsoleSettings.model_validate(console))
    with pytest.raises(MisconfiguredError) as caught:
        check(settings)
    assert sentence in str(caught.value)
    assert caught.value.fix


def test_on_this_machine_alone_and_behind_a_sign_in_it_is_served() -> None:
    check(Settings(http=HttpSettings(listen="[::1]:8080")))
    signing = {
        "issuer": "https://login.example",
        "client_id": "a",
        "client_secret": "b",
        "public_url": "https://bridge.example",
    }
    check(Settings(http=HttpSettings(listen="0.0.0.0:8080"), console=ConsoleSettings.model_validate(signing)))


def test_the_command_serves_it_over_a_state_that_nothing_runs_on(tmp_path: Path) -> None:
    file = tmp_path / "ironbridge.toml"
    file.write_text(f"data = {json.dumps(str(tmp_path))}", encoding="utf-8")
    with process("-m", "ironbridge", "console", "--file", str(file), "--listen", "127.0.0.1:0") as running:
        assert running.stdout is not None
        said = running.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert url is not None, said
        assert httpx.get(url[0]).status_code == 200
        assert httpx.get(f"{url[0]}/healthz").status_code == 200
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0


def test_the_demonstration_goes_on_for_whoever_looks_at_its_console(tmp_path: Path) -> None:
    sizes = ["--size", "liquidlogic=20", "--size", "payables=20", "--no-traces"]
    with process("-m", "ironbridge", "demo", "--data", str(tmp_path), *sizes, "--console", "127.0.0.1:0") as running:
        assert running.stdout is not None
        url = next(
            (found for line in running.stdout if (found := re.search(r"Look round at (http://[0-9.:]+);", line))), None
        )
        assert url is not None, "it ended"
        assert "in agreement" in httpx.get(url[1], timeout=30).text
        running.send_signal(signal.SIGINT)
        assert "Done in" in running.stdout.read()
        assert running.wait(30) == 0
