"""This module tells whether each cloud of the demonstration holds exactly the documents that its flow says it should hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from canonical.turns import in_turns
from flows.engine.clock import LondonDay
from flows.engine.draft import drafts
from flows.port import Document, Held, ReadBack, Write
from ironbridge.demo.world import DemoCloud, DemoWorld
from ironbridge.runtime.bridge import Platform
from ironbridge.runtime.deliveries import Delivery


@dataclass(frozen=True)
class Agreed:
    """One kind of document in one cloud: how many it should hold, holds, and holds exactly as it should."""

    cloud: str
    kind: str
    should: int
    holds: int
    same: int

    @property
    def differs(self) -> int:
        return max(self.should, self.holds) - self.same


async def compare(world: DemoWorld, built: Platform) -> list[Agreed]:
    """Compare the content of each cloud, as the cloud itself tells it, with the content that the flows want there."""
    found = []
    for name, delivery in built.deliveries.items():
        wanted = await _wanted(delivery)
        there = await _there(world.clouds[name], delivery, wanted)
        for kind in sorted({document.kind for document in wanted.values()} | set(there)):
            should = {s: d for s, d in wanted.items() if d.kind == kind}
            holds, same = there.get(kind, (0, 0))
            found.append(Agreed(name, kind, len(should), holds, same))
    return found


async def _wanted(delivery: Delivery) -> dict[str, Document]:
    """The desired document of every subject that is neither parked nor waiting, worked out anew from the facts."""
    wanted: dict[str, Document] = {}
    today = LondonDay(delivery.ledger.now)
    async for tasks in delivery.ledger.every():
        made = await drafts(delivery.flow, delivery.ledger, [task.subject for task in tasks], today())
        wanted |= {each.subject: each.document for each in made if each.document is not None and each.missing is None}
    return wanted


async def _there(cloud: DemoCloud, delivery: Delivery, wanted: dict[str, Document]) -> dict[str, tuple[int, int]]:
    """By kind: how many documents the cloud holds, and how many of those wanted it holds exactly."""
    counts, exact = cloud.world.counts(cloud.sandbox), cloud.world.exact
    agreed = exact(cloud.sandbox, wanted.values()) if exact else await _read_back(delivery, wanted)
    same = Counter([document.kind async for document in in_turns(agreed)])
    return {kind: (counts.get(kind, 0), same[kind]) for kind in counts.keys() | same.keys()}


async def _read_back(delivery: Delivery, wanted: dict[str, Document]) -> list[Document]:
    """The documents that the target, asked for each, holds exactly."""
    refs, batch = await delivery.ledger.refs(list(wanted)), delivery.target.limits.batch
    writes = [Write(subject, each, ref=refs.get(subject)) for subject, each in wanted.items()]
    answers: list[ReadBack] = []
    for start in range(0, len(writes), batch):
        answers += await delivery.target.read_back(writes[start : start + batch])
    pairs = zip(wanted.values(), answers, strict=True)
    return [document for document, answer in pairs if isinstance(answer, Held) and answer.body == document.body]
