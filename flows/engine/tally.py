"""The numbers of a worker's work since it started."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """`saved` counts changes that needed no write of their own."""

    ingested: int = 0
    rejected: int = 0
    confirmed: int = 0
    unchanged: int = 0
    refused: int = 0
    unavailable: int = 0
    unknown: int = 0
    waiting: int = 0
    saved: int = 0
    writes: int = 0
