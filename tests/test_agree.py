"""Agreement on SQLite, the embedded state; its crashes and its luck; and the stand-in target itself."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from canonical import Event
from flows.port import Body, Confirmed, Document, Facts, Outcome, Refused, Unavailable, Unknown, Write
from flows.testing import ScriptedTarget, TargetSuite, Trouble, Work
from ironbridge.store import Store, Upkeep, open_store
from tests.agreement import Fate, KilledError, Mortal, World, invoice, invoice_key, supplier, supplier_key
from tests.agreement_scenarios import AgreementScenarios
from tests.states import state_file

S1, S2, S3, S4 = (supplier_key(n) for n in (1, 2, 3, 4))


class TestOnSQLite(AgreementScenarios):
    pass


# -- a kill at any step ------------------------------------------------------------------------------------------------


async def eventful(world: World) -> None:
    """A state of affairs in which the next steps create, change, remove, refuse, wait and doubt."""
    await world.arrive(supplier(1), supplier(2), supplier(3), invoice(7, of=4))
    await world.agree()
    world.target.answer(S2, Unknown("cut"), work=Work.DONE)
    world.target.answer(S4, Unavailable("503"))
    world.target.answer(invoice_key(8), Refused("no"))
    world.inbox.add(supplier(1, 2), supplier(2, 2), supplier(3, 2, deleted=True), supplier(4), invoice(8, of=1))


async def works(world: World, fate: Fate) -> None:
    """All of what a process does, from the poll to the last settlement; it may die on the way."""
    ledger, target = Mortal(world.new_ledger(), fate), Mortal(world.target, fate)
    agreement = world.worker(ledger, target)
    await agreement.ingest(Mortal(world.inbox, fate))
    await ledger.begin()
    await world.agree(agreement)


async def wiped(world: World) -> None:
    for table in ("facts", "subjects", "flows", "attempts", "ingested", "rejects"):
        await world.run(f"DELETE FROM {table}")


@pytest.mark.parametrize("readable", [True, False], ids=["a target that can be read", "one that cannot"])
async def test_a_kill_at_any_step_loses_nothing_and_repeats_nothing_that_can_be_read_back(
    store: Store, readable: bool
) -> None:
    alive = Fate()
    for at in range(500):
        world = World(store, target=ScriptedTarget(readable=readable))
        await wiped(world)
        await eventful(world)
        fate = Fate(at)
        try:
            await works(world, fate)
            alive = fate
            break
        except KilledError:
            pass
        world.clock.forward(60)
        world.inbox.deliver_again()
        await works(world, Fate())
        held = {subject: document.body for subject, document in world.target.documents.items()}
        assert held == {
            S1: {"number": "1", "name": "Supplier 1 as of 2"},
            S2: {"number": "2", "name": "Supplier 2 as of 2"},
            S4: {"number": "4", "name": "Supplier 4 as of 1"},
            invoice_key(7): {"number": "7", "net": "1.00"},
        } | ({} if (await world.row(invoice_key(8)))["state"] == "parked" else {invoice_key(8): held[invoice_key(8)]})
        assert set((await world.states()).values()) <= {"agreed", "parked"}, fate.steps
        if readable:
            for subject in (S1, S2, S3, S4, invoice_key(7)):
                done = [document for changed, document in world.target.effects if changed == subject]
                assert all(before != after for before, after in pairwise(done)), (subject, fate.steps)
    assert len(alive.steps) > 40
    assert {"before write", "after write", "after intend", "after settle", "after take", "after commit"} <= {
        *alive.steps
    }


# -- luck --------------------------------------------------------------------------------------------------------------

ANSWERS = st.sampled_from(
    [
        (Unknown("cut"), Work.DONE), (Unknown("cut"), Work.NOT_DONE), (KeyError("oops"), Work.DONE),
        (Unavailable("503"), Work.DONE), (Unavailable("503"), Work.NOT_DONE), (Refused("no"), Work.NOT_DONE),
    ]
)  # fmt: skip
SUBJECTS = st.integers(1, 4)
STEPS = st.one_of(
    st.tuples(st.just("supplier"), SUBJECTS, st.booleans()),
    st.tuples(st.just("invoice"), SUBJECTS, st.booleans()),
    st.tuples(st.just("answer"), SUBJECTS, ANSWERS),
    st.tuples(st.just("lose"), SUBJECTS),
    st.tuples(st.just("work")),
    st.tuples(st.just("meanwhile"), SUBJECTS, st.booleans()),
    st.tuples(st.just("die"), st.integers(0, 12)),
    st.tuples(st.just("again"), st.integers(0, 30)),
    st.tuples(st.just("edition"), st.booleans()),
    st.tuples(st.just("later"), st.integers(1, 100)),
)


@dataclass(slots=True)
class BusyTarget(ScriptedTarget):
    """While it writes, things go on elsewhere."""

    meanwhile: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        for happens in self.meanwhile:
            await happens()
        self.meanwhile.clear()
        return await ScriptedTarget.write(self, batch)


@dataclass
class Life:
    """Steps of a council's life, whatever their order."""

    world: World
    target: BusyTarget
    versions: dict[str, int] = field(default_factory=dict)
    newest: dict[str, Event] = field(default_factory=dict)

    async def live(self, step: Any) -> None:
        match step:
            case ("supplier", n, deleted):
                self._change(supplier(n, self._next(supplier_key(n)), deleted=deleted))
            case ("invoice", n, deleted):
                self._change(invoice(n, n, self._next(invoice_key(n)), deleted=deleted))
            case ("answer", n, (answer, work)):
                self.world.target.answer(supplier_key(n), answer, work=work)
            case ("lose", n):
                self.world.target.answer(invoice_key(n), Unknown("cut"), work=Work.DONE)
            case ("work",):
                await self.world.arrive()
                await self.world.agreement.step()
            case ("meanwhile", n, deleted):
                self.target.meanwhile.append(lambda: self._overtaken(n, deleted))
            case ("die", at):
                await self._die(Fate(at))
            case ("again", offset):
                self.world.inbox.deliver_again(min(offset, self.world.inbox.committed))
            case ("edition", longer):
                self.world.release(self.world.flow.edition_name + "+", " plc" if longer else "")
            case ("later", seconds):
                self.world.clock.forward(seconds)

    async def _overtaken(self, n: int, deleted: bool) -> None:
        self._change(supplier(n, self._next(supplier_key(n)), deleted=deleted))
        await self.world.arrive()

    async def _die(self, fate: Fate) -> None:
        world = self.world
        ledger, target = Mortal(world.new_ledger(), fate), Mortal(world.target, fate)
        agreement = world.worker(ledger, target)
        try:
            await agreement.ingest(Mortal(world.inbox, fate))
            await agreement.step()
        except KilledError:
            world.inbox.deliver_again()
        await world.new_ledger().reclaim()

    def _next(self, key: str) -> int:
        self.versions[key] = self.versions.get(key, 0) + 1
        return self.versions[key]

    def _change(self, event: Event) -> None:
        self.newest[event.key] = event
        self.world.inbox.add(event)

    async def rest(self) -> None:
        """No more bad luck: a fresh process on the same state, until it has nothing to do."""
        world = self.world
        world.target.forgive()
        self.target.meanwhile.clear()
        world.inbox.deliver_again()
        await world.new_ledger().reclaim()
        world.agreement = world.worker()
        await world.arrive()
        await world.agreement._reopen()
        await world.agree()

    async def judged(self) -> None:
        states, world = await self.world.states(), self.world
        assert set(states) == set(self.newest)
        assert set(states.values()) <= {"agreed", "parked", "waiting"}
        facts = await world.ledger.facts(list(states), world.flow.grouping)
        for subject, state in states.items():
            if state == "agreed":
                wanted = world.flow.desired(subject, Facts(facts.get(subject, []), date_of(world)))
                held = world.target.documents.get(subject)
                assert (held and held.body) == (wanted.body if isinstance(wanted, Document) else None), subject
            if state == "waiting":
                assert (await world.row(subject))["waiting_on"] not in await world.ledger.refs(list(states))


