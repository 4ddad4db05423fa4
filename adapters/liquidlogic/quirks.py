"""These functions read how Liquidlogic's warehouse writes references, codes and the days in its forms."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import NoReturn

from canonical.errors import BadRecordError, shape_of
from canonical.key import key_of

FIRST, LAST = date(1900, 1, 2), date(2999, 12, 30)
"""
A warehouse writes a day before the first or behind the last of these for an open end or a day that nobody knows, or somebody
mistyped the century. It counts as none.
"""
_NOBODY = -1


def bad(column: str, rule: str, value: object, fix: str) -> NoReturn:
    """:raises BadRecordError: always; `column` is `TABLE.COLUMN`, and its value is told by its shape alone."""
    table, _, field = column.partition(".")
    raise BadRecordError(f"liquidlogic {table}", field=field, rule=rule, shape=shape_of(value), fix=fix)


def answered_day(answer: str | None, column: str) -> date | None:
    """The day that was answered in a form, where it is text: 2024-05-31 or 31/05/2024. Some stand for no day."""
    found = None if answer is None else _read_day(answer, column)
    return found if found is not None and FIRST <= found <= LAST else None


def _read_day(written: str, column: str) -> date:
    try:
        if british := re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4})(?: .*)?", written):
            return date(int(british[3]), int(british[2]), int(british[1]))
        return datetime.fromisoformat(written).date()
    except ValueError:
        bad(column, "is not a date", written, "correct it in Liquidlogic: 2024-05-31 or 31/05/2024")


def reference(source: str, entity: str, value: int | None) -> str | None:
    """The key of another record, None where HDM says -1 or nothing."""
    return None if value is None or value == _NOBODY else key_of(source, entity, value)


def identifier(value: int | None) -> str | None:
    """A number that HDM gave something, None where it says -1 or nothing."""
    return None if value is None or value == _NOBODY else str(value)


def leading_code(value: str | None, pattern: str) -> str | None:
    """
    The code that a description begins with, e.g. `F2` of "F2 - Full time in education"; None if it begins with none.

    A code of one letter stands alone or before a dash, colon, full stop or bracket, so that "A flat" has none.
    """
    written = value or ""
    found = re.match(rf"({pattern})(?=\s*$|\s*[-–:.)]|\s)", written, re.IGNORECASE)
    if found is None or (len(found[1]) == 1 and not re.match(r".(\s*$|\s*[-–:.)])", written)):
        return None
    return found[1].upper()
