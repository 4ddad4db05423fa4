"""
The console over a living bridge: how long a record's story takes to open, and a change in a legacy system to show on the map.

The demonstration runs in a process of its own, loaded to its end; the map is looked at with a real Chromium.
"""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.job import environment
from ironbridge.kafka.process import HOST, free_port

_PATIENCE = 900.0  # seconds to load it all
_PUBLISHED = "[id='row-liquidlogic.person'] [data-label='Published']"


@dataclass(frozen=True)
class Figures:
    """In seconds: to load it all, of each story opened meanwhile, of each opened then, of each change until it showed."""

    loading: float
    meanwhile: list[float]
    stories: list[float]
    changes: list[float]


async def measure(children: int, invoices: int, times: int) -> Figures:
    """Open stories while the demonstration loads; then so many of each kind, and make so many changes, one at a time."""
    return await asyncio.to_thread(_measure, children, invoices, times)


def _measure(children: int, invoices: int, times: int) -> Figures:
    with tempfile.TemporaryDirectory() as folder, httpx.Client(timeout=30) as http:
        world = Path(folder)
        with _demonstration(world, children, invoices) as demonstration:
            meanwhile: list[float] = []
            while demonstration.loads():
                meanwhile += _stories(world, http, demonstration.url, 1)
                time.sleep(0.5)
            loading = time.perf_counter() - demonstration.began
            stories = _stories(world, http, demonstration.url, times)
            return Figures(loading, meanwhile, stories, _changes(world, demonstration.url, times))


@dataclass
class _Demonstration:
    """A running one, whose console is served from its first moments on."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str
    began: float

    def loads(self) -> bool:
        """
        Whether it is still on its way to its end.

        :raises RuntimeError: it does not come to it.
        """
        said = self.log.read_text("utf-8")
        if self.process.poll() is not None or time.perf_counter() - self.began > _PATIENCE:
            raise RuntimeError(f"the demonstration did not come to its end:\n{said[-3000:]}")
        return "Everything goes on" not in said


@contextmanager
def _demonstration(folder: Path, children: int, invoices: int) -> Iterator[_Demonstration]:
    address, log, began = f"{HOST}:{free_port()}", folder / "log", time.perf_counter()
    command = [
        str(Path(sys.executable).with_name("ironbridge")), "demo", "--data", str(folder / "world"), "--no-traces",
        "--size", f"liquidlogic={children}", "--size", f"payables={invoices}", "--console", address,
    ]  # fmt: skip
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment(), cwd=folder)
    try:
        yield _Demonstration(process, log, f"http://{address}", began)
    finally:
        process.terminate()
        status = process.wait()
    if status != 0:
        raise RuntimeError(f"the demonstration did not end in agreement:\n{log.read_text('utf-8')[-3000:]}")


def _stories(folder: Path, http: httpx.Client, url: str, times: int) -> list[float]:
    """Seconds that each of so many stories of each kind took to open; none of a kind that has not arrived yet."""
    taken = []
    for entity in ("person", "invoice"):
        keys = _keys(folder / "world" / "state.sqlite3", entity)
        for key in random.Random(len(keys)).choices(keys, k=times if keys else 0):
            began = time.perf_counter()
            answer = http.get(f"{url}/record", params={"key": key})
            taken.append(time.perf_counter() - began)
            if answer.status_code != 200 or not re.search(r"Version [0-9]+ of this", answer.text):
                raise RuntimeError(f"the story of {key} did not open: {answer.status_code}")
    return taken


def _keys(state: Path, entity: str) -> list[str]:
    """What flows have taken in of an entity."""
    if not state.exists():
        return []
    with closing(sqlite3.connect(f"file:{state}?mode=ro", timeout=30, uri=True)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchone():
            return []
        found = connection.execute("SELECT key FROM facts WHERE entity = ? AND data IS NOT NULL ORDER BY key", (entity,))
        return [key for (key,) in found]


def _changes(folder: Path, url: str, times: int) -> list[float]:
    """From the commit in the legacy database until the page shows one more published record than before."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(bypass_csp=True)  # the console forbids what our waiting is made of
        page.goto(url)
        for n in range(times):
            time.sleep(2 + n % 10 / 10)  # the clocks of the readings and of the page's questions drift past one another
            before = page.locator(_PUBLISHED).inner_text()
            shown = f"document.querySelector(\"{_PUBLISHED}\").innerText !== '{before}'"
            _work(folder / "world" / "liquidlogic.sqlite3")
            began = time.perf_counter()
            page.wait_for_function(shown, timeout=30_000, polling=20)
            taken.append(time.perf_counter() - began)
        browser.close()
    return taken


def _work(warehouse: Path) -> None:
    """Somebody corrects a child's name."""
    with closing(sqlite3.connect(warehouse, timeout=30)) as connection, connection:
        connection.execute(
            "UPDATE DIM_PERSON SET FORENAME = FORENAME || 'x' WHERE DIM_PERSON_ID = "
            "(SELECT min(DIM_PERSON_ID) FROM DIM_PERSON WHERE DIM_PERSON_ID > 0 AND IS_CLIENT = 'Y' "
            "AND length(FORENAME) < 60)"
        )
