"""The payables adapter over a real folder: when a file is ready, what it is called, what a correction changes."""

import asyncio
import csv
import io
import logging
import os
import random
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.engine.difference import Comparison, Difference
from adapters.engine.journal import Known
from adapters.engine.regions import region
from adapters.kit.places import Folder, content, extract_name
from adapters.payables import PayablesAdapter, PayablesSettings, system, world
from adapters.payables.layout import PayablesLayout, built_in, declared
from adapters.payables.mapping import entity
from adapters.payables.reading import FileRecords, Rules, read
from adapters.port import Extract, Files, Record, Stream
from adapters.testing import Bench, whole
from canonical import CreditNote, Invoice, LedgerDimension, Supplier
from canonical.errors import BadRecordError, MisconfiguredError, UnavailableError

HEAD = "Payment Ref,Payee,Paid On,Service,Amount\n"
ONE = HEAD + "P1,Ashgrove Ltd,01/04/2024,Parks,10.00\n"
TWO = ONE + "P2,Birchfield LLP,02/04/2024,Parks,20.00\n"
AN_AGE = 86_400.0


def adapter(folder: Path, **settings: Any) -> PayablesAdapter:
    given = {"folders": (folder,), "layouts": world.LAYOUTS, "settle": 0, **settings}
    built = system.build("acme", PayablesSettings.model_validate(given))
    assert isinstance(built, PayablesAdapter)
    return built


def leave(path: Path, text: str | bytes = ONE, age: float = AN_AGE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    stamp = path.parent.stat().st_mtime - age
    os.utime(path, (stamp, stamp))
    return path


async def look(payables: PayablesAdapter) -> list[Extract]:
    (stream,) = payables.streams()
    assert isinstance(stream.reading, Files)
    return [extract async for extract in stream.reading.extracts()]


async def names(payables: PayablesAdapter) -> list[str]:
    return [extract.name for extract in await look(payables)]


def rows(text: str | bytes, layouts: Sequence[str] = world.LAYOUTS, name: str = "april") -> dict[str, tuple[Any, ...]]:
    data = text.encode() if isinstance(text, str) else text
    rules = Rules("acme", {layout: built_in()[layout] for layout in layouts})
    return {record.key: record.row for record in read(name, data, rules).records}


# -- the stream ----------------------------------------------------------------------------------------------------


async def test_the_stream_says_what_it_has_and_that_absent_suppliers_are_not_gone(tmp_path: Path) -> None:
    (stream,) = adapter(tmp_path).streams()
    assert isinstance(stream, Stream)
    assert (stream.name, set(stream.entities)) == ("payables", {Invoice, CreditNote, Supplier, LedgerDimension})
    assert stream.lasting == {"supplier", "ledger-dimension"}
    # A quarantined row counts as a record of the first type until it is read: that one must be able to vanish.
    assert stream.entities[0].type_name not in stream.lasting


async def test_each_record_maps_to_the_entity_that_its_key_names(tmp_path: Path) -> None:
    world.write(tmp_path, seed=3, suppliers=12, invoices=60)
    kinds = set()
    for extract in await look(adapter(tmp_path)):
        for record in await whole(extract):
            if record.row[0] == "bad":
                with pytest.raises(BadRecordError):
                    entity(record.row)
                continue
            found = entity(record.row)
            assert found.key == record.key
            assert record.key.split(":")[:2] == ["acme", found.type_name]
            kinds.add(type(found))
    assert kinds == {Invoice, CreditNote, Supplier, LedgerDimension}


async def test_a_file_is_read_in_a_thread_so_that_the_loop_goes_on(tmp_path: Path) -> None:
    world.write(tmp_path, suppliers=40, invoices=2000)
    (extract, *_) = await look(adapter(tmp_path))
    beats = 0

    async def heart() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.001)
            beats += 1

    beating = asyncio.create_task(heart())
    await whole(extract)
    beating.cancel()
    assert beats > 5


# -- when a file is ready ------------------------------------------------------------------------------------------


