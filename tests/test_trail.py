"""A state that went back: the trail proves it, the log reports it, and reading again and asking the target heal it."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from canonical.errors import UnavailableError
from flows.engine.ledger import Arrivals, Intent, Mark, doubts, pack_all
from flows.engine.trail import Sent, in_doubt, unknown
from flows.port import Outcome, Unknown, Write
from flows.testing import MemoryTrail, ScriptedTarget, Work
from ironbridge.kafka.topics import ensure_topics, trail_topic
from ironbridge.kafka.trail import KafkaTrail
from ironbridge.operate import steer
from ironbridge.operate.audit import Actor
from ironbridge.settings import KafkaSettings
from ironbridge.store import Store, Upkeep, open_store
from ironbridge.store.ledger import StoredLedger
from ironbridge.store.trail import TrailedLedger
from tests.agreement import BAD, PurchaseFlow, World, supplier, supplier_key
from tests.servers import Kafka, Postgres
from tests.states import state_database, state_file

OLD = "the state is older than what this flow has sent"


def keys(*numbers: int) -> tuple[str, ...]:
    return tuple(supplier_key(number) for number in numbers)


class Copies:
    """A state of either kind that can be copied, and put back."""

    def __init__(self, url: str, keep: Callable[[], Awaitable[None]], restore: Callable[[], Awaitable[None]]) -> None:
        self.url = url
        self.keep = keep
        self.restore = restore

    @asynccontextmanager
    async def world(self, like: World | None = None, **more: Any) -> AsyncIterator[World]:
        """The flow on this state; target, trail, inbox and clock are taken over from a former world."""
        store = await open_store(self.url)
        kept = {name: getattr(like, name) for name in ("target", "trail", "inbox", "clock")} if like else {}
        yield World(store, **kept | more)
        await store.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
async def copies(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Copies]:
    if request.param == "sqlite":
        file, copy = tmp_path / "state.sqlite3", tmp_path / "copy.sqlite3"

        async def keep() -> None:
            shutil.copy(file, copy)

        async def restore() -> None:
            shutil.copy(copy, file)

        yield Copies(await state_file(file), keep, restore)
        return
    server: Postgres = request.getfixturevalue("postgres")
    async with state_database(server) as url, server.database() as spare:
        name, copy_name = url.rpartition("/")[2], spare.rpartition("/")[2]

        async def copied(source: str, to: str) -> None:
            store = await open_store(f"{url.rpartition('/')[0]}/postgres", tables=Upkeep.LEAVE)
            async with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                await connection.execute(text(f'DROP DATABASE "{to}" WITH (FORCE)'))
                await connection.execute(text(f'CREATE DATABASE "{to}" TEMPLATE "{source}"'))
            await store.close()

        yield Copies(url, lambda: copied(name, copy_name), lambda: copied(copy_name, name))


def test_what_a_hand_sent_beyond_its_number_is_unknown() -> None:
    records = [Sent("a", 1, ("x",)), Sent("a", 2, ("y", "x")), Sent("b", 1, ("z",))]
    assert unknown(records, {"a": 1}) == ["y", "x", "z"]
    assert unknown(records, {"a": 2, "b": 1}) == []


def test_a_doubt_that_is_known_already_stays_and_a_recall_that_fails_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    flow = PurchaseFlow()
    assert in_doubt(flow, None, []) == b"[]"
    assert in_doubt(flow, b'[["supplier","1",{"name":"A"},{}]]', [(supplier_key(1), supplier_key(1))]) == (
        b'[["supplier","1",{"name":"A"},{}],["supplier","1",{},{}]]'
    )
    assert in_doubt(flow, None, [("what", "who")]) == b"[]"
    assert "failed (ValueError at key.py:" in caplog.text
    assert "to recall" in caplog.text


async def test_every_send_is_on_the_trail_before_it_goes(store: Store) -> None:
    world = World(store)

    class Looking(ScriptedTarget):
        async def write(self, batch: Any) -> Any:
            assert world.trail.records[-1].subjects == tuple(sorted(write.subject for write in batch))
            return await super().write(batch)

    world = World(store, target=Looking())
    await world.arrive(supplier(1), supplier(2))
    await world.agree()
    await world.arrive(supplier(2, 2))
    await world.agree()
    assert [(r.number, r.subjects) for r in world.trail.records] == [(1, keys(1, 2)), (2, keys(2))]


async def test_a_trail_that_is_away_lets_nothing_go_and_forgets_nothing(store: Store) -> None:
    world = World(store)
    await world.arrive(supplier(1))
    await world.agree()
    await world.arrive(supplier(1, 2), supplier(2))
    world.trail.away = True
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await world.agreement.step()
    assert world.written() == [supplier_key(1)]
    for number in (1, 2):
        row = await world.row(supplier_key(number))
        assert (row["state"], row["doubtful"], row["attempts"]) == ("dirty", None, 0)
    world.trail.away = False
    with pytest.raises(UnavailableError):
        await World(store, trail=MemoryTrail(away=True)).ledger.begin()
    await world.ledger.begin()
    await world.agree()
    assert world.name_of(1) == "Supplier 1 as of 2"


@pytest.mark.parametrize("some_events", [False, True], ids=["", "with events since"])
async def test_after_a_rollback_the_documents_are_those_of_the_release_that_runs(
    copies: Copies, some_events: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with copies.world() as old:
        await old.arrive(*(supplier(n) for n in range(1, 6)))
        await old.agree()
    await copies.keep()
    async with copies.world(old) as new:
        new.release("2", " (Ltd.)")
        await new.agree()
        if some_events:
            await new.arrive(supplier(1, 2))
            await new.agree()
    assert OLD not in caplog.text
    await copies.restore()
    old.inbox.once, old.inbox._at = old.inbox.committed, 5  # what Kafka knows, and where the restored state stands
    async with copies.world(old) as back:
        while await back.agreement.ingest(back.inbox):
            pass
        await back.agree()
        assert set((await back.states()).values()) == {"agreed"}
    version = 2 if some_events else 1
    assert [back.name_of(n) for n in (1, 2)] == [f"Supplier 1 as of {version}", "Supplier 2 as of 1"]
    assert caplog.text.count(OLD) == 1


async def test_a_copy_of_yesterday_gives_up_what_yesterday_alone_wanted(copies: Copies) -> None:
    async with copies.world() as world:
        await world.arrive(supplier(1))
        await world.agree()
    await copies.keep()
    async with copies.world(world) as tuesday:
        tuesday.release("tuesday", " 17 years")
        await tuesday.agree()
    await copies.restore()
    async with copies.world(world) as wednesday:
        wednesday.release("wednesday")
        await wednesday.agree()
    assert wednesday.name_of(1) == "Supplier 1 as of 1"


async def test_what_only_the_lost_state_had_created_is_removed(copies: Copies) -> None:
    """It was created by a release that the copy does not know, and the copy has no reason to look at it."""
    async with copies.world() as world:
        await world.arrive(supplier(1, 1, name="Unwanted Ltd"))
        await world.agree()
        assert world.name_of(1) is None
    await copies.keep()
    async with copies.world(world) as other:
        other.flow.desired = _wants_all  # type: ignore[method-assign]
        other.release("2")
        await other.agree()
        assert other.name_of(1) == "all"
    await copies.restore()
    async with copies.world(world) as back:
        await back.agree()
        assert back.name_of(1) is None
        assert await back.states() == {supplier_key(1): "agreed"}


def _wants_all(subject: str, facts: Any) -> Any:
    from flows.port import Document

    number = subject.rpartition(":")[2]
    return Document("supplier", number, {"number": number, "name": "all"})


async def test_a_subject_of_which_the_copy_has_never_heard_is_looked_at_when_its_events_come_again(
    copies: Copies,
) -> None:
    async with copies.world() as world:
        await world.arrive(supplier(1))
        await world.agree()
    await copies.keep()
    async with copies.world(world) as later:
        await later.arrive(supplier(2))
        await later.agree()
        world.inbox.add(supplier(2, 2, deleted=True))  # it had not reached the target when the state was lost
    await copies.restore()
    world.inbox.once, world.inbox._at = world.inbox.committed, 1
    world.trail.topics = {("array", 0): world.inbox.committed}
    async with copies.world(world) as back:
        assert await back.agreement.step() == 0, "nothing is delivered before it is read again"
        while await back.agreement.ingest(back.inbox):
            pass
        await back.agree()
        assert back.name_of(2) is None
        assert back.name_of(1) == "Supplier 1 as of 1"


_KNOWS = ("subjects", "facts", "ingested", "hands", "flows")


async def test_a_deletion_that_comes_as_new_is_one_of_what_a_lost_state_had_sent(store: Store) -> None:
    """Kafka has forgotten how far the flow had read, so only the trail tells that the target may hold something."""
    world = World(store)
    await world.arrive(supplier(1), supplier(2))
    await world.agree()
    for table in _KNOWS:
        await world.run(f"DELETE FROM {table}")
    anew = World(store, world.clock, target=world.target, inbox=world.inbox, trail=world.trail)
    await anew.ledger.look_back()
    await anew.arrive(supplier(1, 2, deleted=True), supplier(2))
    await anew.agree()
    assert anew.name_of(1) is None
    assert anew.name_of(2) == "Supplier 2 as of 1"


@pytest.mark.servers
async def test_what_arrives_while_the_trail_is_read_loses_no_doubt(postgres: Postgres) -> None:
    """A worker takes events in again while another one puts their subjects in doubt, of which it knows nothing."""
    async with state_database(postgres) as url:
        store = await open_store(url)
        world, other = World(store), await open_store(url)
        await world.arrive(supplier(1))
        await world.agree()
        for table in _KNOWS:
            await world.run(f"DELETE FROM {table}")
        async with other.write() as connection:
            again = doubts(None, pack_all(world.flow.recall(supplier_key(1), supplier_key(1))))
            mark = Mark(supplier_key(1), 0, 1, 1, 0.0, None, again)
            await StoredLedger(other, world.flow.name)._touch(connection, [mark], world.clock())
            looking = asyncio.ensure_future(world.ledger.look_back())
            await _waited_for(other)
        assert await looking
        assert (await world.row(supplier_key(1)))["doubtful"] == again
        await store.close()
        await other.close()


async def _waited_for(store: Store) -> None:
    """Return once PostgreSQL says that a session waits for a row; it asks again until then, for 30 s at most."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(30):
        while True:
            async with store.read() as connection:
                if (await connection.execute(text(waits))).scalar_one():
                    return
            await asyncio.sleep(0.02)


