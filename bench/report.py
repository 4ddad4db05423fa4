"""What was measured, as a table for people, as JSON and as Markdown."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from statistics import median

from rich.table import Table


@dataclass
class Line:
    """
    One thing measured in several runs. `values` are in `unit`, one a run; `memory` and `cpu` are of the measured process
    alone, in MB and in processor seconds. `goal` says in words what was asked, `reached` whether the median did it.
    """

    name: str
    unit: str
    values: list[float]
    goal: str = ""
    reached: bool | None = None
    memory: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def most_memory(self) -> float | None:
        return max(self.memory) if self.memory else None

    def verdict(self) -> str:
        return "" if self.reached is None else "reached" if self.reached else "not reached"


_HEADINGS = ("", "median", "runs", "memory", "CPU", "goal", "", "")


def machine() -> str:
    """Where it was measured, in one line."""
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}, load before it began {load:.1f}"
    )


def table(lines: Iterable[Line], about: str) -> Table:
    shown = Table(title=about, title_justify="left", show_edge=False)
    for heading in _HEADINGS:
        shown.add_column(heading, justify="right" if heading in ("median", "memory", "CPU") else "left")
    for line in lines:
        colour = {None: "", True: "[green]", False: "[red]"}[line.reached]
        *cells, verdict, note = _cells(line)
        shown.add_row(*cells, f"{colour}{verdict}", note)
    return shown


def markdown(lines: Sequence[Line], about: str) -> str:
    rows = ["| what | median | runs | memory | CPU | goal | | |", "|---|---:|---|---:|---:|---|---|---|"]
    rows += ["| " + " | ".join(_cells(line)) + " |" for line in lines]
    return f"{about}\n\n" + "\n".join(rows) + "\n"


def as_json(lines: Sequence[Line], about: str) -> str:
    return json.dumps({"about": about, "lines": [asdict(line) | {"median": line.median} for line in lines]}, indent=2)


def _cells(line: Line) -> list[str]:
    return [
        line.name,
        f"{_number(line.median)} {line.unit}",
        " ".join(_number(value) for value in line.values),
        f"{line.most_memory:.0f} MB" if line.most_memory is not None else "",
        f"{median(line.cpu):.1f} s" if line.cpu else "",
        line.goal,
        line.verdict(),
        line.note,
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
