"""
An invented council's mailbox of e-invoices: UBL documents as Peppol BIS Billing 3 has them. Nobody in it exists.

`python -m adapters.ubl.world FOLDER --size 50` makes one; `--change 1` makes another invoice arrive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from random import Random
from typing import Any

from lxml import etree
from lxml.builder import ElementMaker

from adapters.kit.files_world import FilesWork, FilesWorld, Sheets, put_whole
from adapters.ubl.adapter import UblSettings
from adapters.ubl.names import NAMESPACES, ROOTS

_SELLERS = {"01000001": "Severn Domiciliary Ltd", "01000002": "Loton Supplies Ltd", "01000003": "Oaklea Care Homes Ltd"}
_ITEMS = ("Home care, a week", "Nitrile gloves, 100", "Respite, a night", "Taxi to school")
_ROOT_OF = {"Invoice": ROOTS[0], "CreditNote": ROOTS[1]}
A = ElementMaker(namespace=NAMESPACES["cac"])
B = ElementMaker(namespace=NAMESPACES["cbc"])


def write_ubl(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write the one document of a file, with totals that agree unless `payable` says another one."""
    [row] = rows
    names = dict[str | None, str](NAMESPACES) | {None: _ROOT_OF[row["kind"]]}
    root = ElementMaker(namespace=_ROOT_OF[row["kind"]], nsmap=names)
    net, gross = Decimal(row["net"]), Decimal(row["net"]) + _tax(row)
    due = [B.DueDate(row["due"])] if row["kind"] == "Invoice" else []
    seller = A.Party(
        A.PostalAddress(B.StreetName("1 Mill Lane"), B.CityName("Anytown"), A.Country(B.IdentificationCode("GB"))),
        A.PartyLegalEntity(B.RegistrationName(row["name"]), B.CompanyID(row["seller"])),
    )
    totals = A.LegalMonetaryTotal(
        _money(B.LineExtensionAmount, net), _money(B.TaxExclusiveAmount, net), _money(B.TaxInclusiveAmount, gross),
        _money(B.PayableAmount, Decimal(row["payable"] or gross)),
    )  # fmt: skip
    whole = root(
        row["kind"], B.ID(row["number"]), B.IssueDate(row["issued"]), *due, B.DocumentCurrencyCode("GBP"),
        A.AccountingSupplierParty(seller), _taxes(row), totals, _line(row),
    )  # fmt: skip
    put_whole(path, etree.tostring(whole, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _tax(row: Mapping[str, str]) -> Decimal:
    return (Decimal(row["net"]) / 5).quantize(Decimal("0.01"), ROUND_HALF_UP)


def _money(element: Any, amount: Decimal) -> Any:
    return element(str(amount), currencyID="GBP")


def _taxes(row: Mapping[str, str]) -> Any:
    category = A.TaxCategory(B.ID("S"), B.Percent("20"), A.TaxScheme(B.ID("VAT")))
    subtotal = A.TaxSubtotal(_money(B.TaxableAmount, Decimal(row["net"])), _money(B.TaxAmount, _tax(row)), category)
    return A.TaxTotal(_money(B.TaxAmount, _tax(row)), subtotal)


def _line(row: Mapping[str, str]) -> Any:
    category = A.ClassifiedTaxCategory(B.ID("S"), B.Percent("20"), A.TaxScheme(B.ID("VAT")))
    line = A.InvoiceLine if row["kind"] == "Invoice" else A.CreditNoteLine
    return line(B.ID("1"), _money(B.LineExtensionAmount, Decimal(row["net"])), A.Item(B.Name(row["item"]), category))


def read_ubl(path: Path) -> list[dict[str, str]]:
    """Read a document that `write_ubl` wrote."""
    root = etree.parse(path, etree.XMLParser(resolve_entities=False)).getroot()
    places = {
        "kind": "local-name()", "number": "cbc:ID", "issued": "cbc:IssueDate", "due": "cbc:DueDate",
        "item": "//cac:Item/cbc:Name", "seller": "//cac:PartyLegalEntity/cbc:CompanyID",
        "name": "//cac:PartyLegalEntity/cbc:RegistrationName",
        "net": "//cbc:TaxExclusiveAmount", "gross": "//cbc:TaxInclusiveAmount", "payable": "//cbc:PayableAmount",
    }  # fmt: skip
    row = {name: root.xpath(f"string({place})", namespaces=NAMESPACES) for name, place in places.items()}
    row["payable"] = "" if row["payable"] == row["gross"] else row["payable"]
    return [row]


def document(number: int, kind: str, seller: str, rng: Random, day: date) -> dict[str, str]:
    """Make up one document."""
    return {
        "kind": kind, "number": f"{'INV' if kind == 'Invoice' else 'CN'}-{number:05}", "issued": day.isoformat(), "payable": "",
        "due": (day + timedelta(days=30)).isoformat(), "seller": seller, "name": _SELLERS[seller], "item": rng.choice(_ITEMS),
        "net": str(Decimal(rng.randint(1_000, 90_000)) / 100),
    }  # fmt: skip


def _story(documents: int, seed: int, today: date) -> tuple[Sheets, int]:
    rng = Random(seed)  # noqa: S311 (a story, not a secret)
    told = {}
    for number in range(1, documents + 1):
        kind, seller = ("CreditNote" if number % 10 == 0 else "Invoice"), rng.choice(sorted(_SELLERS))
        told[f"document-{number:05}.xml"] = [document(number, kind, seller, rng, today - timedelta(days=documents - number))]
    return told, 0


def _arrives(work: FilesWork) -> str:
    number = len(work.sheets) + 1
    told = document(number, "Invoice", work.rng.choice(sorted(_SELLERS)), work.rng, work.today)
    work.sheets[f"document-{number:05}.xml"] = [told]
    return f"{told['number']} arrives from {told['name']}."


def _a_due_date_is_put_off(work: FilesWork) -> str:
    (told,) = work.sheets[work.rng.choice(sorted(work.sheets))]
    told["due"] = (date.fromisoformat(told["due"]) + timedelta(days=14)).isoformat()
    return f"{told['number']} is sent again: it is due two weeks later."


def _section(folder: Path) -> dict[str, Any]:
    return {"folders": [str(folder / "ubl")], "settle": 0, "every": 1}


WORLD: FilesWorld[UblSettings] = FilesWorld(
    "ubl", "documents", 50, _story, (_arrives, _a_due_date_is_put_off), _section, read=read_ubl, write=write_ubl
)

if __name__ == "__main__":
    WORLD.main()
