"""Every kind of exception from every method of the ports: it ends at its own part, is shown there, and the others go on."""

from __future__ import annotations

import asyncio
import builtins
import inspect
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pydantic_core
import pytest
import sqlalchemy.exc
from aiokafka.errors import KafkaError

from adapters.engine.guard import Guard
from adapters.engine.pump import Pump
from adapters.port import Stream, Sweep
from adapters.testing import Log, MemoryJournal, MemoryMemory, MemoryState
from adapters.testing.table import Line, TableAdapter
from canonical.errors import BadRecordError, IronbridgeError, MisconfiguredError, RefusedError, UnavailableError
from flows.engine.agree import Agreement
from flows.engine.clock import steady
from flows.engine.draft import draft
from flows.engine.ledger import Arrivals
from flows.engine.marks import marks_of, recalled
from flows.engine.patience import Access, Patience
from flows.engine.settle import Wanted
from flows.port import Document, Facts, Nothing, Outcome, Unknown, Urgency
from flows.testing import ArrayInbox, MemoryTrail, ScriptedTarget
from ironbridge.runtime import bridge
from ironbridge.runtime.deliveries import Delivery
from ironbridge.runtime.insist import insist
from ironbridge.runtime.systems import AdapterPlan
from ironbridge.settings import Settings
from ironbridge.store import Store
from ironbridge.store.trail import TrailedLedger
from tests.agreement import START, PurchaseFlow, supplier, supplier_key

HOSTILE = "Mrs Somebody"


