"""What Business Central should hold for a supplier, an invoice and a credit note: no network, facts alone."""

import json
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from canonical import CreditNote, DimensionValue, DocumentLine, Invoice, Supplier
from canonical.entity import Entity
from canonical.errors import RefusedError
from canonical.people import Address, ContactPoint
from flows.business_central import system
from flows.business_central.documents import BusinessCentralFlow, code, document_number
from flows.business_central.settings import BusinessCentralSettings, PurchaseSettings
from flows.port import Document, Fact, Facts

CASES = Path(__file__).resolve().parents[1] / "cases"
TODAY = date(2026, 1, 5)


def settings(**more: object) -> tuple[PurchaseSettings, BusinessCentralSettings]:
    there, says = system.divided(
        {
            "base_url": "http://127.0.0.1:1/api/v2.0",
            "company": "11111111-2222-3333-4444-555555555555",
            "token_url": "http://127.0.0.1:1/token",
            "client_id": "ironbridge",
            "client_secret": "secret",
            "default_account": "8000",
            "dimensions": {"COSTCENTRE": "CC"},
            **more,
        }
    )
    return PurchaseSettings.model_validate(says), BusinessCentralSettings.model_validate(there)


def desired(entity: Entity, **more: Any) -> Document:
    fact = Fact(entity.type_name, entity.key, entity.owner, 1, entity.to_bytes())
    document = BusinessCentralFlow("bc", *settings(**more)).desired(entity.key, Facts([fact], TODAY))
    assert document is not None
    return document


def invoice(*lines: DocumentLine, key: str = "payables:invoice:INV-7", number: str = "INV-7", **more: object) -> Invoice:
    return Invoice.model_validate(
        {"key": key, "number": number, "supplier": "payables:supplier:1001", "lines": lines, **more}
    )


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda path: path.name)
def test_every_case_becomes_the_document_written_beside_it(case: Path) -> None:
    entities = json.loads((case / "facts.json").read_text())
    keys = [each["data"]["key"] for each in entities]
    facts = [
        Fact(e["entity"], key, key, 1, json.dumps(e["data"]).encode()) for e, key in zip(entities, keys, strict=True)
    ]
    flow = BusinessCentralFlow("business_central", *settings(**json.loads((case / "settings.json").read_text())))
    assert told(flow, keys[0], Facts(facts, TODAY)) == json.loads((case / "expected.json").read_text())


def told(flow: BusinessCentralFlow, subject: str, facts: Facts) -> dict[str, object]:
    try:
        document = flow.desired(subject, facts)
    except RefusedError as error:
        return {"refused": str(error)}
    assert document is not None
    return {"kind": document.kind, "number": document.number, "refers": document.refers, "body": document.body}


def test_a_subject_without_facts_should_not_be_there() -> None:
    assert BusinessCentralFlow("bc", *settings()).desired("payables:supplier:1", Facts([], TODAY)) is None


def test_a_vendors_address_is_the_current_one() -> None:
    supplier = Supplier(
        key="payables:supplier:1", number="1", name="Salop Timber",
        addresses=(
            Address(lines=("Old Yard",), end_date=date(2020, 1, 1), start_date=date(2019, 1, 1)),
            Address(lines=("2 Wharf Road", "Coalport"), town="Telford", postcode="TF8 7HT"),
        ),
    )  # fmt: skip
    assert desired(supplier).body["address"] == {
        "street": "2 Wharf Road, Coalport", "city": "Telford", "postalCode": "TF8 7HT",
    }  # fmt: skip


def test_contacts_that_business_central_would_refuse_are_left_out_not_cut() -> None:
    contacts = (
        ContactPoint(system="phone", value="01952 000000 ext twelve"),
        ContactPoint(system="email", value="x" * 90 + "@example.org"),
    )
    body = desired(Supplier(key="payables:supplier:1", number="1", name="Salop Timber", contacts=contacts)).body
    assert set(body) == {"number", "displayName"}


def test_a_redacted_supplier_gives_nobody_away() -> None:
    supplier = Supplier(
        key="payables:supplier:r1", number="R1", name="REDACTED", redacted=True,
        contacts=(ContactPoint(system="phone", value="01952 000000"),),
    )  # fmt: skip
    assert desired(supplier).body == {"number": "R1", "displayName": "Redacted supplier"}
    with pytest.raises(RefusedError, match="withholds who was paid"):
        desired(supplier, redacted="refuse")


def test_a_line_below_zero_has_a_quantity_below_zero() -> None:
    body = desired(invoice(DocumentLine(number=1, net=Decimal("-12.30")))).body
    (line,) = body["purchaseInvoiceLines"]
    assert (line["quantity"], line["unitCost"]) == (-1, "12.30")


def test_a_dimension_that_the_settings_do_not_name_is_not_sent() -> None:
    named, other = (
        DimensionValue(dimension="COSTCENTRE", value="56ho4155"),
        DimensionValue(dimension="WARD", value="W1"),
    )
    body = desired(invoice(DocumentLine(number=1, net=Decimal(1), dimensions=(named, other)))).body
    assert body["purchaseInvoiceLines"][0]["dimensions"] == {"CC": "56HO4155"}


