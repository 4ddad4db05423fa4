"""
The program with ports that kill it: the same parts, wired by the same code, whose journal, memory, ledger and target end
the process, by SIGKILL, before or after one chosen call.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from adapters.engine.pump import Pump
from flows.engine.agree import Agreement
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.observe.log_lines import log_to_stderr
from ironbridge.runtime import bridge, systems
from ironbridge.runtime.bridge import Platform
from ironbridge.runtime.deliveries import Delivery
from ironbridge.runtime.editions import edition, name_of
from ironbridge.settings import load
from ironbridge.store import StoredMemory
from tests.agreement import Mortal

PUMP = ("open", "publish", "ends", "claimed", "claim", "offsets", "progress", "regions", "members", "lookup",
        "quarantined", "doubled", "live", "missing", "unseen", "save")  # fmt: skip
AGREEMENT = ("begin", "ingest", "reopen", "relook", "turn", "take", "facts", "refs", "intend", "write", "read_back", "settle",
             "keep", "reclaim", "due")  # fmt: skip


class Doom:
    """Ends the process at the `nth` step of a name, such as `after publish`."""

    def __init__(self, at: str, nth: int = 1) -> None:
        self._at, self._left = at, nth

    def step(self, what: str) -> None:
        if what == self._at:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


async def _run(file: Path, names: Sequence[str], doom: Doom) -> None:
    settings = load(file)
    async with bridge.platform(settings, names) as built:
        _doomed(built, doom)
        await bridge.run(built, asyncio.Event())


def _doomed(built: Platform, doom: Doom) -> None:
    plans = systems.adapters(built.settings)
    for name, (pump, streams) in list(built.pumps.items()):
        entities = sorted({e for s in streams for e in s.entities}, key=lambda e: e.type_name)
        journal = Mortal(KafkaJournal(built.kafka, name, entities, clock=built.store.clock), doom)
        memory = Mortal(StoredMemory(built.store, name), doom)
        again = Pump(pump.adapter, journal, memory, edition=plans[name].edition, guard=plans[name].guard)
        built.pumps[name] = (again, streams)
    for name, delivery in list(built.deliveries.items()):
        target = Mortal(delivery.target, doom)
        named = edition(name_of(type(delivery.flow)), delivery.flow.entities, delivery.flow.settings)
        agreement = Agreement(delivery.flow, target, Mortal(delivery.ledger, doom), edition=named)
        built.deliveries[name] = Delivery(delivery.flow, target, agreement, delivery.ledger)


def main(file: str, names: Sequence[str], at: str, nth: int) -> int:
    log_to_stderr(logging.INFO)
    asyncio.run(_run(Path(file), names, Doom(at, nth)))
    return 0
