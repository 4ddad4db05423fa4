"""Finds the subjects that some events touch, and the documents that the target may hold of them after a state was lost."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from canonical.errors import ends_us, named
from flows.engine.ledger import Arrivals, Mark, doubts, pack_all
from flows.port import Document, Flow, Recalls, Urgency

log = logging.getLogger(__name__)


def marks_of(flow: Flow, arrived: Arrivals, traces: Iterable[str | None]) -> list[Mark]:
    """One mark for each subject that these events touch."""
    marks: dict[str, Mark] = {}
    urgencies: dict[str, int] = {}
    subject_of = flow.grouping.subject_of
    for (event, partition), trace in zip(arrived.events, traces, strict=True):
        subject, at = subject_of(event), event.time.timestamp()
        had = marks.get(subject)
        if (urgency := urgencies.get(event.entity)) is None:
            urgency = urgencies[event.entity] = _urgency(flow, event.entity)
        if had is None:
            marks[subject] = Mark(subject, partition, urgency, 1, at, trace)
        else:
            both = f"{trace} {had.traces}" if trace and had.traces else trace or had.traces
            more = (min(urgency, had.urgency), had.changes + 1, min(at, had.observed), both)
            marks[subject] = Mark(subject, partition, *more)
    if isinstance(flow, Recalls):
        for event in arrived.again:
            subject = subject_of(event)
            known = pack_all(recalled(flow, event.key, event.owner))
            marks[subject] = marks[subject]._replace(doubtful=doubts(marks[subject].doubtful, known))
    return list(marks.values())


def recalled(flow: Flow, key: str, owner: str) -> Sequence[Document]:
    """The documents that the target may hold of an entity, if the flow can recall them without the lost state."""
    if not isinstance(flow, Recalls):
        return ()
    try:
        return flow.recall(key, owner)
    except BaseException as error:
        if ends_us(error):
            raise
        log.error("%s: the flow's own code failed (%s) to recall: mend the flow", flow.name, named(error))  # noqa: TRY400
        return ()


def _urgency(flow: Flow, entity: str) -> int:
    try:
        return int(flow.urgency(entity))
    except BaseException as error:
        if ends_us(error):
            raise
        what = f"the flow's own code failed ({named(error)}) to say how urgent {entity} is: usual. To do: mend the flow"
        log.error("%s: %s", flow.name, what)  # noqa: TRY400
        return int(Urgency.USUAL)