async def test_extracts_come_oldest_first(tmp_path: Path) -> None:
    leave(tmp_path / "b.csv", age=300)
    leave(tmp_path / "a.csv", age=200)
    leave(tmp_path / "c.csv", age=400)
    assert await names(adapter(tmp_path)) == ["c", "b", "a"]


async def test_a_file_that_somebody_writes_to_while_it_is_read_is_left_for_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "may.csv"
    path.write_bytes(b"whole")
    folder = Folder("payables", [tmp_path], ["*.csv"], 0, "", b"")
    (found,) = folder.ready()
    assert content("payables", found, 100) == b"whole"
    path.write_bytes(b"hal")
    with pytest.raises(UnavailableError, match=r"may\.csv was changed while it was read"):
        content("payables", found, 100)


async def test_a_file_waits_until_two_looks_apart_find_it_unchanged(tmp_path: Path) -> None:
    payables = adapter(tmp_path, settle=0.2)
    leave(tmp_path / "april.csv")
    await payables.open()
    assert await names(payables) == []  # old by its own time, but we have only just seen it
    await asyncio.sleep(0.25)
    leave(tmp_path / "april.csv", TWO)  # copied with its old time kept, and still growing
    assert await names(payables) == []
    await asyncio.sleep(0.25)
    assert await names(payables) == ["april"]


async def test_a_file_that_was_just_written_waits_by_its_own_time_too(tmp_path: Path) -> None:
    payables = adapter(tmp_path, settle=0.3)
    path = leave(tmp_path / "april.csv")
    await payables.open()
    await asyncio.sleep(0.35)
    os.utime(path)
    assert await names(payables) == []
    await asyncio.sleep(0.35)
    assert await names(payables) == ["april"]


async def test_a_time_ahead_of_ours_does_not_hold_a_file_back_for_ever(tmp_path: Path) -> None:
    payables = adapter(tmp_path, settle=0.1)
    leave(tmp_path / "april.csv", age=-AN_AGE)
    await payables.open()
    await asyncio.sleep(0.15)
    assert await names(payables) == ["april"]


async def test_with_a_done_marker_the_marker_says_when(tmp_path: Path) -> None:
    payables = adapter(tmp_path, settle=3600, done=".done", glob=["*"])
    leave(tmp_path / "april.csv")
    assert await names(payables) == []
    leave(tmp_path / "april.csv.done", "")
    assert await names(payables) == ["april"]


async def test_lock_files_and_files_in_transfer_are_left_alone(tmp_path: Path) -> None:
    for name in ("~$april.xlsx", ".april.csv", "april.csv.part", "readme.md"):
        leave(tmp_path / name)
    assert await names(adapter(tmp_path)) == []


# -- names and corrections -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stem", "name", "rank"),
    [
        ("2024-08", "2024-08", 0), ("2024-08-v2", "2024-08", 2), ("2024-08_V3", "2024-08", 3),
        ("2024-08_corrected", "2024-08", 1), ("2024-08 (1)", "2024-08", 1), ("2024-08(2)", "2024-08", 2),
        ("2024-08 - copy", "2024-08", 1), ("2024-08 - Copy (2)", "2024-08", 2), ("2024-08-amended", "2024-08", 1),
        ("2024-08_corrected_v2", "2024-08", 3), ("SpendOver250Feb24", "SpendOver250Feb24", 0),
        ("photocopy", "photocopy", 0), ("v2", "v2", 0), ("corrected", "corrected", 0),
        ("2024 (2023)", "2024 (2023)", 0),
    ],
)  # fmt: skip
def test_a_corrected_file_has_the_name_of_the_one_it_corrects(stem: str, name: str, rank: int) -> None:
    assert extract_name(stem) == (name, rank)


async def test_of_several_files_of_one_name_only_the_newest_is_read(tmp_path: Path) -> None:
    leave(tmp_path / "april.csv", ONE, age=300)
    leave(tmp_path / "april_corrected.csv", TWO, age=100)
    leave(tmp_path / "may.csv", ONE, age=200)
    payables = adapter(tmp_path)
    assert await names(payables) == ["may", "april"]
    read_in = {e.name: len([r for r in await whole(e) if r.row[0] == "invoice"]) for e in await look(payables)}
    assert read_in == {"may": 1, "april": 2}


