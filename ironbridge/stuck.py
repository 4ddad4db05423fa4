"""What does not get on by itself, grouped by its reason, so that a hundred alike are one decision."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ironbridge import insight
from ironbridge.insight import Row
from ironbridge.store import Store

STATES = {
    "parked": "Parked", "waiting": "Waiting", "dropped": "Given up", "quarantined": "Quarantined", "rejected": "No event",
}  # fmt: skip
_TO_DO = ". To do: "
# What is one record's own in a reason: its shape and its place. The group goes without.
_ITS_OWN = re.compile(r" \((?:its shape: .*?|row \d+ of the file)\)(?=\. To do: |:|$)")
_NEXT = {
    "parked": "Mend the record in the legacy system, or the target's settings; then have it looked at again.",
    "waiting": "Nothing: it goes by itself once the record that it refers to is there. See that one's story.",
    "dropped": "Nothing: it was given up. The next change of its facts brings it back.",
    "quarantined": "Mend the record in the legacy system: it is then published by itself with the next reading.",
    "rejected": "Find out who writes to the topic besides Ironbridge's adapters.",
}


@dataclass(frozen=True, slots=True)
class Group:
    """Records of one part that are in one state for one reason. `rule` says what was broken, `next` what a person does."""

    id: str
    part: str
    state: str
    rule: str
    next: str
    rows: tuple[Row, ...]

    @property
    def word(self) -> str:
        return STATES.get(self.state, self.state)

    @property
    def keys(self) -> list[str]:
        return [str(row["key"]) for row in self.rows]

    @property
    def oldest(self) -> float:
        return min(float(row["since"]) for row in self.rows)


async def groups(store: Store) -> list[Group]:
    """Every group, those that need a person first, then the largest first."""
    return grouped(await insight.parked(store))


def grouped(rows: Sequence[Row]) -> list[Group]:
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        part, state = str(row["part"]), str(row["state"])
        reason = str(row["reason"] or "no reason was given").replace(str(row["key"]), "…")
        if state == "waiting":
            reason = "waits for another record, which the target does not hold yet"
        found.setdefault(
            (part, state, _ITS_OWN.sub("", reason).removeprefix(f"{part} …: ").removeprefix("…: ")), []
        ).append(row)
    made = [_group(part, state, reason, members) for (part, state, reason), members in found.items()]
    order = ("parked", "quarantined", "rejected", "waiting", "dropped")
    return sorted(made, key=lambda g: (order.index(g.state) if g.state in order else 0, -len(g.rows), g.part, g.rule))


def _group(part: str, state: str, reason: str, rows: Sequence[Row]) -> Group:
    rule, _, fix = reason.partition(_TO_DO)
    name = hashlib.blake2b("\0".join((part, state, reason)).encode(), digest_size=6).hexdigest()
    return Group(name, part, state, rule, fix or _NEXT.get(state, ""), tuple(rows))
