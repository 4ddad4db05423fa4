"""
Reads the topic of claims in its order: which installation runs which part, which one asks for it, which one answers, and
which worker of it runs an adapter.

A claim names the claim that it replaces. So if two are made at once, the one that comes first counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple


class InstallationClaim(NamedTuple):
    """An installation's claim of a part. `host` is for a person; `since` is in seconds since 1970."""

    part: str
    installation: str
    place: str
    host: str
    since: float

    @property
    def when(self) -> str:
        return f"{datetime.fromtimestamp(self.since, UTC):%Y-%m-%d %H:%M} UTC"

    def same(self, other: InstallationClaim) -> bool:
        """Return whether the other claim is of the same installation. A copy of the state in another database is another one."""
        places = {self.place, other.place} - {""}
        return self.installation == other.installation and len(places) < 2


class Knock(NamedTuple):
    """One installation asks whether the holder of a part still lives; `at` is the knock's own offset."""

    at: int
    by: InstallationClaim


@dataclass
class Book:
    """The claims as of an offset. `knocked` is called with each knock, `changed` with each part that changes hands."""

    knocked: Callable[[Knock], None] = lambda _: None
    changed: Callable[[str], None] = lambda _: None
    holders: dict[str, tuple[int, InstallationClaim]] = field(default_factory=dict)
    answers: dict[int, InstallationClaim] = field(default_factory=dict)
    """The installations that answered, by the offset of the knock."""
    begun: dict[str, InstallationClaim] = field(default_factory=dict)
    """By adapter, the worker that began last and has not ended since. A worker that was killed did not say that it ended."""

    def holder(self, part: str) -> tuple[int, InstallationClaim] | None:
        return self.holders.get(part)

    def apply(self, offset: int, value: bytes | None) -> None:
        """Take in one record; a record of another kind is passed over."""
        try:
            told: dict[str, Any] = json.loads(value or b"null") or {}
            claim = InstallationClaim(*(told[name] for name in InstallationClaim._fields))
            kind, to = told["kind"], int(told["to"])
        except (ValueError, TypeError, LookupError, AttributeError):
            return
        if kind == "claim":
            stands = self.holders.get(claim.part)
            # The first claim that is still there counts even if the claim that it replaced was compacted away.
            if stands is None or stands[0] == to:
                self.holders[claim.part] = (offset, claim)
                self.changed(claim.part)
        elif kind == "knock":
            self.knocked(Knock(offset, claim))
        elif kind == "answer":
            self.answers[to] = claim
        elif kind == "begin":
            self.begun[claim.part] = claim
        elif kind == "end" and self.begun.get(claim.part) == claim:
            del self.begun[claim.part]


def record(kind: str, claim: InstallationClaim, to: int) -> tuple[bytes, bytes]:
    """Key and value of a record. Compaction keeps each installation's newest record of each kind; older ones are outdated."""
    key = f"{kind}/{claim.part}/{claim.installation}/{claim.place}"
    return key.encode(), json.dumps({"kind": kind, "to": to, **claim._asdict()}).encode()
