"""The suites catch what authors get wrong: each mistake is made here on purpose, and the scenario that finds it says so."""

from __future__ import annotations

import locale
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest

from adapters.port import Adapter, Page, Position, Row, Stream
from adapters.testing import AdapterSuite, Line, TableAdapter
from canonical import CareEpisode
from canonical.entity import FINANCIAL, Entity
from canonical.errors import BadRecordError
from canonical.key import key_of
from flows.port import Body, Confirmed, Document, Outcome, Refused, Unavailable, Unknown, Waiting, Write
from flows.testing import ScriptedTarget, TargetSuite, Trouble

# -- adapters ----------------------------------------------------------------------------------------------------------

NEEDS = ("N1", "N2", "N3", "N4")


def episode(row: Row, **more: Any) -> CareEpisode:
    number, child, need = row
    given = {"key": key_of("legacy", "care-episode", number), "person": key_of("legacy", "person", child)}
    return CareEpisode.model_validate(given | {"primary_need": need} | more)


def by_the_clock(row: Row) -> Entity:
    return episode(row, referral_date=date.today())  # noqa: DTZ011


def by_the_zone(row: Row) -> Entity:
    return episode(row, referral_date=datetime.fromtimestamp(1_767_225_600 - 3600).date())  # noqa: DTZ006


def by_a_set(row: Row) -> Entity:
    return episode(row, primary_need=min(NEEDS, key=lambda need: hash((need, str(row[0])))))


def by_the_machine(row: Row) -> Entity:
    return episode(row, referral_date=date(2026 + (time.tzname[0] != "UTC"), 1, 1))


def by_the_locale(row: Row) -> Entity:
    return episode(row, referral_date=date(2026, 1, len(locale.format_string("%d", 1234, grouping=True))))


def owned_elsewhere(row: Row) -> Entity:
    return episode(row, person=key_of("other", "person", row[1]))


def with_a_moving_owner(row: Row) -> Entity:
    return episode(row, person=key_of("legacy", "person", 100 + NEEDS.index(row[2]) if row[2] in NEEDS else 9))


def quoting(row: Row) -> Entity:
    if row[2] not in NEEDS:
        raise BadRecordError("legacy", field="need", rule=f"{row[2]} is no need", shape="text")
    return episode(row)


class Fine(Entity):
    """A fine whose amount is a binary fraction."""

    type_name: ClassVar[str] = "fine"
    standard: ClassVar[str] = "none"
    amount: Annotated[float, FINANCIAL]


def fine(row: Row) -> Entity:
    return Fine(key=key_of("legacy", "fine", row[0]), amount=row[1] / 10)


