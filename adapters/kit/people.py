"""These functions read how systems write about people: addresses in one text, telephones, numbers of other systems, codes."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from canonical.errors import BadRecordError, shape_of
from canonical.people import ContactPoint, Identifier, Sex

_NO_STREETS = {"NOT FOUND", "UNKNOWN", "NO FIXED ABODE"}
"""People write these into the address when there is none."""


def sex_of(code: str | None, male: Collection[str] = ("M",), female: Collection[str] = ("F",)) -> Sex:
    """A person's sex; any other code (I for indeterminate, U, nothing) is not known."""
    written = (code or "").upper()
    return Sex.MALE if written in male else Sex.FEMALE if written in female else Sex.UNKNOWN


def address_lines(written: str | None, postcode: str | None) -> tuple[str, ...]:
    """The lines of an address that is one text with commas, without its postcode."""
    lines = [line for each in (written or "").split(",") if (line := each.strip()) and line.upper() not in _NO_STREETS]
    code = (postcode or "").upper().replace(" ", "")
    return tuple([line for line in lines if line.upper().replace(" ", "") != code])


def identifiers_of(numbers: Iterable[tuple[str | None, str | None]]) -> tuple[Identifier, ...]:
    """A person's numbers in other systems, each with the system's name, as far as they are there."""
    return tuple([Identifier(system=system or "other", value=value) for system, value in numbers if value])


def contacts_of(telephones: Iterable[tuple[str | None, str | None]], email: str | None) -> tuple[ContactPoint, ...]:
    """A person's telephone numbers, each with its use, and the address for mail."""
    phones = [ContactPoint(system="phone", value=number, use=use) for number, use in telephones if number]
    return (*phones, *([ContactPoint(system="email", value=email)] if email else []))


def looked_up(where: str, field: str, local: str | None, national: str | None, rule: str, fix: str) -> str | None:
    """
    The national code that a lookup table gives for a local one.

    :raises BadRecordError: it gives none; the local code is told by its shape alone.
    """
    if local is not None and national is None:
        raise BadRecordError(where, field=field, rule=rule, shape=shape_of(local), fix=fix)
    return None if local is None else national