async def test_two_corrections_of_one_moment_are_told_by_their_number(tmp_path: Path) -> None:
    for name, text in (("april-v3.csv", TWO), ("april.csv", ONE), ("april-v2.csv", ONE)):
        path = leave(tmp_path / name, text)
        os.utime(path, (1_700_000_000, 1_700_000_000))
    (extract,) = await look(adapter(tmp_path))
    assert len([r for r in await whole(extract) if r.row[0] == "invoice"]) == 2


async def test_folders_within_and_several_folders_keep_their_files_apart(tmp_path: Path) -> None:
    leave(tmp_path / "ap" / "2024" / "april.csv")
    leave(tmp_path / "ap" / "2025" / "april.csv")
    leave(tmp_path / "cards" / "april.csv")
    assert sorted(await names(adapter(tmp_path / "ap", glob=["**/*.csv"]))) == ["2024/april", "2025/april"]
    both = adapter(tmp_path, folders=(tmp_path / "ap" / "2024", tmp_path / "cards"))
    assert sorted(await names(both)) == ["2024/april", "cards/april"]


async def test_the_digest_is_of_the_content_and_of_the_rules_and_of_nothing_else(tmp_path: Path) -> None:
    path = leave(tmp_path / "april.csv")
    (first,) = await look(adapter(tmp_path))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    (touched,) = await look(adapter(tmp_path))
    assert touched.digest == first.digest
    (other_rules,) = await look(adapter(tmp_path, layouts=["payments-list", "leeds-spend"]))
    assert other_rules.digest != first.digest  # a file that no layout fitted is tried again once there is one
    leave(path, TWO)
    (changed,) = await look(adapter(tmp_path))
    assert changed.digest != first.digest


async def test_a_digest_is_taken_without_reading_what_the_file_says(tmp_path: Path) -> None:
    leave(tmp_path / "april.csv", b"no extract at all \xff\xfe\x00")
    (extract,) = await look(adapter(tmp_path))
    assert len(extract.digest) == 32
    with pytest.raises(BadRecordError):
        await whole(extract)


# -- what a correction changes -------------------------------------------------------------------------------------


def changed(before: dict[str, tuple[Any, ...]], after: dict[str, tuple[Any, ...]]) -> set[str]:
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def many(count: int = 40) -> list[str]:
    return [f"P{n // 3:03d},Ashgrove {n % 7} Ltd,{n % 28 + 1:02d}/04/2024,Parks,{n}.00" for n in range(count)]


def test_a_row_put_into_the_middle_changes_its_document_alone() -> None:
    lines = many()
    before = rows(HEAD + "\n".join(lines) + "\n")
    new = "P900,Ashgrove 1 Ltd,03/04/2024,Parks,5.55"
    after = rows(HEAD + "\n".join([*lines[:20], new, *lines[20:]]) + "\n")
    (key,) = changed(before, after)
    assert key.startswith("acme:invoice:P900:")


def test_a_line_put_into_a_document_changes_that_document_alone() -> None:
    lines = many()
    before = rows(HEAD + "\n".join(lines) + "\n")
    after = rows(HEAD + "\n".join([*lines[:20], lines[20], *lines[20:]]) + "\n")  # the same line twice
    (key,) = changed(before, after)
    assert len(before[key][-1]) + 1 == len(after[key][-1])


def test_the_order_of_the_rows_makes_no_difference() -> None:
    lines = [*many(), *many(10)]
    before = rows(HEAD + "\n".join(lines) + "\n")
    random.Random(5).shuffle(lines)
    assert rows(HEAD + "\n".join(lines) + "\n") == before


@pytest.mark.parametrize(("unlike", "suppliers"), [("by-name", 4), ("quarantine", 1), ("one-supplier", 2)])
def test_a_number_of_several_unlike_names_is_what_the_settings_say(unlike: Any, suppliers: int) -> None:
    columns = {"number": "Ref", "supplier_number": "No", "supplier_name": "Payee", "net": "Net"}
    rules = Rules("acme", {"own": PayablesLayout.model_validate({"title": "own", "columns": columns})}, unlike=unlike)
    text = "Ref,No,Payee,Net\n1,9,Ashgrove Ltd,1.00\n2,9,Birch LLP,2.00\n3,9,Ash-Grove Limited,3.00\n4,7,Cedar CIC,4.00\n"
    for order in (text, "".join([text.splitlines(True)[0], *reversed(text.splitlines(True)[1:])])):
        found = read("april", order.encode(), rules)
        assert len([r for r in found.records if r.row[0] == "supplier"]) == suppliers
        assert found.reckoning.quarantined == (3 if unlike == "quarantine" else 0)


