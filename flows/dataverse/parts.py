"""Columns that contacts and accounts share: an address, and how somebody is reached."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Final

from canonical.people import Address, ContactPoint
from flows.kit.plain import plain
from flows.port import Body

# The longest texts that the columns take (Common Data Model: Contact, Account and Address).
_LINE, _CITY, _POSTCODE, _PHONE, _EMAIL = 250, 80, 20, 50, 100

ACTIVE: Final = {"statecode": 0, "statuscode": 1}
INACTIVE: Final = {"statecode": 1, "statuscode": 2}
"""State and status of a contact or an account: they are always sent together."""


def cut(text: str | None, length: int) -> str | None:
    """A text as long as its column takes; None for an empty one."""
    return (text or "")[:length].strip() or None


def reached(addresses: Iterable[Address], contacts: Iterable[ContactPoint]) -> Body:
    """The columns of the address that has not ended, of the first telephone number and of the first e-mail address."""
    points = list(contacts)
    phone, email = _first(points, "phone", _PHONE), _first(points, "email", _EMAIL)
    return plain({"telephone1": phone, "emailaddress1": email, **dict(_address(addresses))})


def _first(points: Iterable[ContactPoint], system: str, length: int) -> str | None:
    """A value that is too long is left out: cut short it would be another one."""
    fits = (each.value for each in points if each.system == system and len(each.value) <= length)
    return next((value for value in fits if system != "email" or re.fullmatch(r"[^@\s]+@[^@\s]+", value)), None)


def _address(addresses: Iterable[Address]) -> Iterator[tuple[str, str | None]]:
    current = [each for each in addresses if each.end_date is None]
    if not current:
        return
    chosen = max(current, key=lambda each: each.start_date or date.min)
    lines = (*chosen.lines[:2], ", ".join(chosen.lines[2:]))
    yield from ((f"address1_line{number}", cut(line, _LINE)) for number, line in enumerate(lines, 1))
    yield "address1_city", cut(chosen.town, _CITY)
    yield "address1_postalcode", cut(chosen.postcode, _POSTCODE)
