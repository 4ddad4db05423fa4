"""The value types: what they take, how they tidy it, which rule they name, and that they never repeat a value."""

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from string import ascii_uppercase
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model
from stdnum.gb import nhs as stdnum_nhs
from stdnum.gb import upn as stdnum_upn

from canonical import values
from canonical.entity import bad_record

TYPES: dict[str, Any] = {
    name: getattr(values, name)
    for name in ("NHSNumber", "UPN", "VATNumber", "NINO", "UPRN", "Postcode", "SortCode", "Amount", "Currency")
} | {name: getattr(values, name) for name in ("Instant", "Text", "Code", "Day", "Quantity")}

HELD = [
    ("NHSNumber", "9434765919", "9434765919"),
    ("NHSNumber", " 943 476 5919 ", "9434765919"),
    ("NHSNumber", "943-476-5919", "9434765919"),
    ("NHSNumber", "9990548609", "9990548609"),  # 999… is for test patients
    ("UPN", "B801200005001", "B801200005001"),
    ("UPN", "  b801200005001   ", "B801200005001"),
    ("UPN", "B8012 0000 5001", "B801200005001"),
    ("VATNumber", "GB 980 7806 84", "980780684"),
    ("VATNumber", "980780684", "980780684"),
    ("VATNumber", "980780684001", "980780684001"),
    ("VATNumber", "gd001", "GD001"),
    ("VATNumber", "HA500", "HA500"),
    ("NINO", "AB123456C", "AB123456C"),
    ("NINO", " ab 12 34 56 c ", "AB123456C"),
    ("UPRN", "100012345678", "100012345678"),
    ("UPRN", "000012345678", "12345678"),
    ("UPRN", "00100012345678  ", "100012345678"),
    ("Postcode", "TF1 1AA", "TF1 1AA"),
    ("Postcode", "sy26nd", "SY2 6ND"),
    ("Postcode", "  SW1A   2AA ", "SW1A 2AA"),
    ("Postcode", "M1 1AE", "M1 1AE"),
    ("Postcode", "B33 8TH", "B33 8TH"),
    ("Postcode", "W1A 0AX", "W1A 0AX"),
    ("Postcode", "EC1A 1BB", "EC1A 1BB"),
    ("Postcode", "DN55 1PT", "DN55 1PT"),
    ("Postcode", "gir 0aa", "GIR 0AA"),
    ("Postcode", "ZZ993CZ", "ZZ99 3CZ"),  # England, no fixed abode
    ("Postcode", "ZZ99 3VZ", "ZZ99 3VZ"),  # no trace of any address
    ("SortCode", "12-34-56", "123456"),
    ("SortCode", "12 34 56", "123456"),
    ("Amount", "12.5", Decimal("12.50")),
    ("Amount", 7, Decimal("7.00")),
    ("Amount", 0.1, Decimal("0.10")),
    ("Amount", Decimal("-0.00"), Decimal("0.00")),
    ("Amount", "9999999999999999.99", Decimal("9999999999999999.99")),
    ("Quantity", "7.50", Decimal("7.5")),
    ("Quantity", 0.6, Decimal("0.6")),
    ("Quantity", "-0.0", Decimal(0)),
    ("Quantity", "1E+2", Decimal(100)),
    ("Quantity", "999999999999.9999", Decimal("999999999999.9999")),
    ("Currency", "GBP", "GBP"),
    ("Instant", datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), datetime(2026, 1, 1, tzinfo=UTC)),
    ("Text", "  Ann  ", "Ann"),
    ("Code", " N4   ", "N4"),
    ("Day", "2024-02-29", date(2024, 2, 29)),
    ("Day", " 2024-02-29 ", date(2024, 2, 29)),
    ("Day", date(2024, 2, 29), date(2024, 2, 29)),
    ("Day", datetime(2024, 2, 29), date(2024, 2, 29)),  # noqa: DTZ001 (a DATETIME column has no zone)
]

