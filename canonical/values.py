"""
Value types that check themselves: a value that holds is well-formed, one that does not says which rule it broke.

The rules: NHS number (NHS Data Dictionary, modulus 11), UPN (DfE, Unique Pupil Numbers guidance), NINO (HMRC NIM39110),
UPRN (GeoPlace), VAT number (HMRC), postcode (Royal Mail PAF; `ZZ99…` are the ONS pseudo-codes), sort code (Pay.UK).
Check digits come from python-stdnum. No message repeats the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import ROUND_DOWN, Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from stdnum.exceptions import InvalidChecksum, InvalidComponent, InvalidFormat, InvalidLength, ValidationError
from stdnum.gb import nhs, upn, vat

_WHY = {
    InvalidLength: "has the wrong length",
    InvalidFormat: "has characters where they may not stand",
    InvalidChecksum: "has a wrong check digit",
    InvalidComponent: "has a part that was never issued",
}


def _checked(name: str, validate: Callable[[str], str]) -> Callable[[str], str]:
    def check(value: str) -> str:
        try:
            return str(validate(value))
        except ValidationError as error:
            why = next((text for kind, text in _WHY.items() if isinstance(error, kind)), "is not valid")
            raise ValueError(f"{name} {why}") from None

    return check


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value  # legacy columns are blank-padded


def _pattern(name: str, rule: str, tidy: Callable[[str], str] = str) -> Callable[[str], str]:
    compiled = re.compile(rule)

    def check(value: str) -> str:
        tidied = tidy(value)
        if not compiled.fullmatch(tidied):
            raise ValueError(f"{name} is not of the form {rule}")
        return tidied

    return check


def _postcode(value: str) -> str:
    joined = re.sub(r"\s+", "", value).upper()
    if not _POSTCODE.fullmatch(joined):
        raise ValueError("postcode is not of a form that Royal Mail uses")
    return f"{joined[:-3]} {joined[-3:]}"


# Area and district, then sector and unit; the unit never has C I K M O V. GIR 0AA is Girobank's own.
_POSTCODE = re.compile(
    r"(GIR0AA|[A-PR-UWYZ]([0-9]{1,2}|[A-HK-Y][0-9]{1,2}|[0-9][A-HJKPS-UW]|[A-HK-Y][0-9][A-Z])[0-9][ABD-HJLNP-UW-Z]{2})"
)


def _uprn(value: str) -> str:
    digits = value.lstrip("0")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 12:
        raise ValueError("UPRN is not of up to 12 digits")
    return digits


def _amount(value: Decimal) -> Decimal:
    pennies = value.quantize(Decimal("0.01"), ROUND_DOWN)
    if pennies != value:
        raise ValueError("amount has parts of a penny")
    return pennies + Decimal(0)  # no minus zero


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("time has no zone")
    return value.astimezone(UTC)


NHSNumber = Annotated[str, BeforeValidator(_stripped), AfterValidator(_checked("NHS number", nhs.validate))]
"""Ten digits, modulus 11, blanks and dashes taken out."""
UPN = Annotated[str, BeforeValidator(_stripped), AfterValidator(_checked("UPN", upn.validate))]
"""A check letter and twelve characters, upper case."""
VATNumber = Annotated[str, BeforeValidator(_stripped), AfterValidator(_checked("VAT number", vat.validate))]
"""Nine or twelve digits (or GD/HA and three), without the country's GB."""
NINO = Annotated[
    str,
    BeforeValidator(_stripped),
    AfterValidator(
        _pattern(
            "NINO",
            r"(?!BG|GB|NK|KN|TN|NT|ZZ)[ABCEGHJ-PRSTW-Z][ABCEGHJ-NPRSTW-Z][0-9]{6}[A-D]",
            lambda v: re.sub(r"\s+", "", v).upper(),
        )
    ),
]
UPRN = Annotated[str, BeforeValidator(_stripped), AfterValidator(_uprn)]
"""Up to twelve digits, kept as text; leading zeros are no part of it."""
Postcode = Annotated[str, BeforeValidator(_stripped), AfterValidator(_postcode)]
"""Upper case, one space before the last three characters."""
SortCode = Annotated[
    str,
    BeforeValidator(_stripped),
    AfterValidator(_pattern("sort code", r"[0-9]{6}", lambda v: re.sub(r"[\s-]", "", v))),
]
Amount = Annotated[Decimal, Field(allow_inf_nan=False, max_digits=18), AfterValidator(_amount)]
"""Money to the penny, never a float's rounding; the currency stands beside it."""
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
"""ISO 4217."""
Instant = Annotated[datetime, AfterValidator(_aware)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
Code = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
"""A code of a published or local list, blanks round it taken off."""
Day = date