def test_an_account_is_looked_up_in_the_settings_first() -> None:
    line = DocumentLine(number=1, net=Decimal(1), account="Hired Vehicle")
    one = desired(invoice(line), accounts={"Hired Vehicle": "8510"}).body["purchaseInvoiceLines"][0]
    assert one["account"] == "8510"
    assert desired(invoice(line), accounts={"*": "8999"}).body["purchaseInvoiceLines"][0]["account"] == "8999"


def test_a_line_without_an_account_is_refused_when_there_is_no_default() -> None:
    with pytest.raises(RefusedError) as error:
        desired(invoice(DocumentLine(number=3, net=Decimal(1))), default_account=None)
    assert str(error.value) == "bc: lines[3].account: the line names none. To do: set default_account"


def test_the_tax_code_is_that_of_the_rate_which_gives_the_tax_to_the_penny() -> None:
    codes = {"20": "VAT20", "5": "VAT5", "0": "ZERO"}
    for net, tax, expected in (("99.99", "20.00", "VAT20"), ("-99.99", "-20.00", "VAT20"), ("10.00", "0.50", "VAT5")):
        line = DocumentLine(number=1, net=Decimal(net), tax=Decimal(tax))
        assert desired(invoice(line), tax_codes=codes).body["purchaseInvoiceLines"][0]["taxCode"] == expected
    with pytest.raises(RefusedError, match=r"lines\[1\].tax: is at none of the rates"):
        desired(invoice(DocumentLine(number=1, net=Decimal(100), tax=Decimal(7))), tax_codes=codes)


def test_two_lines_of_one_number_are_refused() -> None:
    line = DocumentLine(number=1, net=Decimal(1))
    with pytest.raises(RefusedError, match=r"lines\[\].number: two lines have the same number"):
        desired(invoice(line, line))


def test_a_document_refers_to_its_supplier_and_never_holds_its_name() -> None:
    note = CreditNote(
        key="payables:credit-note:C1", number="C1", supplier="payables:supplier:1001", payment_date=date(2025, 4, 1),
        lines=(DocumentLine(number=1, net=Decimal(5)),),
    )  # fmt: skip
    document = desired(note)
    assert (document.kind, document.refers) == ("purchaseCreditMemo", {"vendorId": "payables:supplier:1001"})
    assert document.body["creditMemoDate"] == "2025-04-01"


def test_a_number_that_an_extract_repeats_still_names_one_document() -> None:
    line = DocumentLine(number=1, net=Decimal(1))
    april = document_number(invoice(line, key="payables:invoice:2025-04/P-CARD", number="P-CARD"))
    may = document_number(invoice(line, key="payables:invoice:2025-05/P-CARD", number="P-CARD"))
    assert april != may
    assert april.startswith("P-CARD-")
    assert may.startswith("P-CARD-")
    assert document_number(invoice(line)) == "INV-7"
    assert document_number(invoice(line, key="payables:invoice:1001:INV-7")) == "INV-7"
    assert document_number(invoice(line, key="payables:invoice:2002:INV-7")) != "INV-7"


@given(st.sets(st.text(min_size=1, max_size=60), min_size=2, max_size=12), st.sampled_from([20, 35]))
def test_codes_of_different_numbers_never_meet_and_always_fit(numbers: set[str], limit: int) -> None:
    codes = [code(number, limit, whole=number) for number in numbers]
    assert len({c.upper() for c in codes}) == len(numbers)
    for made in codes:
        assert 0 < len(made) <= limit
        assert made == made.strip().upper()
        assert made.isascii()
        assert "'" not in made


def test_the_flow_depends_on_the_settings_of_the_mapping_and_not_on_the_secret() -> None:
    def depends_on(**more: object) -> object:
        return BusinessCentralFlow("bc", *settings(**more)).settings

    assert depends_on() == depends_on(client_secret="another", requests=10)
    assert depends_on() != depends_on(default_account="9000")


def test_two_ledgers_with_the_same_numbers_are_two_vendors() -> None:
    def number(source: str, shown: str = "1042", **more: Any) -> str:
        document = desired(Supplier(key=f"{source}:supplier:{shown}", number=shown, name="Ironworks"), **more)
        assert document.number == document.body["number"]
        return document.number

    assert number("payables") == "1042"
    assert re.fullmatch(r"1042-[A-Z2-7]{12}", number("agresso"))
    assert number("agresso") != number("sap")
    assert number("agresso", vendor_numbers_of="agresso") == "1042" != number("payables", vendor_numbers_of="agresso")
    prefixed = {"prefixes": {"agresso": "A-"}}
    assert number("agresso", **prefixed) == "A-1042"
    assert number("payables", "A-1042", **prefixed) != "A-1042", "a number that looks like one of the other ledger"
    assert number("payables", number("agresso")) != number("agresso")


def test_prefixes_that_do_not_keep_two_ledgers_apart_are_refused() -> None:
    with pytest.raises(ValidationError, match="no prefix may begin with another one"):
        settings(prefixes={"agresso": "A", "sap": "A1"})


def test_a_vendor_of_another_ledger_is_found_again_by_its_key_alone() -> None:
    for source in ("payables", "agresso"):
        supplier = Supplier(key=f"{source}:supplier:1042", number="1042", name="Ironworks")
        [recalled] = BusinessCentralFlow("bc", *settings()).recall(supplier.key, supplier.owner)
        assert recalled.number == desired(supplier).number
