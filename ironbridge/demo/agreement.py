"""This module tells whether each cloud of the demonstration holds exactly the documents that its flow says it should hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flows.engine.clock import LondonDay
from flows.engine.draft import drafts
from flows.port import Document, Held, Write
from ironbridge.demo.world import LA_CODE, DemoWorld
from ironbridge.runtime.bridge import Platform
from ironbridge.runtime.deliveries import Delivery

_SETS = {"vendor": "vendors", "purchaseInvoice": "purchaseInvoices", "purchaseCreditMemo": "purchaseCreditMemos"}


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
        there = await _there(world, name, delivery, wanted)
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


async def _there(
    world: DemoWorld, name: str, delivery: Delivery, wanted: dict[str, Document]
) -> dict[str, tuple[int, int]]:
    """By kind: how many documents the cloud holds, and how many of those wanted it holds exactly."""
    if name == "dfe_csc":
        held = world.dfe.documents(str(LA_CODE))
        same = sum(unordered(held.get(d.number)) == unordered(d.body) for d in wanted.values())
        return {"child": (len(held), same)}
    counts = world.central.summary()["documents"]
    same_by_kind: dict[str, int] = {}
    refs = await delivery.ledger.refs(list(wanted))
    writes = [Write(s, d, ref=refs.get(s)) for s, d in wanted.items()]
    for start in range(0, len(writes), delivery.target.limits.batch):
        batch = writes[start : start + delivery.target.limits.batch]
        for write, answer in zip(batch, await delivery.target.read_back(batch), strict=True):
            assert write.document is not None  # noqa: S101 (all of them are wanted)
            same = isinstance(answer, Held) and answer.body == write.document.body
            same_by_kind[write.document.kind] = same_by_kind.get(write.document.kind, 0) + same
    return {kind: (counts.get(_SETS[kind], 0), same) for kind, same in same_by_kind.items()}


def unordered(value: Any) -> Any:
    """A document without the order of its lists: the DfE keeps blocks by their ids, in the order in which they came."""
    if isinstance(value, dict):
        return {name: unordered(each) for name, each in value.items()}
    return sorted((unordered(each) for each in value), key=repr) if isinstance(value, list) else value