async def test_a_trail_that_no_longer_reaches_back_puts_every_subject_in_doubt(
    copies: Copies, caplog: pytest.LogCaptureFixture
) -> None:
    async with copies.world() as world:
        await world.arrive(*(supplier(n) for n in range(1, 4)))
        await world.agree()
    await copies.keep()
    async with copies.world(world) as new:
        new.release("2", " (Ltd.)")
        await new.agree()
        assert new.name_of(1) == "Supplier 1 as of 1 (Ltd.)"
    world.trail.cut(2)
    await copies.restore()
    async with copies.world(world) as back:
        await back.agree()
    assert [back.name_of(n) for n in (1, 2, 3)] == [f"Supplier {n} as of 1" for n in (1, 2, 3)]
    assert "its trail does not go back to 0: it holds 2 to 2" in caplog.text


async def test_what_a_person_had_dropped_is_in_doubt_too_and_stays_dropped(copies: Copies) -> None:
    async with copies.world() as world:
        await world.arrive(supplier(1))
        await world.agree()
        await world.arrive(supplier(1, 2, name=BAD))
        await world.agree()
        await steer.drop(world.store, Actor("kim", "console"), [supplier_key(1)], "it is refused")
    await copies.keep()
    async with copies.world(world) as new:
        await new.arrive(supplier(1, 3))
        await new.agree()
    world.trail.cut(2)
    await copies.restore()
    async with copies.world(world) as back:
        await back.agree()
        assert (await back.row(supplier_key(1)))["state"] == "dropped"
        await back.arrive(supplier(1, 4, name="Supplier 1 as of 1"))
        await back.agree()
        assert back.name_of(1) == "Supplier 1 as of 1", "what the copy says was confirmed is not what is there"