def test_the_same_numbers_written_differently_are_no_change() -> None:
    plain = HEAD + "P1,Ashgrove Ltd,01/04/2024,Parks,1250\n"
    typed = HEAD + '" P1",Ashgrove  Ltd ,01-Apr-24,Parks,"£1,250.00"\n'
    assert rows(plain) == rows(typed)


def test_rows_without_a_number_keep_their_keys_when_others_come_and_go() -> None:
    head = "Department Area,Service Area,Description,Line,HBC Ref No.,Name:,Payment Date,Amount Paid\n"
    lines = [f"BANK,NATWEST,Charges {n},,,Ashgrove Bank,31/03/2024,{n}.50" for n in range(5)]
    before = rows(head + "\n".join(lines) + "\n", ["hyndburn-erp"])
    after = rows(head + "\n".join([lines[4], *lines[:3]]) + "\n", ["hyndburn-erp"])
    assert len(changed(before, after)) == 1


def test_a_document_that_turns_into_a_credit_note_is_another_record() -> None:
    before = rows(HEAD + "P1,Ashgrove Ltd,01/04/2024,Parks,10.00\n")
    after = rows(HEAD + "P1,Ashgrove Ltd,01/04/2024,Parks,-10.00\n")
    assert {key.split(":")[1] for key in changed(before, after)} == {"invoice", "credit-note"}


@pytest.mark.parametrize("spoilt", ["-1OO.00", "", "-10.00\n,Ashgrove Ltd,01/04/2024,Parks,-90.00"])
async def test_a_credit_note_of_which_an_amount_cannot_be_told_stays_as_it_was(tmp_path: Path, spoilt: str) -> None:
    line, more = "P1,Ashgrove Ltd,01/04/2024,Parks,", "P1,Ashgrove Ltd,01/04/2024,Grounds,2.00\n"
    leave(tmp_path / "april.csv", TWO.replace("P1", "P3") + f"{line}-10.00\n{more}")
    bench = Bench(adapter(tmp_path))
    first = await bench.read()
    [key] = [event.key for event in first if event.entity == "credit-note"]
    leave(tmp_path / "april.csv", TWO.replace("P1", "P3") + f"{line}{spoilt}\n{more}")
    assert await bench.read() == []
    assert bench.problems()
    leave(tmp_path / "april.csv", TWO.replace("P1", "P3") + f"{line}-10.00\n{more}")
    assert (await bench.read(), bench.problems()) == ([], {})
    leave(tmp_path / "april.csv", TWO.replace("P1", "P3"))
    assert [(event.key, event.data) for event in await bench.read()] == [(key, None)]


def test_in_the_scope_of_an_extract_the_same_number_is_another_document_in_another_file() -> None:
    text = (
        "Directorate,Service,Supplier,Order,Invoice Line Value (net of VAT),Account\nRes,It,Ashgrove Ltd,77,5,Print\n"
    )
    april, may = (rows(text, ["darlington-spend"], name) for name in ("2024-04", "2024-05"))
    documents = [k for k in april.keys() | may.keys() if ":invoice:" in k]
    assert len(documents) == 2
    assert april.keys() & may.keys() == {k for k in april if ":invoice:" not in k}


async def test_the_demonstration_s_correction_does_what_its_sentences_say(tmp_path: Path) -> None:
    world.write(tmp_path, seed=7)
    before = await everything(adapter(tmp_path))
    said = world.correct(tmp_path, seed=7)
    after = await everything(adapter(tmp_path))
    dearer, dropped = said[1].split(" of ")[1].split()[0], said[2].split()[0]
    april = {k for k in changed(before, after) if k.split(":")[1] in ("invoice", "credit-note")}
    june = {k for k in april if after.get(k) and after[k][5] and after[k][5].month == 6}  # document_date
    assert {k.split(":")[2] for k in april - june} == {dearer, dropped, "INV900001"}
    assert len(june) == int(said[-1].split(" has ")[1].split()[0])