@pytest.fixture(autouse=True)
def no_naps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that failed a few times is tried again after half a minute: that is what these tests would spend their time on."""
    monkeypatch.setattr("ironbridge.runtime.insist.nap", lambda stop, seconds: asyncio.sleep(0))


class OutOfNowhere(BaseException):
    """Something that is not even an `Exception`."""


def _made(kind: type[BaseException]) -> BaseException:
    if kind is UnicodeDecodeError:
        return UnicodeDecodeError("utf-8", HOSTILE.encode(), 0, 1, HOSTILE)
    if kind is UnicodeEncodeError:
        return UnicodeEncodeError("utf-8", HOSTILE, 0, 1, HOSTILE)
    if kind is UnicodeTranslateError:
        return UnicodeTranslateError(HOSTILE, 0, 1, HOSTILE)
    if issubclass(kind, BaseExceptionGroup):
        return kind(HOSTILE, [KeyError(HOSTILE)])
    if kind is BadRecordError:
        return BadRecordError("here", field="a field", rule="is broken", shape="text")
    if kind is pydantic_core.PydanticCustomError:
        return pydantic_core.PydanticCustomError("hostile", HOSTILE)
    if kind is httpx.StreamConsumed:
        return httpx.StreamConsumed()
    return kind("here", "is broken") if issubclass(kind, IronbridgeError) else kind(HOSTILE)


BUILT_IN = [
    kind
    for kind in vars(builtins).values()
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, Warning)
]
OF_LIBRARIES = [
    asyncpg.DataError, asyncpg.InterfaceError, asyncpg.InternalClientError, httpx.ConnectError, httpx.ReadTimeout,
    httpx.InvalidURL, httpx.StreamConsumed, KafkaError, sqlalchemy.exc.SQLAlchemyError, pydantic_core.PydanticCustomError,
]  # fmt: skip
DIFFERENT: list[type[BaseException]] = [
    KeyError, RecursionError, NotImplementedError, MemoryError, StopIteration, ExceptionGroup, SystemExit, asyncio.CancelledError,
    OutOfNowhere, asyncpg.DataError, httpx.ReadTimeout, UnavailableError, MisconfiguredError, RefusedError, BadRecordError,
]  # fmt: skip
"""Kinds that Python, asyncio, a library or our own code may treat in ways of their own: every method raises them all."""
KINDS = [*dict.fromkeys([*DIFFERENT, *BUILT_IN, *OF_LIBRARIES])]
_others = cycle(KINDS[len(DIFFERENT) :])


def some_kinds(different: Sequence[type[BaseException]] = DIFFERENT) -> list[type[BaseException]]:
    """The kinds that are different, and the next three of all others: the methods together raise every kind."""
    return [*islice(_others, 3), *different]


class Raising:
    """
    Anything, but that one of its methods raises each kind of error in turn, at once or once it has begun to give, and is sound
    afterwards. It raises only while it is `at_work`.
    """

    def __init__(self, inner: Any, method: str) -> None:
        self._inner, self._method = inner, method
        self.left = some_kinds()
        self.at_work = True

    def __getattr__(self, name: str) -> Any:
        had = getattr(self._inner, name)
        return self._raising(had) if name == self._method else had

    def may_raise(self) -> None:
        if self.left and self.at_work:
            raise _made(self.left.pop())

    def _raising(self, had: Callable[..., Any]) -> Callable[..., Any]:
        def at_once(*given: Any, **more: Any) -> Any:
            self.may_raise()
            return had(*given, **more)

        async def awaited(*given: Any, **more: Any) -> Any:
            self.may_raise()
            return await had(*given, **more)

        async def giving(*given: Any, **more: Any) -> AsyncIterator[Any]:
            self.may_raise()
            async for each in had(*given, **more):
                yield each

        if inspect.isasyncgenfunction(had):
            return giving
        return awaited if inspect.iscoroutinefunction(had) else at_once


async def until(holds: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(600):  # nobody waits so long but for what never comes
            while not holds():
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"it never came about: {what}")


async def raised_all(raising: Raising, running: asyncio.Task[None], nudge: Callable[[], None]) -> None:
    """Wait until a part has raised every kind of error. If it is not asked for a while, it is nudged."""
    had, looks, patience = len(raising.left), 0, 2
    async with asyncio.timeout(600):  # nobody waits so long but for what never comes
        while raising.left:
            if len(raising.left) < had:
                had, looks, patience = len(raising.left), 0, 2
            elif (looks := looks + 1) == patience:
                nudge()
                looks, patience = 0, min(patience * 2, 50)  # it may be slow, and every nudge holds it up
            await asyncio.sleep(0.02)
            assert not running.done()


# -- the rule ------------------------------------------------------------------------------------------------------


async def _said_of(kind: type[BaseException]) -> str:
    """What is noted of a part that raises this once."""
    noted: list[str] = []
    left = [_made(kind)]

    async def work() -> None:
        if left:
            raise left.pop()

    async def trouble(error: IronbridgeError) -> None:
        noted.append(str(error))

    await insist("the part", work, asyncio.Event(), trouble)
    [said] = noted
    return said


async def test_whatever_a_part_raises_is_noted_in_our_words_and_tried_again() -> None:
    for kind, said in zip(KINDS, await asyncio.gather(*map(_said_of, KINDS)), strict=True):
        if issubclass(kind, IronbridgeError):
            assert "broken" in said
            continue
        # Python itself makes a RuntimeError of what would end a coroutine.
        name = "KeyError" if issubclass(kind, BaseExceptionGroup) else kind.__name__
        name = "RuntimeError" if name == "StopIteration" else name
        assert re.match(rf"the part: failed with {name}( at \w+\.py:\d+)?\. To do: ", said), said
        assert HOSTILE not in said


async def test_a_part_that_is_told_to_end_ends() -> None:
    async def trouble(error: IronbridgeError) -> None:
        raise AssertionError(error)

    running = asyncio.create_task(insist("the part", asyncio.Event().wait, asyncio.Event(), trouble))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_trouble_that_cannot_be_noted_is_no_trouble_of_the_part() -> None:
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise KeyError(HOSTILE)

    async def trouble(error: IronbridgeError) -> None:
        raise RecursionError

    await insist("the part", work, asyncio.Event(), trouble)
    assert tries == 2


# -- adapters and their journals -----------------------------------------------------------------------------------

JOURNAL = ("open", "close", "publish", "ends", "lying", "history", "largest")
SYSTEM = ("open", "close", "pages", "next page", "map")


class Faulty(Raising):
    """An adapter one of whose methods raises. It is asked for its pages at the first one, or behind it; it maps line 1."""

    def __init__(self, adapter: TableAdapter, method: str) -> None:
        super().__init__(adapter, method)
        self.name = adapter.name

    def streams(self) -> Sequence[Stream]:
        [stream] = self._inner.streams()
        return [replace(stream, reading=Sweep(self._pages), map=self.map)]

    async def _pages(self, after: Any) -> AsyncIterator[Any]:
        if self._method == "pages":
            self.may_raise()
        async for page in self._inner._swept(after):
            if self._method == "next page":
                self.may_raise()
            yield page

    def map(self, row: Any) -> Any:
        if self._method == "map" and row[0] == 1:
            self.may_raise()
        return self._inner.map(row)


class Parts:
    """Adapters in one process, one of which is sound."""

    def __init__(self, store: Store, tmp_path: Path) -> None:
        self.store, self.log, self.stop = store, Log(), asyncio.Event()
        self.built = bridge.Platform(Settings(data=tmp_path), store)
        self.sound = TableAdapter("sound")

    def put(self, adapter: Any, journal: Any = None) -> tuple[Pump, list[Stream]]:
        """Add an adapter as a part, read all the time."""
        used = journal or MemoryJournal(self.log, adapter.name)
        pump = Pump(adapter, used, MemoryMemory(MemoryState()), edition="1")
        self.built.pumps[adapter.name] = pump, [replace(s, every=timedelta(seconds=0.1)) for s in adapter.streams()]
        return self.built.pumps[adapter.name]

    def holds(self, adapter: TableAdapter) -> bool:
        return all(self.log.state().get(key) == data for key, data in adapter.state().items())

    async def sound_goes_on(self) -> None:
        self.sound.lines[len(self.sound.lines) + 1] = Line(1, "N1")
        await until(lambda: self.holds(self.sound), "the sound part publishes its change")

    async def run(self, name: str, adapter: TableAdapter, raising: Raising) -> None:
        """Run the faulty part until it has raised every kind of error, however seldom it is asked, and has published all."""
        stop, part = asyncio.Event(), self.built.pumps[name]
        running = asyncio.create_task(bridge.keep_adapter(self.built, name, *part, stop))
        number = count(3)

        def nudge() -> None:
            """Something changes, and something is in doubt."""
            adapter.lines[1] = Line(1, f"N{next(number) % 8 + 1}")
            part[0]._publisher._in_doubt, part[0]._system._connected = True, False

        await raised_all(raising, running, nudge)
        nudge()
        await until(lambda: self.holds(adapter), f"{name} goes on")
        stop.set()
        await running


async def test_an_adapter_and_a_journal_that_raise_anything_stop_no_other_part(store: Store, tmp_path: Path) -> None:
    parts = Parts(store, tmp_path)
    sound = asyncio.create_task(bridge.keep_adapter(parts.built, "sound", *parts.put(parts.sound), parts.stop))
    for kind, method in [*(("adapter", each) for each in SYSTEM), *(("journal", each) for each in JOURNAL)]:
        adapter = TableAdapter(f"{kind}-{method.replace(' ', '-').replace('_', '-')}", page=1)
        adapter.lines |= {1: Line(1, "N1"), 2: Line(2, "N2")}
        raising = Faulty(adapter, method) if kind == "adapter" else Raising(MemoryJournal(parts.log, adapter.name), method)
        parts.put(*(raising,) if kind == "adapter" else (adapter, raising))
        await parts.run(adapter.name, adapter, raising)
        await parts.sound_goes_on()
        assert not sound.done()
    parts.stop.set()
    await sound


async def test_an_adapter_that_cannot_say_its_streams_is_asked_again(store: Store, tmp_path: Path) -> None:
    parts = Parts(store, tmp_path)
    parts.put(parts.sound)
    adapter: Any = Raising(TableAdapter("mute"), "streams")
    plans = {"mute": AdapterPlan("mute", Guard(), lambda: (adapter, "1"))}
    async with AsyncExitStack() as stack:
        parts.built.unbuilt |= bridge._parts(parts.built, plans, {}, stack)
    running = asyncio.create_task(bridge.run(parts.built, parts.stop))
    await parts.sound_goes_on()
    await until(lambda: "mute" in parts.built.pumps, "it is asked until it says its streams")
    parts.stop.set()
    await running


# -- flows, their targets and their ledgers --------------------------------------------------------------------------

TARGET = ("write", "read_back")
INBOX = ("poll", "commit")
LEDGER = ("begin", "ingest", "reopen", "relook", "turn", "take", "facts", "refs", "intend", "settle", "keep", "reclaim",
          "due", "now")  # fmt: skip


_numbers = count(1)


class Purchases(PurchaseFlow):
    """A flow of its own name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class PatientInbox(ArrayInbox):
    """An inbox that waits a little for what arrives, as Kafka's does."""

    async def poll(self) -> Arrivals:
        await asyncio.sleep(0.05)
        return await super().poll()


