"""What agreement promises, on whatever database keeps its state: the classes run it on SQLite and on PostgreSQL."""

import asyncio
import logging
import re
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from canonical import Supplier
from canonical.errors import MisconfiguredError
from flows.engine.ledger import TRAVELS, Arrivals, Edition, Intent, Reject, Settlement, Stand, State
from flows.engine.marks import marks_of
from flows.engine.settle import put_back, settlement
from flows.port import Confirmed, Document, Facts, Limits, NotDone, Refused, Unavailable, Unknown, Waiting
from flows.testing import EVERY, ScriptedTarget, Work
from ironbridge.store import Store
from ironbridge.store.ledger import HOLD
from tests.agreement import (
    BAD,
    BROKEN,
    START,
    UNWANTED,
    WHY,
    PurchaseFlow,
    World,
    event,
    invoice,
    invoice_key,
    numbers,
    supplier,
    supplier_key,
)
from tests.fixtures import Metered

S1, S2, S3 = supplier_key(1), supplier_key(2), supplier_key(3)


class AgreementScenarios:
    @pytest.fixture
    async def world(self, store: Store) -> World:
        return World(store)

    # -- facts -------------------------------------------------------------------------------------------------------

    async def test_the_newest_version_wins_whatever_the_order_of_arrival(self, world: World) -> None:
        await world.arrive(supplier(1, 3), supplier(1, 1), supplier(2, 1))
        await world.arrive(supplier(1, 2), supplier(2, 2))
        await world.agree()
        assert (world.name_of(1), world.name_of(2)) == ("Supplier 1 as of 3", "Supplier 2 as of 2")

    async def test_a_batch_that_is_delivered_again_changes_nothing(self, world: World) -> None:
        await world.arrive(supplier(1), supplier(1, 2), supplier(2))
        await world.agree()
        facts = await world.rows("SELECT * FROM facts ORDER BY key")
        effects = list(world.target.effects)
        world.inbox.deliver_again(since=0)
        await world.arrive()
        await world.agree()
        assert await world.rows("SELECT * FROM facts ORDER BY key") == facts
        assert world.target.effects == effects
        assert set((await world.states()).values()) == {"agreed"}

    async def test_a_tombstone_takes_the_fact_and_then_the_document_away(self, world: World) -> None:
        await world.arrive(supplier(1), supplier(2))
        await world.agree()
        await world.arrive(supplier(1, 2, deleted=True))
        await world.agree()
        assert list(world.target.documents) == [S2]
        row = await world.row(S1)
        assert (row["state"], row["ref"], row["document"], row["digest"]) == ("agreed", None, None, None)
        assert await world.story(S1) == ["confirmed", "removed"]

    async def test_what_was_never_there_and_shall_not_be_is_not_written(self, world: World) -> None:
        await world.arrive(supplier(1, 5, deleted=True))
        await world.agree()
        assert world.target.batches == []
        assert world.agreement.tally.unchanged == 1

    async def test_a_removed_subject_comes_back_with_a_newer_fact(self, world: World) -> None:
        await world.arrive(supplier(1), supplier(1, 2, deleted=True))
        await world.agree()
        await world.arrive(supplier(1, 3))
        await world.agree()
        assert world.name_of(1) == "Supplier 1 as of 3"

    async def test_facts_of_entities_that_a_flow_does_not_look_at_cannot_park_its_subjects(self, world: World) -> None:
        await world.arrive(supplier(1))
        await world.run("UPDATE facts SET entity = 'something-else'")
        await world.agree()
        assert await world.states() == {S1: "agreed"}
        assert world.target.documents == {}

    async def test_records_that_are_no_events_are_kept_aside_and_the_rest_goes_on(self, world: World) -> None:
        await world.arrive(supplier(1), Reject("canonical.supplier[0]@7", "header ce_id: is missing"), supplier(2))
        await world.agree()
        assert sorted(world.target.documents) == [S1, S2]
        (reject,) = await world.rows("SELECT flow, place, what FROM rejects")
        assert reject == {
            "flow": "purchasing",
            "place": "canonical.supplier[0]@7",
            "what": "header ce_id: is missing",
        }
        assert world.agreement.tally.rejected == 1

    async def test_where_the_inbox_stands_is_saved_with_the_facts(self, world: World) -> None:
        await world.arrive(supplier(1), supplier(2))
        assert await world.ledger.ingested() == {("array", 0): Stand(2, "2")}
        assert world.inbox.committed == 2

    async def test_a_kill_between_the_facts_and_the_offsets_is_read_again_to_no_effect(self, world: World) -> None:
        world.inbox.add(supplier(1), supplier(2))
        arrived = await world.inbox.poll()
        await world.ledger.ingest(arrived, marks_of(world.flow, arrived, [None, None]))
        assert world.inbox.committed == 0
        await world.agree()
        world.inbox.deliver_again()
        await world.arrive()
        await world.agree()
        assert sorted(subject for subject, _ in world.target.effects) == [S1, S2]

    # -- changes while something else goes on ------------------------------------------------------------------------

    async def test_what_arrives_during_a_write_is_written_next(self, world: World) -> None:
        await world.arrive(supplier(1))
        (task,) = await world.take(10)
        await world.arrive(supplier(1, 2))
        assert (await world.row(S1))["state"] == "sending"
        old = Settlement(task, State.AGREED, "confirmed", confirmed=True, document=None, digest=b"old", ref="id1")
        await world.ledger.settle([old])
        row = await world.row(S1)
        assert (row["state"], row["changes"], row["ref"]) == ("dirty", 1, "id1")
        await world.agree()
        assert world.name_of(1) == "Supplier 1 as of 2"

    async def test_ten_changes_that_wait_become_one_write(self, world: World) -> None:
        for version in range(1, 11):
            await world.arrive(supplier(1, version))
        await world.agree()
        assert world.written() == [S1]
        assert world.name_of(1) == "Supplier 1 as of 10"
        assert (world.agreement.tally.saved, world.agreement.tally.confirmed) == (9, 1)

    async def test_a_change_that_makes_no_difference_to_the_target_is_a_write_saved(self, world: World) -> None:
        await world.arrive(supplier(1, name="Same Ltd"))
        await world.agree()
        await world.arrive(supplier(1, 2, name="Same Ltd"))
        await world.agree()
        assert world.written() == [S1]
        assert (world.agreement.tally.unchanged, world.agreement.tally.saved) == (1, 1)

    async def test_what_the_target_shall_not_hold_says_why_as_long_as_that_is_so(self, world: World) -> None:
        await world.arrive(supplier(1), supplier(2, name=UNWANTED))
        await world.agree()
        assert numbers(world.written()) == [1]
        assert (await world.row(S2))["reason"] == WHY
        await world.arrive(supplier(1, 2, name=UNWANTED), supplier(2, 2))
        await world.agree()
        row = await world.row(S1)
        assert (row["state"], row["digest"], row["reason"]) == ("agreed", None, WHY)
        assert (await world.row(S2))["reason"] is None
        await world.arrive(supplier(1, 3, deleted=True))
        await world.agree()
        assert (await world.row(S1))["reason"] == "no such record is published"

    # -- order -------------------------------------------------------------------------------------------------------

    async def test_the_urgent_go_first_and_then_those_that_have_waited_longest(self, world: World) -> None:
        world.target.limits = Limits(batch=1, concurrency=1)
        await world.arrive(supplier(9))
        await world.agree()
        for late in (3, 1, 2):
            await world.arrive(supplier(late))
            world.clock.forward(1)
        await world.arrive(invoice(7, of=9))
        await world.agree()
        assert numbers(world.written()) == [9, 7, 3, 1, 2]

    async def test_within_a_batch_too_the_order_holds(self, world: World) -> None:
        for late in (3, 1, 2):
            await world.arrive(supplier(late))
            world.clock.forward(1)
        assert numbers([task.subject for task in await world.take(100)]) == [3, 1, 2]

    async def test_an_urgent_change_makes_a_waiting_subject_urgent_and_another_does_not_calm_it(
        self, world: World
    ) -> None:
        await world.arrive(supplier(1))
        marks = marks_of(world.flow, Arrivals([(supplier(1, 2), 0)]), [None])
        await world.ledger.ingest(Arrivals(), [marks[0]._replace(urgency=0)])
        await world.arrive(supplier(1, 3))
        assert (await world.row(S1))["urgency"] == 0

    async def test_a_paused_flow_takes_nothing_and_does_not_ask_again_and_again(self, world: World) -> None:
        await world.arrive(supplier(1))
        await world.agreement._reopen()
        await world.run("UPDATE flows SET paused = TRUE")
        assert await world.agreement.step() == 0
        assert await world.ledger.due() is None
        await world.run("UPDATE flows SET paused = FALSE")
        assert await world.agreement.step() == 1

    # -- parked ------------------------------------------------------------------------------------------------------

    async def test_a_refused_one_is_parked_and_the_next_one_still_goes(self, world: World) -> None:
        world.target.answer(S2, Refused("name: too long"))
        await world.arrive(supplier(1), supplier(2), supplier(3))
        await world.agree()
        assert await world.states() == {S1: "agreed", S2: "parked", S3: "agreed"}
        row = await world.row(S2)
        assert (row["reason"], row["doubtful"], row["attempts"]) == ("name: too long", None, 0)

    async def test_a_parked_subject_stays_until_its_facts_change(self, world: World) -> None:
        world.target.answer(S1, Refused("name: too long"))
        await world.arrive(supplier(1))
        await world.agree()
        await world.arrive(supplier(2))
        await world.agree()
        assert numbers(world.written()) == [1, 2]
        await world.arrive(supplier(1, 2))
        await world.agree()
        assert world.name_of(1) == "Supplier 1 as of 2"
        assert (await world.row(S1))["reason"] is None

    async def test_a_parked_subject_goes_again_with_another_edition(self, world: World) -> None:
        world.target.answer(S1, Refused("name: too long"))
        await world.arrive(supplier(1))
        await world.agree()
        world.release("2")
        await world.agree()
        assert world.name_of(1) == "Supplier 1 as of 1"

    async def test_what_a_flow_refuses_or_fails_at_is_parked_without_a_word_of_the_fact(self, world: World) -> None:
        await world.arrive(supplier(1, name=BAD), supplier(2, name=BROKEN), supplier(3))
        await world.agree()
        assert await world.states() == {S1: "parked", S2: "parked", S3: "agreed"}
        assert (await world.row(S1))["reason"] == "purchasing: name: is not one that the target can ever hold"
        why = str((await world.row(S2))["reason"])
        assert re.fullmatch(r"purchasing: the mapping failed \(KeyError at agreement\.py:\d+\): mend the flow", why)

    @pytest.mark.parametrize(
        "draft",
        [{"x": {1}}, {"x": object()}, {"x": "\ud800"}, None],
        ids=["no draft", "an object", "a surrogate", "gives up"],
    )
    async def test_a_draft_that_is_none_and_a_mapping_that_gives_up_park_their_subject_only(
        self, world: World, draft: Any
    ) -> None:
        class Mistaken(PurchaseFlow):
            def desired(self, subject: str, facts: Facts) -> Any:
                if subject != S1:
                    return super().desired(subject, facts)
                if draft is None:
                    raise NotImplementedError("no such case")
                return draft if draft == {"x": {1}} else Document("supplier", "1", draft)

        world.flow = Mistaken()
        await world.arrive(supplier(1), supplier(2))
        await world.agree(world.worker())
        assert await world.states() == {S1: "parked", S2: "agreed"}
        assert str((await world.row(S1))["reason"]).startswith("purchasing: the mapping failed (")

    async def test_a_fact_that_cannot_be_read_parks_its_subject_only(self, world: World) -> None:
        await world.arrive(supplier(1), supplier(2))
        await world.run("UPDATE facts SET data = :bad WHERE key = :key", bad=b'{"key": 1}', key=S1)
        await world.agree()
        assert await world.states() == {S1: "parked", S2: "agreed"}

    # -- waiting -----------------------------------------------------------------------------------------------------

    async def test_an_invoice_waits_for_its_supplier_and_then_goes_by_itself(self, world: World) -> None:
        await world.arrive(invoice(7, of=1))
        await world.agree()
        row = await world.row(invoice_key(7))
        assert (row["state"], row["waiting_on"], row["reason"]) == ("waiting", S1, f"waits for {S1}")
        await world.arrive(supplier(1))
        await world.agree()
        assert world.written() == [S1, invoice_key(7)]
        assert world.target.batches[-1][0].refs == {"vendorId": "id1"}
        assert (await world.row(invoice_key(7)))["waiting_on"] is None

    async def test_an_invoice_that_changes_often_while_it_waits_is_not_held_back_for_that(self, world: World) -> None:
        for version in range(1, 12):
            await world.arrive(invoice(7, of=1, version=version))
            await world.agree()
        await world.arrive(supplier(1))
        began = world.clock.now
        await world.agree()
        assert invoice_key(7) in world.target.documents
        assert world.clock.now == began

    async def test_a_supplier_confirmed_while_its_invoice_is_judged_is_not_missed(self, world: World) -> None:
        await world.arrive(invoice(7, of=1), supplier(1))
        tasks = {task.subject: task for task in await world.take(10)}
        settled, _ = await world.agreement.consider([tasks[invoice_key(7)]])
        assert [s.state for s in settled] == [State.WAITING]
        there = Settlement(tasks[S1], State.AGREED, "confirmed", confirmed=True, digest=b"d", ref="id1")
        await world.ledger.settle([there])
        await world.ledger.settle(settled)
        assert (await world.row(invoice_key(7)))["state"] == "dirty"

    async def test_a_subject_whose_wake_up_was_lost_is_found_by_the_sweep(self, world: World) -> None:
        await world.arrive(invoice(7, of=1))
        await world.agree()
        await world.arrive(supplier(1))
        (task,) = await world.take(1)
        await world.ledger.settle([Settlement(task, State.AGREED, "x", confirmed=True, digest=b"d", ref="id1")])
        await world.run("UPDATE subjects SET state = 'waiting', waiting_on = :on WHERE subject LIKE '%inv%'", on=S1)
        assert await world.ledger.reclaim() == 1
        assert (await world.row(invoice_key(7)))["state"] == "dirty"

    async def test_a_supplier_that_somebody_deleted_at_the_target_is_made_again_and_the_invoice_follows(
        self, world: World
    ) -> None:
        await world.arrive(supplier(1))
        await world.agree()
        world.target.lose(S1)
        await world.arrive(invoice(7, of=1))
        await world.agree()
        assert sorted(world.target.documents) == [invoice_key(7), S1]
        assert (await world.row(S1))["ref"] == "id2"
        assert set((await world.states()).values()) == {"agreed"}

    async def test_a_target_that_denies_what_it_shows_is_not_asked_in_a_circle(self, world: World) -> None:
        await world.arrive(supplier(1))
        await world.agree()
        world.target.answer(invoice_key(7), *[Waiting(S1)] * 20)
        await world.arrive(invoice(7, of=1))
        began = world.clock.now
        for _ in range(30):
            if not await world.agreement.step():
                await world.ledger.reclaim()
                if (due := await world.ledger.due()) is not None:
                    world.clock.forward(due)
        assert world.clock.now - began > 5 * HOLD
        await world.agree()
        assert invoice_key(7) in world.target.documents

    # -- not available -----------------------------------------------------------------------------------------------

    async def test_an_unavailable_target_is_left_alone_as_long_as_it_says_and_the_order_is_kept(
        self, world: World
    ) -> None:
        world.target.limits = Limits(batch=2, concurrency=1)
        for number in (1, 2, 3):
            await world.arrive(supplier(number))
            world.clock.forward(1)
        world.target.answer(EVERY, *[Unavailable("429", timedelta(seconds=30))] * 2)
        await world.agreement.step()
        assert world.agreement._patience.until == world.clock.now + 30
        assert (await world.row(S1))["due"] == world.clock.now + 30
        world.clock.forward(30)
        await world.agree()
        assert numbers(world.written()) == [1, 2, 1, 2, 3]
        assert world.agreement.tally.unavailable == 2

    async def test_the_most_urgent_subject_is_the_first_question_after_a_silence(self, world: World) -> None:
        world.target.limits = Limits(batch=1, concurrency=1)
        await world.arrive(supplier(1))
        await world.agree()
        world.target.answer(S2, Unavailable("429", timedelta(seconds=30)))
        await world.arrive(supplier(2))
        world.clock.forward(1)
        await world.arrive(supplier(3))
        await world.agreement.step()
        await world.arrive(invoice(7, of=1))
        world.clock.forward(30)
        await world.agree()
        assert numbers(world.written()) == [1, 2, 7, 2, 3]

    async def test_after_a_long_silence_the_urgent_are_asked_for_first_however_often_they_were_tried(self, world: World) -> None:
        class Away(ScriptedTarget):
            away = False

            async def write(self, batch):  # type: ignore[no-untyped-def]
                if self.away:
                    self.batches.append(list(batch))
                    return [Unavailable("503")] * len(batch)
                return await super().write(batch)

        world.target = Away(limits=Limits(batch=4, concurrency=1))
        world.agreement = world.worker()
        await world.arrive(supplier(1))
        await world.agree()
        world.target.away = True
        await world.arrive(*(invoice(n, of=1) for n in (7, 8, 9)))
        for _ in range(14):
            await world.agreement.step()
            world.clock.forward(max(await world.agreement._ledger.due() or 0, 60))
        assert min(row["attempts"] for row in await world.rows("SELECT attempts FROM subjects WHERE state = 'dirty'")) > 3
        world.target.away = False
        await world.arrive(*(supplier(n) for n in (2, 3)))
        world.target.batches.clear()
        await world.agree()
        asked = [sorted(numbers([w.subject for w in batch])) for batch in world.target.batches]
        assert len(asked[0]) == 1
        assert sorted(n for batch in asked[:2] for n in batch if n > 6) == [7, 8, 9]
        assert set((await world.states()).values()) == {"agreed"}

    async def test_a_target_that_says_nothing_is_asked_less_and_less_often_up_to_a_minute(self, world: World) -> None:
        world.target.answer(S1, *[Unavailable("503")] * 12)
        await world.arrive(supplier(1))
        waits = []
        for _ in range(12):
            await world.agreement.step()
            due = (await world.row(S1))["due"]
            waits.append(due - world.clock.now)
            world.clock.now = due
        assert all(early <= late * 2 for early, late in pairwise(waits))
        assert waits[0] <= 0.25
        assert 30 <= waits[-1] <= 60
        await world.agree()
        assert world.name_of(1) is not None

    @pytest.mark.parametrize("readable", [True, False])
    async def test_what_was_done_in_spite_of_a_503_is_put_right_when_the_facts_go_back(
        self, world: World, readable: bool
    ) -> None:
        world.target.readable = readable
        await world.arrive(supplier(1))
        await world.agree()
        world.target.answer(S1, Unavailable("503", timedelta(seconds=1)), work=Work.DONE)
        world.target.answer(S2, Unavailable("429"), work=Work.DONE)
        await world.arrive(supplier(1, 2), supplier(2))
        await world.agreement.step()
        assert world.target.documents.keys() == {S1, S2}
        await world.arrive(supplier(1, 3, name="Supplier 1 as of 1"), supplier(2, 2, deleted=True))
        await world.agree()
        assert world.name_of(1) == "Supplier 1 as of 1"
        assert list(world.target.documents) == [S1]
        assert set((await world.states()).values()) == {"agreed"}

    async def test_what_was_done_in_spite_of_a_503_is_confirmed_without_a_write_where_the_target_shows_it(
        self, world: World
    ) -> None:
        world.target.answer(S1, Unavailable("503"), work=Work.DONE)
        await world.arrive(supplier(1))
        await world.agree()
        assert world.written() == [S1]
        assert await world.story(S1) == ["unavailable", "confirmed"]

    async def test_what_was_certainly_not_sent_leaves_no_doubt(self, world: World) -> None:
        world.target.answer(S1, NotDone("not sent: no connection"))
        await world.arrive(supplier(1))
        await world.agree()
        assert (world.target.looks, world.written()) == ([], [S1, S1])
        assert await world.story(S1) == ["unavailable", "confirmed"]
        assert world.agreement.tally.unavailable == 1

    async def test_one_poisonous_subject_is_found_and_the_others_go(self, world: World) -> None:
        # Whatever is sent together with it fails, as with an API that answers 500 for a whole request.
        class Brittle(ScriptedTarget):
            async def write(self, batch):  # type: ignore[no-untyped-def]
                if any(write.subject == S2 for write in batch):
                    self.batches.append(list(batch))
                    return [Unknown("500")] * len(batch)
                return await super().write(batch)

        world.target = Brittle(limits=Limits(batch=8, concurrency=1))
        world.agreement = world.worker()
        await world.arrive(*(supplier(n) for n in range(1, 41)))
        for _ in range(80):
            if not await world.agreement.step():
                world.clock.forward(await world.agreement._ledger.due() or 0)
        assert len(world.target.documents) == 39
        assert (await world.row(S2))["state"] == "dirty"
        assert (await world.row(S2))["due"] > world.clock.now - 1
        assert [len(batch) for batch in world.target.batches if len(batch) > 8] == []

    # -- what the target does by itself --------------------------------------------------------------------------------

    async def test_what_the_target_changes_by_itself_is_written_once_more_and_told(self, world: World) -> None:
        shown = {"number": "1", "name": "SUPPLIER 1"}
        world.target.answer(S1, Confirmed("id1", body=shown), work=Work.DONE)
        await world.arrive(supplier(1), supplier(2))
        await world.agree()
        assert sorted(numbers(world.written())) == [1, 1, 2]
        (again,) = world.target.batches[1]
        assert (again.confirmed, again.ref) == (Document("supplier", "1", shown), "id1")
        assert (await world.row(S1))["reason"] == "the target changed name by itself; it was written once more"
        assert (await world.row(S2))["reason"] is None
        assert set((await world.states()).values()) == {"agreed"}

    async def test_what_the_target_changes_again_and_again_is_written_once_more_and_not_in_a_circle(
        self, world: World
    ) -> None:
        for name in ("SUPPLIER 1", "Supplier One", "supplier 1"):
            world.target.answer(S1, Confirmed("id1", body={"number": "1", "name": name}), work=Work.DONE)
        await world.arrive(supplier(1))
        await world.agree()
        assert world.written() == [S1, S1]
        told = "the target changed name by itself; and did so again when it was written once more"
        (attempt,) = await world.rows("SELECT outcome, detail FROM attempts")
        assert attempt == {"outcome": "confirmed", "detail": f"held as id1; {told}"}
        await world.agree()
        assert world.written() == [S1, S1]

    async def test_what_the_target_will_not_have_put_right_stays_confirmed_and_is_told(self, world: World) -> None:
        world.target.answer(S1, Confirmed("id1", body={"number": "1"}), work=Work.DONE)
        world.target.answer(S1, Refused("400: posted"))
        await world.arrive(supplier(1))
        await world.agree()
        told = "the target changed name by itself, and it could not be put right: 400: posted"
        assert (await world.row(S1))["reason"] == told
        assert (await world.states()) == {S1: "agreed"}

    async def test_what_the_target_adds_beside_the_document_is_told_and_left(self, world: World) -> None:
        shown = {"number": "1", "name": "Supplier 1 as of 1", "dueDate": "2026-02-01"}
        world.target.answer(S1, Confirmed("id1", body=shown), work=Work.DONE)
        await world.arrive(supplier(1))
        await world.agree()
        assert world.written() == [S1]
        assert (await world.row(S1))["reason"] == "the target added dueDate by itself"

    async def test_a_second_write_whose_answer_is_lost_leaves_a_doubt(self, world: World) -> None:
        world.target.answer(S1, Confirmed("id1", body={"number": "1", "name": "SUPPLIER 1"}), work=Work.DONE)
        world.target.answer(S1, Unknown("cut"), work=Work.DONE)
        await world.arrive(supplier(1))
        await world.agree()
        assert await world.story(S1) == ["unknown", "confirmed"]
        assert len(world.target.looks) == 1

    async def test_a_mistake_in_the_targets_code_is_unknown_and_does_not_stop_the_worker(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        world.target.answer(S1, KeyError("Mrs Somebody"))
        await world.arrive(supplier(1))
        with caplog.at_level(logging.ERROR):
            await world.agreement.step()
        row = await world.row(S1)
        why = r"scripted: the target's own code failed \(KeyError at stand_ins\.py:\d+\): mend the target"
        assert re.fullmatch(why, str(row["reason"]))
        assert "Somebody" not in caplog.text
        await world.agree()
        assert world.name_of(1) is not None

    async def test_too_few_outcomes_are_unknown(self, world: World) -> None:
        class Short(ScriptedTarget):
            async def write(self, batch):  # type: ignore[no-untyped-def]
                return (await super().write(batch))[: -1 if len(self.batches) == 1 else None]

        world.target = Short()
        world.agreement = world.worker()
        await world.arrive(supplier(1), supplier(2))
        await world.agreement.step()
        assert await world.story(S1) == await world.story(S2) == ["unknown"]
        await world.agree()
        assert len(world.target.effects) == 2

    # -- in doubt ----------------------------------------------------------------------------------------------------

    async def test_what_was_done_although_the_answer_was_lost_is_confirmed_without_a_write(self, world: World) -> None:
        world.target.answer(S1, Unknown("cut"), work=Work.DONE)
        await world.arrive(supplier(1))
        await world.agree()
        assert world.written() == [S1]
        assert len(world.target.looks) == 1
        row = await world.row(S1)
        assert (row["state"], row["ref"], row["doubtful"]) == ("agreed", "id1", None)
        assert await world.story(S1) == ["unknown", "confirmed"]

    async def test_what_was_not_done_is_written_after_a_look(self, world: World) -> None:
        world.target.answer(S1, Unknown("cut"))
        await world.arrive(supplier(1))
        await world.agree()
        assert (len(world.target.looks), len(world.target.effects)) == (1, 1)
        again = world.target.batches[-1][0]
        assert (again.confirmed, again.doubtful, again.ref) == (None, (), None)

    async def test_what_the_target_holds_instead_is_what_the_next_write_starts_from(self, world: World) -> None:
        world.target.answer(S1, Unknown("cut"), work=Work.DONE)
        await world.arrive(supplier(1))
        await world.agreement.step()
        await world.arrive(supplier(1, 2))
        world.clock.forward(60)
        await world.agree()
        write = world.target.batches[-1][0]
        assert write.confirmed == Document("supplier", "1", {"number": "1", "name": "Supplier 1 as of 1"})
        assert (write.doubtful, write.ref) == ((), "id1")
        assert world.name_of(1) == "Supplier 1 as of 2"

    async def test_what_the_target_cannot_tell_is_written_whole_with_every_doubtful_document(
        self, world: World
    ) -> None:
        world.target.readable = False
        await world.arrive(supplier(1))
        await world.agree()
        world.target.answer(S1, Unknown("cut"), Unknown("cut"), work=Work.DONE)
        for version in (2, 3):
            await world.arrive(supplier(1, version))
            await world.agreement.step()
            world.clock.forward(60)
        await world.arrive(supplier(1, 4))
        await world.agree()
        write = world.target.batches[-1][0]
        assert write.confirmed is None
        versions = [d.body["name"].rpartition(" ")[2] for d in write.doubtful]
        assert versions == ["2", "3", "1"]
        assert (await world.row(S1))["doubtful"] is None

    async def test_after_a_lost_removal_nothing_is_taken_for_confirmed_that_the_target_cannot_tell(
        self, world: World
    ) -> None:
        world.target.readable = False
        await world.arrive(supplier(1))
        await world.agree()
        world.target.answer(S1, Unknown("cut"), work=Work.DONE)
        await world.arrive(supplier(1, 2, deleted=True))
        await world.agreement.step()
        world.clock.forward(60)
        await world.arrive(supplier(1, 3))
        await world.agree()
        write = world.target.batches[-1][0]
        assert write.confirmed is None
        assert [d.body["name"] for d in write.doubtful] == ["Supplier 1 as of 1"]
        assert world.name_of(1) == "Supplier 1 as of 3"

    async def test_after_a_lost_state_nothing_goes_out_before_all_is_read_again(self, world: World) -> None:
        for version in (1, 2, 3):
            await world.arrive(supplier(1, version))
            await world.agree()
        for table in ("subjects", "facts", "ingested", "attempts"):
            await world.run(f"DELETE FROM {table}")
        world.inbox.once, world.inbox.most = 3, 1
        world.inbox.deliver_again(0)
        world.target.effects.clear()
        world.target.readable = False
        for _ in range(2):
            await world.agreement.ingest(world.inbox)
            assert await world.agreement.step() == 0
        await world.agreement.ingest(world.inbox)
        await world.agree()
        assert [document.body["name"] for _, document in world.target.effects if document] == ["Supplier 1 as of 3"]

    async def test_a_flow_that_fails_to_recall_holds_nothing_up(self, world: World) -> None:
        world.inbox.once = 1
        odd = Supplier(key="payables:supplier:9:9", number="9", name="Its key is not of this flow's form")
        await world.arrive(event(odd, 1), supplier(2))
        await world.agree()
        assert sorted(world.target.documents) == [S2, odd.key]

    async def test_what_was_deleted_when_the_state_was_lost_is_looked_up_at_the_target(self, world: World) -> None:
        await world.arrive(supplier(1), supplier(2), invoice(7, of=2))
        await world.agree()
        for table in ("subjects", "facts", "ingested", "attempts"):
            await world.run(f"DELETE FROM {table}")
        # Of two, it never came to tell the target; that of the third it told.
        world.inbox.add(supplier(1, 2, deleted=True), supplier(3, 2, deleted=True))
        world.inbox.once = len(world.inbox.events)
        # And this one is deleted before what was there has been delivered again.
        world.inbox.add(invoice(7, of=2, version=2, deleted=True))
        world.inbox.deliver_again(0)
        world.target.batches.clear()
        await world.arrive()
        await world.agree()
        assert set(world.target.documents) == {S2}
        assert sorted(world.written()) == ["payables:invoice:7", S1]
        assert await world.story("payables:supplier:3") == ["removed"]

    async def test_a_removal_whose_answer_was_lost_is_read_back(self, world: World) -> None:
        await world.arrive(supplier(1), supplier(2))
        await world.agree()
        world.target.answer(S1, Unknown("cut"), work=Work.DONE)
        world.target.answer(S2, Unknown("cut"))
        await world.arrive(supplier(1, 2, deleted=True), supplier(2, 2, deleted=True))
        await world.agree()
        assert world.target.documents == {}
        removals = [subject for subject, document in world.target.effects if document is None]
        assert removals == [S1, S2]
        last = world.target.batches[-1][0]
        assert last.ref == "id2"
        assert last.confirmed is not None
        assert last.confirmed.number == "2"

    async def test_a_subject_in_doubt_is_looked_at_even_where_it_should_be_what_was_confirmed(
        self, world: World
    ) -> None:
        await world.arrive(supplier(1, name="First Ltd"))
        await world.agree()
        world.target.answer(S1, Unknown("cut"), work=Work.DONE)
        await world.arrive(supplier(1, 2, name="Second Ltd"))
        await world.agreement.step()
        world.clock.forward(60)
        await world.arrive(supplier(1, 3, name="First Ltd"))
        await world.agree()
        assert world.name_of(1) == "First Ltd"

    async def test_a_refusal_leaves_no_doubt_behind(self, world: World) -> None:
        await world.arrive(supplier(1))
        await world.agree()
        world.target.answer(S1, Refused("no"))
        await world.arrive(supplier(1, 2))
        await world.agree()
        row = await world.row(S1)
        assert (row["state"], row["doubtful"], row["ref"]) == ("parked", None, "id1")

    # -- editions ----------------------------------------------------------------------------------------------------

    async def test_a_new_edition_looks_at_all_and_writes_only_what_differs(self, world: World) -> None:
        await world.arrive(*(supplier(n) for n in range(1, 6)))
        await world.agree()
        world.flow.asked.clear()
        world.release("2")
        await world.agree()
        assert len(world.flow.asked) == 5
        assert len(world.written()) == 5
        world.release("3", " (3)")
        await world.agree()
        assert len(world.written()) == 10
        assert world.name_of(1) == "Supplier 1 as of 1 (3)"

    async def test_what_waits_or_is_in_hand_is_looked_at_with_the_new_edition_too(self, world: World) -> None:
        await world.agreement._reopen()
        await world.arrive(invoice(7, of=1))
        await world.agree()
        await world.arrive(supplier(2))
        (task,) = await world.take(1)
        edition = await world.ledger.reopen("2")
        assert edition is not None
        assert not await world.ledger.relook(edition)
        assert await world.states() == {invoice_key(7): "dirty", S2: "sending"}
        await world.ledger.settle([Settlement(task, State.AGREED, "confirmed", confirmed=True, digest=b"d", ref="x")])
        assert (await world.row(S2))["state"] == "dirty"

    async def test_the_same_edition_is_opened_once(self, world: World) -> None:
        await world.arrive(supplier(1))
        await world.agree()
        assert await world.new_ledger().reopen("1") == Edition("1", 1)
        assert not await world.ledger.relook(Edition("1", 1))
        assert await world.states() == {S1: "agreed"}

    # -- hands -------------------------------------------------------------------------------------------------------

    async def test_what_a_worker_has_in_hand_no_other_takes(self, world: World) -> None:
        await world.arrive(*(supplier(n) for n in range(1, 6)))
        other = world.new_ledger()
        first, second = await world.take(3), await world.take(3, other)
        assert len(first) == 3
        assert len(second) == 2
        assert not {t.subject for t in first} & {t.subject for t in second}

    async def test_a_worker_that_starts_again_takes_up_what_it_had_in_hand(self, world: World) -> None:
        await world.arrive(supplier(1))
        world.target.answer(S1, MisconfiguredError("scripted", "refused our token"))
        with pytest.raises(MisconfiguredError):
            await world.agreement.step()
        assert (await world.row(S1))["state"] == "sending"
        await world.ledger.reclaim()
        assert (await world.row(S1))["state"] == "sending"
        await world.ledger.begin()
        await world.agree()
        assert world.name_of(1) == "Supplier 1 as of 1"
        assert len(world.target.looks) == 1

    async def test_a_worker_that_lost_its_subject_neither_sends_nor_overwrites(self, world: World) -> None:
        await world.arrive(supplier(1))
        (slow,) = await world.take(1)
        await self._taken_over(world)
        await world.arrive(supplier(1, 2))
        await world.agree(world.worker())
        assert await world.ledger.intend([Intent(slow, b"[]")]) == set()
        before = await world.row(S1)
        await world.ledger.settle([Settlement(slow, State.PARKED, "refused", reason="too old")])
        assert await world.row(S1) == before
        assert (await world.story(S1))[-1] == "refused, too late"

    async def test_what_a_worker_sent_after_it_lost_its_subject_is_found_out_and_mended(self, world: World) -> None:
        await world.arrive(supplier(1))
        slow, late = asyncio.Event(), asyncio.Event()

        class Paused(ScriptedTarget):
            async def write(self, batch):  # type: ignore[no-untyped-def]
                slow.set()
                await late.wait()  # the request has left by now, and is slow on its way
                return [world.target._one(write) for write in batch]

        sleeper = asyncio.create_task(world.agreement_of(Paused()).step())
        await slow.wait()
        await self._taken_over(world)
        await world.arrive(supplier(1, 2))
        await world.agree(world.worker())
        assert world.name_of(1) == "Supplier 1 as of 2"
        late.set()
        await sleeper
        assert world.name_of(1) == "Supplier 1 as of 1"
        await world.agree(world.worker())
        assert world.name_of(1) == "Supplier 1 as of 2"
        assert (await world.row(S1))["doubtful"] is None

    async def test_the_same_worker_that_takes_a_subject_twice_holds_it_by_the_second_hand(self, world: World) -> None:
        await world.arrive(supplier(1))
        (first,) = await world.take(1)
        await world.ledger.settle([put_back(first, 0.0)])
        (second,) = await world.take(1)
        assert second.attempts == 1
        await world.ledger.settle([Settlement(first, State.AGREED, "confirmed", confirmed=True, ref="old")])
        assert (await world.row(S1))["state"] == "sending"
        assert await world.ledger.intend([Intent(second, b"[]")]) == {S1}

    async def _taken_over(self, world: World) -> None:
        """Another worker finds what is in hand lost: on PostgreSQL after a while, on SQLite at once."""
        assert await world.new_ledger().reclaim() == (1 if world.store.embedded else 0)
        world.clock.forward(HOLD + 1)
        await world.new_ledger().reclaim()
        assert (await world.row(S1))["state"] == "dirty"

    # -- the whole loop ----------------------------------------------------------------------------------------------

    async def test_delivery_runs_until_told_to_stop_and_finishes_what_is_in_hand(self, world: World) -> None:
        world.target.slow, world.target.limits = 0.05, Limits(batch=10, concurrency=3)
        await world.arrive(*(supplier(n) for n in range(1, 51)))
        stop = asyncio.Event()
        delivering = asyncio.create_task(world.agreement.deliver(stop))
        while not world.target.batches:
            await asyncio.sleep(0.01)
        stop.set()
        await asyncio.wait_for(delivering, 5)
        states = await world.states()
        assert set(states.values()) <= {"dirty", "agreed"}
        assert len(world.target.documents) == sum(state == "agreed" for state in states.values()) > 0

    async def test_delivery_wakes_as_soon_as_something_arrives(self, world: World) -> None:
        stop = asyncio.Event()
        delivering = asyncio.create_task(world.agreement.deliver(stop))
        await asyncio.sleep(0.3)
        began = asyncio.get_running_loop().time()
        await world.arrive(supplier(1))
        while not world.target.documents:
            await asyncio.sleep(0.005)
        took = asyncio.get_running_loop().time() - began
        stop.set()
        await asyncio.wait_for(delivering, 5)
        assert took < 0.5

    async def test_delivery_waits_for_a_backlog_to_be_read_but_not_for_ever(self, world: World) -> None:
        world.inbox.most = 5
        world.inbox.add(*(supplier(1, version) for version in range(1, 3001)))
        await world.agreement.ingest(world.inbox)
        stop = asyncio.Event()
        delivering = asyncio.create_task(world.agreement.deliver(stop))
        await asyncio.sleep(1.2)
        assert world.target.batches == []
        world.clock.forward(31)
        async with asyncio.timeout(5):
            while not world.target.documents:
                await asyncio.sleep(0.01)
        assert world.name_of(1) == "Supplier 1 as of 5"
        world.inbox.most = 5000
        await world.agreement.ingest(world.inbox)
        async with asyncio.timeout(5):
            while world.name_of(1) != "Supplier 1 as of 3000":
                await asyncio.sleep(0.01)
        stop.set()
        await delivering
        assert len(world.target.batches) == 2
        assert world.agreement.tally.saved == 2998

    async def test_a_target_takes_as_many_batches_at_once_as_it_says_and_no_more(self, world: World) -> None:
        at_once: list[int] = []

        class Counting(ScriptedTarget):
            running = 0

            async def write(self, batch):  # type: ignore[no-untyped-def]
                self.running += 1
                at_once.append(self.running)
                await asyncio.sleep(0.02)
                self.running -= 1
                return await super().write(batch)

        world.target = Counting(limits=Limits(batch=2, concurrency=3))
        world.agreement = world.worker(world.ledger)
        await world.arrive(*(supplier(n) for n in range(1, 22)))
        stop = asyncio.Event()
        delivering = asyncio.create_task(world.agreement.deliver(stop))
        async with asyncio.timeout(10):
            while len(world.target.documents) < 21:
                await asyncio.sleep(0.01)
        stop.set()
        await delivering
        assert max(at_once) == 3
        assert all(len(batch) <= 2 for batch in world.target.batches)

    async def test_where_one_batch_ends_in_an_error_what_the_others_were_told_is_kept(self, world: World) -> None:
        world.target.limits = Limits(batch=1, concurrency=3)
        world.agreement = world.worker(world.ledger)
        await world.arrive(supplier(1), supplier(2), supplier(3))
        world.target.answer(S2, MisconfiguredError("scripted", "refused our token"))
        with pytest.raises(MisconfiguredError):
            await world.agreement.step()
        states = await world.states()
        assert (states[S1], states[S2]) == ("agreed", "sending")
        assert sorted(states.values()) == ["agreed", "agreed", "sending"]

    async def test_delivery_that_meets_a_wrong_setting_says_so_and_leaves_nothing_in_hand_for_ever(
        self, world: World
    ) -> None:
        world.target.answer(EVERY, MisconfiguredError("scripted", "refused our token"))
        await world.arrive(supplier(1))
        with pytest.raises(MisconfiguredError, match="refused our token"):
            await asyncio.wait_for(world.agreement.deliver(asyncio.Event()), 5)
        stop = asyncio.Event()
        delivering = asyncio.create_task(world.agreement.deliver(stop))
        async with asyncio.timeout(5):
            while not world.target.documents:
                world.clock.forward(TRAVELS)  # its request may be on its way until then
                await asyncio.sleep(0.01)
        stop.set()
        await asyncio.wait_for(delivering, 5)

    async def test_a_confirmation_clears_the_flows_trouble(self, world: World) -> None:
        await world.agreement._reopen()
        await world.ledger.trouble("scripted: refused our token")
        await world.arrive(supplier(1))
        await world.agree()
        assert await world.rows("SELECT error FROM flows") == [{"error": None}]

    async def test_every_subject_can_be_walked_through_without_taking_it_in_hand(self, world: World) -> None:
        await world.arrive(*(supplier(n) for n in range(1, 1202)))
        seen = [task.subject async for tasks in world.ledger.every() for task in tasks]
        assert len(seen) == len(set(seen)) == 1201
        assert set((await world.states()).values()) == {"dirty"}

    async def test_a_confirmed_ref_is_what_other_documents_refer_to(self, world: World) -> None:
        await world.arrive(supplier(1), supplier(2))
        world.target.answer(S2, Refused("no"))
        await world.agree()
        assert await world.ledger.refs([S1, S2, S3]) == {S1: "id1"}
        assert Confirmed("id1") == Confirmed(world.target.ids[S1])

    # -- what is seen of it ----------------------------------------------------------------------------------------------

    async def test_every_traced_change_ends_in_its_own_trace_with_what_became_of_it(
        self, world: World, spans: InMemorySpanExporter
    ) -> None:
        first, second, third, fourth = (f"00-{n:032x}-{n:016x}-01" for n in (1, 2, 3, 4))
        untraced = f"00-{9:032x}-{9:016x}-00"
        world.inbox.add(supplier(1, 1, traceparent=first), supplier(2, 1, traceparent=second))
        await world.arrive(supplier(1, 2, traceparent=untraced))
        await world.arrive(supplier(1, 3, traceparent=third), supplier(3, 1, name=BAD, traceparent=fourth))
        await world.agree()
        finished = {span.context.span_id: span for span in spans.get_finished_spans() if span.context}
        agreed = {s.context.trace_id: s for s in finished.values() if s.name == "agree purchasing" and s.context}
        outcomes = {trace: span.attributes["ironbridge.outcome"] for trace, span in agreed.items() if span.attributes}
        assert outcomes == {1: "confirmed", 2: "confirmed", 3: "confirmed", 4: "refused"}
        for trace, span in agreed.items():
            assert span.parent is not None
            ingest = finished[span.parent.span_id]
            assert (ingest.name, ingest.parent and ingest.parent.span_id) == ("ingest supplier", trace)
        (write,) = (span for span in finished.values() if span.name.startswith("write"))
        joined = {write.parent.span_id if write.parent else 0, *(link.context.span_id for link in write.links)}
        assert joined == {span.context.span_id for trace, span in agreed.items() if trace != 4 and span.context}
        (row, *_) = await world.rows("SELECT traces FROM subjects WHERE traces IS NOT NULL") or [None]
        assert row is None, "what is settled is traced no further"
        assert [len(r["trace"] or "") for r in await world.rows("SELECT trace FROM attempts")] == [32] * 3

    async def test_a_change_that_comes_while_its_subject_is_in_hand_keeps_its_trace(self, world: World) -> None:
        first, second = (f"00-{n:032x}-{n:016x}-01" for n in (1, 2))
        await world.arrive(supplier(1, 1, traceparent=first))
        tasks = await world.take(10)
        await world.arrive(supplier(1, 2, traceparent=second))
        settled, wanted = await world.agreement.consider(tasks)
        assert settled == []
        await world.ledger.settle([settlement(wanted[0], Confirmed("1"))])
        (row,) = await world.rows("SELECT state, traces, observed FROM subjects")
        assert row["state"] == "dirty"
        assert [each[:35] for each in row["traces"].split(" ")] == [f"00-{2:032x}"]

    async def test_how_long_a_change_took_is_measured_from_the_oldest_that_a_write_carried(
        self, world: World, metered: Metered
    ) -> None:
        world.clock.now = START.timestamp() + 100
        await world.arrive(supplier(1, 10), supplier(1, 40), supplier(2, 30))
        await world.agree()
        told = metered.read()
        assert [(p.count, p.min, p.max) for p in told["ironbridge.flow.change.duration"]] == [(2, 70.0, 90.0)]
        assert [p.value for p in told["ironbridge.flow.writes.saved"]] == [1]
        await world.run("UPDATE subjects SET state = 'dirty', digest = NULL")
        world.clock.forward(1000)
        await world.agree()
        told = metered.read()
        assert "ironbridge.flow.change.duration" not in told, "a person's retry is no change"
        outcomes = {p.attributes["ironbridge.outcome"]: p.value for p in told["ironbridge.flow.settled"]}
        assert outcomes == {"confirmed": 2}