async def everything(payables: PayablesAdapter) -> dict[str, tuple[Any, ...]]:
    return {r.key: r.row for extract in await look(payables) for r in await whole(extract)}


def test_the_demonstration_is_the_same_for_the_same_seed_and_has_every_kind_of_row(tmp_path: Path) -> None:
    one, two = world.write(tmp_path / "one", seed=4), world.write(tmp_path / "two", seed=4)
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]
    rules = Rules("acme", {name: built_in()[name] for name in world.LAYOUTS})
    readings = [read(p.stem, p.read_bytes(), rules) for p in one]
    assert [r.reckoning.layout for r in readings] == ["erp-invoices", "erp-invoices", "payments-list"]
    assert sum(r.reckoning.duplicates for r in readings) > 0
    assert len(readings[1].reckoning.reasons) == 3
    assert readings[2].reckoning.how.startswith("cp1252")
    documents = [entity(r.row) for reading in readings for r in reading.records if r.row[0] != "bad"]
    assert sum(isinstance(d, CreditNote) and d.corrects is not None for d in documents) > 5
    assert sum(isinstance(d, Supplier) and d.vat_number is not None for d in documents) > 50
    assert sum(isinstance(d, Supplier) and d.redacted for d in documents) == 1


async def test_what_is_published_of_a_corrected_file_is_what_differs_and_a_mended_row_leaves_quarantine(
    tmp_path: Path,
) -> None:
    payables = adapter(tmp_path)
    (stream,) = payables.streams()
    bad = TWO + "P3,Ashgrove Ltd,99/04/2024,Parks,30.00\n"
    first = await compared(payables, stream, leave(tmp_path / "april.csv", bad), {})
    assert sorted(e.key.split(":")[1] for e in first.events) == [
        "invoice",
        "invoice",
        "ledger-dimension",
        *["supplier"] * 2,
    ]
    assert [p.key for p in first.problems] == ["acme:row:april-4"]

    good = ONE + "P3,Ashgrove Ltd,09/04/2024,Parks,30.00\n"
    then = await compared(payables, stream, leave(tmp_path / "april_v2.csv", good, age=0), first.known)
    assert {(e.key.split(":")[2], e.data is None) for e in then.events} == {("P3", False), ("P2", True)}
    assert (then.problems, "acme:row:april-4" in then.mended) == ([], True)


async def compared(payables: PayablesAdapter, stream: Stream, path: Path, known: dict[str, Known]) -> Difference:
    """What the pump does with an extract, without Kafka."""
    (extract,) = await look(payables)
    comparison = Comparison("acme", stream, known.values(), set(), datetime.now(UTC))
    comparison.rows(region(extract.name, list(await whole(extract)), b"salt"))
    gone = [k for k in comparison.found.known.values() if k.region is None and k.entity not in stream.lasting]
    comparison.gone(gone)
    return comparison.found


# -- refusals ------------------------------------------------------------------------------------------------------


async def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    leave(tmp_path / "april.csv", "x" * 1_000_001)
    (extract,) = await look(adapter(tmp_path, max_megabytes=1))
    with pytest.raises(BadRecordError, match="is larger than 1 MB"):
        await whole(extract)


async def test_a_folder_that_is_not_there_is_tried_again_later(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="is not there"):
        await adapter(tmp_path / "nowhere").open()


async def test_a_folder_that_is_a_file_needs_a_person(tmp_path: Path) -> None:
    with pytest.raises(MisconfiguredError, match="cannot be listed"):
        await adapter(leave(tmp_path / "file.csv")).open()


async def test_a_file_that_went_away_before_it_was_read_is_tried_again_later(tmp_path: Path) -> None:
    path = leave(tmp_path / "april.csv")
    (extract,) = await look(adapter(tmp_path))
    path.unlink()
    with pytest.raises(UnavailableError, match="cannot be read now"):
        await whole(extract)


