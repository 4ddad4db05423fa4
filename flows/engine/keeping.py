"""
Keeps events and outcomes in the ledger, though the state cannot hold a value of one of them.

The state refuses such a value each time. So a batch that holds one is kept in ever smaller parts until the one is found:
an event becomes a reject, a subject is parked. All others are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from canonical.errors import RefusedError
from flows.engine.ledger import Arrivals, Ledger, Reject, Settlement, State, doubts
from flows.engine.marks import marks_of
from flows.port import Flow

log = logging.getLogger(__name__)


async def take_in(flow: Flow, ledger: Ledger, arrived: Arrivals, traces: Sequence[str | None]) -> int:
    """Make what arrived durable, with the marks of its subjects; how many events the state cannot hold."""
    try:
        await ledger.ingest(arrived, marks_of(flow, arrived, traces))
    except RefusedError as error:
        if not arrived.events:
            raise
        if len(arrived.events) == 1:
            return 1 + await take_in(flow, ledger, _rejected(flow, arrived, error), ())
        half = len(arrived.events) // 2
        first = replace(arrived, events=arrived.events[:half], rejects=(), reached={}, there={}, since={})
        refused = await take_in(flow, ledger, _again(first, arrived), traces[:half])
        # The place is saved with the last part: whoever is killed before that reads all of it again.
        last = replace(arrived, events=arrived.events[half:])
        return refused + await take_in(flow, ledger, _again(last, arrived), traces[half:])
    return 0


async def save(ledger: Ledger, settlements: Sequence[Settlement]) -> None:
    """Save outcomes; a subject whose outcome the state cannot hold is parked, and what it may have sent is in doubt."""
    try:
        await ledger.settle(settlements)
    except RefusedError as error:
        if len(settlements) > 1:
            for each in settlements:
                await save(ledger, [each])
            return
        log.error("%s: %s", settlements[0].task.subject, error)  # noqa: TRY400 (the sentence says it all)
        await ledger.settle([_parked(each, error) for each in settlements])


def _rejected(flow: Flow, arrived: Arrivals, error: RefusedError) -> Arrivals:
    [(event, _)] = arrived.events
    reject = Reject(f"{event.entity} {event.id}", f"{flow.name}: the event {event.id}: {error}")
    log.error("%s", reject.what)
    return replace(arrived, events=(), again=(), rejects=[*arrived.rejects, reject])


def _again(part: Arrivals, whole: Arrivals) -> Arrivals:
    """The part with those of its events that a lost state had read before."""
    if not whole.again:
        return part
    had = {id(event) for event in whole.again}
    return replace(part, again=[event for event, _ in part.events if id(event) in had])


def _parked(settled: Settlement, error: RefusedError) -> Settlement:
    task = settled.task
    doubtful = None if settled.sent is None and task.doubtful is None else doubts(task.doubtful, settled.sent)
    return Settlement(task, State.PARKED, "refused", reason=f"its outcome cannot be kept: {error}", doubtful=doubtful)
