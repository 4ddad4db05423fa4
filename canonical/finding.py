"""What a check of a system found out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `ironbridge check` looked at: what, whether it is well, and what to do if not."""

    what: str
    well: bool
    fix: str = ""
