"""Every kind of exception from every method of the ports: it ends at its own part, is shown there, and the others go on."""

from __future__ import annotations

import asyncio
import builtins
import inspect
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.engine.guard import Guard
from adapters.engine.pump import Pump
from adapters.port import Sweep
from adapters.testing.stand_ins import Log, MemoryJournal
from adapters.testing.table import Line, TableAdapter
from canonical.errors import BadRecordError, IronbridgeError, MisconfiguredError, RefusedError, UnavailableError
from ironbridge.runtime import bridge
from ironbridge.runtime.insist import insist, nap
from ironbridge.runtime.systems import AdapterPlan
from ironbridge.settings import Settings
from ironbridge.store import Store, StoredMemory

HOSTILE = "Mrs Somebody"


@pytest.fixture(autouse=True)
def short_naps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that failed a few times is tried again after half a minute: that is what these tests would spend their time on."""
    monkeypatch.setattr("ironbridge.runtime.insist.nap", lambda stop, seconds: nap(stop, min(seconds, 0.2)))


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
    return kind("here", "is broken") if issubclass(kind, IronbridgeError) else kind(HOSTILE)


BUILT_IN = [
    kind
    for kind in vars(builtins).values()
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, Warning)
]
KINDS = [
    *dict.fromkeys(BUILT_IN), SystemExit, asyncio.CancelledError, OutOfNowhere, UnavailableError, MisconfiguredError,
    RefusedError, BadRecordError,
]  # fmt: skip
ROUNDS = 6


def in_turn(turn: int, methods: Sequence[str]) -> list[tuple[str, BaseException]]:
    """The methods, each with an error: over all rounds every kind of error is raised, and every method raises several."""
    first = turn * len(methods)
    return [(method, _made(KINDS[(first + n) % len(KINDS)])) for n, method in enumerate(methods)]


every_round = pytest.mark.parametrize("turn", range(ROUNDS))


class Raising:
    """Anything, but that some of its methods raise an error until it is `mended`: at once, or once they have begun to give."""

    def __init__(self, inner: Any, error: BaseException, *methods: str) -> None:
        self._inner, self._error, self._methods = inner, error, methods
        self.raised = 0
        self.mended = False

    def __getattr__(self, name: str) -> Any:
        had = getattr(self._inner, name)
        return self._raising(had) if name in self._methods and not self.mended else had

    def _raising(self, had: Callable[..., Any]) -> Callable[..., Any]:
        def at_once(*_: Any, **__: Any) -> Any:
            self.raised += 1
            raise self._error.with_traceback(None)

        async def awaited(*_: Any, **__: Any) -> Any:
            at_once()

        async def given(*_: Any, **__: Any) -> AsyncIterator[Any]:
            at_once()
            yield

        if inspect.isasyncgenfunction(had):
            return given
        return awaited if inspect.iscoroutinefunction(had) else at_once


async def until(holds: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(120):
            while not holds():
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"it never came about: {what}")


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

JOURNAL = ["open", "close", "publish", "ends", "lying", "history", "partition_of", "topic_of"]
SYSTEM = ["open", "close", "pages", "first page", "map"]


def _faulty(adapter: TableAdapter, method: str, error: BaseException) -> Raising:
    """The adapter whose method raises; of its pages it is the first one or the one behind it."""
    raising = Raising(adapter, error, method)
    if method in ("pages", "first page", "map"):

        async def pages(after: Any) -> AsyncIterator[Any]:
            if method == "pages" and not raising.mended:
                raising.raised += 1
                raise error.with_traceback(None)
            async for page in adapter._swept(after):
                if method == "first page" and not raising.mended:
                    raising.raised += 1
                    raise error.with_traceback(None)
                yield page

        def mapped(row: Any) -> Any:
            if method == "map" and not raising.mended and isinstance(error, Exception) and row[0] == 1:
                raising.raised += 1
                raise error.with_traceback(None)
            return adapter.map(row)

        [stream] = adapter.streams()
        raising.__dict__["streams"] = lambda: [replace(stream, reading=Sweep(pages), map=mapped)]
    return raising


class Parts:
    """Adapters in one process, one of which is sound."""

    def __init__(self, store: Store, tmp_path: Path) -> None:
        self.store, self.log, self.stop = store, Log(), asyncio.Event()
        self.built = bridge.Platform(Settings(data=tmp_path), store)
        self.sound = TableAdapter("sound")

    def put(self, adapter: Any, journal: Any = None) -> None:
        """Add an adapter as a part, read all the time."""
        pump = Pump(
            adapter, journal or MemoryJournal(self.log, adapter.name), StoredMemory(self.store, adapter.name), edition="1"
        )
        inner = getattr(adapter, "_inner", adapter)
        found = adapter.__dict__["streams"]() if "streams" in vars(adapter) else inner.streams()
        self.built.pumps[adapter.name] = pump, [replace(s, every=timedelta(seconds=0.05)) for s in found]

    def holds(self, adapter: TableAdapter) -> bool:
        return all(self.log.state().get(key) == data for key, data in adapter.state().items())

    async def sound_goes_on(self) -> None:
        for n in range(3):
            self.sound.lines[len(self.sound.lines) + 1] = Line(n, f"N{n}")
            await until(lambda: self.holds(self.sound), "the sound part publishes its change")


@every_round
async def test_an_adapter_and_a_journal_that_raise_anything_stop_no_other_part(
    turn: int, store: Store, tmp_path: Path
) -> None:
    parts = Parts(store, tmp_path)
    parts.put(parts.sound)
    faulty: list[tuple[str, TableAdapter, Raising]] = []
    for number, (method, error) in enumerate(in_turn(turn, [*SYSTEM, *JOURNAL])):
        adapter = TableAdapter(f"part-{number}")
        adapter.lines |= {1: Line(1, "N1"), 2: Line(2, "N2")}
        if number < len(SYSTEM):
            raising = _faulty(adapter, method, error)
            parts.put(raising)
        else:
            raising = Raising(MemoryJournal(parts.log, adapter.name), error, method)
            parts.put(adapter, raising)
        faulty.append((method, adapter, raising))
    running = asyncio.create_task(bridge.run(parts.built, parts.stop))
    for method, adapter, raising in faulty:
        if method in ASKED:
            await until(lambda r=raising: r.raised > 0, f"{adapter.name} raises from {method}")  # type: ignore[misc]
    await parts.sound_goes_on()
    assert not running.done()
    for method, adapter, raising in faulty:
        raising.mended = method != "map"
        if method != "map":
            await until(lambda a=adapter: parts.holds(a), f"{method} goes on once it is mended")  # type: ignore[misc]
    parts.stop.set()
    await running


ASKED = {"open", "pages", "first page", "map", "publish", "ends"}
"""The methods that are asked of a part that runs for the first time."""


async def test_an_adapter_that_cannot_say_its_streams_is_asked_again(store: Store, tmp_path: Path) -> None:
    parts = Parts(store, tmp_path)
    parts.put(parts.sound)
    adapter = Raising(TableAdapter("mute"), KeyError(HOSTILE), "streams")
    parts.built.unbuilt["mute"] = AdapterPlan("mute", adapter, "1", Guard())  # type: ignore[arg-type]
    running = asyncio.create_task(bridge.run(parts.built, parts.stop))
    await until(lambda: adapter.raised > 0, "it is asked")
    await parts.sound_goes_on()
    assert "mute" not in parts.built.pumps
    parts.stop.set()
    await running