BROKEN = [
    ("NHSNumber", "943476591", "NHS number has the wrong length"),
    ("NHSNumber", "94347659190", "NHS number has the wrong length"),
    ("NHSNumber", "943476591X", "NHS number has characters where they may not stand"),
    ("NHSNumber", "٩٤٣٤٧٦٥٩١٩", "NHS number has characters where they may not stand"),
    ("NHSNumber", "", "NHS number has characters where they may not stand"),
    ("NHSNumber", "9434765918", "NHS number has a wrong check digit"),
    ("NHSNumber", "0000000000", "NHS number has a part that was never issued"),
    ("UPN", "B80120000500", "UPN has the wrong length"),
    ("UPN", "B8012000050011", "UPN has the wrong length"),
    ("UPN", "B80120000A001", "UPN has characters where they may not stand"),
    ("UPN", "I801200005001", "UPN has characters where they may not stand"),
    ("UPN", "B80120000500S", "UPN has characters where they may not stand"),
    ("UPN", "A801200005001", "UPN has a wrong check digit"),
    ("VATNumber", "98078068", "VAT number has the wrong length"),
    ("VATNumber", "98078068X", "VAT number has characters where they may not stand"),
    ("VATNumber", "980780685", "VAT number has a wrong check digit"),
    ("VATNumber", "GD700", "VAT number has a part that was never issued"),
    *[
        ("NINO", nino, "NINO is not of two letters that HMRC uses, six digits and A, B, C or D")
        for nino in (
            "AB123456",
            "AB123456E",
            "DB123456A",
            "AO123456A",
            "GB123456A",
            "TN123456B",
            "ZZ123456C",
            "AB12345C",
        )
    ],
    *[
        ("UPRN", uprn, "UPRN is not of up to 12 digits")
        for uprn in ("", "0", "1234567890123", "12345A", "١٢٣", "-1", "1.0")
    ],
    *[
        ("Postcode", postcode, "postcode is not of a form that Royal Mail uses")
        for postcode in ("", "TF1", "TF1 1A", "QF1 1AA", "TF1 1CA", "TF111 1AA", "T1F1 1AA", "ZZ98 3CZ", "UNKNOWN")
    ],
    *[("SortCode", code, "sort code is not of six digits") for code in ("12345", "1234567", "12345A", "١٢٣٤٥٦")],
    ("Amount", "12.345", "amount has parts of a penny"),
    ("Amount", 0.1 + 0.2, "amount has parts of a penny"),
    ("Amount", "12345678901234567", "amount has more than 16 digits before the point"),
    ("Amount", "1e17", "amount has more than 16 digits before the point"),
    ("Amount", "1234567890123456789", "Decimal input should have no more than 18 digits in total"),
    ("Amount", "NaN", "Input should be a finite number"),
    ("Amount", "twelve", "Input should be a valid decimal"),
    ("Quantity", "-1", "quantity is below zero"),
    ("Quantity", "0.00001", "quantity has more than four digits behind the point"),
    ("Quantity", 0.1 + 0.2, "quantity has more than four digits behind the point"),
    ("Quantity", "1000000000000", "quantity has more than 12 digits before the point"),
    ("Quantity", "Infinity", "Input should be a finite number"),
    ("Currency", "gbp", "String should match pattern '^[A-Z]{3}$'"),
    ("Currency", "GBPX", "String should match pattern '^[A-Z]{3}$'"),
    ("Instant", datetime(2026, 1, 1), "time has no zone"),  # noqa: DTZ001
    ("Text", "   ", "String should have at least 1 character"),
    ("Text", "x" * 4001, "String should have at most 4000 characters"),
    ("Text", "\ud800", "Input should be a valid string, unable to parse raw data as a unicode string"),
    ("Code", "", "String should have at least 1 character"),
    ("Code", "x" * 61, "String should have at most 60 characters"),
    *[
        ("Day", value, "date is not of the form YYYY-MM-DD")
        for value in (20240229, 1709164800, "1709164800", 0.0, "29/02/2024", "20240229", b"2024-02-29", "", "unknown")
    ],
    ("Day", "2023-02-29", "Input should be a valid date or datetime, day value is outside expected range"),
    ("Day", datetime(2024, 2, 29, 12), "Datetimes provided to dates should have zero time - e.g. be exact dates"),  # noqa: DTZ001
]


def holder(name: str) -> type[BaseModel]:
    config = ConfigDict(hide_input_in_errors=True)
    return create_model("Holder", value=(TYPES[name], ...), __config__=config)


def refused(name: str, value: object) -> ValidationError:
    with pytest.raises(ValidationError) as raised:
        holder(name)(value=value)
    return raised.value


@pytest.mark.parametrize(("name", "value", "tidied"), HELD)
def test_a_value_that_holds_is_tidied(name: str, value: object, tidied: object) -> None:
    taken: Any = holder(name)(value=value)
    assert taken.value == tidied
    assert type(taken.value) is type(tidied)


