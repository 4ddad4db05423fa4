"""`python -m bench compare REV`: is this checkout slower than another revision? Both run in turn on the same servers."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bench import benchmarks, report
from bench.plan import Plan
from bench.stage import Stage, stage

Figures = dict[str, float]
_HERE = Path(__file__).resolve().parent.parent


def main(
    revision: Annotated[str, typer.Argument(help="A git revision: a commit, a tag, HEAD~3.")],
    rows: Annotated[int, typer.Option(help="Rows of the table that is swept.")] = 100_000,
    subjects: Annotated[int, typer.Option(help="Subjects of a flow.")] = 10_000,
    runs: Annotated[int, typer.Option(help="Runs of each; the medians and the ratios pair by pair count.")] = 5,
) -> None:
    """
    Measure the sweep, the DfE's flow and a flow that does nothing in this checkout and in another revision of it.

    The runs of the two alternate, so that a machine whose speed drifts changes both. A ratio above 1 says that this checkout
    is faster.
    """
    out, err = Console(), Console(stderr=True)
    if not out.is_terminal:
        out.width = 140
    about = report.machine()
    with err.status("starting PostgreSQL and Apache Kafka") as status, checkout(revision) as other:
        plan = Plan(rows=rows, subjects=subjects, runs=1, say=lambda what: status.update(what))
        with stage() as servers:
            found = asyncio.run(pairs(servers, plan, other, runs))
    out.print(shown(found, revision, about))


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """A checkout of a revision in a folder of its own, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="ironbridge-bench-") as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(_HERE), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


async def pairs(servers: Stage, plan: Plan, other: Path, runs: int) -> dict[str, list[tuple[float, float]]]:
    """For each figure (higher is better) what this checkout and the other one reached, run by run."""
    found: dict[str, list[tuple[float, float]]] = {}
    measures: list[Callable[[Stage, Plan], Awaitable[Figures]]] = [_sweep, _flow("dfe_csc"), _flow("nothing")]
    for run in range(runs):
        for measure in measures:
            # The second one finds warmer servers, so they take turns in that, too.
            trees = [_HERE, other] if run % 2 == 0 else [other, _HERE]
            done = {tree: await measure(servers, replace(plan, tree=tree)) for tree in trees}
            for name, value in done[_HERE].items():
                found.setdefault(name, []).append((value, done[other][name]))
    return found


async def _sweep(servers: Stage, plan: Plan) -> Figures:
    async with servers.people(plan.rows) as source:
        done = await benchmarks.our_sweep(servers, plan, source)
    return {
        "first sweep, rows/s": plan.rows / done["seconds"],
        "first sweep, rows a CPU second": plan.rows / done["cpu"],
        "second sweep, rows/s": plan.rows / done["again"],
        "sweep, 1000 / MB": 1000 / done["memory_again"],
    }


def _flow(kind: str) -> Callable[[Stage, Plan], Awaitable[Figures]]:
    async def measure(servers: Stage, plan: Plan) -> Figures:
        done: list[dict[str, Any]] = await benchmarks.flow_runs(servers, plan, kind, 1)
        return {
            f"flow {kind}, subjects/s": plan.subjects / done[0]["seconds"],
            f"flow {kind}, subjects a CPU second": plan.subjects / done[0]["cpu"],
        }

    return measure


def shown(found: dict[str, list[tuple[float, float]]], revision: str, about: str) -> Table:
    table = Table(title=about, title_justify="left", show_edge=False)
    for heading in ("", "this checkout", revision, "ratio", "least", "most"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, pairs in found.items():
        ratios = [mine / other for mine, other in pairs]
        middle = (median(mine for mine, _ in pairs), median(other for _, other in pairs))
        cells = [*(f"{each:,.1f}" for each in middle), *(f"{r:.2f}" for r in (median(ratios), min(ratios), max(ratios)))]
        table.add_row(name, *cells)
    return table
