"""A finding says what a check looked at, and whether it is well."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `ironbridge check` looked at: what, whether it is well, and what to do if not."""

    what: str
    well: bool
    fix: str = ""
