"""The report of a run: what was done, what the checker found, and a plot of events, kills and catching up over time."""

from __future__ import annotations

from pathlib import Path

from tests.torture.torture import Torture


def verdict(t: Torture) -> str:
    return f"{t.all_kills()} kills, {len(t.violations)} violations, {len(t.oddities)} oddities, {t.measured}"


def write(t: Torture, folder: Path) -> None:
    pass
