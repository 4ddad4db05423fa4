"""The state keeps what each file held when it was last read, and tells a stream's newest files: on SQLite and PostgreSQL."""

import pytest

from adapters.engine.extracts import bad_file
from adapters.engine.journal import ExtractAccount, Problem, Seen, Step
from adapters.engine.regions import extract_mark
from ironbridge.operate import insight
from ironbridge.store import Store, StoredMemory
from ironbridge.store.extracts import ReadExtract

PART = "payables.payables"


def read(name: str, reading: int, account: ExtractAccount, trouble: str | None = None) -> ReadExtract:
    return ReadExtract(
        name, extract_mark(name), reading, account.records, account.quarantined, account.besides, trouble
    )


async def test_files_are_told_newest_first_each_with_what_it_held_or_why_it_was_refused(each_store: Store) -> None:
    memory = StoredMemory(each_store, "payables")
    april, may = ExtractAccount(12, 1, {"notes": 2, "totals passed over": 1}), ExtractAccount(3)
    regions = {"april": Seen(b"a", 4), "may": Seen(b"m", -5), "june": Seen(b"j", -6), "unread": Seen(None, 6)}
    problem = Problem(bad_file("payables", "june"), "file", "is empty", "nothing", "june is empty")
    accounts = {"april": april, "may": may, "june": ExtractAccount()}
    await memory.save("payables", Step(regions=regions, problems=[problem], accounts=accounts))
    await memory.save("others", Step(regions={"march": Seen(b"a", 9)}, accounts={"march": may}))
    told = [read("june", 6, ExtractAccount(), "june is empty"), read("may", 5, may), read("april", 4, april)]
    assert await insight.files(each_store, PART, 100) == told
    assert await insight.files(each_store, PART, 2) == told[:2]
    assert await insight.files(each_store, "payables.nobody", 100) == []


async def test_what_a_file_held_stays_while_its_region_is_marked_and_goes_with_it(each_store: Store) -> None:
    memory = StoredMemory(each_store, "payables")
    april = ExtractAccount(12, 1, {"notes": 2})
    await memory.save("payables", Step(regions={"april": Seen(b"a", 4)}, accounts={"april": april}))
    await memory.save("payables", Step(regions={"april": Seen(None, -5)}))
    assert await insight.files(each_store, PART, 100) == [read("april", 5, april)]
    await memory.save("payables", Step(regions={"april": Seen(b"b", 6)}, accounts={"april": ExtractAccount(12)}))
    assert await insight.files(each_store, PART, 100) == [read("april", 6, ExtractAccount(12))]
    await memory.save("payables", Step(gone_regions=["april"]))
    assert await insight.files(each_store, PART, 100) == []


async def test_a_step_that_is_refused_leaves_what_a_file_held(each_store: Store) -> None:
    memory, april = StoredMemory(each_store, "payables"), ExtractAccount(12)
    await memory.save("payables", Step(regions={"april": Seen(b"a", 4)}, accounts={"april": april}))
    bad = Problem("payables:row:1", "a", "b", "c", None)  # type: ignore[arg-type]  # no text: the database refuses it
    with pytest.raises(Exception, match=r".*"):
        await memory.save("payables", Step(problems=[bad], accounts={"april": ExtractAccount(99)}))
    assert await insight.files(each_store, PART, 100) == [read("april", 4, april)]
