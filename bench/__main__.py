"""`python -m bench`: run benchmarks against real servers, check their results, and show one table."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench import compare, report
from bench.benchmarks import BENCHMARKS
from bench.plan import Plan
from bench.stage import Stage, stage

_TINY = {
    "rows": 20_000, "subjects": 2_000, "runs": 1, "children": 200, "invoices": 500, "looks": 5, "parked": 2_000,
    "messages": 100, "records": 200, "megabytes": 1, "events": 3_000, "contacts": 200,
}  # fmt: skip


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"{', '.join(BENCHMARKS)}. [default: all]")] = None,
    rows: Annotated[int, typer.Option(help="Rows of the table that is swept.")] = Plan.rows,
    subjects: Annotated[int, typer.Option(help="Subjects of a flow.")] = Plan.subjects,
    runs: Annotated[int, typer.Option(help="Runs of each; the median counts.")] = Plan.runs,
    quick: Annotated[bool, typer.Option("--quick", help="Small and once: to see that it works.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write the table as Markdown here, too.")] = None,
    profiles: Annotated[Path | None, typer.Option(help="A folder for py-spy's profiles. Slows all down.")] = None,
) -> None:
    """Measure Ironbridge on this machine, beside a Debezium engine and mq-bridge where they are installed."""
    out, err = Console(), Console(stderr=True)
    if not out.is_terminal:
        out.width = 200  # nobody's window has to hold it
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # topics that were made a moment ago have no leader yet
    if unknown := set(names or ()) - BENCHMARKS.keys():
        raise typer.BadParameter(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    if profiles is not None:
        profiles.mkdir(parents=True, exist_ok=True)
    size = _TINY if quick else {"rows": rows, "subjects": subjects, "runs": runs}
    about = report.machine()
    with err.status("starting PostgreSQL and Apache Kafka") as status:
        plan = Plan(**size, profiles=profiles, say=lambda what: status.update(what))
        lines: list[report.Line] = []
        try:
            with stage() as servers:
                asyncio.run(measured(servers, plan, names or list(BENCHMARKS), lines))
        except BaseException:
            out.print(report.table(lines, f"{about}; not all was measured"))
            raise
    if markdown is not None:
        markdown.write_text(report.markdown(lines, about), encoding="utf-8")
    if as_json:
        print(report.as_json(lines, about))
    else:
        out.print(report.table(lines, about))


async def measured(servers: Stage, plan: Plan, names: list[str], lines: list[report.Line]) -> None:
    """Run one benchmark after another. What each measures is in `lines` as soon as it is done, whatever the next one raises."""
    for name in names:
        lines += await BENCHMARKS[name](servers, plan)


if __name__ == "__main__":
    if sys.argv[1:2] == ["compare"]:
        del sys.argv[1]
        typer.run(compare.main)
    typer.run(main)
