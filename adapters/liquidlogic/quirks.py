"""These functions read how Liquidlogic's warehouse writes days, flags, codes and nothing at all."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any, NoReturn

from canonical.errors import BadRecordError, shape_of
from canonical.key import key_of

FIRST, LAST = date(1900, 1, 2), date(2999, 12, 30)
"""
A warehouse writes a day before the first or behind the last of these for an open end or a day that nobody knows, or somebody
mistyped the century. It counts as none.
"""
_NOBODY = -1
_YES = {"Y", "YES", "TRUE", "T", "1"}
_NO = {"N", "NO", "FALSE", "F", "0"}


def bad(column: str, rule: str, value: object, fix: str) -> NoReturn:
    """:raises BadRecordError: always; `column` is `TABLE.COLUMN`, and its value is told by its shape alone."""
    table, _, field = column.partition(".")
    raise BadRecordError(f"liquidlogic {table}", field=field, rule=rule, shape=shape_of(value), fix=fix)


def day(value: Any, column: str) -> date | None:
    """A DATETIME, mostly at midnight, as its day; an answer of a form is text. 1900-01-01 and 9999-12-31 stand for no day."""
    if isinstance(value, str):
        value = _read_day(value.strip(), column)
    found: date | None = value.date() if isinstance(value, datetime) else value
    return found if found is not None and FIRST <= found <= LAST else None


def _read_day(written: str, column: str) -> date | None:
    if not written:
        return None
    try:
        if british := re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4})(?: .*)?", written):
            return date(int(british[3]), int(british[2]), int(british[1]))
        return datetime.fromisoformat(written).date()
    except ValueError:
        bad(column, "is not a date", written, "correct it in Liquidlogic: 2024-05-31 or 31/05/2024")


def text(value: Any) -> str | None:
    """Text without the blanks that pad it; nothing if that is all there is."""
    return None if value is None else str(value).strip() or None


def flag(value: Any, column: str) -> bool | None:
    """Y and N, 1 and 0, in whatever type the column has them."""
    written = (text(value) or "").upper()
    if not written:
        return None
    if written in _YES:
        return True
    if written in _NO:
        return False
    bad(column, "is none of Y, N, 1, 0", value, "correct the flag in Liquidlogic")


def reference(source: str, entity: str, value: Any) -> str | None:
    """The key of another record, None where HDM says -1 or nothing."""
    return None if value is None or int(value) == _NOBODY else key_of(source, entity, int(value))


def identifier(value: Any) -> str | None:
    """A number that HDM gave something, None where it says -1 or nothing."""
    return None if value is None or int(value) == _NOBODY else str(int(value))


def leading_code(value: Any, pattern: str) -> str | None:
    """
    The code that a description begins with, e.g. `F2` of "F2 - Full time in education"; None if it begins with none.

    A code of one letter stands alone or before a dash, colon, full stop or bracket, so that "A flat" has none.
    """
    written = text(value) or ""
    found = re.match(rf"({pattern})(?=\s*$|\s*[-–:.)]|\s)", written, re.IGNORECASE)
    if found is None or (len(found[1]) == 1 and not re.match(r".(\s*$|\s*[-–:.)])", written)):
        return None
    return found[1].upper()
