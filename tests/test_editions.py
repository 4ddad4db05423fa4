"""Several releases, days and workers of one flow: which edition is at work, and that old results never stay for ever."""

import asyncio
import importlib
import logging
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from canonical.errors import RefusedError
from flows.engine.agree import Agreement
from flows.engine.clock import LondonDay, day_in_london
from flows.engine.editions import Editions
from flows.engine.ledger import HOLD, Edition, Settlement, State
from flows.port import Document, Facts, Nothing
from ironbridge.operate import insight
from ironbridge.runtime.editions import edition, name_of
from ironbridge.store import Store, StoredLedger
from ironbridge.store.editions import SLICE, Opened, may_open
from tests.agreement import PurchaseFlow, World, invoice, supplier, supplier_key

S1 = supplier_key(1)


class ByDay(PurchaseFlow):
    """Its documents say the day."""

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        wanted = super().desired(subject, facts)
        assert isinstance(wanted, Document)
        return replace(wanted, body=wanted.body | {"day": facts.today.isoformat()})


class ComesOfAge(PurchaseFlow):
    """Its document of a supplier says whether a day of that supplier has come: 6 January for the first one, and so on."""

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        wanted = super().desired(subject, facts)
        assert isinstance(wanted, Document)
        come = facts.has_come(date(2026, 1, 5) + timedelta(days=int(wanted.number)))
        return replace(wanted, body=wanted.body | {"come": come})


class Pod:
    """A process that runs one release of the flow."""

    def __init__(self, world: World, release: str, suffix: str = "", flow: PurchaseFlow | None = None) -> None:
        self.flow = flow or PurchaseFlow()
        self.flow.edition_name, self.flow.suffix = release, suffix
        self.ledger = world.new_ledger()
        self.agreement = Agreement(self.flow, world.target, self.ledger, edition=release, clock=world.clock)

    @classmethod
    def of(cls, world: World, flow: PurchaseFlow) -> "Pod":
        """A process whose edition is worked out as the runtime does it."""
        return cls(world, edition(name_of(type(flow)), flow.entities, flow.settings), flow=flow)

    async def tends(self) -> None:
        """Do the work that a worker does every few seconds."""
        opened = self.agreement._editions.open
        await self.agreement._hand.keep(self.ledger, opened and opened.number)
        await self.agreement._reopen()
        while await self.agreement._editions.relook():
            pass

    async def works(self) -> int:
        """Tend, and work until there is nothing to do; returns how many subjects it took."""
        await self.tends()
        took = 0
        while now := await self.agreement.step():
            took += now
        return took


async def number(world: World) -> int:
    (row,) = await world.rows("SELECT number FROM flows")
    return int(row["number"])


def names(world: World) -> set[str]:
    """The subjects whose documents the target holds, by the ends of their names."""
    return {document.body["name"].partition(" (")[2] for document in world.target.documents.values()}


_FLOW = """
from canonical import Supplier
from flows.port import Document
from mended_mapping.names import shown
from tests.agreement import PurchaseFlow

class MendedFlow(PurchaseFlow):
    def desired(self, subject, facts):
        supplier = facts.one(Supplier)
        return Document("supplier", supplier.number, {"name": shown(supplier)})
"""