def date_of(world: World) -> Any:
    return world.agreement._today()


@pytest.mark.parametrize("readable", [True, False], ids=["a target that can be read", "one that cannot"])
@given(steps=st.lists(STEPS, max_size=30))
@effort(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_in_whatever_order_the_target_holds_what_it_should_in_the_end(
    tmp_path: Path, readable: bool, steps: list[Any]
) -> None:
    for old in tmp_path.glob("state*"):
        old.unlink()

    async def lived() -> None:
        store = await open_store(await state_file(tmp_path / "state.sqlite3"), tables=Upkeep.LEAVE)
        try:
            target = BusyTarget(readable=readable)
            life = Life(World(store, target=target), target)
            for step in steps:
                await life.live(step)
            await life.rest()
            await life.judged()
        finally:
            await store.close()

    asyncio.run(lived())


# -- the stand-in passes what every target passes ----------------------------------------------------------------------


class ScriptedSide:
    def __init__(self) -> None:
        self.target = ScriptedTarget()

    def document(self, number: int, version: int) -> tuple[str, Document]:
        return supplier_key(number), Document("supplier", str(number), {"number": str(number), "name": f"v{version}"})

    def refusable(self, number: int) -> tuple[str, Document]:
        self.target.answer(supplier_key(number), Refused("name: is too long"))
        return self.document(number, 1)

    def held(self, number: int) -> Body | None:
        document = self.target.documents.get(supplier_key(number))
        return document and document.body

    def effects(self) -> int:
        return len(self.target.effects)

    def trouble(self, trouble: Trouble) -> None:
        match trouble:
            case Trouble.THROTTLED:
                self.target.answer("*", Unavailable("429", timedelta(seconds=7)))
            case Trouble.FAILED:
                self.target.answer("*", Unknown("500"))
            case Trouble.LOST | Trouble.NOT_JSON:
                self.target.answer("*", Unknown(trouble.value), work=Work.DONE)


class TestScriptedTarget(TargetSuite):
    @pytest.fixture
    def side(self) -> ScriptedSide:
        return ScriptedSide()


async def test_the_stand_in_keeps_its_effects_in_order_and_gives_ids() -> None:
    side = ScriptedSide()
    for number in (2, 1):
        subject, document = side.document(number, 1)
        assert await side.target.write([Write(subject, document)]) == [Confirmed(f"id{3 - number}", f"tag{3 - number}")]
    assert [subject for subject, _ in side.target.effects] == [S2, S1]
