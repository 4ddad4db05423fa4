"""
Maps one row to its entity, whatever the row holds and whatever the mapping does with it.

A mapping meets values that it was not written for. Any exception of it is the one row's: the row is quarantined, named by the
exception's type and place, and the next row goes on. Flows hold to the same rule (`flows.engine.draft`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from pydantic import ValidationError

from adapters.engine.blot import fault
from adapters.port import PurgedRow, Record, Row, Stream, UnreadRow
from canonical import Entity
from canonical.errors import BadRecordError, UntoldError, ends_us, named


class Made(NamedTuple):
    """
    A row's entity, as canonical JSON, and the fingerprint of its content (see `fingerprint_of`). `left_out` says which soft
    fields it lacks because their values are at fault.
    """

    key: str
    owner: str
    kind: type[Entity]
    data: bytes
    fingerprint: bytes
    left_out: BadRecordError | None = None


def mapped(stream: Stream, record: Record) -> Made:
    """Map a row; whatever its mapping raises is raised."""
    if type(record.row) is UnreadRow:
        fix = "correct it in the source"
        raise BadRecordError(record.key, field=record.row.field, rule=record.row.rule, shape="not read", fix=fix)
    if type(record.row) is PurgedRow:
        rule = "is purged: its system has kept the key alone"
        raise UntoldError(record.key, field="the row", rule=rule, shape="not read", fix="nothing: the record stays as it is")
    try:
        return _made(stream, record.row)
    except BaseException as error:
        if ends_us(error):
            raise
        # Old systems fill a column up with NULs. Without them the row may say something, or say that a field is empty.
        return _made_or_softened(stream, record.key, _plain(record.row))


def mapped_or_bad(where: str, stream: Stream, record: Record) -> Made:
    """:raises BadRecordError: the row cannot be mapped; says the field and the rule, never the value."""
    try:
        return mapped(stream, record)
    except (BadRecordError, ValidationError) as error:
        raise fault(where, error, record.row) from None
    except BaseException as error:
        if ends_us(error):
            raise
        raise _mistake(where, error) from None


def _made(stream: Stream, row: Row) -> Made:
    return _of(stream.map(row))


def _made_or_softened(stream: Stream, where: str, row: Row) -> Made:
    try:
        return _made(stream, row)
    except BaseException as error:
        if ends_us(error) or stream.softly is None or (softened := stream.softly(row)) is None:
            raise
    return _of(softened.entity)._replace(left_out=_left_out(where, softened.left_out))


def _left_out(where: str, faults: Sequence[BadRecordError]) -> BadRecordError:
    """Say all that a record lacks as one error."""
    told = zip(*[(fault.field, fault.rule, fault.shape) for fault in faults], strict=True)
    fields, rules, shapes = (", ".join(dict.fromkeys(each)) for each in told)
    fix = "correct it in the source; the record is published without it"
    return BadRecordError(where, field=fields, rule=f"is left out: {rules}", shape=shapes, fix=fix)


def _of(entity: Entity) -> Made:
    data = entity.to_bytes()
    return Made(entity.key, entity.owner, type(entity), data, fingerprint_of(data))


def fingerprint_of(data: bytes) -> bytes:
    """
    Digest an entity's canonical JSON without its own key: a warehouse may number its rows anew, and what they say is the same.
    """
    digest = _BLANK.copy()  # a fifth faster than to make one
    digest.update(data[data.index(b'"', _KEY_AT) :] if data.startswith(_KEY) else data)
    return digest.digest()


def whole_fingerprint_of(data: bytes) -> bytes:
    """Digest it with its key, as releases before this one did: what they remember is still known."""
    return blake2b(data, digest_size=16).digest()


_BLANK = blake2b(digest_size=16)
_KEY = b'{"key":"'  # every entity's first field; no key has a quotation mark
_KEY_AT = len(_KEY)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def _plain(value: Any) -> Any:
    """The row without control characters in its texts, but for tabs and the ends of lines."""
    if isinstance(value, str):
        return _CONTROLS.sub("", value)
    return tuple(map(_plain, value)) if type(value) is tuple else value


def _mistake(where: str, error: BaseException) -> BadRecordError:
    kind, _, place = named(error).partition(" at ")
    return BadRecordError(
        where,
        field=f"the mapping ({place})",
        rule=f"failed with {kind}",
        shape="a row",
        fix="mend the adapter's mapping; the row is read again with the next edition of its code",
    )
