"""Works out the document that each subject should have, and compares it with the last confirmed one. Asks only the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from hashlib import blake2b

from pydantic_core import to_json

from canonical.errors import BadRecordError, RefusedError
from flows.engine.ledger import Ledger, Settlement, State, Task, pack, unpack, unpack_all
from flows.engine.marks import MISTAKES
from flows.engine.settle import Wanted, parked, untried, waiting
from flows.engine.trail import in_doubt
from flows.port import Document, Facts, Flow, Nothing, Recalls, Write

_GONE = Nothing("no such record is published")


async def drafted(
    flow: Flow, ledger: Ledger, tasks: Sequence[Task], today: Callable[[], date]
) -> tuple[list[Settlement], list[Wanted]]:
    """The subjects that are settled without a write, and the ones that need a write."""
    tasks = await _recalling(flow, ledger, tasks)
    facts = await ledger.facts([task.subject for task in tasks], flow.grouping)
    day, names = today(), {entity.type_name for entity in flow.entities}
    settled: list[Settlement] = []
    drafts: list[tuple[Task, Document | Nothing, bytes | None]] = []
    for task in tasks:
        known = Facts([fact for fact in facts.get(task.subject, ()) if fact.entity in names], day)
        try:
            draft = flow.desired(task.subject, known) or _GONE
            # A document that cannot be packed is a mistake of the mapping, too.
            packed = None if isinstance(draft, Nothing) else pack(draft)
            drafts.append((_on(task, known), draft, packed))
        except (RefusedError, BadRecordError) as error:
            settled.append(parked(_on(task, known), str(error)))
        except MISTAKES as error:
            why = f"{flow.name}: the mapping failed ({type(error).__name__}): mend the flow"
            settled.append(parked(_on(task, known), why))
    referred = {s for _, draft, _ in drafts if isinstance(draft, Document) for s in draft.refers.values()}
    refs = await ledger.refs(sorted(referred))
    wanted: list[Wanted] = []
    for task, desired, packed in drafts:
        found = _draft(task, desired, packed, refs)
        if isinstance(found, Settlement):
            settled.append(found)
        else:
            wanted.append(found)
    return settled, wanted


def _on(task: Task, known: Facts) -> Task:
    """The task, with the day on which its outcome may be another one."""
    return task if known.recheck is None else task._replace(recheck=known.recheck)


async def _recalling(flow: Flow, ledger: Ledger, tasks: Sequence[Task]) -> Sequence[Task]:
    """
    The tasks; those in doubt of which no document is known name the ones that the flow recalls.

    Else a target would be asked about nothing at all: it would seem to hold nothing, and keep what was to be removed.
    """
    blind = [t.subject for t in tasks if t.doubtful is not None and t.document is None and not unpack_all(t.doubtful)]
    if not blind or not isinstance(flow, Recalls):
        return tasks
    known = await ledger.keys(blind, flow.grouping)
    return [
        task._replace(doubtful=in_doubt(flow, task.doubtful, known[task.subject])) if task.subject in known else task
        for task in tasks
    ]


def _draft(
    task: Task, desired: Document | Nothing, packed: bytes | None, refs: dict[str, str]
) -> Settlement | Wanted:
    document, why = (None, desired.reason) if isinstance(desired, Nothing) else (desired, None)
    digest = None
    mine: dict[str, str] = {}
    if document is not None and packed is not None:
        missing = [subject for subject in document.refers.values() if subject not in refs]
        if missing:
            return waiting(untried(task), missing[0])
        mine = {name: refs[subject] for name, subject in document.refers.items()}
        digest = blake2b(packed + to_json(mine), digest_size=16).digest()
        document = unpack(packed)
    if task.doubtful is None and digest == task.digest:
        return Settlement(task, State.AGREED, "unchanged", doubtful=None, reason=why)
    confirmed = unpack(task.document) if task.document else None
    write = Write(task.subject, document, confirmed, unpack_all(task.doubtful), task.ref, task.tag, mine)
    return Wanted(task, write, packed, digest, why=why)
