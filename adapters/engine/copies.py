"""
Copies of extracts: the same content under another name is not read, so that payments without a number are not doubled.

The state marks such a name with `COPY` before the digest. A copy counts as an extract that shares records: what its twin no
longer holds is looked for in it. While records live that the newest file of a name lacks, because it was refused or the guard
holds it back, the state keeps the digest of their file behind the newest one (`LATE`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from adapters.engine.journal import Seen

if TYPE_CHECKING:
    from adapters.engine.extracts import Lying

COPY, LATE = b"=", b"!"
_SIZE = 12  # bytes of an extract's digest
_NOTHING = bytes(_SIZE)


class Twin(NamedTuple):
    """The extract that another one is a copy of, by name. `was`: it was one, and its content is another one now."""

    name: str
    was: bool = False


def is_copy(seen: Seen | None) -> bool:
    """Tell whether the state knows an extract as a copy of another one."""
    return seen is not None and (seen.digest or b"").startswith(COPY) and len(seen.digest or b"") == _SIZE + 1


def newest(seen: Seen) -> bytes | None:
    """Return the digest of the extract's newest file, if it was read or refused."""
    digest = seen.digest
    return digest[1 : _SIZE + 1] if digest is not None and len(digest) > _SIZE + 1 else digest


def held(seen: Seen) -> bytes | None:
    """Return the digest of the file that the extract's records are of; None if it is a copy, or was never read whole."""
    if seen.digest is None or is_copy(seen):
        return None
    return seen.digest[-_SIZE:]


def late(digest: bytes | None, former: bytes | None) -> bytes | None:
    """Put together the digest of the newest file and that of the file that the records are still of."""
    return digest if former in (None, digest) else LATE + (digest or _NOTHING) + (former or b"")


def marked(lying: Lying, sweep: int) -> Seen:
    """The mark that the state keeps of a copy."""
    return Seen(COPY + lying.digest, -sweep)


def twin(lying: Lying, seen: Mapping[str, Seen]) -> Twin | None:
    """The extract that this one is, or was, a copy of: one that was read with this content, or lies ready and is older."""
    name = lying.extract.name
    own = seen.get(name)
    if own is not None and lying.digest in (newest(own), held(own)):
        return None
    read = {held(had): other for other, had in seen.items() if other != name}
    if lying.digest in read:
        return Twin(read[lying.digest])
    ready = [e for e in (*lying.older, *(lying.newer if is_copy(own) else ())) if not is_copy(seen.get(e.name))]
    if same := [e.name for e in ready if e.digest == lying.extract.digest]:
        return Twin(same[0])
    former = read.get((own.digest or b"").removeprefix(COPY)) if own is not None and is_copy(own) else None
    # While the twin lies there, the file was surely named so by mistake, and has its own content now.
    return Twin(former, was=True) if former is not None and former not in lying.others else None
