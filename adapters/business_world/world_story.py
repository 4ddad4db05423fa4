"""
The invented finance system: two clients of one database, who number their suppliers alike, with every quirk of Business World.

Nobody here exists. VAT numbers have valid check digits, and sort codes are of no bank.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from stdnum.gb import vat

CLIENTS = ("FC", "TR")
ACCOUNTS = {"2110": "Care homes", "3240": "Energy", "4120": "Fostering", "7910": "VAT on purchases", "9000": "Creditors"}
VAT, CREDITORS = "7910", "9000"
UNMAPPED = "ZZ"
_FIRST = ("Broseley", "Coalport", "Hadley", "Ironbridge", "Jackfield", "Ketley", "Madeley", "Sutton Hill", "Woodside")
_SECOND = ("Care", "Energy", "Fostering", "Grounds", "Joinery", "Print", "Transport")
_NAMES = ("Abel Tranter", "Bess Onions", "Caleb Yates", "Dorcas Pugh", "Enoch Harley", "Flora Bytheway")
_TOWNS = {"Telford": "TF7 5AA", "Broseley": "TF12 5BB", "Much Wenlock": "TF13 6DD"}


def midnight(day: date) -> datetime:
    return datetime.combine(day, time.min)


class LedgerStory:
    """Makes up the rows of every table, a supplier and an item at a time."""

    def __init__(self, seed: int, today: date) -> None:
        self.rng = Random(seed)  # noqa: S311 (a story, not a secret)
        self.today = today
        self.rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._voucher = 50_000_000

    def accounts(self) -> None:
        for client in CLIENTS:
            for account in ACCOUNTS:
                kind = "AP" if account == CREDITORS else "GL"
                self.rows["aglaccounts"].append({"client": client, "account": account, "account_type": kind})

    def supplier(self, number: int) -> None:
        """A supplier of one client or of both, where it may be another firm under the same number."""
        for client in CLIENTS if number % 3 else CLIENTS[:1]:
            once, employee = number % 11 == 5, number % 11 == 7
            name = f"{self.rng.choice(_FIRST)} {self.rng.choice(_SECOND)} Ltd"
            self.rows["asuheader"].append({
                "client": client, "apar_id": str(10_000 + number), "apar_gr_id": "EM" if employee else "TN",
                "apar_name": "Sundry suppliers" if once else self.rng.choice(_NAMES) if employee else f"{name}   ",
                "status": self.rng.choice("NNNNNNPCT"), "apar_once": "Y" if once else "N",
                "vat_reg_no": "" if once or employee else self._vat_number(), "comp_reg_no": " ", "terms_id": "30",
                "pay_method": self.rng.choice(("IP", "IP", "CH", " ")), "clearing_code": "20-00-00", "swift": "", "iban": "",
                "bank_account": self.rng.choice(("00000000", f"{self.rng.randrange(10**8):08}")),
                "expired_date": midnight(self.rng.choice((date(1900, 1, 1), date(2099, 12, 31)))),
            })  # fmt: skip
            for sequence in range(self.rng.choice((1, 1, 2))):
                self.rows["agladdress"].append(self.address(client, str(10_000 + number), sequence))
            self.rows["agladdress"].append({**self.address(client, str(10_000 + number), 0), "address_type": "3"})

    def customer(self, number: int) -> None:
        told = {"client": CLIENTS[number % 2], "apar_id": str(70_000 + number), "apar_name": self.rng.choice(_NAMES)}
        self.rows["acuheader"].append({**told, "vat_reg_no": "", "comp_reg_no": ""})
        self.rows["agladdress"].append({**self.address(told["client"], told["apar_id"], 0), "attribute_id": "A4"})

    def address(self, client: str, apar_id: str, sequence: int) -> dict[str, Any]:
        town = self.rng.choice(list(_TOWNS))
        return {
            "client": client, "attribute_id": "A5", "dim_value": apar_id, "address_type": "1", "sequence_no": sequence,
            "address": f"{self.rng.randrange(1, 99)} High Street\r\n", "place": town, "zip_code": _TOWNS[town],
        }  # fmt: skip

    def item(self, **given: Any) -> dict[str, Any]:
        """An invoice or a credit note with its ledger lines; older ones are settled, and lie in the history."""
        header = self.rng.choice(self.rows["asuheader"])
        gross = Decimal(self.rng.randrange(1_000, 900_000)) * 6 / 100
        credit = self.rng.random() < 0.1
        day = self.today - timedelta(days=self.rng.randrange(300)) if self.rng.random() > 0.02 else date(1993, 7, 1)
        gross = -gross if credit else gross
        made = {
            "client": header["client"], "apar_id": header["apar_id"], "voucher_no": self.voucher(), "sequence_no": 0,
            "voucher_type": "CN" if credit else "PI", "trans_date": midnight(day), "voucher_date": midnight(day),
            "due_date": midnight(day + timedelta(days=30)), "payment_date": midnight(date(1900, 1, 1)),
            "currency": self.rng.choice(("GBP",) * 30 + ("EUR",)),
            "description": self.rng.choice(_NAMES) if header["apar_once"] == "Y" else "Supplies  ", "status": "N",
            "amount": gross, "cur_amount": Decimal(0), "rest_amount": gross, "rest_curr": Decimal(0),
            "pay_method": header["pay_method"],
            "ext_inv_ref": f"INV/{self.rng.randrange(10_000)}" if self.rng.random() < 0.9 else " ",
            "orig_reference": "0", "order_id": "0", "contract_id": "",
        } | given  # fmt: skip
        self._postings(made)
        settled = not given and day < self.today - timedelta(days=60)
        self.rows["asuhistr" if settled else "asutrans"].append(made)
        if settled:
            self.settle(made, day + timedelta(days=28))
        return made

    def settle(self, item: dict[str, Any], day: date) -> dict[str, Any]:
        """The item as it lies in the history, and the payment that settled it."""
        item |= {"rest_amount": Decimal(0), "rest_curr": Decimal(0), "status": "C", "payment_date": midnight(day)}
        paid = {"amount": -item["amount"], "voucher_type": "PY", "ext_inv_ref": ""}
        paid |= {"voucher_no": self.voucher(), "trans_date": midnight(day), "voucher_date": midnight(day)}
        self.rows["asuhistr"].append({**item, **paid})
        return item

    def order(self, number: int) -> None:
        client, apar_id = (self.rng.choice(self.rows["asuheader"])[name] for name in ("client", "apar_id"))
        day = midnight(self.today - timedelta(days=self.rng.randrange(200)))
        told = {"client": client, "order_id": str(300_000 + number)}
        self.rows["apoheader"].append({
            **told, "apar_id": apar_id, "status": "O", "order_date": day, "deliv_date": midnight(date(1900, 1, 1)),
            "contract_id": " ",
        })  # fmt: skip
        for line in range(1, self.rng.randrange(2, 5)):
            amount = Decimal(self.rng.randrange(100, 90_000))
            self.rows["apodetail"].append({
                **told, "line_no": line, "sequence_no": 0, "art_descr": "Day care", "account": "2110", "amount": amount,
                "tax_amount": Decimal(0), "vow_amount": amount / 2, "arr_amount": Decimal(0), **self._dims(),
            })  # fmt: skip

    def budget(self) -> None:
        told = {"client": CLIENTS[0], "voucher_no": self.voucher(), "sequence_no": 0, "voucher_type": "BU", "account": "2110"}
        self.rows["agltransact"].append({**told, "amount": Decimal(50_000), "cur_amount": Decimal(50_000)})

    def voucher(self) -> int:
        self._voucher += 1
        return self._voucher

    def _postings(self, item: dict[str, Any]) -> None:
        gross: Decimal = item["amount"]
        net = gross * 5 / 6
        about = {name: item[name] for name in ("client", "voucher_no", "voucher_type", "trans_date", "apar_id", "ext_inv_ref")}
        about |= {"fiscal_year": item["trans_date"].year, "period": f"{item['trans_date']:%Y%m}", "apar_type": "P"}
        account = self.rng.choice(list(ACCOUNTS)[:3])
        for sequence, (to, amount) in enumerate(((account, net), (VAT, gross - net), (CREDITORS, -gross))):
            self.rows["agltransact"].append({
                **about, "sequence_no": sequence, "account": to, "amount": amount, "cur_amount": amount, "description": "",
                **self._dims(),
            })  # fmt: skip

    def _dims(self) -> dict[str, str]:
        return {"dim_1": self.rng.choice(("CC100", "CC200  ")), **{f"dim_{n}": " " for n in range(2, 8)}}

    def _vat_number(self) -> str:
        first = f"{self.rng.randrange(10**6, 10**7)}"
        return f"GB {first}{-vat.checksum(first + '00') % 97:02}"
