"""Tells when all has been read, taken in and delivered, so that the demonstration can go on."""

from __future__ import annotations

from flows.engine.ledger import Stand
from ironbridge.runtime.bridge import Platform
from ironbridge.store import StoredMemory, traffic


async def idle(built: Platform) -> bool:
    """
    Tell whether every stream was read to its end and no subject is dirty, held by a worker, or still to be looked at
    again now.
    """
    for name, (_, streams) in built.pumps.items():
        memory = StoredMemory(built.store, name)
        for stream in streams:
            progress = await memory.progress(stream.name)
            if progress.completed is None or progress.after is not None:
                return False
    if not await _ingested(built):
        return False
    return await traffic.busy(built.store) == 0


async def _ingested(built: Platform) -> bool:
    """Tell whether the flows have all that was published, as the state knows it."""
    wanted = {f"{built.kafka.topic_prefix}.{e.type_name}" for d in built.deliveries.values() for e in d.flow.entities}
    published = {place: behind for place, behind in (await traffic.published(built.store)).items() if place[0] in wanted}
    for delivery in built.deliveries.values():
        stands = await delivery.ledger.ingested()
        topics = {f"{built.kafka.topic_prefix}.{e.type_name}" for e in delivery.flow.entities}
        if any(stands.get(p, Stand()).behind < behind for p, behind in published.items() if p[0] in topics):
            return False
    return True
