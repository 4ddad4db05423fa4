"""Events that nobody can read yet because an open transaction lies before them: for how long, and the next step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from adapters.engine.journal import Partition
from ironbridge.store.standing import HiddenEvents

PATIENCE = 30.0
"""Seconds until a transaction that hides events is reported; Kafka itself ends one of ours after 60."""


class Hidden:
    """
    Finds partitions whose end an open transaction hides for too long: the last offset that a subscriber can read stands
    still before the log's end. `told` are the hidden partitions that are known already.
    """

    def __init__(self, told: Mapping[Partition, int] | None = None, patience: float = PATIENCE) -> None:
        self._told = dict(told or {})
        self._patience = patience
        self._still: dict[Partition, tuple[int, float]] = {}

    def see(self, stable: Mapping[Partition, tuple[int, int]], now: float) -> dict[Partition, int]:
        """Compare last stable offsets with ends (`stable`). Returns the changes; 0 means that nothing is hidden any more."""
        changed: dict[Partition, int] = {}
        for partition, (stands, end) in stable.items():
            since = self._still.get(partition, (-1, 0.0))
            if stands >= end or since[0] != stands:
                self._still[partition] = since = (stands, now)
            count = end - stands if stands < end and now - since[1] >= self._patience else 0
            # A larger number of hidden records alone is no change.
            if bool(count) != bool(self._told.get(partition)):
                self._told[partition] = changed[partition] = count
        return changed


def said(hides: Sequence[HiddenEvents]) -> str:
    """The text for a person about partitions with hidden records."""
    first = min(hides, key=lambda each: each.hidden_since)
    more = f" and in {len(hides) - 1} other partitions" if len(hides) > 1 else ""
    since = datetime.fromtimestamp(first.hidden_since, UTC)
    return (
        f"some program began a transaction and has not ended it: it hides {first.hidden:,} records in "
        f"{first.topic}[{first.partition}]{more} since {since:%Y-%m-%d %H:%M} UTC; the records behind it wait. To do: if it does "
        f"not end by itself within minutes, run `kafka-transactions.sh find-hanging --topic {first.topic} "
        f"--partition {first.partition}`, then its `abort`"
    )