def _deployed() -> PurchaseFlow:
    """The flow of the package `mended_mapping`, as a process that starts now imports it."""
    for name in [name for name in sys.modules if name.startswith("mended_mapping")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    flow: PurchaseFlow = importlib.import_module("mended_mapping.flow").MendedFlow()
    return flow


class EditionScenarios:
    @pytest.fixture
    async def world(self, store: Store) -> World:
        world = World(store)
        await world.arrive(*(supplier(n) for n in range(1, 11)))
        return world

    async def test_during_a_rolling_upgrade_nothing_that_the_old_release_settles_stays(self, world: World) -> None:
        old, new = Pod(world, "1", " (old)"), Pod(world, "2", " (new)")
        assert await old.works() == 10
        await new.tends()
        assert await old.works() == 0, "an older edition takes nothing"
        assert await new.works() == 10
        assert names(world) == {"new)"}
        assert set((await world.states()).values()) == {"agreed"}

    async def test_what_the_old_release_had_in_hand_is_looked_at_again_by_the_new_one(self, world: World) -> None:
        old, new = Pod(world, "1", " (old)"), Pod(world, "2", " (new)")
        await old.tends()
        assert old.agreement._editions.open is not None
        tasks = await old.ledger.take(100, old.agreement._editions.open)
        _, wanted = await old.agreement.consider(tasks)
        await new.tends()
        told = [Settlement(w.task, State.AGREED, "confirmed", confirmed=True, digest=w.digest, ref="x") for w in wanted]
        await old.ledger.settle(told[:5])
        assert sorted((await world.states()).values()) == ["dirty"] * 5 + ["sending"] * 5
        assert await old.ledger.intend([]) == set()
        await old.ledger.settle([s._replace(state=State.PARKED, confirmed=False) for s in told[5:]])
        assert await new.works() == 10
        assert names(world) == {"new)"}

    async def test_a_worker_of_an_older_edition_sends_nothing_that_it_has_worked_out(self, world: World) -> None:
        old, new = Pod(world, "1", " (old)"), Pod(world, "2", " (new)")
        await old.tends()
        inner = old.ledger.intend

        async def overtaken(intents):  # type: ignore[no-untyped-def]
            await new.tends()
            return await inner(intents)

        old.ledger.intend = overtaken  # type: ignore[method-assign]
        assert await old.agreement.step() == 10
        assert world.target.batches == []
        assert set((await world.states()).values()) == {"dirty"}
        assert (await world.row(S1))["attempts"] == 0
        assert await new.works() == 10
        assert names(world) == {"new)"}

    async def test_an_old_pod_that_restarts_in_the_middle_hands_over_again_once_it_is_gone(self, world: World) -> None:
        old, new = Pod(world, "1", " (old)"), Pod(world, "2", " (new)")
        await old.works()
        await new.works()
        restarted = Pod(world, "1", " (old)")
        assert await restarted.works() == 10, "a worker that starts takes over: it may be a rollback"
        assert await new.works() == 0
        world.clock.forward(HOLD - 1)
        assert await new.works() == 0, "the other one may be alive"
        world.clock.forward(2)
        assert await new.works() == 10
        assert names(world) == {"new)"}

    async def test_a_rollback_takes_over_at_once(self, world: World) -> None:
        await Pod(world, "1", " (1)").works()
        newer = Pod(world, "2", " (2)")
        await newer.works()
        back = Pod(world, "1", " (1)")
        assert await back.works() == 10
        assert await newer.works() == 0
        assert names(world) == {"1)"}
        assert await number(world) == 3

    async def test_two_releases_side_by_side_for_long_do_not_take_turns(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        old, new = Pod(world, "1", " (old)"), Pod(world, "2", " (new)")
        await old.works()
        await new.works()
        for _ in range(50):
            world.clock.forward(5)
            assert await old.works() + await new.works() == 0
        assert await number(world) == 2
        assert old.agreement.stands_by
        assert not new.agreement.stands_by
        assert [r.levelno for r in caplog.records if "this worker stands by" in r.message] == [logging.WARNING]
        assert [row.standby for row in await insight.flows(world.store)] == [True]

    async def test_at_midnight_two_workers_look_once_at_every_subject_of_a_flow_that_asks_for_the_day(
        self, world: World
    ) -> None:
        one, two = (Pod(world, "1", flow=ByDay()) for _ in range(2))
        await one.works()
        await two.works()
        world.clock.now = datetime(2026, 1, 6, tzinfo=UTC).timestamp() - 1
        assert await one.works() + await two.works() == 0
        world.clock.forward(2)
        assert await two.works() + await one.works() == 10
        assert {d.body["day"] for d in world.target.documents.values()} == {"2026-01-06"}
        assert await number(world) == 1, "a day is no edition"

    async def test_a_new_day_looks_only_at_subjects_whose_outcome_it_may_change(self, world: World) -> None:
        pod = Pod(world, "1", flow=ComesOfAge())
        await pod.works()
        for day in range(1, 4):
            pod.flow.asked.clear()
            world.clock.now = datetime(2026, 1, 5 + day, 0, 0, 1, tzinfo=UTC).timestamp()
            assert await pod.works() == 1
            assert pod.flow.asked == [supplier_key(day)]
        come = sorted(int(d.number) for d in world.target.documents.values() if d.body["come"])
        assert come == [1, 2, 3]
        assert (await world.row(supplier_key(3)))["recheck"] is None

    async def test_a_parked_and_a_waiting_subject_are_looked_at_when_their_day_comes_and_a_dropped_one_is_not(
        self, world: World
    ) -> None:
        await Pod(world, "1", flow=ByDay()).works()
        for n, state in enumerate(("parked", "waiting", "dropped"), start=1):
            await world.run("UPDATE subjects SET state = :state WHERE subject = :key", state=state, key=supplier_key(n))
        world.clock.now = datetime(2026, 1, 6, tzinfo=UTC).timestamp()
        await Pod(world, "1", flow=ByDay()).tends()
        states = await world.states()
        assert states.pop(supplier_key(3)) == "dropped"
        assert set(states.values()) == {"dirty"}

    async def test_what_the_mapping_refuses_on_one_day_it_may_take_on_another(self, world: World) -> None:
        class NotBefore(PurchaseFlow):
            def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
                if not facts.has_come(date(2026, 1, 7)):
                    raise RefusedError(self.name, "it is too early")
                return super().desired(subject, facts)

        pod = Pod(world, "1", flow=NotBefore())
        assert await pod.works() == 10
        assert set((await world.states()).values()) == {"parked"}
        world.clock.forward(86400)
        assert await pod.works() == 0
        world.clock.forward(86400)
        assert await pod.works() == 10
        assert set((await world.states()).values()) == {"agreed"}

    async def test_a_new_day_of_many_subjects_is_marked_in_slices(self, world: World) -> None:
        await world.arrive(*(supplier(n) for n in range(11, SLICE + 500)))
        await world.ledger.reopen("1")
        await world.run("UPDATE subjects SET state = 'agreed', recheck = :at", at=world.clock.now)
        world.clock.forward(1)
        assert await world.ledger.turn()
        (row,) = await world.rows("SELECT count(*) AS n FROM subjects WHERE state = 'dirty'")
        assert row["n"] == SLICE
        assert await world.ledger.turn()
        assert not await world.ledger.turn()
        assert set((await world.states()).values()) == {"dirty"}

    async def test_two_workers_that_see_different_days_come_to_agree_on_the_later_one(self, world: World) -> None:
        """The clock trembles at midnight: a worker that saw the new day keeps it, one that starts then sees the old one."""
        ahead = Pod(world, "1", flow=ByDay())
        await ahead.works()
        world.clock.now = datetime(2026, 1, 6, tzinfo=UTC).timestamp() + 1
        await ahead.works()
        world.clock.forward(-5)
        behind = Pod(world, "1", flow=ByDay())
        await world.arrive(*(supplier(n, 2) for n in range(1, 4)))
        assert await behind.works() == 3
        assert await ahead.works() == 0, "they do not take turns"
        assert await number(world) == 1
        world.clock.forward(5)
        assert await ahead.works() + await behind.works() == 3
        assert {d.body["day"] for d in world.target.documents.values()} == {"2026-01-06"}

    async def test_when_the_clock_is_set_right_nothing_stays_that_a_day_to_come_had_decided(self, world: World) -> None:
        one, two = (Pod(world, "1", flow=ComesOfAge()) for _ in range(2))
        world.clock.forward(30 * 86400)
        await one.works()
        await two.works()
        assert {d.body["come"] for d in world.target.documents.values()} == {True}
        world.clock.forward(-30 * 86400)
        assert await one.works() + await two.works() == 10
        assert {d.body["come"] for d in world.target.documents.values()} == {False}
        assert await number(world) == 2
        assert await one.works() + await two.works() == 0

    async def test_what_is_taken_before_midnight_and_settled_after_it_is_looked_at_again(self, world: World) -> None:
        one, two = (Pod(world, "1", flow=ByDay()) for _ in range(2))
        await one.tends()
        assert one.agreement._editions.open is not None
        tasks = await one.ledger.take(100, one.agreement._editions.open)
        _, wanted = await one.agreement.consider(tasks)
        world.clock.now = datetime(2026, 1, 6, 0, 0, 1, tzinfo=UTC).timestamp()
        await two.tends()
        told = [Settlement(w.task, State.AGREED, "confirmed", confirmed=True, digest=b"d", ref="x") for w in wanted]
        await one.ledger.settle(told)
        await two.works()
        await one.works()
        assert {d.body["day"] for d in world.target.documents.values()} == {"2026-01-06"}

    async def test_the_day_turns_while_two_releases_are_there(self, world: World) -> None:
        old, new = (Pod(world, name, f" ({name})", flow=ByDay()) for name in ("old", "new"))
        await old.works()
        await new.works()
        world.clock.now = datetime(2026, 1, 6, 0, 0, 1, tzinfo=UTC).timestamp() - 10
        await new.tends()
        await old.tends()
        world.clock.forward(10)
        assert await old.works() == 0, "the day has turned for it, too, but another edition is at work"
        assert await new.works() == 10
        assert names(world) == {"new)"}
        assert await number(world) == 2

    async def test_a_release_that_stands_by_says_so_and_goes_on_when_it_is_the_last(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        old, new = Pod(world, "1", " (old)"), Pod(world, "2", " (new)")
        await old.works()
        await new.works()
        await old.works()
        world.clock.forward(HOLD + 1)
        assert await old.works() == 10
        assert [m for m in caplog.messages if "this worker goes on" in m]
        assert [row.standby for row in await insight.flows(world.store)] == [False]

    async def test_a_sign_of_life_from_before_the_clock_was_set_back_does_not_hold_a_worker_back(
        self, world: World
    ) -> None:
        old, new = Pod(world, "1", " (old)"), Pod(world, "2", " (new)")
        await old.works()
        await new.works()
        world.clock.forward(-3600)
        assert await old.works() == 0
        world.clock.forward(HOLD + 1)
        assert await old.works() == 10

    async def test_opening_goes_in_slices_that_another_worker_takes_up(self, world: World) -> None:
        await world.arrive(*(supplier(n) for n in range(11, 2 * SLICE + 500)))
        await world.run(
            "UPDATE subjects SET state = 'agreed', edition = 1, document = NULL, digest = NULL WHERE subject <> :one", one=S1
        )
        await world.ledger.reopen("1")
        opened = await world.ledger.reopen("2")
        assert opened == Edition("2", 2)
        assert await world.ledger.relook(opened)
        (row,) = await world.rows("SELECT count(*) AS n FROM subjects WHERE state = 'dirty'")
        assert row["n"] == SLICE
        assert [row.reopening for row in await insight.flows(world.store)] == [True]
        other = world.new_ledger()  # the first one dies here
        assert await other.reopen("2") == opened
        assert await other.relook(opened)
        assert not await other.relook(opened)
        assert set((await world.states()).values()) == {"dirty"}
        assert [row.reopening for row in await insight.flows(world.store)] == [False]
        assert not await world.ledger.relook(opened)

    async def test_what_is_settled_while_the_slices_go_is_not_looked_at_twice(self, world: World) -> None:
        await Pod(world, "1", " (1)").works()
        new = Pod(world, "2", " (2)")
        await new.works()
        new.flow.asked.clear()
        await world.run("UPDATE flows SET reopened = ''")  # as after a kill right before the last slice was noted
        assert await world.ledger.relook(Edition("2", 2)) is False
        assert await new.works() == 0

    async def test_a_parked_and_a_waiting_subject_are_looked_at_by_a_new_edition_and_a_dropped_one_is_not(
        self, world: World
    ) -> None:
        await world.arrive(invoice(7, of=99))
        await Pod(world, "1").works()
        await world.run("UPDATE subjects SET state = 'parked' WHERE subject = :one", one=S1)
        await world.run("UPDATE subjects SET state = 'dropped' WHERE subject = :two", two=supplier_key(2))
        await Pod(world, "2").tends()
        states = await world.states()
        assert states.pop(supplier_key(2)) == "dropped"
        assert set(states.values()) == {"dirty"}

    async def test_what_a_mistake_of_the_mapping_had_parked_wakes_by_itself_once_the_mapping_is_mended(
        self, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a deployment does it: the code changes, processes start again, and nobody names an edition."""
        monkeypatch.syspath_prepend(str(tmp_path))
        package = tmp_path / "mended_mapping"
        package.mkdir()
        (package / "flow.py").write_text(_FLOW)
        (package / "names.py").write_text("def shown(supplier):\n    return supplier.nmae\n")
        assert await Pod.of(world, _deployed()).works() == 10
        assert set((await world.states()).values()) == {"parked"}
        why = "purchasing: the mapping failed (AttributeError at names.py:2): mend the flow"
        assert (await world.row(S1))["reason"] == why
        (package / "README.md").write_text("# It is being mended\n")
        (package / "world.py").write_text("NAMES = []\n")
        assert await Pod.of(world, _deployed()).works() == 0, "the mapping is the same"
        (package / "names.py").write_text("def shown(supplier):\n    return supplier.name.upper()\n")
        assert await Pod.of(world, _deployed()).works() == 10
        assert set((await world.states()).values()) == {"agreed"}
        assert world.name_of(1) == "SUPPLIER 1 AS OF 1"

    async def test_a_state_from_before_numbers_goes_on_with_the_edition_that_is_open(self, world: World) -> None:
        await world.run("INSERT INTO flows (name, edition) VALUES ('purchasing', '1')")
        await world.run("UPDATE subjects SET state = 'agreed'")
        assert await Pod(world, "1").works() == 0
        assert await Pod(world, "2").works() == 10

    async def test_a_flow_that_a_person_paused_before_it_ever_ran_opens_its_edition_and_takes_nothing(
        self, world: World
    ) -> None:
        await world.run("INSERT INTO flows (name, paused) VALUES ('purchasing', TRUE)")
        pod = Pod(world, "1")
        assert await pod.works() == 0
        await world.run("UPDATE flows SET paused = FALSE")
        assert await pod.works() == 10


class TestOnSQLite(EditionScenarios):
    pass


@pytest.mark.servers
class TestOnPostgreSQL(EditionScenarios):
    @pytest.fixture
    def store(self, postgres_store: Store) -> Store:
        return postgres_store

    async def test_no_settlement_of_an_older_edition_slips_through_however_they_overlap(self, world: World) -> None:
        """Workers of an old edition settle while a newer one is opened and marks its slices, again and again."""
        await world.arrive(*(supplier(n) for n in range(1, 301)))
        ledgers = [StoredLedger(world.store, world.flow.name) for _ in range(3)]

        async def settles(ledger: StoredLedger, edition: Edition) -> None:
            while tasks := await ledger.take(20, edition):
                await asyncio.sleep(0)
                await ledger.settle(
                    [Settlement(t, State.AGREED, "confirmed", confirmed=True, digest=b"d", ref="x") for t in tasks]
                )

        opened = await ledgers[0].reopen("0")
        for turn in range(1, 8):
            assert opened is not None
            old = [asyncio.create_task(settles(ledger, opened)) for ledger in ledgers[:2]]
            await asyncio.sleep(0.01 * turn)
            newer = await ledgers[2].reopen(str(turn))
            assert newer is not None
            while await ledgers[2].relook(newer):
                pass
            await asyncio.gather(*old)
            rows = await world.rows(
                "SELECT count(*) AS n FROM subjects WHERE state = 'agreed' AND edition <> :n", n=newer.number
            )
            assert rows == [{"n": 0}]
            opened = newer


def test_who_may_open_an_edition() -> None:
    mine, now = Edition("1", 4), 1000.0
    opened = Opened("2", 5, now - 1, now)
    assert may_open(None, "1", mine, now)
    assert may_open(Opened(None, 0, None, None), "1", mine, now)
    assert may_open(opened, "1", None, now), "a process that starts takes over"
    assert not may_open(opened, "1", mine, now)
    mistaken = Opened("1", 4, now - 1, now + 7200)
    assert not mistaken.joined_by("1", now)
    assert may_open(mistaken, "1", mine, now), "the clock was set right: it is opened once more"
    assert mistaken._replace(day=now + 1800).joined_by("1", now), "the clock trembles"
    assert may_open(opened._replace(alive=now - HOLD - 1), "1", mine, now)
    assert may_open(opened._replace(alive=None), "1", mine, now)


def test_a_day_that_has_begun_goes_on_while_the_clock_trembles_and_ends_where_it_is_set_right() -> None:
    at = [datetime(2026, 7, 5, 23, 0, tzinfo=UTC)]  # midnight in London, in summer
    today = LondonDay(lambda: at[0].timestamp())
    assert today() == date(2026, 7, 6)
    at[0] -= timedelta(seconds=2)
    assert day_in_london(at[0].timestamp()) == date(2026, 7, 5)
    assert today() == date(2026, 7, 6)
    at[0] -= timedelta(days=300)
    assert today() == date(2025, 9, 8)


async def test_a_worker_that_looks_several_times_at_once_as_it_starts_takes_nothing_before_it_has_marked(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(store)
    await world.arrive(*(supplier(n) for n in range(1, 11)))
    await world.ledger.begin()
    await asyncio.gather(world.agreement._reopen(), world.agreement.step(), world.agreement.step())
    assert caplog.text == "", "it does not go on: it starts"
    assert set((await world.states()).values()) == {"agreed"}, "none of them is looked at twice"


async def test_a_worker_that_stands_by_in_the_middle_of_its_relooking_does_not_stand_still() -> None:
    class Endless:
        """A ledger with more slices to mark than there is time for; another release takes over meanwhile."""

        open: Edition | None = Edition("1", 1)

        async def reopen(self, edition: str, had: Edition | None) -> Edition | None:
            return self.open

        async def relook(self, edition: Edition) -> bool:
            return True

    ledger = Endless()
    editions = Editions(PurchaseFlow.name, "1", ledger)  # type: ignore[arg-type]
    assert await editions.look()
    assert await editions.relook()
    ledger.open = None
    assert not await editions.look()
    assert editions.stands_by
    assert not await editions.relook()
