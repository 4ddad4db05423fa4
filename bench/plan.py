"""The sizes of a run of the benchmarks, and a job of one: a process of its own whose result is checked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench import job
from bench.stage import Stage

MOST_MEMORY = 256.0  # MB


@dataclass(frozen=True)
class Plan:
    """
    The sizes and the number of runs. `profiles` is a folder for py-spy's files; a profiled run is slower, and is no result.
    `tree` is the checkout that is measured, if it is not this one.
    """

    rows: int = 200_000
    subjects: int = 20_000
    runs: int = 3
    children: int = 2_000
    invoices: int = 20_000
    looks: int = 30
    parked: int = 100_000
    messages: int = 1_200
    records: int = 5_000
    megabytes: int = 1_000
    events: int = 1_000_000
    contacts: int = 100_000
    profiles: Path | None = None
    tree: Path | None = None
    say: Callable[[str], None] = print


class WrongResultError(RuntimeError):
    """A run was fast and wrong: its time does not count."""


def must(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise WrongResultError(f"{what}: found {found}, wanted {wanted}")


async def worked(stage: Stage, plan: Plan, name: str, **arguments: Any) -> dict[str, Any]:
    profile = plan.profiles and plan.profiles / f"{name}-{arguments.get('kind', 'run')}.json"
    before = stage.cpu()
    done = await asyncio.to_thread(job.run, name, profile=profile, tree=plan.tree, **arguments)
    return done | {f"cpu of {server}": spent - before[server] for server, spent in stage.cpu().items()}


def servers(done: list[dict[str, Any]]) -> str:
    """Tell the processor time that the servers took for it, their start included."""
    spent = {server: median(each[f"cpu of {server}"] for each in done) for server in ("PostgreSQL", "Kafka")}
    return ", ".join(f"{server} {seconds:.1f} s CPU" for server, seconds in spent.items())