class Hasty(Patience):
    """It has no patience with a target: it is asked again at once."""

    def heard(self, outcomes: Sequence[Outcome]) -> None:
        self.until = 0.0

    def after(self, wanted: Sequence[Wanted]) -> float:
        return 0.0


class Flowing:
    """A flow as a part of a process, one of whose ports may raise. It has a supplier of its own: flows share the facts."""

    def __init__(self, store: Store, name: str, port: str = "", method: str = "") -> None:
        self.number = next(_numbers)
        flow, self.target, self.arriving, self.version = Purchases(name), ScriptedTarget(name), PatientInbox(), 0
        ports: dict[str, Any] = {"flow": flow, "target": self.target, "inbox": self.arriving}
        ports["ledger"] = TrailedLedger(store, flow, MemoryTrail())
        if port:
            ports[port] = self.raising = Raising(ports[port], method)
            # A flow's task begins anew with each error, which takes its time.
            self.raising.left = some_kinds([KeyError, SystemExit, asyncio.CancelledError, OutOfNowhere, RefusedError])
        access, self.inbox = Access(self.target.limits), ports["inbox"]
        access.patience = Hasty(steady)
        agreement = Agreement(ports["flow"], ports["target"], ports["ledger"], edition="1", access=access)
        self.delivery = Delivery(ports["flow"], ports["target"], agreement, ports["ledger"])

    def tell(self) -> None:
        """Something changes in what the flow follows."""
        self.version += 1
        self.arriving.add(supplier(self.number, self.version))

    def nudge(self) -> None:
        """Something changes, and the answer to the next write is lost."""
        self.target.forgive()
        self.target.answer(supplier_key(self.number), Unknown("the answer was lost"))
        self.tell()

    def agrees(self) -> bool:
        held = self.target.documents.get(supplier_key(self.number))
        return held is not None and held.body["name"] == f"Supplier {self.number} as of {self.version}"

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Any]:
        yield self.inbox


