"""
Finds the code that holds up the event loop: all parts share the loop, and while one works on without a pause all others
stand still.

It measures the processor time that the loop's own thread takes between two beats, not the time by the clock: on an
overloaded machine everything is late, though no part is to blame. When a beat is late, a second thread looks where the
loop's thread stands; it notes a place in the code and never a value.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from ironbridge.observe import meters

log = logging.getLogger(__name__)

LIMIT = 0.1
"""Seconds of processor time that a part may take without a pause."""
_BEAT = 0.02
_SAID = 600.0  # seconds until the log names a place again
_ROOT = Path(__file__).parents[2]
_OURS = tuple(str(_ROOT / room) + "/" for room in ("adapters", "canonical", "flows", "ironbridge"))


class HoldUp(NamedTuple):
    """The loop was held up: for so many seconds of processor time, and by this code."""

    seconds: float
    place: str


class Watchdog:
    """Watches the loop of the thread in which it is made. It calls `tell` in the loop, after the loop was held up."""

    def __init__(self, tell: Callable[[HoldUp], None], limit: float = LIMIT) -> None:
        self._tell = tell
        self._limit = limit
        self._thread = threading.get_ident()
        self._beaten = time.monotonic()
        self._place = ""
        self._stop = threading.Event()

    async def beat(self) -> None:
        """Beat until cancelled."""
        used = time.thread_time()
        while True:
            self._beaten, self._place = time.monotonic(), ""
            await asyncio.sleep(_BEAT)
            now = time.thread_time()
            if now - used > self._limit:
                self._tell(HoldUp(now - used, self._place or "code that had ended before the watchdog looked"))
            used = time.thread_time()

    def look(self) -> None:
        """Run in the second thread: note where the loop's thread stands whenever its beat is late."""
        while not self._stop.wait(self._limit / 4):
            if time.monotonic() - self._beaten > self._limit / 2 and (frame := sys._current_frames().get(self._thread)):
                self._place = place_of(frame) or self._place

    def stop(self) -> None:
        self._stop.set()


def place_of(frame: FrameType) -> str:
    """The innermost function of ours on a stack, as `adapters/engine/pump.py Pump.read`; empty if there is none."""
    for each in _outwards(frame):
        code = each.f_code
        if code.co_filename.startswith(_OURS):
            return f"{Path(code.co_filename).relative_to(_ROOT)} {code.co_qualname}"
    return ""


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


@asynccontextmanager
async def watching(tell: Callable[[HoldUp], None] | None = None, limit: float = LIMIT) -> AsyncIterator[None]:
    """Watch the running loop. By default each hold-up is measured, and now and then logged."""
    dog = Watchdog(tell or _Teller(), limit)
    looking = threading.Thread(target=dog.look, name="loop watchdog", daemon=True)
    looking.start()
    beating = asyncio.create_task(dog.beat())
    try:
        yield
    finally:
        dog.stop()
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await asyncio.to_thread(looking.join)


class _Teller:
    """Measures each hold-up, and names each place in the log at most once in a while."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def __call__(self, held: HoldUp) -> None:
        meters.held.record(held.seconds, {"ironbridge.place": held.place})
        now = time.monotonic()
        if now - self._said.get(held.place, -_SAID) >= _SAID:
            self._said[held.place] = now
            log.warning(
                "the event loop was held for %.2f s of processor time by %s. To do: see docs/runbooks/IronbridgeLoopHeld.md",
                held.seconds, held.place,
            )  # fmt: skip
