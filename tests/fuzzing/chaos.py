"""A process of which every call to the outside may be late, fail, or be its last act."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from copy import copy
from dataclasses import dataclass, field
from random import Random
from typing import Any

from canonical.errors import FencedError, IronbridgeError, UnavailableError

MOST_CALLS = 60_000  # calls that one process makes in one action: more than that means an endless loop
MOST_STIRS = 300  # changes of the world in one action: nobody comes to the end of a system that changes faster than it is read


class Gone(BaseException):
    """The process has ended here: it does nothing more."""


class Broken(AssertionError):  # noqa: N818
    """A promise is broken."""


@dataclass
class Weather:
    """
    The probabilities of trouble at a call: `errors` before or after it, `late` (it takes effect after it was given up),
    `turns` (other tasks get a turn), `stirs` (the world changes meanwhile). The call number `dies_at` is the last one.
    """

    errors: float = 0.0
    late: float = 0.0
    turns: float = 0.0
    stirs: float = 0.0
    dies_at: int | None = None


@dataclass
class Chaos:
    """The fate of one process. `stir` changes the world a little; `trace` is called for each call that was made to fail."""

    random: Random
    weather: Weather = field(default_factory=Weather)
    stir: Callable[[Random], None] = lambda _: None
    trace: Callable[[str], None] = lambda _: None
    calls: int = 0
    stirred: int = 0
    dead: bool = False
    late: list[Callable[[], Any]] = field(default_factory=list)

    def expect(self, weather: Weather) -> None:
        self.weather, self.calls, self.stirred = weather, 0, 0

    async def point(self, name: str, *, fail: bool = True) -> None:
        """Every call passes here before and after it is made."""
        if self.dead:
            raise Gone(name)
        self.calls += 1
        if self.calls > MOST_CALLS:
            raise Broken("it goes on for ever")
        weather, chance = self.weather, self.random.random
        if weather.turns and chance() < weather.turns:
            for _ in range(self.random.randint(1, 4)):
                await asyncio.sleep(0)
            if self.dead:
                raise Gone(name)
        if weather.stirs and self.stirred < MOST_STIRS and chance() < weather.stirs:
            self.stirred += 1
            self.stir(self.random)
        if self.calls == weather.dies_at:
            self.dead = True
            self.trace(f"dies at {name}")
            raise Gone(name)
        if fail and weather.errors and chance() < weather.errors:
            self.trace(f"error at {name}")
            raise UnavailableError(name, "does not answer")

    async def overdue(self) -> None:
        """Let calls that were given up take effect now, unless they are fenced off by now."""
        late, self.late = self.late, []
        for effect in late:
            try:
                await effect()
                self.trace("a late effect")
            except IronbridgeError as error:
                self.trace(f"a late effect is refused: {error}")


class Wire:
    """
    Something outside of a process, as the process reaches it: all its coroutines and asynchronous generators pass the chaos.

    The effect of a call in `changing` may come after the call was given up. `heard` is called for each call that was done.
    """

    def __init__(
        self, inner: Any, chaos: Chaos, changing: tuple[str, ...] = (), heard: Callable[[str], None] = lambda _: None
    ) -> None:
        self._inner = inner
        self._chaos = chaos
        self._changing = changing
        self._heard = heard

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if inspect.isasyncgenfunction(found):
            return self._streamed(name, found)
        if inspect.iscoroutinefunction(found):
            return self._called(name, found)
        return found

    def _called(self, name: str, found: Any) -> Any:
        chaos = self._chaos

        async def called(*args: Any, **more: Any) -> Any:
            await chaos.point(f"before {name}")
            if chaos.late and chaos.random.random() < 0.3:
                await chaos.overdue()
            if name in self._changing:
                if chaos.random.random() < chaos.weather.late:
                    self._postpone(name, args, more)
                if name == "publish" and chaos.random.random() < chaos.weather.errors / 3:
                    raise FencedError("kafka", "the transaction took too long")
            answer = await found(*args, **more)
            self._heard(name)
            await chaos.point(f"after {name}")
            return answer

        return called

    def _postpone(self, name: str, args: Any, more: Any) -> None:
        # The copy keeps the connection as it was at the call: a process that fences it off fences off the copy, too.
        then, chaos = copy(self._inner), self._chaos

        async def effect() -> None:
            try:
                await getattr(then, name)(*args, **more)
            finally:
                self._heard(name)

        chaos.late.append(effect)
        chaos.trace(f"{name} is given up, and comes late")
        raise UnavailableError(name, "does not answer in time")

    def _streamed(self, name: str, found: Any) -> Any:
        chaos = self._chaos

        async def streamed(*args: Any, **more: Any) -> AsyncIterator[Any]:
            await chaos.point(f"before {name}")
            async for item in found(*args, **more):
                yield item
                await chaos.point(f"during {name}")

        return streamed