class Flows:
    """The flows of one process, one of which is sound."""

    def __init__(self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.built = store, bridge.Platform(Settings(data=tmp_path), store)
        self._flows: dict[str, Flowing] = {}
        monkeypatch.setattr(bridge, "KafkaInbox", lambda kafka, name, *more: self._flows[name].reading())

    def start(self, flowing: Flowing, stop: asyncio.Event) -> asyncio.Task[None]:
        name = flowing.target.name
        self._flows[name] = flowing
        flowing.tell()
        return asyncio.create_task(bridge.keep_flow(self.built, name, flowing.delivery, stop))

    async def run(self, port: str, method: str) -> None:
        """Run a faulty flow until it has raised every kind of error, and agrees."""
        stop, flowing = asyncio.Event(), Flowing(self.store, f"{port}-{method}", port, method)
        running = self.start(flowing, stop)
        await raised_all(flowing.raising, running, flowing.nudge)
        flowing.target.forgive()
        flowing.tell()
        await until(flowing.agrees, f"{port}.{method} goes on")
        stop.set()
        await running


async def test_a_flow_a_target_and_a_ledger_that_raise_anything_stop_no_other_part(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows, sound, stop = Flows(store, tmp_path, monkeypatch), Flowing(store, "sound"), asyncio.Event()
    running = flows.start(sound, stop)
    ports = {"target": TARGET, "inbox": INBOX, "ledger": LEDGER}
    async with asyncio.TaskGroup() as group:  # side by side, because each waits between two errors
        faulty = [group.create_task(flows.run(port, method)) for port, methods in ports.items() for method in methods]
        while not all(each.done() for each in faulty):
            sound.tell()
            await until(sound.agrees, "the sound flow goes on")
            assert not running.done()
    stop.set()
    await running


class FaultyFlow(PurchaseFlow):
    """A flow all of whose own code raises an error."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        raise self.error

    def urgency(self, entity: str) -> Urgency:
        raise self.error

    def recall(self, key: str, owner: str) -> Sequence[Document]:
        raise self.error


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_flow_s_own_code_raises_is_the_one_subject_s(kind: type[BaseException]) -> None:
    flow, arrived, key = FaultyFlow(_made(kind)), supplier(1), supplier_key(1)
    fault = draft(flow, key, Facts([], START.date())).fault or ""
    assert "is broken" in fault if kind in (RefusedError, BadRecordError) else "the mapping failed" in fault
    assert HOSTILE not in fault
    assert recalled(flow, key, key) == ()
    [mark] = marks_of(flow, Arrivals([(arrived, 0)], again=[arrived]), [None])
    assert mark.urgency == Urgency.USUAL