class Mapped(TableAdapter):
    """The table, mapped by a function."""

    def __init__(self, mapping: Callable[[Row], Entity] = episode, *entities: type[Entity]) -> None:
        super().__init__()
        self.lines = {n: Line(n // 3, NEEDS[n % 4]) for n in range(20)}
        self.mapping, self.entities = mapping, entities or (CareEpisode,)

    def streams(self) -> Sequence[Stream]:
        (stream,) = super().streams()
        return [replace(stream, map=self.mapping, entities=self.entities)]


class Losing(Mapped):
    """Its join loses each record whose child is not in another table."""

    async def _swept(self, after: Position | None) -> AsyncIterator[Page]:
        async for page in super()._swept(after):
            yield page._replace(records=[r for r in page.records if r.row[1] != 2])


class Restless(Mapped):
    """The parts of its rows come as the database likes to give them."""

    turn = 0

    async def _swept(self, after: Position | None) -> AsyncIterator[Page]:
        self.turn += 1
        async for page in super()._swept(after):
            parts = (("a",), ("b",))[:: 1 if self.turn % 2 else -1]
            yield page._replace(records=[r._replace(row=(*r.row, parts)) for r in page.records])

    def streams(self) -> Sequence[Stream]:
        return [replace(stream, map=without_parts) for stream in super().streams()]


def without_parts(row: Row) -> Entity:
    return episode(row[:3])


class Unequal:
    """A value that two reads do not show alike."""


class Opaque(Mapped):
    """Its rows hold a driver's own objects."""

    async def _swept(self, after: Position | None) -> AsyncIterator[Page]:
        async for page in super()._swept(after):
            yield page._replace(records=[r._replace(row=(*r.row, Unequal())) for r in page.records])


class Suite(AdapterSuite):
    only_named = frozenset({"person"})

    async def change_one(self, adapter: Adapter) -> str:
        assert isinstance(adapter, TableAdapter)
        adapter.lines[7] = Line(adapter.lines[7].child, "N1")
        return adapter.key(7)

    async def counted(self, _: Adapter) -> dict[str, int]:
        return {"episodes": 20}


class Strict(Suite):
    only_named: frozenset[str] = frozenset()


MISTAKES: list[tuple[str, AdapterSuite, str, Callable[[], Adapter], str]] = [
    ("clock", Suite(), "a_mapping_depends_on_nothing_but_its_row", partial(Mapped, by_the_clock), "makes something else"),
    ("zone", Suite(), "a_mapping_depends_on_nothing_but_its_row", partial(Mapped, by_the_zone), "makes something else"),
    ("machine", Suite(), "a_mapping_depends_on_nothing_but_its_row", partial(Mapped, by_the_machine), "makes something else"),
    ("locale", Suite(), "a_mapping_depends_on_nothing_but_its_row", partial(Mapped, by_the_locale), "makes something else"),
    ("set", Suite(), "a_mapping_depends_on_nothing_but_its_row", partial(Mapped, by_a_set), "makes something else"),
    ("closure", Suite(), "a_mapping_depends_on_nothing_but_its_row", lambda: Mapped(lambda r: episode(r)), "cannot be sent"),
    ("owner", Suite(), "every_record_has_an_owner_of_its_own_system", partial(Mapped, owned_elsewhere), "another system owns"),
    ("moving", Suite(), "one_changed_record_publishes_one_event", partial(Mapped, with_a_moving_owner), "has another owner"),
    ("dangling", Strict(), "every_record_that_is_named_is_read_too", Mapped, "no stream reads"),
    ("float", Suite(), "money_is_never_a_float", partial(Mapped, fine, Fine), "tenth of a pound"),
    ("lost", Suite(), "no_record_is_left_out", Losing, "loses records.*17 of 20"),
    ("quoting", Suite(), "no_error_of_a_mapping_quotes_a_value", partial(Mapped, quoting), "quotes it"),
    ("parts", Suite(), "two_reads_of_an_unchanged_system_give_equal_rows", Restless, "parts in another order"),
    ("opaque", Suite(), "two_reads_of_an_unchanged_system_give_equal_rows", Opaque, "another row|no plain value"),
]


@pytest.mark.parametrize(("name", "suite", "scenario", "adapter", "said"), MISTAKES, ids=[each[0] for each in MISTAKES])
async def test_a_mistake_of_an_adapter_is_caught_and_named(
    name: str, suite: AdapterSuite, scenario: str, adapter: Callable[[], Adapter], said: str
) -> None:
    with pytest.raises(AssertionError, match=said):
        await getattr(suite, f"test_{scenario}")(adapter())


@pytest.mark.parametrize("scenario", sorted({scenario for _, _, scenario, _, _ in MISTAKES}))
async def test_an_adapter_without_mistakes_passes(scenario: str) -> None:
    await getattr(Suite(), f"test_{scenario}")(Mapped())


# -- targets -----------------------------------------------------------------------------------------------------------


@dataclass
class Wrong(ScriptedTarget):
    """A target in memory that does one thing wrong."""

    mistake: str = ""
    fails: Trouble | None = None
    altered: set[str] = field(default_factory=set)

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        done = [self._answered(each) for each in batch]
        return done[::-1] if self.mistake == "order" else done

    def _answered(self, write: Write) -> Outcome:
        trouble, self.fails = self.fails, None
        if trouble in (Trouble.THROTTLED, Trouble.FAILED) and self.mistake != "retries":
            if self.mistake == "refuses" and trouble is Trouble.FAILED:
                return Refused("it answered 500")
            return Unavailable("it answered 429 or 500")
        if write.document and write.document.body.get("bad"):
            return Refused("it is bad")
        if write.document is None and self.mistake == "deletes":
            self.lose(write.subject)
        if write.subject in self.altered and self.mistake != "overwrites":
            return Unknown("it was changed there: 412")
        missing = set(write.refs.values()) - set(self.ids.values())
        if missing and self.mistake != "ignores":
            return Waiting("x:supplier:9")
        self._do(write)
        return Unknown("no answer") if trouble else Confirmed(self.ids.get(write.subject, ""), f"tag{len(self.effects)}")


@dataclass
class WrongSide:
    target: Wrong

    def document(self, number: int, version: int) -> tuple[str, Document]:
        return f"x:supplier:{number}", Document("vendor", str(number), {"name": f"Joiners {version}"})

    def refusable(self, number: int) -> tuple[str, Document]:
        return f"x:supplier:{number}", Document("vendor", str(number), {"bad": "yes"})

    def referring(self, number: int) -> Write:
        document = Document("invoice", str(number), {"name": "a bill"}, {"vendorId": "x:supplier:9"})
        return Write(f"x:invoice:{number}", document, refs={"vendorId": "gone"})

    def alter(self, number: int) -> None:
        subject, document = self.document(number, 7)
        self.target.documents[subject] = document
        self.target.altered.add(subject)

    def held(self, number: int) -> Body | None:
        document = self.target.documents.get(f"x:supplier:{number}")
        return document.body if document else None

    def effects(self) -> int:
        return len(self.target.effects)

    def trouble(self, trouble: Trouble) -> None:
        self.target.fails = trouble


SLIPS = {
    "order": ("one_refused_among_many_leaves_the_others_confirmed", "another order"),
    "ignores": ("a_document_waits_for_what_it_refers_to", "was left out"),
    "overwrites": ("a_change_that_somebody_made_there_is_not_overwritten_unseen", "newer version"),
    "refuses": ("a_failure_of_the_target_is_never_taken_for_a_refusal", "parked"),
    "retries": ("a_throttled_write_is_unavailable_for_as_long_as_the_target_says", "tries again by itself"),
    "deletes": ("what_was_never_confirmed_is_not_deleted", "somebody else"),
}


class SuiteOfTargets(TargetSuite):
    says_how_long = False


@pytest.mark.parametrize("mistake", SLIPS)
async def test_a_mistake_of_a_target_is_caught_and_named(mistake: str) -> None:
    scenario, said = SLIPS[mistake]
    with pytest.raises(AssertionError, match=said):
        await getattr(SuiteOfTargets(), f"test_{scenario}")(WrongSide(Wrong(mistake=mistake)))


@pytest.mark.parametrize("scenario", sorted({scenario for scenario, _ in SLIPS.values()}))
async def test_a_target_without_mistakes_passes(scenario: str) -> None:
    await getattr(SuiteOfTargets(), f"test_{scenario}")(WrongSide(Wrong()))


# -- the plugin --------------------------------------------------------------------------------------------------------

OWN = """
import pytest
from adapters.testing import AdapterSuite, Line, TableAdapter

class TestTable(AdapterSuite):
    only_named = frozenset({"person"})

    @pytest.fixture
    def adapter(self):
        adapter = TableAdapter()
        adapter.lines = {n: Line(n, "N1") for n in range(9)}
        return adapter

    async def counted(self, _):
        return {"episodes": 10}
"""


def test_the_suites_need_no_setting_of_pytest_and_show_what_they_compared(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(OWN, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-W", "ignore", "-k", "left_out or equal_rows", "-c", "/dev/null", "."]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert "1 failed, 1 passed" in said, said
    assert "a condition or a join loses records: {'episodes': '9 of 10'}" in said
    assert "Left contains 1 more item" in said
