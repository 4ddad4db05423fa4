"""
The console over a living bridge: how long a record's story takes to open, and a change in a legacy system to show on the map.

The demonstration runs in a process of its own, loaded to its end; the map is looked at with a real Chromium.
"""

from __future__ import annotations

import asyncio
import random
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
from ironbridge.broker import HOST, free_port

_PATIENCE = 900.0  # seconds to load it all
_PUBLISHED = "[id='row-liquidlogic.person'] [data-label='Published']"


@dataclass(frozen=True)
class Figures:
    """In seconds: to load it all, of each story that was opened, of each change until it showed."""

    loading: float
    stories: list[float]
    changes: list[float]


async def measure(children: int, invoices: int, times: int) -> Figures:
    """Load the demonstration, then open so many stories of each kind, and make so many changes, one at a time."""
    return await asyncio.to_thread(_measure, children, invoices, times)


def _measure(children: int, invoices: int, times: int) -> Figures:
    with tempfile.TemporaryDirectory() as folder, _demonstration(Path(folder), children, invoices) as (url, loading):
        return Figures(loading, _stories(Path(folder), url, times), _changes(Path(folder), url, times))


@contextmanager
def _demonstration(folder: Path, children: int, invoices: int) -> Iterator[tuple[str, float]]:
    """It runs, all of it has arrived, and its console is served: where, and how many seconds that took."""
    address, began = f"{HOST}:{free_port()}", time.perf_counter()
    command = [
        str(Path(sys.executable).with_name("ironbridge")), "demo", "--data", str(folder / "world"), "--no-traces",
        "--children", str(children), "--invoices", str(invoices), "--console", address,
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(), cwd=folder)
    try:
        while "Everything goes on" not in (said := (folder / "log").read_text("utf-8")):
            if process.poll() is not None or time.perf_counter() - began > _PATIENCE:
                raise RuntimeError(f"the demonstration did not come to its end:\n{said[-3000:]}")
            time.sleep(0.1)
        yield f"http://{address}", time.perf_counter() - began
    finally:
        process.terminate()
        status = process.wait()
    if status != 0:
        raise RuntimeError(
            f"the demonstration did not end in agreement:\n{(folder / 'log').read_text('utf-8')[-3000:]}"
        )


def _stories(folder: Path, url: str, times: int) -> list[float]:
    taken = []
    with closing(sqlite3.connect(folder / "world" / "state.sqlite3", timeout=30)) as state, httpx.Client() as http:
        for entity in ("person", "invoice"):
            found = state.execute("SELECT key FROM facts WHERE entity = ? AND data IS NOT NULL ORDER BY key", (entity,))
            for key in random.Random(1).choices([key for (key,) in found], k=times):
                began = time.perf_counter()
                answer = http.get(f"{url}/record", params={"key": key}, timeout=30)
                taken.append(time.perf_counter() - began)
                if answer.status_code != 200 or "Version 1 of this" not in answer.text:
                    raise RuntimeError(f"the story of {key} did not open: {answer.status_code}")
    return taken


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