async def test_no_log_and_no_error_and_no_key_names_a_payee(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = "Zebedee Quillfeather"
    text = HEAD + "".join(
        f"P{n},{secret},{day},Parks,{amount}\n"
        for n, (day, amount) in enumerate(
            [("01/04/2024", "1.00"), ("32/04/2024", "1.00"), ("01/04/2024", "x"), (secret, secret), ("01/04/2024", "")]
        )
    )
    leave(tmp_path / "april.csv", text + f",{secret},01/04/2024,Parks,1.00\n")
    payables = adapter(tmp_path)
    with caplog.at_level(logging.DEBUG):
        (extract,) = await look(payables)
        records = await whole(extract)
        said = [f.what + f.fix for f in await payables.check()]
    for record in records:
        if record.row[0] == "bad":
            with pytest.raises(BadRecordError) as caught:
                entity(record.row)
            said.append(str(caught.value))
    told = " ".join([*said, *caplog.messages, *(r.key for r in records)])
    assert len([r for r in records if r.row[0] == "bad"]) == 5
    assert "Quillfeather" not in told
    assert "1 rows to publish, 5 to quarantine" in told


# -- checking ------------------------------------------------------------------------------------------------------


async def test_check_says_that_there_is_no_extract_yet(tmp_path: Path) -> None:
    (finding,) = await adapter(tmp_path).check()
    assert finding.well
    assert finding.what == f"{tmp_path}: no extract yet"


async def test_check_does_not_say_that_all_is_well_of_a_folder_full_of_files_that_are_not_looked_at(tmp_path: Path) -> None:
    leave(tmp_path / "april.pdf")
    (finding,) = await adapter(tmp_path).check()
    assert not finding.well
    assert "no extract yet, 1 files that `glob` (*.csv, *.txt, *.xlsx, *.xls, *.ods) does not name" in finding.what


async def test_a_name_in_capitals_is_an_extract_and_check_counts_notes_and_copies(tmp_path: Path) -> None:
    leave(tmp_path / "APRIL.CSV", TWO + "P2,Birchfield LLP,02/04/2024,Parks,20.00\nPrinted by Finance,,,,\n")
    folder, april = await adapter(tmp_path).check()
    assert folder.what.endswith(": 1 extracts")
    assert april.what == "APRIL.CSV: layout payments-list, 3 rows to publish, copies of other rows: 1, notes: 1"


async def test_check_says_of_each_file_which_layout_it_has_or_what_was_looked_for(tmp_path: Path) -> None:
    leave(tmp_path / "april.csv", TWO + "P3,Ashgrove Ltd,99/99/2024,Parks,1.00\n", age=300)
    leave(tmp_path / "notes.csv", "a,b\n1,2\n", age=200)
    folder, april, notes = await adapter(tmp_path).check()
    assert (folder.well, folder.what) == (True, f"{tmp_path}: 2 extracts, 1 of them refused")
    assert april.well
    assert april.what == (
        "april.csv: layout payments-list, 2 rows to publish, 1 to quarantine "
        "(1 × Paid On is no day of the calendar)"
    )
    assert not notes.well
    assert "fit no layout. Looked for payments-list (lacks Payment Ref, Payee" in notes.what
    assert notes.fix == "declare a layout for this file, see adapters/payables/README.md"


async def test_check_says_that_a_folder_is_not_there(tmp_path: Path) -> None:
    (finding,) = await adapter(tmp_path / "nowhere").check()
    assert not finding.well
    assert finding.fix == "mount it, or correct `folders` in the settings"


# -- settings and layouts ------------------------------------------------------------------------------------------


def test_the_sample_settings_hold() -> None:
    section = tomllib.loads(system.sample)["adapters"]["payables"]
    settings = PayablesSettings.model_validate(section)
    assert system.build("payables", settings).name == "payables"


def test_a_layout_that_nobody_declared_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(MisconfiguredError, match=r"no layout is called erp-invoice\. To do: .*erp-invoices"):
        adapter(tmp_path, layouts=["erp-invoice"])


def test_a_name_that_cannot_begin_a_key_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    settings = PayablesSettings(folders=(tmp_path,), layouts=("erp-invoices",))
    with pytest.raises(MisconfiguredError, match="cannot begin a key"):
        system.build("Payables Ledger", settings)


def test_settings_without_any_layout_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="name at least one layout"):
        PayablesSettings.model_validate({"folders": [tmp_path]})