async def test_a_new_flow_on_a_trail_that_was_cut_is_no_old_state(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(store, trail=MemoryTrail([Sent("another", 1, ("x",))] * 3, first=3))
    await world.arrive(supplier(1))
    assert await World(store, clock=world.clock, trail=MemoryTrail()).ledger.look_back() is False
    await world.agree()
    assert OLD in caplog.text, "it has subjects by now, and nobody knows from which state they come"


async def test_a_living_worker_whose_state_goes_back_notices_it_with_its_next_send(copies: Copies) -> None:
    """A failover: the new primary lacks the last transactions, and the worker goes on."""
    async with copies.world() as world:
        await world.arrive(supplier(1), supplier(2))
        await world.agree()
        await copies.keep() if "sqlite" in copies.url else None
        counted = await world.rows("SELECT hand, sent FROM hands")
        await world.arrive(supplier(1, 2))
        await world.agree()
        # The standby never heard of the last send.
        await world.run("UPDATE hands SET sent = :sent", sent=counted[0]["sent"])
        await world.run(
            "UPDATE subjects SET document = NULL, digest = NULL, state = 'dirty' WHERE subject = :s", s=supplier_key(1)
        )
        await world.arrive(supplier(2, 2))
        with pytest.raises(UnavailableError, match="it went back, perhaps over a failover"):
            await world.agreement.step()
        assert world.name_of(2) == "Supplier 2 as of 1", "nothing was sent"
        await world.ledger.begin()
        await world.agree()
        assert world.target.looks, "the target was asked what it holds"
        assert [world.name_of(n) for n in (1, 2)] == ["Supplier 1 as of 2", "Supplier 2 as of 2"]


class Pair:
    """Two workers of one flow that live and take turns, and the state's record of their sends."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.one, self.two = world.new_ledger(), world.new_ledger()

    async def begin(self) -> None:
        await self.one.begin()
        await self.two.begin()

    async def sends(self, worker: TrailedLedger, number: int) -> None:
        """It takes a supplier in hand, and is about to send it."""
        await self.world.run(
            "UPDATE subjects SET state = 'dirty', due = NULL WHERE subject = :s", s=supplier_key(number)
        )
        edition = await worker.reopen("1")
        assert edition is not None
        tasks = await worker.take(10, edition)
        assert await worker.intend([Intent(task, b"[]") for task in tasks]) == {supplier_key(number)}

    async def hands(self) -> list[Any]:
        return await self.world.rows("SELECT * FROM hands")

    async def go_back(self, hands: list[Any]) -> None:
        """Set the counts back, as a failover does: the state knows only the sends that it knew then."""
        await self.world.run("DELETE FROM hands")
        for row in hands:
            await self.world.run(
                "INSERT INTO hands (flow, hand, sent, at) VALUES (:flow, :hand, :sent, :at)", **dict(row)
            )


@pytest.mark.parametrize("sent_before", [0, 1, 3], ids=["never sent", "sent once", "sent often"])
async def test_a_worker_that_has_sent_nothing_since_the_state_went_back_sees_what_another_has_sent(
    each_store: Store, sent_before: int
) -> None:
    world = World(each_store)
    await world.arrive(supplier(1), supplier(2))
    await world.run("UPDATE subjects SET state = 'agreed'")
    pair = Pair(world)
    await pair.begin()
    for _ in range(sent_before):
        await pair.sends(pair.two, 2)
    then = await pair.hands()
    await pair.sends(pair.one, 1)
    await pair.go_back(then)
    told = len(world.trail.records)
    with pytest.raises(UnavailableError, match="it went back, perhaps over a failover"):
        await pair.sends(pair.two, 1)
    assert len(world.trail.records) == told + 1, "it was about to send in good faith, and looked"
    assert (await world.row(supplier_key(1)))["state"] == "dirty"
    await pair.two.begin()
    assert (await world.row(supplier_key(1)))["doubtful"] == b'[["supplier","1",{},{}]]'


async def test_a_worker_that_sends_by_the_lost_state_and_one_that_looks_back_do_not_meet(each_store: Store) -> None:
    """The one has told the trail and is about to send; the state goes back; the other finds out what may be there."""
    world = World(each_store)
    await world.arrive(supplier(1))
    other = world.worker()

    class GoesBack(ScriptedTarget):
        async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
            await world.run("DELETE FROM hands")
            await world.run(
                "UPDATE subjects SET state = 'dirty', claim = NULL, due = NULL, doubtful = NULL, sent = NULL"
            )
            await other._ledger.begin()
            assert await other.step() == 0
            return [world.target._one(write) for write in batch]

    await world.agreement_of(GoesBack()).step()
    await world.agree(other)
    assert len(world.target.effects) == 1
    assert (await world.row(supplier_key(1)))["state"] == "agreed"


async def test_what_was_seen_of_others_before_a_state_went_back_is_asked_again(each_store: Store) -> None:
    """One worker's send was known when the other sent; the state goes back to between the two transactions."""
    world = World(each_store)
    await world.arrive(supplier(1), supplier(2))
    await world.run("UPDATE subjects SET state = 'agreed'")
    pair = Pair(world)
    await pair.begin()
    then = await pair.hands()
    await pair.sends(pair.one, 1)
    await pair.sends(pair.two, 2)
    (two,) = [row for row in await pair.hands() if row["hand"] == world.trail.records[-1].hand]
    await pair.go_back([row for row in then if row["hand"] != two["hand"]] + [two])
    with pytest.raises(UnavailableError, match="it went back, perhaps over a failover"):
        await pair.sends(pair.two, 1)


async def test_workers_that_take_turns_prove_nothing_against_each_other(
    each_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(each_store)
    await world.arrive(supplier(1), supplier(2))
    await world.run("UPDATE subjects SET state = 'agreed'")
    pair = Pair(world)
    await pair.begin()
    for turn in range(6):
        await pair.sends(pair.one if turn % 3 else pair.two, 1 + turn % 2)
    assert OLD not in caplog.text
    assert [record.number for record in world.trail.records] == [1, 1, 2, 2, 3, 4]


async def test_a_worker_that_begins_again_and_again_and_sends_nothing_leaves_one_row(store: Store) -> None:
    world = World(store)
    ledger = world.new_ledger()
    for _ in range(3):
        await ledger.begin()
    assert [row["sent"] for row in await world.rows("SELECT sent FROM hands")] == [0]


async def test_a_trail_that_was_made_anew_under_a_living_worker_stops_its_next_send(store: Store) -> None:
    world = World(store)
    await world.arrive(supplier(1))
    await world.agree()
    world.trail.records.clear()
    await world.arrive(supplier(1, 2))
    with pytest.raises(UnavailableError, match="it went back"):
        await world.agreement.step()
    assert world.name_of(1) == "Supplier 1 as of 1"


async def test_what_another_living_worker_is_just_sending_is_no_proof(
    each_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(each_store)
    await world.arrive(supplier(1), supplier(2))
    one, two = world.new_ledger(), world.new_ledger()
    await one.begin()
    edition = await one.reopen("1")
    assert edition is not None
    (task, _) = await one.take(2, edition)
    await one.intend([Intent(task, b"[]")])
    await two.begin()
    assert await two.look_back() is False
    assert OLD not in caplog.text
    assert (await world.row(task.subject))["state"] == "sending"


async def test_a_send_without_an_answer_before_the_copy_is_still_in_doubt_after_it(copies: Copies) -> None:
    async with copies.world() as world:
        await world.arrive(supplier(1))
        world.target.answer(supplier_key(1), Unknown("the answer was lost"), work=Work.DONE)
        await world.agreement.step()
    await copies.keep()
    async with copies.world(world) as later:
        await later.agree()
    await copies.restore()
    async with copies.world(world) as back:
        await back.agree()
    assert len(world.target.effects) == 1


async def test_a_look_back_that_was_interrupted_is_done_again(store: Store) -> None:
    world = World(store)
    await world.arrive(*(supplier(n) for n in range(1, 4)))
    await world.agree()

    class Breaking(MemoryTrail):
        async def read(self, since: int, end: int) -> Any:
            yield self.records[since:end]
            raise UnavailableError("trail", "it does not answer")

    told = [Sent("gone", 1, keys(1, 2))]
    world.trail.records += told
    with pytest.raises(UnavailableError):
        await World(store, trail=Breaking(world.trail.records)).ledger.look_back()
    assert await world.new_ledger().look_back() is True
    assert await world.new_ledger().look_back() is False
    assert await world.states() == {supplier_key(1): "dirty", supplier_key(2): "dirty", supplier_key(3): "agreed"}


# -- on real Kafka ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["apache_kafka", "embedded_broker"])
def kafka(request: pytest.FixtureRequest) -> KafkaSettings:
    broker: Kafka = request.getfixturevalue(request.param)
    return KafkaSettings(
        broker="none", bootstrap_servers=broker.bootstrap, topic_prefix=broker.prefix().rstrip("."), partitions=3
    )


async def test_the_trail_in_kafka_tells_each_flow_its_own_records(kafka: KafkaSettings) -> None:
    await ensure_topics(kafka, PurchaseFlow.entities)
    ours, other = (KafkaTrail(kafka, name, PurchaseFlow.entities) for name in ("purchasing", "another"))
    try:
        assert await ours.reach() == (0, 0)
        for number in range(1, 4):
            await ours.append(Sent("hand", number, keys(number)))
            await other.append(Sent("another", number, ("x",)))
        reach = await ours.reach()
        assert reach == (0, 6)
        assert [s async for page in ours.read(0, reach.end) for s in page] == [
            Sent("hand", n, keys(n)) for n in (1, 2, 3)
        ]
        assert [s async for page in ours.read(2, 4) for s in page] == [Sent("hand", 2, keys(2))]
        assert [s async for page in ours.read(6, 6) for s in page] == []
        for number, since in enumerate([0, 2, 4, 6], 4):  # the consumer stays open, even if another one has written since
            found = [s async for page in ours.follow(since, since + 2) for s in page]
            assert found == [Sent("hand", since // 2 + 1, keys(since // 2 + 1))]
            assert await ours.append(Sent("hand", number, keys(number))) == 2 * number - 2
            await other.append(Sent("another", number, ("x",)))
        assert [s.number async for page in ours.follow(0, 14) for s in page] == [1, 2, 3, 4, 5, 6, 7]
        assert set(await ours.ends()) == {
            (f"{kafka.topic_prefix}.{name}", n) for name in ("supplier", "invoice") for n in range(3)
        }
    finally:
        await ours.close()
        await other.close()


async def test_a_trail_that_was_deleted_is_made_again_and_everything_is_in_doubt(
    apache_kafka: Kafka, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    from aiokafka.admin import AIOKafkaAdminClient

    settings = KafkaSettings(
        broker="none", bootstrap_servers=apache_kafka.bootstrap, topic_prefix=apache_kafka.prefix().rstrip(".")
    )
    await ensure_topics(settings, PurchaseFlow.entities)
    trail = KafkaTrail(settings, "purchasing", PurchaseFlow.entities)
    world = World(store, trail=trail)  # type: ignore[arg-type]
    await world.arrive(supplier(1))
    await world.agree()
    await world.ledger.look_back()
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    await admin.delete_topics([trail_topic(settings)])
    while trail_topic(settings) in await admin.list_topics():
        pass
    await admin.close()
    await trail.close()
    with caplog.at_level(logging.ERROR):
        assert await world.ledger.look_back() is True
    assert "its trail does not go back to 1: it holds 0 to 0" in caplog.text
    await world.run("DELETE FROM ingested")
    await world.agree()
    assert await world.states() == {supplier_key(1): "agreed"}
    await trail.close()


async def test_what_the_trail_says_is_to_be_read_again_is_not_cut_short_by_what_the_inbox_says(store: Store) -> None:
    world = World(store)
    ledger, place = world.new_ledger(), ("array", 0)
    await ledger.forgotten({place: 9})
    await ledger.forgotten({place: 1})  # the group's offsets had not followed as far
    await ledger.ingest(Arrivals(there={place: 1}), [])
    assert (await ledger.ingested())[place].again == 9
    await ledger.ingest(Arrivals(there={place: 9}), [])
    assert (await ledger.ingested())[place].again == 0


async def test_a_doubt_outlives_a_poll_in_which_only_others_are_in_doubt(store: Store) -> None:
    world = World(store)
    ledger, place = world.new_ledger(), ("array", 0)
    one, two = supplier_key(1), supplier_key(2)
    again = Mark(one, 0, 5, 1, 1.0, None, b"[]")
    await ledger.ingest(Arrivals(reached={place: (1, "1")}), [again])
    await ledger.ingest(
        Arrivals(reached={place: (2, "2")}), [again._replace(subject=two), again._replace(doubtful=None)]
    )
    (row,) = await world.rows("SELECT doubtful, sent FROM subjects WHERE subject = :one", one=one)
    assert (bytes(row["doubtful"]), row["sent"]) == (b"[]", world.clock())