@pytest.mark.parametrize(("name", "value", "tidied"), HELD)
def test_a_tidied_value_is_taken_again_as_it_is(name: str, value: object, tidied: object) -> None:
    assert TypeAdapter(TYPES[name]).validate_python(tidied) == tidied
    written = TypeAdapter(TYPES[name]).dump_json(tidied)
    assert TypeAdapter(TYPES[name]).validate_json(written) == tidied


@pytest.mark.parametrize(("name", "value", "tidied"), HELD)
def test_a_tidied_value_matches_the_pattern_in_the_contract(name: str, value: object, tidied: object) -> None:
    adapter = TypeAdapter(TYPES[name])
    pattern = adapter.json_schema(mode="serialization").get("pattern", "")
    assert re.search(pattern, json.loads(adapter.dump_json(tidied)))


@pytest.mark.parametrize(("name", "value", "rule"), BROKEN)
def test_a_broken_value_names_its_rule(name: str, value: object, rule: str) -> None:
    [told] = refused(name, value).errors()
    assert told["msg"].removeprefix("Value error, ") == rule


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, v, _ in BROKEN if len(str(v).strip()) > 1])
def test_no_error_repeats_the_value(name: str, value: object) -> None:
    error = refused(name, value)
    ours = bad_record("legacy", error)
    for text in (str(error), repr(error), str(ours), repr(ours), ours.rule, ours.shape, ours.field):
        assert str(value) not in text


@pytest.mark.parametrize("name", [name for name in TYPES if name not in ("Instant", "Day", "Amount")])
@settings(deadline=None)
@given(value=st.text())
def test_any_text_is_tidied_for_good_or_refused(name: str, value: str) -> None:
    adapter = TypeAdapter(TYPES[name])
    try:
        tidied = adapter.validate_python(value)
    except ValidationError:
        return
    assert adapter.validate_python(tidied) == tidied


@pytest.mark.parametrize("authority", ["893", "838", "839", "940", "943", "666"])
def test_a_upn_may_come_from_newer_authorities_and_from_wales(authority: str) -> None:
    digits = f"{authority}200005001"
    written = stdnum_upn.calc_check_digit(digits) + digits
    assert TypeAdapter(values.UPN).validate_python(written) == written


@settings(deadline=None)
@given(st.from_regex("[0-9]{11}[A-HJ-NP-RT-Z0-9]", fullmatch=True))
def test_the_check_letter_of_a_upn_is_the_one_that_stdnum_finds(rest: str) -> None:
    adapter = TypeAdapter[str](values.UPN)
    right = stdnum_upn.calc_check_digit(rest)
    assert adapter.validate_python(right + rest) == right + rest
    for wrong in set(ascii_uppercase) - {right, *"IOS"}:
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong + rest)


@settings(deadline=None)
@given(st.text("0123456789", min_size=9, max_size=9))
def test_a_check_digit_of_an_nhs_number_holds_where_stdnum_says_so(first: str) -> None:
    adapter = TypeAdapter[str](values.NHSNumber)
    for written in (first + digit for digit in "0123456789"):
        right = stdnum_nhs.checksum(written) == 0 and len(set(written)) > 1
        try:
            assert adapter.validate_python(written) == written
        except ValidationError:
            assert not right
        else:
            assert right


@settings(deadline=None)
@given(st.decimals(min_value=-(10**16) + 1, max_value=10**16 - 1, places=2, allow_nan=False))
def test_an_amount_keeps_every_penny_through_json(amount: Decimal) -> None:
    adapter = TypeAdapter[Decimal](values.Amount)
    assert adapter.validate_json(adapter.dump_json(adapter.validate_python(amount))) == amount


@settings(deadline=None)
@given(st.decimals(min_value=0, max_value=10**12 - 1, places=4, allow_nan=False))
def test_equal_quantities_are_written_in_the_same_way(quantity: Decimal) -> None:
    adapter = TypeAdapter[Decimal](values.Quantity)
    written = adapter.dump_json(adapter.validate_python(quantity))
    assert adapter.validate_json(written) == quantity
    assert adapter.dump_json(adapter.validate_python(quantity.normalize())) == written
    assert re.fullmatch(rb'"(0|[1-9][0-9]{0,11})(\.[0-9]{0,3}[1-9])?"', written)


@pytest.mark.parametrize(
    ("name", "made"), [("UPN", int), ("NHSNumber", int), ("UPRN", int), ("Code", int), ("Text", float)]
)
def test_a_number_is_no_text(name: str, made: Callable[[str], object]) -> None:
    [told] = refused(name, made("9434765919")).errors()
    assert told["msg"] == "Input should be a valid string"
