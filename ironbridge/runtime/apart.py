"""Keeps two flows of one target apart: neither ever writes a document that is the other's."""

from __future__ import annotations

from collections.abc import Sequence

from canonical.finding import Finding
from flows.port import Absent, Confirmed, Limits, NotDone, Outcome, ReadBack, Refused, Target, Waiting, Write
from ironbridge.store import Store, names
from ironbridge.store.names import TakenName, name_of


class KeptApart:
    """
    A target as one of its several flows writes to it (`flows.port.Target`).

    Before a document is sent its name is given to the flow. If another flow has the name, the write is refused, so its subject
    is parked and a person sees both flows' names. With the confirmation the subject's former names become free. All its
    names do where the target holds nothing of it: it never did and nothing was done, or reading back shows that it is gone.
    """

    def __init__(self, target: Target, flow: str, store: Store) -> None:
        self.name = target.name
        self.limits: Limits = target.limits
        self._target = target
        self._flow = flow
        self._store = store

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        named = {w.subject: name_of(w.document, w.refs) for w in batch if w.document}
        taken = await names.take(self._store, self.name, self._flow, [TakenName(*each) for each in named.items()])
        free = [write for write in batch if write.subject not in taken]
        said = dict(zip((w.subject for w in free), await self._target.write(free) if free else (), strict=True))
        over = [w for w in free if _over(w, said[w.subject])]
        left = {w.subject: named.get(w.subject, "") if isinstance(said[w.subject], Confirmed) else "" for w in over}
        await names.keep_only(self._store, self.name, self._flow, left)
        return [said[w.subject] if w.subject in said else self._refused(w, taken[w.subject]) for w in batch]

    async def read_back(self, batch: Sequence[Write]) -> Sequence[ReadBack]:
        told = await self._target.read_back(batch)
        gone = {w.subject: "" for w, answer in zip(batch, told, strict=True) if w.document is None and isinstance(answer, Absent)}
        await names.keep_only(self._store, self.name, self._flow, gone)
        return told

    async def check(self) -> Sequence[Finding]:
        return await self._target.check()

    def _refused(self, write: Write, other: str) -> Refused:
        kind = write.document.kind if write.document else "document"
        return Refused(f"{kind}: flow {other} writes the one of this number; let one of the two leave it out, then retry")


def _over(write: Write, outcome: Outcome) -> bool:
    """Tell whether the names that the subject had before mean nothing any more."""
    never_there = write.confirmed is None and not write.doubtful
    return isinstance(outcome, Confirmed) or (isinstance(outcome, Refused | NotDone | Waiting) and never_there)
