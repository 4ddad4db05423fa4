"""
Keeps two subjects of one flow from writing one document in turns.

Two suppliers may have one number. The document of that number is then for the one that wanted it first. The other is parked, with
the key of the first in its reason, until one of the two goes or has another number. Only a subject that comes to a name which the
target is not known to hold for it is looked at, and only what both want now counts: two that change places do not block
each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date

from flows.engine.draft import drafts
from flows.engine.handover import handed_over
from flows.engine.ledger import Ledger, NamedDocument, Settlement, State
from flows.engine.settle import Wanted, untried
from flows.port import Distinct, Document, Flow


async def kept_single(
    flow: Flow, ledger: Ledger, wanted: Sequence[Wanted], today: Callable[[], date]
) -> tuple[list[Settlement], list[Wanted]]:
    """The subjects that are not sent, now or ever, because of another one of the flow; and all others that need a write."""
    settled, left = await handed_over(ledger, wanted)
    if isinstance(flow, Distinct):
        return settled, left
    new = ((w.task.subject, w.write.document, w.write.refs) for w in left if _new(w))
    named = {subject: NamedDocument(subject, document, refs) for subject, document, refs in new if document}
    owners = await ledger.name(list(named.values())) if named else {}
    if not owners:
        return settled, left
    made = await drafts(flow, ledger, sorted(set(owners.values())), today())
    wants = {d.subject: _name(d.document, d.refs) for d in made if d.document is not None}
    taken = {s: by for s, by in owners.items() if wants.get(by) == _name(named[s].document, named[s].refs)}
    await ledger.rename([named[subject] for subject in owners if subject not in taken])
    settled += [_parked(w, taken[w.task.subject]) for w in left if w.task.subject in taken]
    return settled, [w for w in left if w.task.subject not in taken]


def _new(wanted: Wanted) -> bool:
    document, had = wanted.write.document, wanted.write.confirmed
    if document is None or had is None or wanted.task.doubtful is not None:
        return True
    return (had.kind, had.number, had.refers) != (document.kind, document.number, document.refers)


def _name(document: Document, refs: Mapping[str, str]) -> tuple[str, str, list[str]]:
    return document.kind, document.number, sorted(refs.values())


def _parked(wanted: Wanted, by: str) -> Settlement:
    kind = wanted.write.document.kind if wanted.write.document else "document"
    why = f"{kind}: {by} has the one of this number; let one of the two have another number, or leave it out"
    task = untried(wanted.task)
    return Settlement(task, State.PARKED, "refused", reason=why, waiting_on=by, doubtful=task.doubtful)
