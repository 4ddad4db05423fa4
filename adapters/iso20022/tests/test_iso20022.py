"""ISO 20022: the suite, totals that do not agree, the invented messages, and the shared one, which contradicts itself."""

import shutil
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest

from adapters.iso20022 import system
from adapters.iso20022.pain001 import LAYOUT, CreditTransfer, transfer
from adapters.iso20022.world import WORLD, read_pain001, run, write_pain001
from adapters.kit.files import FilesAdapter, FilesSettings
from adapters.kit.files_world import Sheets
from adapters.kit.layouts import HowWritten
from adapters.kit.typed import typed
from adapters.port import UnreadRow
from adapters.testing import Bench
from adapters.testing.files_suite import FilesSuite, RowEdit
from canonical.errors import BadRecordError, DoubtfulError
from canonical.finance import BankTransfer

DAY = date(2026, 6, 1)
RUN = "run-00001.xml"


def adapter(folder: Path) -> FilesAdapter:
    made = system.build("iso20022", FilesSettings(folders=(folder,), settle=timedelta(0)))
    assert isinstance(made, FilesAdapter)
    return made


def key(number: int) -> str:
    return f"iso20022:bank-transfer:ANYSHIRE-00001:{number}"


class TestTheSuite(FilesSuite):
    """The adapter keeps the promises of every adapter."""

    system = system
    name = "iso20022"
    changed = RowEdit(RUN, 1, {"document": "INV999999"}, key(2))
    deleted = RowEdit(RUN, 5, {}, key(6))
    broken = RowEdit(RUN, 3, {"currency": "pounds"}, key(4), mended={"currency": "GBP", "document": "INV999998"})

    def read(self, path: Path) -> list[dict[str, str]]:
        return read_pain001(path)

    def write(self, path: Path, rows: Sequence[Mapping[str, str]]) -> None:
        write_pain001(path, rows)

    def sheets(self) -> Sheets:
        return {RUN: run(1, 6, Random(5), DAY)}

    files: ClassVar = {"bank-transfer": RUN}


@pytest.fixture
def message(tmp_path: Path) -> bytes:
    write_pain001(tmp_path / RUN, [row | {"amount": "10.00"} for row in run(1, 3, Random(5), DAY)])
    return (tmp_path / RUN).read_bytes()


def read(message: bytes, accepted: frozenset[str] = frozenset()) -> list[BankTransfer]:
    rows = LAYOUT.written(HowWritten(accepted=accepted)).rows(BytesIO(message))
    return [transfer("iso20022", typed(CreditTransfer)(row)) for row in rows if not isinstance(row, UnreadRow)]


COUNT, TOTAL = b"<NbOfTxs>3</NbOfTxs>", b"<CtrlSum>30.00</CtrlSum>"


@pytest.mark.parametrize(
    ("after", "right", "wrong", "why"),
    [
        (b"<GrpHdr>", COUNT, b"<NbOfTxs>4</NbOfTxs>", "NbOfTxs is 4, and holds 3"),
        (b"<GrpHdr>", TOTAL, b"<CtrlSum>31.00</CtrlSum>", "CtrlSum is 31.00, and holds 30.00"),
        (b"<PmtInf>", COUNT, b"<NbOfTxs>2</NbOfTxs>", "NbOfTxs of the PmtInf in line 10 is 2, and holds 3"),
        (b"<PmtInf>", TOTAL, b"<CtrlSum>29</CtrlSum>", "CtrlSum of the PmtInf in line 10 is 29, and holds 30.00"),
    ],
)
def test_totals_that_do_not_agree_are_a_doubt_that_a_person_may_accept(
    message: bytes, after: bytes, right: bytes, wrong: bytes, why: str
) -> None:
    before, there, behind = message.partition(after)
    harmed = before + there + behind.replace(right, wrong, 1)
    assert harmed != message
    with pytest.raises(DoubtfulError) as caught:
        read(harmed)
    assert (caught.value.doubt, caught.value.rule) == ("totals", f"says {why}")
    assert read(harmed, frozenset({"totals"})) == read(message)


def test_a_message_without_its_head_or_an_amount_is_refused_for_good(message: bytes) -> None:
    for right, wrong, why in [
        (b">10.00<", b">ten<", "has no amount"),
        (b">10.00<", b">NaN<", "has no amount"),
        (b"pain.001.001.09", b"pain.008.001.08", "its first element is of none of the namespaces"),
        (b"CstmrCdtTrfInitn", b"CstmrDrctDbtInitn", "has no GrpHdr"),
    ]:
        with pytest.raises(BadRecordError, match=why):
            read(message.replace(right, wrong), frozenset({"totals"}))


def test_a_day_is_read_in_each_versions_way(message: bytes) -> None:
    older = message.replace(b"001.09", b"001.03").replace(b"<Dt>2026-06-01</Dt>", b"2026-06-01")
    timed = message.replace(b"<Dt>2026-06-01</Dt>", b"<DtTm>2026-06-01T10:00:00Z</DtTm>")
    assert {each.payment_date for xml in (message, older, timed) for each in read(xml)} == {DAY}


def test_a_cheque_is_no_transfer(message: bytes) -> None:
    with pytest.raises(BadRecordError, match="is a cheque, which no bank transfers"):
        read(message.replace(b"TRF", b"CHK"))


SHARED = "data/finance/iso20022/pain.001.001.03.xml"


@pytest.mark.shared
async def test_the_shared_message_says_two_and_holds_four_and_is_refused_until_a_person_accepts_it(
    shared: Path, tmp_path: Path
) -> None:
    shutil.copy(shared / SHARED, tmp_path)
    bench = Bench(adapter(tmp_path))
    assert await bench.read() == []
    [problem] = bench.problems().values()
    assert (problem.field, problem.rule) == ("file", "says NbOfTxs is 2, and holds 4")
    [stream] = bench.adapter.streams()
    [extract] = [each async for each in stream.reading.extracts()]
    accepted = [record async for portion in extract.despite(frozenset({"totals"})) for record in portion]
    told = [stream.map(record.row) for record in accepted]
    assert [(each.amount, each.currency, each.party, each.reference) for each in told] == [
        (Decimal("150.00"), "EUR", "Global Tech", "Invoice-98765"),
        (Decimal("300.00"), "EUR", "Green Energy", "Invoice-12345"),
        (Decimal("250.00"), "EUR", "Beta Chemicals", "Invoice-24680"),
        (Decimal("200.00"), "EUR", "Theta Solutions", "Invoice-36912"),
    ]
    assert "Global Tech" in repr(accepted)
    assert not any(account in repr(accepted) for account in ("DE6821050", "DE8937040", "DE7551210"))


@pytest.mark.shared
def test_every_shared_file_of_the_kind_is_accounted_for(shared: Path) -> None:
    """The CSV beside the message is the input of the program that made it, in a layout of that program."""
    folder = (shared / SHARED).parent
    assert sorted(path.name for path in folder.iterdir()) == ["pain.001.001.03.xml", "template.001.03.csv"]
    assert not adapter(folder)._patterns["bank-transfer"].fullmatch("template.001.03.csv")


async def test_the_invented_system_makes_messages_and_another_one(tmp_path: Path) -> None:
    folder = tmp_path / "iso20022"
    assert WORLD.create(folder, 60) == 0
    bench = Bench(adapter(folder))
    assert len(await bench.read()) == 60
    first, second = WORLD.change(folder, 1)
    assert first == "Message ANYSHIRE-00004 pays 5 creditors."
    assert second.endswith("is exported again: one of its amounts was a pound too small.")
    assert len(await bench.read()) == 6
    assert not bench.problems()
