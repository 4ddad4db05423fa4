"""
This module works out what to send so that the DfE holds exactly a child's record, given what it may hold already.

The API puts what it is sent over what it holds and forgets nothing by itself. So what has vanished is purged by its id,
and a block that is sent is sent whole: a field that is missing in it has no value any more. The smallest piece is a
care episode: where anything in it changed, the whole episode goes. The contract does not say that less is safe (an
episode's own fields have no block of their own), and one episode is small.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flows.dfe_csc.contract import BLOCKS, KEYED, WORKERS
from flows.dfe_csc.ids import Ids
from flows.port import Body, Write

_ALWAYS = ("la_child_id", "mis_child_id", "child_details")


def to_send(write: Write, ids: Ids) -> list[Body]:
    """
    The records for one write: whole, only what changed, or the purge of the child.

    Only what changed goes where it is certain what the DfE holds. Where anything is in doubt, the whole child goes, and
    everything that may be there and should not is purged. A child that may be there under another id is purged there first.
    """
    may_hold = [document.body for document in (write.confirmed, *write.doubtful) if document]
    if write.document is None:
        return _gone(may_hold) or [_purge({"la_child_id": ids.child(write.subject)})]
    wanted, number = write.document.body, write.document.number
    held = [body for body in may_hold if body["la_child_id"] == number]
    sure = len(may_hold) == len(held) == 1 and not write.doubtful
    record = changes(wanted, held[0]) if sure else whole(wanted, held)
    return [*_gone(body for body in may_hold if body["la_child_id"] != number), record]


def whole(wanted: Body, may_hold: Sequence[Body]) -> Body:
    """All of a record, and purges of what any of the others has and it has not."""
    sent = wanted
    for held in may_hold:
        sent = _with_purges(sent, held)
    return sent


def changes(wanted: Body, held: Body) -> Body:
    """The identifiers, the child's details, and every block and episode in which the two differ."""
    sent = whole(wanted, [held])
    left = {name: value for name, value in sent.items() if name in _ALWAYS or value != held.get(name)}
    if "social_care_episodes" in left:
        known = held.get("social_care_episodes", [])
        left["social_care_episodes"] = [episode for episode in sent["social_care_episodes"] if episode not in known]
    return left


def _gone(may_hold: Iterable[Body]) -> list[Body]:
    """A purge for each id under which the DfE may hold the child."""
    return list({body["la_child_id"]: _purge(body) for body in may_hold}.values())


def _purge(known: Body) -> Body:
    number = known["la_child_id"]
    return {"la_child_id": number, "mis_child_id": known.get("mis_child_id", number), "purge": True}


def _with_purges(wanted: Body, held: Body) -> Body:
    sent = dict(wanted)
    for name, had in held.items():
        if name in KEYED:
            sent[name] = _items(sent.get(name, []), had, KEYED[name])
        elif name in BLOCKS:
            sent.setdefault(name, {"purge": True})
        elif name == WORKERS:
            sent.setdefault(name, [])
    return sent


def _items(wanted: list[Body], held: list[Body], key: str) -> list[Body]:
    """
    Purges come first: an id that moved from one episode to another must not be purged after it was sent anew.
    """
    had = {item[key]: item for item in held}
    kept = [_with_purges(item, had.get(item[key], {})) if not item.get("purge") else item for item in wanted]
    gone = had.keys() - {item[key] for item in wanted}
    purges = [{key: name, "purge": True} for name in sorted(gone)]
    return purges + sorted(kept, key=lambda item: not _purges(item))


def _purges(item: Body) -> bool:
    return bool(item.get("purge")) or any(
        part.get("purge") for name, parts in item.items() if name in KEYED for part in parts
    )
