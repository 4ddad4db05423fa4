"""
Copies of extracts: the same content under another name is not read, so that payments without a number are not doubled.

The state marks such a name with `COPY` before the digest. A copy counts as an extract that shares records: what its twin no
longer holds is looked for in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from adapters.engine.extracts import Lying
from adapters.engine.journal import Seen

COPY = b"="


class Twin(NamedTuple):
    """The extract that another one is a copy of, by name. `was`: it was one, and its content is another one now."""

    name: str
    was: bool = False


def is_copy(seen: Seen | None) -> bool:
    """Whether the state knows an extract as a copy of another one."""
    return seen is not None and (seen.digest or b"").startswith(COPY) and len(seen.digest or b"") > 12


def marked(lying: Lying, sweep: int) -> Seen:
    """The mark that the state keeps of a copy."""
    return Seen(COPY + lying.digest, -sweep)


def twin(lying: Lying, seen: Mapping[str, Seen]) -> Twin | None:
    """The extract that this one is, or was, a copy of: one that was read with this content, or lies ready and is older."""
    name = lying.extract.name
    own = seen.get(name)
    if own is not None and own.digest == lying.digest:
        return None
    read = {had.digest: other for other, had in seen.items() if other != name and not is_copy(had)}
    if lying.digest in read:
        return Twin(read[lying.digest])
    ready = [*lying.older, *(e for e in lying.newer if is_copy(own) and not is_copy(seen.get(e.name)))]
    if same := [e.name for e in ready if e.digest == lying.extract.digest]:
        return Twin(same[0])
    former = read.get((own.digest or b"").removeprefix(COPY)) if own is not None and is_copy(own) else None
    # While the twin lies there, the file was surely named so by mistake, and has its own content now.
    lies = {e.name for e in (*lying.older, *lying.newer)}
    return Twin(former, was=True) if former is not None and former not in lies else None
