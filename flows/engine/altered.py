"""Finds what a target changed by itself while it confirmed a document: a line more, a rounded amount, a text cut short."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from flows.engine.settle import Wanted
from flows.port import Body, Confirmed, Document, NotDone, Outcome, Refused


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
        elif value != there:
            yield f"{name}{_how_many(value, there)}"


def _how_many(sent: Any, there: Any) -> str:
    lists = isinstance(sent, list) and isinstance(there, list)
    return f" ({len(there)} for {len(sent)})" if lists and len(sent) != len(there) else ""


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
    What came of a document that was written once more, with the finding on it.

    Where the second write was refused or did not leave, the first stays confirmed: it is not tried for ever.
    """
    if isinstance(second, Refused | NotDone):
        return wanted._replace(why=f"{found}, and it could not be put right: {second.reason}"), first
    yet = altered(wanted, second)
    how = "it was written once more" if yet is None else "and did so again when it was written once more"
    return wanted._replace(why=f"{found}; {how}"), second
