"""A large loss at once waits for a person."""

from datetime import timedelta
from pathlib import Path

from adapters.payables import system
from adapters.testing import Bench


async def test_half_a_payables_file_under_another_name_is_held_back(tmp_path: Path) -> None:
    supplier = {"supplier_name": "Creditor", "supplier_number": "Creditor No"}
    columns = {"number": "Voucher", **supplier, "payment_date": "Paid", "net": "Value"}
    layout = {"title": "w", "dates": ["dd/mm/yyyy"], "columns": columns}
    settings = system.settings(folders=[str(tmp_path)], settle=timedelta(0), layouts=[], own_layouts={"w": layout})
    bench = Bench(system.build("payables", settings))

    def put(name: str, lines: int) -> None:
        rows = [f"V{n},Firm {n},C{n},05/04/2024,{n}.00\n" for n in range(1, lines + 1)]
        (tmp_path / name).write_text("Voucher,Creditor,Creditor No,Paid,Value\n" + "".join(rows))

    put("2024-08.csv", 500)
    first = await bench.read()
    assert len(first) >= 500
    for lines in (10, 0):
        put("2024-08 (1).csv", lines)
        assert all(event.data is not None for event in await bench.read())
    assert sum(bench.waiting("payables").values()) > 0
