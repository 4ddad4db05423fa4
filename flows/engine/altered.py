"""Finds what a target changed by itself while it confirmed a document: a line more, a rounded amount, a text cut short."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from flows.engine.ledger import pack
from flows.engine.settle import Wanted, again
from flows.port import Body, Confirmed, Document, NotDone, Outcome, Refused

_TOLD = re.compile(r"the target ((changed|added) .* by itself|held .* otherwise)")


class Altered(NamedTuple):
    """The fields of a document that the target changed, and the ones that it added, by their paths."""

    changed: tuple[str, ...]
    added: tuple[str, ...]

    def __str__(self) -> str:
        """A sentence without a value."""
        did = [f"{word} {', '.join(fields)}" for word, fields in zip(("changed", "added"), self, strict=True) if fields]
        return f"the target {' and '.join(did)} by itself"


def altered(wanted: Wanted, outcome: Outcome) -> Altered | None:
    """Compare what the answer shows with what was sent; None where they are the same, or where it shows nothing."""
    document = wanted.write.document
    if document is None or not isinstance(outcome, Confirmed) or outcome.body is None or outcome.body == document.body:
        return None
    changed = tuple(_paths(document.body, outcome.body))
    added = tuple(sorted(outcome.body.keys() - document.body.keys()))
    return Altered(changed, added) if changed or added else None


def _paths(sent: Body, shown: Body) -> Iterator[str]:
    for name, value in sent.items():
        there = shown.get(name)
        if isinstance(value, dict) and isinstance(there, dict):
            yield from (f"{name}.{part}" for part in sorted(value.keys() | there.keys()) if value.get(part) != there.get(part))
        elif there is not None and _alike(value, there):
            pairs = enumerate(zip(value, there, strict=True), 1)
            yield from (f"{name}[{n}].{part}" for n, (mine, theirs) in pairs for part in _of_one(mine, theirs))
        elif value != there:
            yield f"{name}{_how_many(value, there)}"


def _of_one(sent: Body, shown: Body) -> Iterator[str]:
    """The fields in which one part of many, such as a line, is another one there."""
    yield from _paths(sent, shown)
    yield from sorted(shown.keys() - sent.keys())


def _alike(value: Any, there: Any) -> bool:
    """Tell whether both are as many parts with fields, such as lines, which can be compared one by one."""
    if not (isinstance(value, list) and isinstance(there, list) and len(value) == len(there)):
        return False
    return all(isinstance(part, dict) for part in (*value, *there))


def _how_many(sent: Any, there: Any) -> str:
    lists = isinstance(sent, list) and isinstance(there, list)
    return f" ({len(there)} for {len(sent)})" if lists and len(sent) != len(there) else ""


def held_otherwise(sent: Body, held: Body) -> str:
    """Name the fields in which a target holds something else than was sent; no value."""
    added = sorted(held.keys() - sent.keys())
    return ", ".join([*_paths(sent, held), *(f"{name} (added)" for name in added)])


def resumed(wanted: Wanted, body: Body, ref: str, tag: str | None) -> Wanted:
    """
    The same subject, now that the target was found to hold something else. If it was this same document that had been sent, the
    coming write is the one that puts it right: after it nothing is written once more.
    """
    write, sent = wanted.write, wanted.write.document
    had, found = write.confirmed, again(wanted, body, ref, tag)
    if sent is None or sent not in write.doubtful or (had is not None and body == had.body):
        return found
    # Of a new document that was sent as it is, what is missing may be still to be written. What is another one is not.
    other = ", ".join(_others(sent.body, body)) if had is None and set(map(pack, write.doubtful)) == {pack(sent)} else ""
    why = f"the target held {other} otherwise after an answer was lost; it was written once more" if other else wanted.why
    return found._replace(repeated=True, why=why)


def _others(sent: Body, held: Body) -> Iterator[str]:
    """The fields of which a target holds another value than was sent, and the lists of which it holds more parts."""
    for name, value in sent.items():
        there = held.get(name)
        if isinstance(value, dict) and isinstance(there, dict):
            yield from (f"{name}.{part}" for part in _others(value, there))
        elif _alike(value, there):
            pairs = enumerate(zip(value, there, strict=True), 1)  # type: ignore[arg-type]
            yield from (f"{name}[{n}].{part}" for n, (mine, theirs) in pairs for part in _others(mine, theirs))
        elif isinstance(value, list) and isinstance(there, list):
            yield from (f"{name}{_how_many(value, there)}" for _ in range(len(there) > len(value)))
        elif there not in (None, "", value):
            yield name


def told_by(reason: str | None) -> str | None:
    """Return what a subject's reason tells of a target that changed its document by itself; None if it tells of none."""
    return reason if reason and _TOLD.match(reason) else None


def once_more(wanted: Wanted, outcome: Outcome) -> Wanted:
    """The same write, which starts from what the target was just seen to hold."""
    write, document = wanted.write, wanted.write.document
    if document is None or not isinstance(outcome, Confirmed) or outcome.body is None:
        raise ValueError("nothing was shown")
    there = Document(document.kind, document.number, outcome.body, document.refers)
    return wanted._replace(
        write=replace(write, confirmed=there, doubtful=(), ref=outcome.ref, tag=outcome.tag, late=False)
    )


def said(wanted: Wanted, found: Altered, first: Outcome, second: Outcome) -> tuple[Wanted, Outcome]:
    """
    Return what came of a document that was written once more, with the finding on it.

    Where the second write was refused or did not leave, the first stays confirmed: it is not tried for ever.
    """
    if isinstance(second, Refused | NotDone):
        return wanted._replace(why=f"{found}, and it could not be put right: {second.reason}"), first
    yet = altered(wanted, second)
    how = "it was written once more" if yet is None else "and did so again when it was written once more"
    return wanted._replace(why=f"{found}; {how}"), second
