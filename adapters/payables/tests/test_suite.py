"""The payables adapter keeps the promises of every adapter."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from time import time_ns

import pytest

from adapters.payables import PayablesSettings, system
from adapters.port import Adapter
from adapters.testing import AdapterSuite

ROWS = [
    ["Voucher", "Creditor", "Creditor No", "Paid", "Service", "Value"],
    *([f"V{n}", f"Ashgrove {n % 3} Ltd", f"C{n % 3}", f"{n + 1:02}/04/2024", "Parks", f"{n}0.00"] for n in range(1, 10)),
]
LAYOUT = {
    "title": "Vouchers", "dates": ["dd/mm/yyyy"], "document": ["number"], "dimensions": {"SERVICE": "Service"},
    "columns": {
        "number": "Voucher", "supplier_name": "Creditor", "supplier_number": "Creditor No", "payment_date": "Paid",
        "net": "Value",
    },
}  # fmt: skip
AMOUNT = 5


class TestTheSuite(AdapterSuite):
    """A list of payments lies in the folder; the hooks export it again."""

    @pytest.fixture
    def adapter(self, tmp_path: Path) -> Adapter:
        self.rows, self.path = [list(row) for row in ROWS], tmp_path / "april.csv"
        self.write(self.path, self.rows)
        given = {"folders": (tmp_path,), "own_layouts": {"vouchers": LAYOUT}, "settle": 0}
        return system.build("acme", PayablesSettings.model_validate(given))

    def write(self, path: Path, rows: list[list[str]]) -> None:
        before = path.stat().st_mtime_ns if path.exists() else 0
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        now = max(time_ns(), before + 1_000_000)
        os.utime(path, ns=(now, now))

    def set_amount(self, row: int, amount: str) -> str:
        self.rows[row][AMOUNT] = amount
        self.write(self.path, self.rows)
        return f"acme:invoice:{self.rows[row][0]}"

    async def change_one(self, adapter: Adapter) -> str:
        return self.set_amount(2, "77.00")

    async def delete_one(self, adapter: Adapter) -> str:
        gone = self.rows.pop(3)
        self.write(self.path, self.rows)
        return f"acme:invoice:{gone[0]}"

    async def break_one(self, adapter: Adapter) -> str:
        return self.set_amount(4, "4O.OO")

    async def mend_it(self, adapter: Adapter) -> None:
        self.set_amount(4, "41.00")

    async def counted(self, adapter: Adapter) -> Mapping[str, int]:
        """The list says of its payees and services, once each, besides its payments."""
        payments = self.rows[1:]
        return {"payables": len(payments) + len({row[2] for row in payments}) + len({row[4] for row in payments})}
