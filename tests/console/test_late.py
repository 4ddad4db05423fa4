"""Late and why."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import text

from adapters.engine.pump import Pump
from adapters.testing import Log, MemoryJournal
from adapters.testing.table import TableAdapter
from ironbridge.console import serve
from ironbridge.console.app import application
from ironbridge.console.room import Room
from ironbridge.runtime.bridge import Platform
from ironbridge.settings import HttpSettings, Settings
from ironbridge.store import Store, StoredMemory, open_store, signs
from tests.console.visits import assert_accessible, assert_meets_wcag
from tests.states import state_file


@pytest.mark.parametrize("path", ["/late"])
def test_it_meets_wcag_wide_and_at_400_percent(page: Page, path: str) -> None:
    assert_meets_wcag(page, path)


@pytest.fixture
def half(chromium: Browser, tmp_path: Path) -> Iterator[Half]:
    """A console over a state on which one adapter runs, and one flow should run."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(half_running(tmp_path)) as running:
        context = chromium.new_context(base_url=running.url, viewport={"width": 1280, "height": 900})
        yield Half(running, context.new_page(), portal)
        context.close()


@dataclass
class Running:
    """The state, and a console over it whose own clock a test sets."""

    url: str
    store: Store
    now: float = 0.0

    def clock(self) -> float:
        return self.now

    async def gives(self, *parts: str) -> None:
        await signs.give(self.store, parts)

    async def stopped(self, part: str) -> None:
        """Its last sign is of ten minutes ago."""
        async with self.store.write() as connection:
            await connection.execute(text("UPDATE signs SET at = at - 600 WHERE part = :part"), {"part": part})


@dataclass
class Half:
    running: Running
    page: Page
    portal: BlockingPortal


@asynccontextmanager
async def half_running(folder: Path) -> AsyncIterator[Running]:
    settings = Settings(data=folder, adapters={"legacy": {}}, expected=("adapter/legacy", "flow/elsewhere"))
    store = await open_store(await state_file(folder / "state.sqlite3"))
    adapter = TableAdapter()
    pump = Pump(adapter, MemoryJournal(Log(), "legacy"), StoredMemory(store, "legacy"), edition="1")
    await pump.ready()
    for stream in adapter.streams():
        await pump.read(stream)
        await StoredMemory(store, "legacy").looked(stream.name)
    made = Running("", store)
    room = Room(Platform(settings, store, pumps={"legacy": (pump, list(adapter.streams()))}), made.clock)
    async with serve.serving(application(room, "a secret of this test"), HttpSettings(listen="127.0.0.1:0")) as url:
        made.url = str(url)
        yield made
    await room.close()
    await store.close()


def test_a_part_that_runs_nowhere_is_told_on_the_map_and_on_the_page_of_what_is_late_until_it_is_back(half: Half) -> None:
    page, running, portal = half.page, half.running, half.portal
    portal.call(running.gives, "adapter/legacy")
    page.goto("/late")
    expect(page.get_by_text("Nothing is late.")).to_be_visible()  # the others have time to say that they live
    running.now += signs.LIFE + 1
    row = page.locator("[id='late-flow/elsewhere']")
    expect(row.locator("[data-label='State']")).to_have_text("Runs nowhere", timeout=15_000)
    expect(row).to_contain_text("no sign of life of it is known")
    expect(row).to_contain_text("To do: start the process that runs it")
    assert_meets_wcag(page, "/late")
    page.set_viewport_size({"width": 1280, "height": 900})
    assert_meets_wcag(page, "/")
    expect(page.get_by_text("A part runs nowhere")).to_be_visible()
    expect(page.get_by_text("Runs nowhere: flow/elsewhere.")).to_be_visible()
    expect(page.locator("[id='row-legacy.episodes'] [data-label='State']")).not_to_contain_text("Runs nowhere")
    portal.call(running.gives, "flow/elsewhere")
    expect(page.get_by_text("runs nowhere")).to_have_count(0, timeout=15_000)
    portal.call(running.stopped, "adapter/legacy")
    expect(page.get_by_text("Runs nowhere: adapter/legacy.")).to_be_visible(timeout=15_000)
    expect(page.locator(".app-tile").filter(has_text="late or stopped")).to_contain_text("1")
    link = page.get_by_role("link", name=re.compile("^legacy[.]")).first
    assert_accessible(page)
    link.click()
    expect(page.get_by_role("main").get_by_text("Runs nowhere", exact=True)).to_be_visible()
    expect(page.get_by_text("its last sign of life was at")).to_be_visible()