async def test_a_layout_of_one_s_own_stands_in_the_settings(tmp_path: Path) -> None:
    own = {"mine": {"title": "Mine", "columns": {"number": "No", "supplier_name": "Who", "net": "How much"}}}
    leave(tmp_path / "april.csv", "No,Who,How much\n1,Ashgrove Ltd,5.00\n")
    (extract,) = await look(adapter(tmp_path, layouts=[], own_layouts=own))
    assert [r.row[0] for r in await whole(extract)] == ["supplier", "invoice"]


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        ({"columns": {"net": "Net", "number": "No"}}, "columns has no supplier_name"),
        ({"columns": {"supplier_name": "Who", "number": "No"}}, "neither net nor both of gross and tax"),
        ({"columns": {"supplier_name": "Who", "net": "Net"}}, "columns has no number"),
        ({"columns": {"supplier_name": "Who", "net": "Net", "number": "No", "price": "P"}}, "columns.price"),
        ({"columns": {"supplier_name": "Who", "net": "Net", "number": "No"}, "document": ["payment_date"]},
         "document names payment_date"),
        ({"columns": {"supplier_name": "Who", "net": "Net", "number": "No"}, "dates": ["mm/dd/yyyy"]}, "dates.0"),
        ({"columns": {"supplier_name": "Who", "net": "Net", "number": "No"}, "headless": True}, "position of every"),
        ({"columns": {"supplier_name": {"heading": "Who", "pattern": "("}, "net": "Net", "number": "No"}},
         "is not a regular expression"),
    ],
)  # fmt: skip
def test_a_layout_that_does_not_hold_together_says_where(table: dict[str, Any], rule: str) -> None:
    with pytest.raises(MisconfiguredError, match="layout mine: ") as caught:
        declared("mine", {"title": "Mine", **table})
    assert rule in str(caught.value)


def test_the_layout_that_the_readme_teaches_reads_the_file_that_it_shows() -> None:
    readme = (Path(world.__file__).parent / "README.md").read_text("utf-8")
    toml = readme.partition("```toml\n# own layout")[2].partition("```")[0]
    shown = readme.partition("```csv\n")[2].partition("```")[0]
    table = tomllib.loads("# own layout" + toml)["adapters"]["payables"]["own_layouts"]
    ((name, declaration),) = table.items()
    reading = read("readme", shown.encode(), Rules("acme", {name: declared(name, declaration)}))
    counted = reading.reckoning
    assert (counted.published, counted.quarantined, counted.totals, counted.accounted) == (3, 0, 1, counted.rows)


def test_every_built_in_layout_says_what_it_is_and_there_is_one_for_each_published_file() -> None:
    layouts = built_in()
    assert len(layouts) == 12
    assert all(isinstance(layout, PayablesLayout) and layout.title for layout in layouts.values())


def test_a_row_of_a_ledger_survives_the_csv_module_both_ways() -> None:
    """Quotes, commas and line breaks in cells do not move a column."""
    text = io.StringIO(newline="")
    nasty = ['P"1', "Ash,grove\r\nLtd", "01/04/2024", 'Pa"rks, all', "1,250.00"]
    csv.writer(text).writerows([HEAD.strip().split(","), nasty])
    reading = reading_of(text.getvalue())
    assert reading.reckoning.published == 1
    (supplier,) = [e for r in reading.records if isinstance(e := entity(r.row), Supplier)]
    assert supplier.name == "Ash,grove Ltd"


def reading_of(text: str) -> FileRecords:
    return read("april", text.encode(), Rules("acme", {"payments-list": built_in()["payments-list"]}))


def test_records_are_numbered_in_their_order() -> None:
    records: Sequence[Record] = reading_of(TWO).records
    assert [r.position for r in records] == [(n,) for n in range(len(records))]
