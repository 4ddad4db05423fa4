"""Bacs: the suite, what refuses a file, the invented runs, and the shared file to the penny."""

import shutil
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest

from adapters.bacs import system
from adapters.bacs.world import WORLD, read_standard18, run, write_standard18
from adapters.kit.files import FilesSettings
from adapters.kit.files_world import Sheets
from adapters.port import Adapter
from adapters.testing import Bench
from adapters.testing.files_suite import FilesSuite, RowEdit
from canonical import Event
from canonical.finance import BankTransfer

DAY = date(2026, 6, 1)
RUN = "creditors-00001.txt"


def adapter(folder: Path) -> Adapter:
    return system.build("bacs", FilesSettings(folders=(folder,), settle=timedelta(0)))


def told_transfers(events: Sequence[Event]) -> list[BankTransfer]:
    return [BankTransfer.from_bytes(event.data) for event in events if event.data]


def key(number: int) -> str:
    return f"bacs:bank-transfer:123456:A00001:26152:{number}"


class TestTheSuite(FilesSuite):
    """The adapter keeps the promises of every adapter."""

    system = system
    name = "bacs"
    changed = RowEdit(RUN, 1, {"reference": "INV999999"}, key(2))
    deleted = RowEdit(RUN, 5, {}, key(6))
    broken = RowEdit(RUN, 3, {"behind": "      SOMETHING ELSE"}, key(4), mended={"behind": "", "reference": "INV999998"})

    def read(self, path: Path) -> list[dict[str, str]]:
        return [row for row in read_standard18(path) if row["reference"] != "CONTRA"]

    def write(self, path: Path, rows: Sequence[Mapping[str, str]]) -> None:
        write_standard18(path, rows)

    def sheets(self) -> Sheets:
        return {RUN: run(1, 6, Random(5), DAY)}

    files: ClassVar = {"bank-transfer": RUN}


async def refusal(folder: Path, text: str) -> str:
    """Read a file, and say why it was refused whole."""
    (folder / RUN).write_text(text, "ascii")
    bench = Bench(adapter(folder))
    assert await bench.read() == []
    [problem] = bench.problems().values()
    return problem.rule


@pytest.fixture
def text(tmp_path: Path) -> str:
    rows = [row | {"pence": "1000"} for row in run(1, 3, Random(5), DAY)]
    write_standard18(tmp_path / RUN, rows)
    return (tmp_path / RUN).read_text("ascii")


async def test_a_file_whose_totals_do_not_agree_is_refused_with_both_numbers(tmp_path: Path, text: str) -> None:
    totals = "UTL10000000003000000000000300000000010000003"
    assert totals in text
    for wrong, why in {
        "UTL10000000003000000000000300100000010000003": "says the credits in pence are 3001, and holds 3000",
        "UTL10000000002999000000000300000000010000003": "says the debits in pence are 2999, and holds 3000",
        "UTL10000000003000000000000300000000020000003": "says the number of debits is 2, and holds 1",
        "UTL10000000003000000000000300000000010000004": "says the number of credits is 4, and holds 3",
    }.items():
        assert await refusal(tmp_path, text.replace(totals, wrong)) == why


async def test_a_file_that_is_no_whole_one_is_refused(tmp_path: Path, text: str) -> None:
    lines = text.splitlines(keepends=True)
    assert await refusal(tmp_path, "".join(lines[:-1])) == "has no UTL1: its end is missing"
    assert await refusal(tmp_path, "".join(lines[4:])) == "line 1 does not stand between UHL1 and UTL1"
    assert await refusal(tmp_path, text + text) == "goes on in line 12, behind UTL1"
    assert await refusal(tmp_path, text.replace("00000001000A", "0000000100XA", 1)) == "line 5 has no amount"
    assert await refusal(tmp_path, text.replace("099000", "055000", 1)) == "line 5 has a transaction code that is not known"


async def test_direct_debits_are_below_zero_and_instructions_are_none(tmp_path: Path) -> None:
    rows = [row | {"pence": "1000", "code": code} for row, code in zip(run(1, 2, Random(5), DAY), ("17", "0N"), strict=True)]
    write_standard18(tmp_path / RUN, rows)
    text = (tmp_path / RUN).read_text("ascii")
    text = text.replace("UTL10000000002000000000000200000000010000002", "UTL10000000003000000000000000000000020000000")
    (tmp_path / RUN).write_text(text, "ascii")
    bench = Bench(adapter(tmp_path))
    [told] = told_transfers(await bench.read())
    assert (told.amount, told.payment_method, told.purpose) == (Decimal("-10.00"), "49", "17")


@pytest.mark.shared
async def test_no_event_and_no_row_has_an_account(shared: Path, tmp_path: Path) -> None:
    shutil.copy(shared / "data" / "finance" / "bacs" / "std18_single_day.txt", tmp_path)
    events = await Bench(adapter(tmp_path)).read()
    told = b"".join(event.data for event in events if event.data)
    assert b"INV596854" in told
    assert not any(number in told for number in (b"88837491", b"107999", b"66374958", b"089999"))


@pytest.mark.shared
async def test_every_record_of_the_shared_file_is_accounted_for(shared: Path, tmp_path: Path) -> None:
    shutil.copy(shared / "data" / "finance" / "bacs" / "std18_single_day.txt", tmp_path)
    bench = Bench(adapter(tmp_path))
    transfers = told_transfers(await bench.read())
    assert not bench.problems()
    assert (len(transfers), sum(each.amount for each in transfers)) == (25, Decimal("527463.15"))
    assert {each.payment_date for each in transfers} == {date(2025, 4, 8)}
    await bench.adapter.open()
    [_, finding] = await bench.adapter.check()
    assert finding.well
    assert finding.what.endswith("25 rows, contra records: 1")


@pytest.mark.shared
def test_every_shared_file_of_the_kind_is_named_here(shared: Path) -> None:
    assert [path.name for path in (shared / "data" / "finance" / "bacs").iterdir()] == ["std18_single_day.txt"]


async def test_the_invented_system_makes_runs_and_another_one(tmp_path: Path) -> None:
    folder = tmp_path / "bacs"
    assert WORLD.create(folder, 60) == 0
    bench = Bench(adapter(folder))
    assert len(await bench.read()) == 60
    first, second = WORLD.change(folder, 1)
    assert first == "Run A00004 pays 5 creditors."
    assert second.endswith("is exported again: one of its amounts was a pound too small.")
    assert len(await bench.read()) == 6
    assert not bench.problems()
