"""
The demonstration's drop folder: extracts of an invented council's ledger, the same ones for the same seed.

`write` leaves three extracts, `correct` replaces one and adds another; `WORLD` does so where a section's settings point to.
Every name is invented; the VAT numbers have valid check digits.
"""

from __future__ import annotations

import asyncio
import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from random import Random
from typing import Any

from adapters.payables import PayablesSettings
from adapters.port import World

ACCOUNTS = {
    "2010": "Agency Staff",
    "3105": "Repairs and Maintenance",
    "3240": "Energy",
    "4015": "Printing and Stationery",
    "4120": "Foster Care Payments",
    "4130": "Residential Placements",
    "5200": "Vehicle Hire",
    "6010": "Professional Fees",
}
COST_CENTRES = {
    "CC1100": "Children in Care",
    "CC1200": "Adult Social Work",
    "CC2300": "Highways",
    "CC3100": "Parks and Open Spaces",
    "CC4400": "Revenues and Benefits",
}
SERVICES = ("Libraries", "Waste Collection", "Leisure", "Planning")
LAYOUTS = ("erp-invoices", "payments-list")
"""The layouts of the files that are written here."""
_EXTRACTS = ("erp-invoices-2025-04.csv", "erp-invoices-2025-05.csv", "payments-2025-05.csv")

_FIRST = (
    "Hollin", "Marlpit", "Severnside", "Wrekin", "Benthall", "Coalport", "Lilleshall", "Broseley", "Ketley", "Madeley",
)  # fmt: skip
_SECOND = ("Care", "Fostering", "Plant", "Joinery", "Energy", "Print", "Legal", "Grounds", "Homes", "Transport")
_LAST = ("Ltd", "LLP", "& Sons", "CIC", "Group plc")
_PENNY = Decimal("0.01")
_ERP_HEAD = (
    "Supplier No", "Supplier Name", "VAT Registration No", "Invoice No", "Line No", "Invoice Date", "Due Date",
    "Cost Centre", "Cost Centre Name", "Account", "Account Name", "Description", "Net Amount", "VAT Amount",
    "Gross Amount", "Original Invoice",
)  # fmt: skip
_LIST_HEAD = ("Payment Ref", "Payee", "Paid On", "Service", "Details", "Amount (£)")


@dataclass(frozen=True, slots=True)
class Payee:
    number: str
    name: str
    vat: str


@dataclass(frozen=True, slots=True)
class Charge:
    """One line of an invoice. `vat` is the rate in percent."""

    payee: Payee
    invoice: str
    line: int
    dated: date
    centre: str
    account: str
    net: Decimal
    vat: int
    corrects: str = ""

    def cells(self) -> list[str]:
        tax = (self.net * self.vat / 100).quantize(_PENNY, ROUND_HALF_UP)
        return [
            self.payee.number, self.payee.name, self.payee.vat, self.invoice, str(self.line),
            f"{self.dated:%d/%m/%Y}", f"{self.dated + timedelta(days=30):%d/%m/%Y}", self.centre,
            COST_CENTRES[self.centre], self.account, ACCOUNTS[self.account],
            f"{ACCOUNTS[self.account]} {self.dated:%B}",
            f"{self.net}", f"{tax}", f"{self.net + tax}", self.corrects,
        ]  # fmt: skip


CHART: dict[str, dict[str, Any]] = {"accounts": ACCOUNTS, "dimensions": {"COSTCENTRE": COST_CENTRES}}
"""The accounts and dimensions that the lines use: account number to name, dimension to its values' names."""


