"""Large files are read in a process of their own: it gives the same records, and its end costs nothing but the file."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.payables import PayablesAdapter, PayablesSettings, reading
from adapters.payables.layout import declared
from adapters.payables.reading import Rules
from adapters.port import Extract
from adapters.testing import Bench, whole
from canonical.errors import BadRecordError, UnavailableError
from ironbridge.observe.watchdog import HoldUp
from ironbridge.store import Store
from ironbridge.store.memory import StoredMemory

LAYOUT = declared("vouchers", {
    "title": "Vouchers", "dates": ["dd/mm/yyyy"],
    "columns": {
        "number": "Voucher", "supplier_name": "Creditor", "supplier_number": "Creditor No", "payment_date": "Paid",
        "net": "Value",
    },
})  # fmt: skip
HEAD = "Voucher,Creditor,Creditor No,Paid,Value\n"


def adapter(folder: Path) -> PayablesAdapter:
    settings = PayablesSettings(folders=(folder,), settle=timedelta(0), own_layouts={"vouchers": LAYOUT})
    return PayablesAdapter("acme", settings, {"vouchers": LAYOUT})


def vouchers(count: int) -> str:
    return HEAD + "".join(
        f"V{n},Firm {n % 50},C{n % 50},{'05/04/2024' if n % 100 else '99/04/2024'},{n % 90}.50\n" for n in range(count)
    )


async def extracts(folder: Path) -> list[Extract]:
    (stream,) = adapter(folder).streams()
    return [extract async for extract in stream.reading.extracts()]  # type: ignore[union-attr]


async def test_a_large_file_is_read_in_another_process_and_gives_the_same_records(tmp_path: Path) -> None:
    text = vouchers(8000)
    (tmp_path / "may.csv").write_text(text)
    (extract,) = await extracts(tmp_path)
    portions = [portion async for portion in extract.portions()]
    rules = Rules("acme", {"vouchers": LAYOUT})
    assert [r for portion in portions for r in portion] == reading.read("may", text.encode(), rules).records
    assert {len(portion) for portion in portions[:-1]} == {1000}


async def test_a_large_file_whose_last_row_condemns_it_gives_no_record_at_all(tmp_path: Path) -> None:
    (tmp_path / "may.csv").write_text(vouchers(8000) + "Total,,,,1.00\n")
    (tmp_path / "may.csv").write_text((tmp_path / "may.csv").read_text().replace("99/04", "09/04"))
    (extract,) = await extracts(tmp_path)
    with pytest.raises(BadRecordError, match="is a total that the rows above it do not add up to"):
        await anext(aiter(extract.portions()))


async def test_a_large_file_that_changes_before_it_is_read_is_left_for_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "may.csv"
    path.write_text(vouchers(8000))
    (extract,) = await extracts(tmp_path)
    path.write_text(vouchers(7000))
    with pytest.raises(UnavailableError, match=r"may\.csv was changed while it was read"):
        await whole(extract)


def readers() -> list[int]:
    """The processes that read for us now."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


async def test_a_process_that_ends_before_it_has_read_its_file_costs_that_file_only(tmp_path: Path) -> None:
    (tmp_path / "may.csv").write_text(vouchers(8000))
    (extract,) = await extracts(tmp_path)
    before = set(readers())
    doing = asyncio.ensure_future(whole(extract))
    while not (started := set(readers()) - before):
        await asyncio.sleep(0)
    os.kill(started.pop(), signal.SIGKILL)
    with pytest.raises(BadRecordError, match="cannot be read in 1512 MB and 900 s"):
        await doing


async def test_a_process_that_ends_while_it_hands_over_its_records_is_no_fault_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "may.csv").write_text(vouchers(8000))
    (extract,) = await extracts(tmp_path)
    before = set(readers())
    portions = extract.portions()
    await anext(portions)
    (started,) = set(readers()) - before
    os.kill(started, signal.SIGKILL)
    with pytest.raises(UnavailableError, match="the process that read a file was ended"):
        async for _ in portions:
            pass


async def test_a_reading_that_is_given_up_leaves_no_process_behind(tmp_path: Path) -> None:
    (tmp_path / "may.csv").write_text(vouchers(8000))
    (extract,) = await extracts(tmp_path)
    before = readers()
    portions = extract.portions()
    await anext(portions)
    assert len(readers()) == len(before) + 1
    await portions.aclose()  # type: ignore[attr-defined]
    assert readers() == before


async def test_a_reading_is_given_up_though_its_process_waits_to_hand_over_the_rest(tmp_path: Path) -> None:
    (tmp_path / "may.csv").write_text(vouchers(12_000))
    (extract,) = await extracts(tmp_path)
    portions, before = extract.portions(), readers()
    await anext(portions)
    (pid,) = set(readers()) - set(before)
    written, still = b"", 0
    while still < 20:  # until it can write no more: then both the pipe and our buffer are full
        await asyncio.sleep(0.01)
        now = Path(f"/proc/{pid}/io").read_bytes()
        written, still = now, still + 1 if now == written else 0
    async with asyncio.timeout(30):
        await portions.aclose()  # type: ignore[attr-defined]
    assert readers() == before


async def test_a_large_file_is_published_whole_and_once(tmp_path: Path) -> None:
    (tmp_path / "may.csv").write_text(vouchers(8000))
    bench = Bench(adapter(tmp_path))
    first = await bench.read()
    documents = {event.key for event in first if event.entity == "invoice"}
    assert len(documents) == 7920
    assert await bench.read() == []


async def test_a_large_file_holds_up_nobody(store: Store, held: list[HoldUp], tmp_path: Path) -> None:
    (tmp_path / "may.csv").write_text(vouchers(8000))
    bench = Bench(adapter(tmp_path))
    await bench.read(bench.pump(memory=StoredMemory(store, "acme")))
    assert held == []
