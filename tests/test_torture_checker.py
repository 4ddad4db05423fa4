"""The checker can fail: each promise is broken on purpose, in the mechanism that keeps it, and the checker says which."""

import ast
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.engine.journal import Cursor, Known, Place
from adapters.engine.pump import Pump
from adapters.testing import Bench, Killed, MemoryJournal, MemoryMemory
from adapters.testing.table import Line, TableAdapter
from canonical import Event
from canonical.event import topic_of
from flows.engine.ledger import Arrivals
from flows.port import Confirmed, Fact, Grouping
from flows.testing import ArrayInbox, ScriptedTarget
from ironbridge.store import Store, open_store
from tests.agreement import World, supplier, supplier_key
from tests.states import state_file
from tests.torture import checker
from tests.torture.checker import Effect, Evidence, Promise, Should, Span, Told, Value, Violation, judge


@pytest.mark.parametrize("module", ["checker", "witness", "observer"])
def test_the_checker_imports_nothing_of_the_program(module: str) -> None:
    source = (Path(checker.__file__).parent / f"{module}.py").read_text("utf-8")
    named = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            named |= {each.name.split(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            named.add((node.module or "").split(".")[0])
            if node.module and node.module.startswith("tests"):
                assert node.module in ("tests.torture", "tests.torture.checker", "tests.torture.witness")
    assert not named & {"canonical", "adapters", "flows", "ironbridge"}


def promises(found: Sequence[Violation]) -> set[Promise]:
    return {violation.promise for violation in found}


# -- the adapter's side ----------------------------------------------------------------------------------------------


class Council:
    """A legacy table whose every state is recorded, and what a subscriber sees of it."""

    def __init__(self, adapter: TableAdapter | None = None) -> None:
        self.adapter = adapter or TableAdapter()
        self.bench = Bench(self.adapter)
        self.history: dict[str, list[Value]] = defaultdict(list)

    def commit(self, **lines: Line | None) -> None:
        """Set or delete lines, named `n7`, and record the state of every key."""
        for name, line in lines.items():
            if line is None:
                self.adapter.lines.pop(int(name[1:]))
            else:
                self.adapter.lines[int(name[1:])] = line
        now = {key: data.decode() for key, data in self.adapter.state().items()}
        for key in self.history.keys() | now.keys():
            if not self.history[key] or self.history[key][-1] != now.get(key):
                self.history[key].append(now.get(key))

    def told(self) -> list[Told]:
        return [
            Told(topic, number, at, e.key, e.id, e.version, *[e.data.decode() if e.data else None] * 2)
            for (topic, number), records in self.bench.log.topics.items()
            for at, e in enumerate(records)
            if e is not None
        ]

    def judged(self, **more: Any) -> list[Violation]:
        return judge(Evidence(dict(self.history), self.told(), **more))

    def pump(self, kind: type[Pump] = Pump, journal: Any = None, memory: Any = None) -> Pump:
        return kind(
            self.adapter,
            journal or MemoryJournal(self.bench.log, self.adapter.name),
            memory or MemoryMemory(self.bench.state),
            edition="1", clock=self.bench.clock, mean_region=8,
        )  # fmt: skip


@pytest.fixture
async def council() -> Council:
    council = Council()
    council.commit(**{f"n{n}": Line(n // 3, "N1") for n in range(20)})
    await council.bench.read(council.pump())
    return council


async def test_a_sound_adapter_that_is_killed_anywhere_breaks_nothing(council: Council) -> None:
    for change in range(12):
        council.commit(n3=Line(1, f"N{change}"), n21=None if change % 2 else Line(7, f"N{change}"))
        await council.bench.read(council.pump())
    assert council.judged() == []


class SavesFirst(Pump):
    """Commits what it remembers before the transaction: a kill between the two loses the events."""

    def __init__(self, *parts: Any, **more: Any) -> None:
        super().__init__(*parts, **more)
        self._publisher.publish = self._save_first  # type: ignore[method-assign]

    async def _save_first(self, stream: str, found: Any, cursor: Cursor, step: Any, *more: Any) -> None:
        step.known = list(found.known.values())
        await self._memory.save(stream, step)
        if found.events:
            raise Killed


async def test_a_commit_before_the_transaction_is_caught_as_loss(council: Council) -> None:
    council.commit(n3=Line(1, "N2"))
    with pytest.raises(Killed):
        await council.bench.read(council.pump(SavesFirst))
    await council.bench.read(council.pump())
    assert promises(council.judged()) == {Promise.LOSS}
    assert str(council.judged()[0]) == "no loss: legacy:care-episode:3: its last state is not its last event"


class DropsDeletes(MemoryJournal):
    async def publish(self, events: Sequence[Event], cursor: tuple[str, Cursor] | None, offsets: Any = None) -> list[Place]:
        places = await super().publish([e for e in events if e.data is not None], cursor, offsets)
        kept = iter(places)
        return [Place("nowhere", 0, 0) if e.data is None else next(kept) for e in events]


async def test_a_dropped_delete_is_caught_as_loss(council: Council) -> None:
    council.commit(n3=None)
    await council.bench.read(council.pump(journal=DropsDeletes(council.bench.log, "legacy")))
    (violation,) = council.judged()
    assert str(violation).endswith("was deleted, and its last event says that it lives")


class ForgetsFingerprints(MemoryMemory):
    async def lookup(self, stream: str, keys: Sequence[str]) -> list[Known]:
        return [self._forgotten(k) for k in await super().lookup(stream, keys)]

    async def members(self, stream: str, regions: Any) -> list[Known]:
        return [self._forgotten(k) for k in await super().members(stream, regions)]

    async def missing_after(self, stream: str, sweep: int, lasting: Any, after: str, most: int) -> list[Known]:
        # Or else each row would be recognised by its content, as one that has been numbered anew.
        return [self._forgotten(k) for k in await super().missing_after(stream, sweep, lasting, after, most)]

    def _forgotten(self, known: Known) -> Known:
        known.fingerprint = known.row_digest = None
        return known


async def test_a_forgotten_fingerprint_is_caught_as_a_duplicate(council: Council) -> None:
    council.commit(n3=Line(1, "N2"))  # its neighbours in the region are compared again
    await council.bench.read(council.pump(memory=ForgetsFingerprints(council.bench.state)))
    assert promises(council.judged()) == {Promise.DUPLICATE}


class PublishesTwice(MemoryJournal):
    async def publish(self, events: Sequence[Event], cursor: tuple[str, Cursor] | None, offsets: Any = None) -> list[Place]:
        await super().publish(events, cursor, offsets)
        return await super().publish(events, cursor, offsets)


async def test_a_transaction_that_is_repeated_is_caught_as_a_duplicate(council: Council) -> None:
    council.commit(n3=Line(1, "N2"))
    await council.bench.read(council.pump(journal=PublishesTwice(council.bench.log, "legacy")))
    assert Promise.DUPLICATE in promises(council.judged())


async def test_a_page_that_was_read_before_a_newer_one_and_comes_after_it_is_caught_as_order(council: Council) -> None:
    first, second = Line(1, "N2"), Line(1, "N3")
    council.commit(n3=first)
    council.commit(n3=second)
    await council.bench.read(council.pump())
    council.adapter.lines[3] = first  # an old page, held up somewhere; nobody committed it again
    await council.bench.read(council.pump())
    council.adapter.lines[3] = second
    await council.bench.read(council.pump())
    assert promises(council.judged()) == {Promise.ORDER}


async def test_a_version_that_stands_twice_or_lies_behind_a_later_one_is_caught(council: Council) -> None:
    council.commit(n3=Line(1, "N2"))
    await council.bench.read(council.pump())
    told = council.told()
    first = min(t.version for t in told if t.key.endswith(":3"))
    twice = [t._replace(version=first) if t.key.endswith(":3") else t for t in told]
    assert promises(judge(Evidence(council.history, twice))) == {Promise.DUPLICATE}
    swapped = [t._replace(offset=100 - t.offset) if t.key.endswith(":3") else t for t in told]
    assert Promise.ORDER in promises(judge(Evidence(council.history, swapped)))


def event(offset: int, version: int, content: str | None, era: int = 0) -> Told:
    return Told("t", 0, offset, "k", f"k {version}", version, content, content, era)


def test_what_a_topic_that_was_made_anew_lacks_may_come_again_as_it_was_and_not_otherwise() -> None:
    history = {"k": ["a", "b"]}
    first = [event(0, 1, "a"), event(1, 2, "b")]
    assert judge(Evidence(history, [*first, event(0, 2, "b", 1)])) == []
    assert judge(Evidence(history, [*first, event(0, 3, "b", 1)])) == []
    assert promises(judge(Evidence(history, [*first, event(2, 2, "b")]))) == {Promise.DUPLICATE}
    assert promises(judge(Evidence(history, [*first, event(0, 2, "b", 1), event(1, 3, "b", 1)]))) == {Promise.DUPLICATE}
    assert Promise.DUPLICATE in promises(judge(Evidence(history, [*first, event(0, 2, "a", 1)])))


def test_a_version_that_begins_again_in_a_topic_made_anew_is_caught() -> None:
    told = [event(0, 5, "a"), event(0, 4, "b", 1)]
    assert promises(judge(Evidence({"k": ["a", "b"]}, told))) >= {Promise.ORDER}


async def test_a_row_that_is_skipped_is_caught_unless_it_lies_aside_with_a_reason(council: Council) -> None:
    council.history["legacy:care-episode:99"] = ["never read"]
    key = "legacy:care-episode:99"
    assert promises(council.judged()) == {Promise.LOSS}
    assert promises(council.judged(aside={key: ""})) == {Promise.SILENCE}
    assert council.judged(aside={key: "the need is empty: fill it in"}) == []
    assert promises(council.judged(unsaid=[key])) == {Promise.SILENCE}


async def test_a_state_that_nobody_committed_is_caught(council: Council) -> None:
    council.adapter.lines[3] = Line(1, "half a row")
    await council.bench.read(council.pump())
    assert "a state was published that the legacy system never committed" in {v.what for v in council.judged()}


# -- the flow's side -------------------------------------------------------------------------------------------------


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store: Store = await open_store(await state_file(tmp_path / "state.sqlite3"))
    yield World(store)
    await store.close()


def effects_of(target: ScriptedTarget) -> list[Effect]:
    """What the target says that it did, in order."""
    held: dict[str, str] = {}
    found = []
    for sequence, (subject, document) in enumerate(target.effects, 1):
        value = None if document is None else document.body["name"]
        operation = "purge" if value is None else "update" if subject in held else "create"
        changed = held.get(subject) != value
        parts = {subject: value} if value else {}
        found.append(Effect("t", sequence, sequence, str(sequence), subject, operation, changed, parts))
        held.pop(subject, None)
        if value is not None:
            held[subject] = value
    return found


def judged(world: World, *events: Event, target: ScriptedTarget | None = None, **more: Any) -> list[Violation]:
    """Held against the events: they are what the legacy system committed."""
    target = target or world.target
    history: dict[str, list[Value]] = defaultdict(list)
    told = []
    for at, each in enumerate(events):
        value = None if each.data is None else each.data.decode().split('"name":"')[1].split('"')[0]
        history[each.key].append(value)
        told.append(Told(topic_of(each.entity), 0, at, each.key, each.id, each.version, value, value))
    should = {key: Should({} if states[-1] is None else {key: states[-1]}) for key, states in history.items()}
    holds = {subject: {subject: document.body["name"]} for subject, document in target.documents.items()}
    return judge(Evidence(history, told, effects_of(target), {"t": holds}, {"t": should}, **more))


S1 = supplier_key(1)
EVENTS = (supplier(1), supplier(2), supplier(1, 2), supplier(2, 2, deleted=True), supplier(3), supplier(1, 3))


async def test_a_sound_flow_breaks_nothing(world: World) -> None:
    for each in EVENTS:
        await world.arrive(each)
        await world.agree()
    assert judged(world, *EVENTS) == []


async def test_what_conflates_breaks_nothing(world: World) -> None:
    await world.arrive(*EVENTS)
    await world.agree()
    assert judged(world, *EVENTS) == []


class AcknowledgesOnReceipt(ArrayInbox):
    """Its offsets are committed as it polls: a kill before the facts are saved loses them."""

    async def poll(self) -> Arrivals:
        arrived = await super().poll()
        self.committed = len(self.events)
        return arrived


async def test_an_acknowledgement_on_receipt_is_caught_as_loss(world: World) -> None:
    await world.arrive(*EVENTS[:5])
    hasty = AcknowledgesOnReceipt([EVENTS[5]])
    await hasty.poll()  # and here it is killed
    again = ArrayInbox(hasty.events, hasty.committed)
    again.deliver_again()
    while await world.agreement.ingest(again):
        pass
    await world.agree()
    assert [str(v) for v in judged(world, *EVENTS)] == [
        "no loss: payables:supplier:1: is not as it should be in t payables:supplier:1"
    ]


class KeepsWhatIsDeleted(ScriptedTarget):
    async def write(self, batch: Any) -> Any:
        kept = [w for w in batch if w.document is not None]
        said = iter(await ScriptedTarget.write(self, kept))
        return [Confirmed(w.ref or "") if w.document is None else next(said) for w in batch]


async def test_a_removal_that_is_not_done_is_caught_as_loss(world: World) -> None:
    world.target = KeepsWhatIsDeleted()
    world.agreement = world.agreement_of(world.target)
    for each in EVENTS:
        await world.arrive(each)
        await world.agree()
    assert [v.what for v in judged(world, *EVENTS)] == [
        "is still at the target, though it is gone from the legacy system"
    ]


class ForgetsWhatItSent:
    """A ledger that loses what was confirmed: each look writes again."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def take(self, limit: int, edition: Any) -> list[Any]:
        return [t._replace(digest=None, document=None, ref=None) for t in await self._inner.take(limit, edition)]


async def test_a_state_that_is_written_again_after_it_was_confirmed_is_caught_as_a_duplicate(world: World) -> None:
    worker = world.worker(ForgetsWhatItSent(world.ledger))
    await world.arrive(supplier(1))
    await world.agree(worker)
    world.flow.edition_name = "another edition"
    await world.agree(world.worker(ForgetsWhatItSent(world.ledger)))
    assert promises(judged(world, supplier(1))) == {Promise.DUPLICATE}
    # Where the target cannot be read and the first answer was lost, there was no other way.
    excused = {"unreadable": {"t"}, "doubts": [Span("t", 0.5, 1.5)]}
    assert judged(world, supplier(1), **excused) == []
    late = {"unreadable": {"t"}, "doubts": [Span("t", 100, 200)]}
    assert promises(judged(world, supplier(1), **late)) == {Promise.DUPLICATE}


def test_a_state_that_came_and_went_may_have_been_on_its_way_and_so_the_one_before_is_written_again() -> None:
    effects = [Effect("t", n, 10.0 * n, str(n), "child", "update", n == 1, {"a": "open"}) for n in (1, 2)]
    told = [Told("x", 0, n, "a", f"id{n}", n, v, v, 0, "child", at) for n, v, at in [(1, "closed", 12.0), (2, "open", 17.0)]]
    history = {"a": ("open", "closed", "open")}

    def found(events: list[Told], doubt: Span) -> set[Promise]:
        evidence = Evidence(history, events, effects, unreadable={"t"}, doubts=[doubt])
        return {v.promise for v in judge(evidence) if v.promise is Promise.DUPLICATE}

    killed_meanwhile = Span("t", 16.0, 16.0)
    assert found(told, killed_meanwhile) == set()
    assert found(told, Span("t", 21.0, 22.0)) == {Promise.DUPLICATE}, "nobody was killed between the two states"
    assert found(told, Span("other", 16.0, 16.0)) == {Promise.DUPLICATE}
    assert found(told[:1], killed_meanwhile) == {Promise.DUPLICATE}, "there was no other state that may have been sent"
    elsewhere = [each._replace(owner="another child") for each in told]
    assert found(elsewhere, killed_meanwhile) == {Promise.DUPLICATE}


def test_a_document_of_another_release_may_have_been_on_its_way_too() -> None:
    effects = [Effect("t", n, 10.0 * n, str(n), "child", "update", n == 1, {"a": "open"}) for n in (1, 2)]

    def found(rolls: list[tuple[float, float]], killed: float) -> set[Promise]:
        doubts = [Span("t", killed, killed)]
        evidence = Evidence({"a": ("open",)}, [], effects, unreadable={"t"}, doubts=doubts, rolls=rolls)
        return {v.promise for v in judge(evidence) if v.promise is Promise.DUPLICATE}

    assert found([(15.5, 30.0)], 17.0) == set()
    assert found([(15.5, 30.0)], 15.2) == {Promise.DUPLICATE}, "only one release was at work when the worker was killed"
    assert found([(21.0, 30.0)], 17.0) == {Promise.DUPLICATE}, "two releases were at work only later"
    assert found([], 17.0) == {Promise.DUPLICATE}


def test_two_creates_of_one_document_are_caught_as_a_duplicate() -> None:
    effects = [Effect("t", n, n, str(n), "INV1", "create", True, {}) for n in (1, 2)]
    assert promises(judge(Evidence({}, [], effects))) == {Promise.DUPLICATE}
    between = Effect("t", 2, 2, "2", "INV1", "purge", True, {})
    assert judge(Evidence({}, [], [effects[0], between, effects[1]._replace(sequence=3)])) == []


class SendsOldFacts:
    """A worker that was held up with old facts in its hand, and sends them after another has sent newer ones."""

    def __init__(self, inner: Any, old: dict[str, bytes]) -> None:
        self._inner, self._old = inner, old

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def facts(self, subjects: Sequence[str], grouping: Grouping) -> dict[str, list[Fact]]:
        found: dict[str, list[Fact]] = await self._inner.facts(subjects, grouping)
        return {s: [replace(f, data=self._old.get(s, f.data)) for f in fs] for s, fs in found.items()}


async def test_an_old_state_that_is_written_after_a_newer_one_is_caught_as_order(world: World) -> None:
    events = (supplier(1), supplier(1, 2), supplier(1, 3))
    for each in events[:2]:
        await world.arrive(each)
        await world.agree()
    old = supplier(1).data
    assert old is not None
    await world.arrive(events[2])
    await world.agree(world.worker(SendsOldFacts(world.ledger, {S1: old})))
    world.release("another edition")
    await world.agree()
    assert promises(judged(world, *events)) == {Promise.ORDER}


def test_what_was_deleted_while_the_state_was_lost_may_stay_at_the_target_if_that_was_said() -> None:
    history = {"child": ["a"], "plan": ["b", None]}
    held, should = {"t": {"child": {"child": "a", "plan": "b"}}}, {"t": {"child": Should({"child": "a"})}}
    told = [Told("x", 0, n, k, f"{k}{n}", v, s, s) for n, (k, v, s) in enumerate([("child", 1, "a"), ("plan", 1, "b")])]
    told.append(Told("x", 0, 5, "plan", "plan5", 2, None, None))
    evidence = Evidence(history, told, [], held, should)
    assert [v.what for v in judge(evidence)] == ["should no longer be in t child"]
    assert judge(replace(evidence, forgotten={"t"})) == []
    living = replace(evidence, forgotten={"t"}, history={"child": ["a"], "plan": ["b", "c"]})
    assert "should no longer be in t child" in [v.what for v in judge(living)]


def test_what_belongs_to_a_record_that_cannot_be_read_may_be_missing_and_what_is_there_must_be_right() -> None:
    history, told = {"plan": ["b"]}, [Told("x", 0, 0, "plan", "plan0", 1, "b", "b")]
    partly = {"t": {"child": Should({"plan": "b"}, whole=False)}}
    aside = {"episode": "there is no such day"}
    assert judge(Evidence(history, told, [], {"t": {"child": {}}}, partly, unsaid={"episode"}, aside=aside)) == []
    wrong = judge(Evidence(history, told, [], {"t": {"child": {"plan": "a"}}}, partly))
    assert [v.what for v in wrong] == ["is not as it should be in t child"]


async def test_a_subject_that_nobody_works_on_any_more_is_caught_as_silent(world: World) -> None:
    await world.arrive(supplier(1))
    found = judged(world, supplier(1), unplanned=[("t", S1)])
    assert promises(found) == {Promise.LOSS, Promise.SILENCE}



# -- two releases ----------------------------------------------------------------------------------------------------


def written(sequence: int, release: str | None) -> Effect:
    return Effect("cloud", sequence, float(sequence), f"r{sequence}", "k", "update", True, {"k": "a"}, release)


def released(stands: str, there: str | None, *effects: Effect, switches: int = 0) -> set[Promise]:
    should = {"cloud": {"k": Should({"k": "a"})}}
    holds = {"cloud": {"k": {"k": "a"}}}
    found = Evidence(
        {"k": ["a"]}, [event(0, 1, "a")], effects, holds, should, release=stands, releases={"cloud": {"k": there}},
        switches={"cloud": switches},
    )  # fmt: skip
    return promises(judge(found))


def test_a_document_that_stays_as_another_release_wrote_it_is_caught() -> None:
    assert released("next", "next") == set()
    assert released("next", "") == released("", "next") == released("", None) == {Promise.LOSS}


def test_two_releases_that_write_a_document_in_turn_are_caught() -> None:
    path = [written(n, release) for n, release in enumerate(["", "next", None, "next", "", "next"])]
    assert released("next", "next", *path, switches=2) == set()
    assert released("next", "next", *path, switches=1) == {Promise.DUPLICATE}
