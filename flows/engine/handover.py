"""
Keeps a target's document from being removed with its former subject where another subject has taken it over.

A record may come back under another key: a ledger is numbered anew, an adapter is called otherwise. Then the target should
hold the same document for one subject, and nothing for another. A target that looks a new document up by its number finds
the former subject's, and takes it for the new one's; if the former subject were removed after that, nothing would be left.
So the new subject goes first, and the former one is let go without a request once the new one is known to have the document.
"""

from __future__ import annotations

from collections.abc import Sequence

from flows.engine.ledger import Ledger, Settlement, unpack
from flows.engine.settle import Wanted, put_back, settlement
from flows.port import Confirmed, Document

_HEIR_FIRST = "not removed yet: another subject is just coming to this document"


async def handed_over(ledger: Ledger, wanted: Sequence[Wanted]) -> tuple[list[Settlement], list[Wanted]]:
    """The removals that are not sent, now or ever, and all other subjects that need a write."""
    leaving = {w.task.subject: w for w in wanted if w.write.document is None and w.write.confirmed is not None}
    if not leaving:
        return [], list(wanted)
    coming = {_name(w.write.document) for w in wanted if w.write.document is not None and w.write.ref is None}
    heirs = await _heirs(ledger, list(leaving.values()))
    awaited = await ledger.awaiting(leaving.keys() - heirs.keys())
    settled: list[Settlement] = []
    left: list[Wanted] = []
    for each in wanted:
        subject = each.task.subject
        if heir := heirs.get(subject):
            settled.append(settlement(each._replace(why=f"left in place: {heir} has taken it over"), Confirmed("")))
        elif subject in awaited or (subject in leaving and _name(each.write.confirmed) in coming):
            settled.append(put_back(each.task, 0.0, _HEIR_FIRST))
        else:
            left.append(each)
    return settled, left


async def _heirs(ledger: Ledger, leaving: Sequence[Wanted]) -> dict[str, str]:
    """
    By leaving subject, another one that the target was confirmed to hold the same document for: one id, one kind, one number.
    The id alone does not tell: some targets give all documents of one file the same one.
    """
    refs = {w.write.ref for w in leaving if w.write.ref}
    held = await ledger.holders(refs) if refs else ()
    names = [(subject, ref, _name(unpack(document))) for subject, ref, document in held]
    return {
        w.task.subject: subject
        for w in leaving
        for subject, ref, name in names
        if subject != w.task.subject and (ref, name) == (w.write.ref, _name(w.write.confirmed))
    }


def _name(document: Document | None) -> tuple[str, str] | None:
    return None if document is None else (document.kind, document.number)
