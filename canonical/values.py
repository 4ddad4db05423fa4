"""
Value types that check themselves: a value that holds is well-formed, one that does not says which rule it broke.

The rules: NHS number (NHS Data Dictionary, modulus 11), UPN (DfE, Unique Pupil Numbers guidance), NINO (HMRC NIM39110),
UPRN (GeoPlace), VAT number (HMRC), postcode (Royal Mail PAF; `ZZ99…` are the ONS pseudo-codes), sort code (Pay.UK).
Check digits come from python-stdnum, but for the NHS number's: that one is worked out for every row that names a person.
No message repeats the value. The exported schema gives each its pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import ROUND_DOWN, Decimal
from operator import mul
from string import ascii_uppercase
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema
from stdnum.exceptions import InvalidChecksum, InvalidComponent, InvalidFormat, InvalidLength, ValidationError
from stdnum.gb import vat

_WHY = {
    InvalidLength: "has the wrong length",
    InvalidFormat: "has characters where they may not stand",
    InvalidChecksum: "has a wrong check digit",
    InvalidComponent: "has a part that was never issued",
}


def _checked(name: str, validate: Callable[[str], str]) -> Callable[[str], str]:
    def check(value: str) -> str:
        try:
            return validate(value)
        except ValidationError as error:
            why = next((text for kind, text in _WHY.items() if isinstance(error, kind)), "is not valid")
            raise ValueError(f"{name} {why}") from None

    return check


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value  # legacy columns are blank-padded


def _written(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern})


def _joined(value: str) -> str:
    """A text without its blanks, of whatever kind."""
    return "".join(value.split())


def _ascii_digits(value: str) -> bool:
    return value.isascii() and value.isdigit()


def _nhs_number(value: str) -> str:
    digits = _joined(value.replace("-", ""))
    if not _ascii_digits(digits):
        raise InvalidFormat
    if len(digits) != 10:
        raise InvalidLength
    if sum(map(mul, _NHS_WEIGHTS, digits.encode())) % 11:
        raise InvalidChecksum
    if digits == digits[0] * 10:  # ten equal digits have a right check digit, and stand for "not known"
        raise InvalidComponent
    return digits


_NHS_WEIGHTS = range(10, 0, -1)
"""The check digit's weight is 1. The weights make 55, so that it is all one whether 0 counts as 0 or as its character's 48."""


def _upn(value: str) -> str:
    # Not stdnum's validate: its authorities are those of 2011, and Wales issues UPNs as well.
    written = _joined(value).upper()
    if len(written) != 13:
        raise InvalidLength
    if not _UPN.fullmatch(written):
        raise InvalidFormat
    # A temporary one's last character counts like a digit: its place in the alphabet of check letters.
    if _UPN_LETTERS[sum(map(mul, _UPN_WEIGHTS, map(_UPN_VALUES.__getitem__, written[1:]))) % 23] != written[0]:
        raise InvalidChecksum
    return written


_UPN_LETTERS = sorted(set(ascii_uppercase) - set("IOS"))
_UPN_VALUES = {character: value for value, character in enumerate("0123456789")} | {
    letter: value for value, letter in enumerate(_UPN_LETTERS)
}
_UPN_WEIGHTS = range(2, 14)
_UPN = re.compile("[A-HJ-NP-RT-Z][0-9]{11}[A-HJ-NP-RT-Z0-9]")


def _vat_number(value: str) -> str:
    return str(vat.validate(value))


def _nino(value: str) -> str:
    joined = _joined(value).upper()
    if not _NINO.fullmatch(joined):
        raise ValueError("NINO is not of two letters that HMRC uses, six digits and A, B, C or D")
    return joined


_NINO = re.compile("(?!BG|GB|NK|KN|TN|NT|ZZ)[ABCEGHJ-PRSTW-Z][ABCEGHJ-NPRSTW-Z][0-9]{6}[A-D]")


def _sort_code(value: str) -> str:
    digits = _joined(value.replace("-", ""))
    if not _ascii_digits(digits) or len(digits) != 6:
        raise ValueError("sort code is not of six digits")
    return digits


def _postcode(value: str) -> str:
    joined = _joined(value).upper()
    if not _POSTCODE.fullmatch(joined):
        raise ValueError("postcode is not of a form that Royal Mail uses")
    return f"{joined[:-3]} {joined[-3:]}"


# Area and district, then sector and unit; the unit never has C I K M O V. GIR 0AA is Girobank's own; the ONS
# pseudo-codes (ZZ99 3CZ: England, no fixed abode or not known) keep to none of that.
_POSTCODE = re.compile(
    r"(GIR0AA|ZZ99[0-9][A-Z]{2}|[A-PR-UWYZ]([0-9]{1,2}|[A-HK-Y][0-9]{1,2}|[0-9][A-HJKPS-UW]|[A-HK-Y][0-9][A-Z])[0-9][ABD-HJLNP-UW-Z]{2})"
)


def _uprn(value: str) -> str:
    digits = value.lstrip("0")
    if not _ascii_digits(digits) or len(digits) > 12:
        raise ValueError("UPRN is not of up to 12 digits")
    return digits


def _amount(value: Decimal) -> Decimal:
    pennies = value.quantize(_PENNY, ROUND_DOWN)
    if pennies != value:
        raise ValueError("amount has parts of a penny")
    if abs(pennies) >= _TOO_MUCH:
        raise ValueError("amount has more than 16 digits before the point")
    return pennies + _ZERO  # no minus zero


_PENNY, _ZERO = Decimal("0.01"), Decimal(0)
_TOO_MUCH = Decimal(10) ** 16


def _quantity(value: Decimal) -> Decimal:
    if value < 0:
        raise ValueError("quantity is below zero")
    exact = value.quantize(Decimal("0.0001"), ROUND_DOWN)
    if exact != value:
        raise ValueError("quantity has more than four digits behind the point")
    if exact >= _TOO_MANY:
        raise ValueError("quantity has more than 12 digits before the point")
    plain = exact.normalize() + Decimal(0)  # no minus zero, and 7.50 is 7.5
    return plain.quantize(Decimal(1)) if plain == plain.to_integral_value() else plain  # 100, not 1E+2


_TOO_MANY = Decimal(10) ** 12


def _dated(value: Any) -> Any:
    # pydantic would take a number for seconds since 1970, and 20240331 or a cell of a spreadsheet is none.
    if isinstance(value, date):
        return value
    if isinstance(value, str) and (written := value.strip())[4:5] == "-":
        return written
    raise ValueError("date is not of the form YYYY-MM-DD")


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("time has no zone")
    return value.astimezone(UTC)


NHSNumber = Annotated[
    str, BeforeValidator(_stripped), AfterValidator(_checked("NHS number", _nhs_number)), _written("^[0-9]{10}$")
]
"""Ten digits, modulus 11, blanks and dashes taken out. 999… was never issued and is taken: test patients have it."""
UPN = Annotated[
    str,
    BeforeValidator(_stripped),
    AfterValidator(_checked("UPN", _upn)),
    _written("^[A-HJ-NP-RT-Z][0-9]{11}[A-HJ-NP-RT-Z0-9]$"),
]
"""A check letter and twelve characters, upper case; a temporary one ends with a letter."""
VATNumber = Annotated[
    str,
    BeforeValidator(_stripped),
    AfterValidator(_checked("VAT number", _vat_number)),
    _written("^([0-9]{9}|[0-9]{12}|(GD|HA)([0-9]{3}|8888[0-9]{5}))$"),
]
"""Nine or twelve digits (or GD/HA and three), without the country's GB."""
NINO = Annotated[
    str,
    BeforeValidator(_stripped),
    AfterValidator(_nino),
    _written("^[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][0-9]{6}[A-D]$"),
]
"""Two letters, six digits, A to D; no blanks, upper case."""
UPRN = Annotated[str, BeforeValidator(_stripped), AfterValidator(_uprn), _written("^[1-9][0-9]{0,11}$")]
"""Up to twelve digits, kept as text; leading zeros are no part of it."""
Postcode = Annotated[
    str, BeforeValidator(_stripped), AfterValidator(_postcode), _written("^[A-Z]{1,3}[0-9]{0,2}[A-Z]? [0-9][A-Z]{2}$")
]
"""Upper case, one space before the last three characters."""
SortCode = Annotated[str, BeforeValidator(_stripped), AfterValidator(_sort_code), _written("^[0-9]{6}$")]
"""Six digits, without the dashes."""
Amount = Annotated[
    Decimal,
    Field(allow_inf_nan=False, max_digits=18),
    AfterValidator(_amount),
    _written(r"^-?(0|[1-9][0-9]{0,15})\.[0-9]{2}$"),
]
"""Money to the penny, never a float's rounding; the currency stands beside it."""
Quantity = Annotated[
    Decimal,
    Field(allow_inf_nan=False, max_digits=18),
    AfterValidator(_quantity),
    _written(r"^(0|[1-9][0-9]{0,11})(\.[0-9]{0,3}[1-9])?$"),
]
"""How many or how much of something, such as hours or a share of full time: not below zero, to four digits behind the point."""
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
"""ISO 4217."""
Instant = Annotated[datetime, AfterValidator(_aware)]
"""A moment with its zone, kept in UTC."""
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
"""A text that people wrote, blanks round it taken off. No canonical JSON holds a control character but tabs and lines' ends."""
Code = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
"""A code of a published or local list, blanks round it taken off."""
Day = Annotated[date, BeforeValidator(_dated)]
"""A calendar day; a time at midnight is its day, a number is none."""
