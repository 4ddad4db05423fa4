"""The columns that several tables of Academy have in common, and how its addresses are read."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from sqlalchemy import DateTime, Integer, SmallInteger, String

from canonical.people import Address

Number = Annotated[int, Integer()]
Small = Annotated[int | None, SmallInteger()]
Moment = Annotated[date | None, DateTime()]
"""A timestamp, as its day; some copies keep it as text."""
Line32 = Annotated[str | None, String(32)]
Line35 = Annotated[str | None, String(35)]
Postcode8 = Annotated[str | None, String(8)]
Postcode10 = Annotated[str | None, String(10)]
Uprn = Annotated[str | None, String(12)]


def address(*lines: str | None, postcode: str | None, uprn: str | None = None) -> Address | None:
    """An address in four lines; None if nothing of it is written."""
    written = tuple(line for line in lines if line)
    return Address(lines=written, postcode=postcode, uprn=uprn) if written or postcode or uprn else None
