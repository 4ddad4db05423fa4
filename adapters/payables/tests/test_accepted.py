"""A person lets a doubtful file through with the real command. That goes on record, and counts for this content alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.payables.tests.test_evidence import COLUMNS, FIVE, LAYOUT, bench, paid, put
from ironbridge.operate import audit
from ironbridge.program import app
from ironbridge.store import Store, open_store
from ironbridge.store.memory import StoredMemory

SETTINGS = f"""
data = "."
[adapters.payables]
folders = ["drop"]
settle = 0
own_layouts.list = {{ title = "a list", document = ["supplier"], unnumbered = "single", columns = {{ {
    ", ".join(f'{part} = "{heading}"' for part, heading in COLUMNS.items())
} }} }}
"""


class Desk:
    """Somebody at the command line, and the adapter that reads the same folder into the same state."""

    def __init__(self, folder: Path) -> None:
        self.drop, self._folder = folder / "drop", folder
        self.drop.mkdir()
        self.bench = bench(self.drop)
        (folder / "ironbridge.toml").write_text(SETTINGS)

    def read(self) -> None:
        async def work(store: Store) -> None:
            await self.bench.read(self.bench.pump(memory=StoredMemory(store, "payables")))

        self._with_state(work)

    def problems(self) -> list[str]:
        async def work(store: Store) -> list[str]:
            async with store.read() as connection:
                found = await connection.exec_driver_sql("SELECT rule FROM problems ORDER BY key")
                return [rule for (rule,) in found]

        return self._with_state(work)

    def trail(self) -> list[tuple[str, str, str]]:
        async def work(store: Store) -> list[tuple[str, str, str]]:
            return [(line.action, line.what, line.why) for line in await audit.trail(store)]

        return self._with_state(work)

    def ironbridge(self, *arguments: str) -> Any:
        done = CliRunner().invoke(app, [*arguments, "--json", "--file", str(self._folder / "ironbridge.toml")])
        assert done.exit_code == 0, (done.output, done.exception)
        return json.loads(done.output)

    def _with_state(self, work: Callable[[Store], Coroutine[Any, Any, Any]]) -> Any:
        async def run() -> Any:
            store = await open_store(f"sqlite+aiosqlite:///{self._folder / 'state.sqlite3'}")
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(run())


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path)




def test_a_printed_total_that_is_a_penny_out_is_accepted_by_a_person_for_that_one_file(desk: Desk) -> None:
    put(desk.drop / "april.csv", FIVE + "Grand total,,17.49\n", 900)
    put(desk.drop / "may.csv", FIVE.replace("/04/", "/05/") + "Grand total,,17.51\n", 800)
    desk.read()
    april, may = desk.ironbridge("held", "list")
    assert april["what"].startswith("accept total")
    assert "refused because of its total; a person who has looked may accept it" in april["told"]
    desk.ironbridge("held", "allow", "payables.payables", "--why", "rounded there", "--of-file", april["file"])
    desk.read()
    assert paid(desk.bench) == 5
    assert [each["file"] for each in desk.ironbridge("held", "list")] == [may["file"]]
    assert desk.trail() == [("allow", f"payables.payables ({april['what']}, 1)", "rounded there")]


def test_a_payment_that_is_the_sum_of_those_above_it_by_chance_is_let_through_and_the_others_do_not_wait(desk: Desk) -> None:
    put(desk.drop / "april.csv", FIVE.replace("3.50", "4.00"), 900)
    desk.read()
    assert (paid(desk.bench), desk.problems()) == (4, ["is the sum of the rows above it, so that it may be a total"])
    (row,) = desk.ironbridge("held", "list")
    assert "accept sum" in row["what"]
    desk.ironbridge("held", "allow", "payables.payables", "--why", "it is a payment", "--what", row["what"])
    for edition in ("1", "2"):  # a new edition reads it again without asking
        desk.bench.edition = edition
        desk.read()
        assert (paid(desk.bench), desk.problems(), desk.ironbridge("held", "list")) == (5, [], [])


def test_a_row_that_may_be_a_total_is_one_once_the_layout_names_it(desk: Desk) -> None:
    put(desk.drop / "april.csv", FIVE.replace("Payee 3 Ltd", "April run").replace("3.50", "4.00"), 900)
    desk.read()
    assert len(desk.problems()) == 1
    named = {**LAYOUT, "totals": "(?i).* run|total"}
    log = desk.bench.log
    desk.bench = bench(desk.drop, own_layouts={"list": named})
    desk.bench.log = log
    desk.read()
    assert (paid(desk.bench), desk.problems(), desk.ironbridge("held", "list")) == (4, [], [])
