"""
Works out what a target should hold for each subject: once, for delivery, for a plan and for a reconciliation alike.

Asks only the ledger. `draft` and `referring` are pure: the same facts, day and ids always give the same draft.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from hashlib import blake2b
from types import MappingProxyType
from typing import NamedTuple

from pydantic_core import to_json

from canonical.errors import BadRecordError, RefusedError, ends_us, named
from canonical.turns import in_turns
from flows.engine.altered import told_by
from flows.engine.ledger import Ledger, Settlement, State, Task, pack, unpack, unpack_all
from flows.engine.settle import Wanted, parked, untried, waiting
from flows.engine.trail import in_doubt
from flows.port import Document, Facts, Flow, Nothing, Recalls, Write

_GONE = Nothing("no such record is published")
_NO_REFS: Mapping[str, str] = MappingProxyType({})


class Draft(NamedTuple):
    """
    A draft says what the target should hold for a subject.

    `packed` is the document as the ledger keeps it. `refs` are the target's ids of the subjects that it refers to, and `digest`
    stands for both; there is none while the target does not hold `missing`, one of these subjects. Without a document the
    target should hold nothing, for the reason `why`, or a `fault` of the facts or the mapping keeps anybody from saying what.
    `recheck` is the first day on which all this may be otherwise.
    """

    subject: str
    document: Document | None = None
    packed: bytes | None = None
    refs: Mapping[str, str] = _NO_REFS
    digest: bytes | None = None
    missing: str | None = None
    why: str | None = None
    fault: str | None = None
    recheck: date | None = None


def draft(flow: Flow, subject: str, facts: Facts) -> Draft:
    """Work out a subject's document from its facts alone."""
    try:
        desired = flow.desired(subject, facts) or _GONE
        if isinstance(desired, Nothing):
            return Draft(subject, why=desired.reason, recheck=facts.recheck)
        packed = pack(desired)  # a document that cannot be packed is a mistake of the mapping, too
    except (RefusedError, BadRecordError) as error:
        return Draft(subject, fault=str(error), recheck=facts.recheck)
    except BaseException as error:  # a mistake of the mapping is this one subject's, as in `adapters.engine.mapping`
        if ends_us(error):
            raise
        why = f"{flow.name}: the mapping failed ({named(error)}): mend the flow"
        return Draft(subject, fault=why, recheck=facts.recheck)
    return Draft(subject, unpack(packed), packed, recheck=facts.recheck)


def referring(made: Draft, refs: Mapping[str, str]) -> Draft:
    """The draft with the target's ids of the subjects that it refers to, as far as the target holds them."""
    if made.document is None or made.packed is None:
        return made
    refers = made.document.refers
    mine = {name: refs[subject] for name, subject in refers.items() if subject in refs}
    if len(mine) < len(refers):
        return made._replace(refs=mine, missing=next(s for s in refers.values() if s not in refs))
    return made._replace(refs=mine, digest=blake2b(made.packed + to_json(mine), digest_size=16).digest())


async def drafts(flow: Flow, ledger: Ledger, subjects: Sequence[str], day: date) -> list[Draft]:
    """A draft of each subject, in the same order."""
    facts = await ledger.facts(subjects, flow.grouping)
    names = {entity.type_name for entity in flow.entities}
    made = [
        draft(flow, subject, Facts([fact for fact in facts.get(subject, ()) if fact.entity in names], day))
        async for subject in in_turns(subjects)
    ]
    referred = {other for each in made if each.document is not None for other in each.document.refers.values()}
    refs = await ledger.refs(sorted(referred))
    return [referring(each, refs) async for each in in_turns(made)]


async def drafted(
    flow: Flow, ledger: Ledger, tasks: Sequence[Task], today: Callable[[], date]
) -> tuple[list[Settlement], list[Wanted]]:
    """The subjects that are settled without a write, and the ones that need a write."""
    tasks = await _recalling(flow, ledger, tasks)
    settled: list[Settlement] = []
    wanted: list[Wanted] = []
    made = await drafts(flow, ledger, [task.subject for task in tasks], today())
    async for task, each in in_turns(zip(tasks, made, strict=True)):
        found = _compared(task if each.recheck is None else task._replace(recheck=each.recheck), each)
        if isinstance(found, Settlement):
            settled.append(found)
        else:
            wanted.append(found)
    return settled, wanted


async def _recalling(flow: Flow, ledger: Ledger, tasks: Sequence[Task]) -> Sequence[Task]:
    """
    Give a doubtful task without a known document the documents that the flow recalls.

    Otherwise the target would be asked about none of them, and would keep what should be removed.
    """
    blind = [t.subject for t in tasks if t.doubtful is not None and t.document is None and not unpack_all(t.doubtful)]
    if not blind or not isinstance(flow, Recalls):
        return tasks
    known = await ledger.keys(blind, flow.grouping)
    return [
        task._replace(doubtful=in_doubt(flow, task.doubtful, known[task.subject])) if task.subject in known else task
        for task in tasks
    ]


def _compared(task: Task, made: Draft) -> Settlement | Wanted:
    """Compare a draft with what the target was last confirmed to hold."""
    if made.fault is not None:
        return parked(task, made.fault)
    if made.missing is not None:
        return waiting(untried(task), made.missing)
    if task.doubtful is None and made.digest == task.digest:
        return Settlement(task, State.AGREED, "unchanged", doubtful=None, reason=made.why or told_by(task.reason))
    confirmed = unpack(task.document) if task.document else None
    write = Write(task.subject, made.document, confirmed, unpack_all(task.doubtful), task.ref, task.tag, made.refs)
    return Wanted(task, write, made.packed, made.digest, why=made.why)