def write(folder: Path, seed: int = 1, suppliers: int = 60, invoices: int = 600) -> list[Path]:
    """
    Write the extracts of two months and a list of payments; answer their paths, oldest first.

    They hold credit notes, lines that repeat another one exactly, a cp1252 file with pounds and thousands, and rows
    that cannot be read: an amount with a letter in it, a date that does not exist, amounts that do not add up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = Random(seed)  # noqa: S311 (a demonstration's data)
    payees = [_payee(random, n) for n in range(1, suppliers + 1)]
    half = max(invoices // 2, 4)
    april = _charges(random, payees, date(2025, 4, 1), range(1, half + 1))
    may = _charges(random, payees, date(2025, 5, 1), range(half + 1, 2 * half + 1))
    return [
        _left(folder / _EXTRACTS[0], _erp(april), days=3),
        _left(folder / _EXTRACTS[1], _erp(may, spoilt=random.sample(range(len(may)), 3)), days=2),
        _left(folder / _EXTRACTS[2], _payments(random, payees, suppliers * 2), days=1),
    ]


def correct(folder: Path, seed: int = 1) -> list[str]:
    """
    Leave a corrected extract for April and a new one for June beside those of `write`; say plainly what changed.

    :raises FileNotFoundError: `write` has not been here.
    """
    random = Random(f"{seed} corrected")  # noqa: S311
    text = (folder / _EXTRACTS[0]).read_text("utf-8-sig")
    head, *rows = list(csv.reader(io.StringIO(text, newline="")))
    numbers = sorted({row[3] for row in rows})
    dearer, dropped = random.sample(numbers, 2)
    kept = [row for row in rows if row[3] != dropped]
    changed = next(row for row in kept if row[3] == dearer)
    changed[12], changed[14] = (str(Decimal(changed[at]) + 100) for at in (12, 14))
    added = [*changed[:3], "INV900001", "1", *changed[5:15], ""]
    kept.insert(len(kept) // 2, added)
    _left(folder / "erp-invoices-2025-04_corrected.csv", _table(head, kept).encode("utf-8-sig"), days=0)
    payees = sorted({Payee(*row[:3]) for row in rows}, key=lambda payee: payee.number)
    june = _charges(random, payees, date(2025, 6, 1), range(800001, 800021))
    _left(folder / "erp-invoices-2025-06.csv", _erp(june), days=0)
    return [
        "erp-invoices-2025-04_corrected.csv replaces erp-invoices-2025-04.csv.",
        f"In it, a line of {dearer} costs 100.00 more.",
        f"{dropped} is no longer in it.",
        "INV900001 was missing and has been put into the middle of it.",
        f"erp-invoices-2025-06.csv is new and has {len({charge.invoice for charge in june})} documents.",
    ]


def _payee(random: Random, number: int) -> Payee:
    name = f"{random.choice(_FIRST)} {random.choice(_SECOND)} {random.choice(_LAST)}"
    return Payee(f"V{number:05d}", f"{name} ({number})" if number % 7 == 0 else name, _vat(number))


def _vat(number: int) -> str:
    """Seven digits and the two that make the weighted sum divisible by 97 (HMRC's older rule)."""
    stem = f"999{number % 10_000:04d}"
    weighted = sum(weight * int(digit) for weight, digit in zip(range(8, 1, -1), stem, strict=True))
    return f"GB{stem}{-weighted % 97:02d}"


def _charges(random: Random, payees: Sequence[Payee], month: date, numbers: Iterable[int]) -> list[Charge]:
    charges: list[Charge] = []
    for count, number in enumerate(numbers, start=1):
        payee, dated = random.choice(payees), month + timedelta(days=random.randrange(28))
        credit = count % 25 == 0
        sign, corrects = (-1, charges[0].invoice) if credit else (1, "")
        for line in range(1, random.choice((1, 1, 2, 3)) + 1):
            net = sign * Decimal(random.randrange(500, 900_000)) / 100
            charges.append(
                Charge(
                    payee, f"{'CRN' if credit else 'INV'}{number:06d}", line, dated, random.choice(list(COST_CENTRES)),
                    random.choice(list(ACCOUNTS)), net.quantize(_PENNY), random.choice((20, 20, 20, 5, 0)), corrects,
                )
            )  # fmt: skip
        if count % 40 == 0:
            charges.append(replace(charges[-1]))  # the same line twice, both real
    return charges


def _erp(charges: Sequence[Charge], spoilt: Sequence[int] = ()) -> bytes:
    rows = [charge.cells() for charge in charges]
    for what, at in enumerate(spoilt):
        match what % 3:
            case 0:
                rows[at][12] = rows[at][12].replace("0", "O", 1) + "O"
            case 1:
                rows[at][5] = "31/06/2025"
            case _:
                rows[at][14] = f"{Decimal(rows[at][14]) + 1}"
    return _table(_ERP_HEAD, rows).encode("utf-8-sig")


def _payments(random: Random, payees: Sequence[Payee], count: int) -> bytes:
    rows, total = [], Decimal(0)
    for number in range(1, count + 1):
        payee = "Redacted Personal Data" if number % 30 == 0 else random.choice(payees).name
        amount = Decimal(random.randrange(25_000, 4_000_000)) / 100
        paid = date(2025, 5, 1) + timedelta(days=random.randrange(28))
        total += amount
        rows.append(
            [
                f"BACS{number:05d}",
                payee,
                f"{paid:%d/%m/%Y}",
                random.choice(SERVICES),
                f"May – run {number % 4 + 1}",
                f"£{amount:,.2f}",
            ]
        )
    blank = [""] * len(_LIST_HEAD)
    preamble = [["Payments over £250", *blank[1:]], ["May 2025", *blank[1:]], blank]
    last = [blank, ["Total", "", "", "", "", f"£{total:,.2f}"]]
    return _table(preamble[0], [*preamble[1:], list(_LIST_HEAD), *rows, *last]).encode("cp1252")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([head, *rows])
    return text.getvalue()


def _left(path: Path, content: bytes, days: int) -> Path:
    """Put it there in one step, as a good finance system does, dated so many days before the newest."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    stamp = path.parent.stat().st_mtime - 86_400 * days
    os.utime(part, (stamp, stamp))
    part.replace(path)
    return path


# -- for the demonstration -----------------------------------------------------------------------------------------


def _section(folder: Path) -> dict[str, Any]:
    return {"folders": [str(folder / "drop")], "layouts": list(LAYOUTS), "settle": 1, "every": 1}


def _make(settings: PayablesSettings, invoices: int, seed: int) -> str:
    """Write the extracts. Some of them, and nothing else, were left by a start that was killed."""
    folder = settings.folders[0]
    if folder.exists() and not {path.name for path in folder.glob("*.csv")} < set(_EXTRACTS):
        return f"{folder} holds extracts already"
    return f"{len(write(folder, seed, invoices=invoices))} extracts of {invoices} invoices in {folder}"


async def _made(settings: PayablesSettings, invoices: int, seed: int) -> str:
    return await asyncio.to_thread(_make, settings, invoices, seed)


async def _changed(settings: PayablesSettings, seed: int) -> list[str]:
    return await asyncio.to_thread(correct, settings.folders[0], seed)


WORLD = World("invoices", 600, _section, _made, _changed, CHART)
