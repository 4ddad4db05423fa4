"""The map as data: legacy systems, topics and cloud systems, and how each arrow between them stands at one moment."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.port import Stream
from canonical.event import topic_of
from ironbridge.console.recent import Recent
from ironbridge.operate import insight
from ironbridge.operate.health import Health, Verdict
from ironbridge.runtime.bridge import Platform
from ironbridge.runtime.systems import adapter_part, flow_part
from ironbridge.store import traffic
from ironbridge.store.standing import FlowStanding, StreamStanding

_WINDOW = 60.0  # seconds over which a rate is worked out
_RECENT = 2000  # attempts that a rate looks back over at most

WORDS = {
    "agrees": "Agrees", "busy": "Catching up", "late": "Late", "stopped": "Stopped", "paused": "Paused",
    "loading": "First load", "absent": "Runs nowhere",
}  # fmt: skip
_STATES = {"well": "agrees", "late": "late", "failing": "stopped", "paused": "paused", "loading": "loading", "absent": "absent"}
_WORST = ("absent", "stopped", "late", "paused", "loading", "busy", "agrees")


@dataclass(frozen=True, slots=True)
class Arrow:
    """
    One stream (legacy system → topics) or one flow (topics → cloud system).

    `count` is the records that live, or the subjects that agree; `changes` is all events ever published, or the documents
    held. `rate` is changes a minute, None while nothing is known of it yet. `fresh` is the seconds since a stream was read to
    its end, or for how long the oldest subject of a flow has waited. `stuck` counts the records that need a person, `busy`
    the ones under way. `silent`: the target has asked to be left alone. `besides` adds, with its number, a trouble that the
    state does not show: `3 parked`.
    """

    name: str
    title: str
    state: str
    why: str
    count: int
    changes: int
    rate: float | None
    fresh: float | None
    stuck: int
    busy: int
    topics: tuple[str, ...]
    paused: bool
    silent: bool = False
    besides: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        return WORDS[self.state]

    @property
    def words(self) -> str:
        """The state and what does not get on beside it: `Agrees, 3 parked`."""
        return ", ".join((self.word, *self.besides))


@dataclass(frozen=True, slots=True)
class DrawnSystem:
    """A legacy system or a cloud system, with its arrows."""

    name: str
    arrows: tuple[Arrow, ...]

    @property
    def state(self) -> str:
        return worst(arrow.state for arrow in self.arrows)


@dataclass(frozen=True, slots=True)
class Picture:
    """
    Everything at one moment; `at` is seconds since 1970. `absent` are the parts that should run somewhere and run nowhere, also
    those that this console's settings do not hold.
    """

    at: float
    legacy: tuple[DrawnSystem, ...]
    topics: tuple[str, ...]
    clouds: tuple[DrawnSystem, ...]
    absent: tuple[Verdict, ...] = ()

    @property
    def arrows(self) -> list[Arrow]:
        return [arrow for place in (*self.legacy, *self.clouds) for arrow in place.arrows]

    @property
    def state(self) -> str:
        return worst(["absent"] if self.absent else [arrow.state for arrow in self.arrows])

    def arrow(self, name: str) -> Arrow | None:
        return next((arrow for arrow in self.arrows if arrow.name == name), None)


def worst(states: Any) -> str:
    """The state that a person should hear of first."""
    return min(states, key=_WORST.index, default="loading")


class Lately:
    """This meter keeps the counts of the last minute, one for each look, and gives the rate a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, dict[str, int]]] = deque()

    def add(self, counts: dict[str, int]) -> None:
        now = self._clock()
        self._seen.append((now, counts))
        # What is older goes whole: over minutes in which nobody looked, a change of just now would be as good as none.
        while self._seen[0][0] < now - _WINDOW:
            self._seen.popleft()

    def now(self, name: str) -> int:
        return self._seen[-1][1].get(name, 0)

    def rate(self, name: str) -> float | None:
        """Changes a minute, over the last minute or as much of it as somebody has looked on."""
        (first, then), (last, now) = self._seen[0], self._seen[-1]
        if last - first < 1.0:
            return None
        return max(now.get(name, 0) - then.get(name, 0), 0) * 60.0 / (last - first)


class Painter:
    """Takes pictures of a platform for all who look, and remembers enough of the last minute for rates."""

    def __init__(self, built: Platform, health: Health) -> None:
        self._built = built
        self._health = health
        self._events = Lately()
        self.picture = Recent(self._take)

    async def _take(self) -> Picture:
        store = self._built.store
        absent = await self._health.absent()
        read, written = await insight.streams(store), await insight.flows(store)
        verdicts = {verdict.what: verdict for verdict in self._health.judged(read, written)} | self._nowhere(absent)
        streams, flows = {each.name: each for each in read}, {each.flow: each for each in written}
        behind, rates = await traffic.behind(store), await self._rates()
        self._events.add({name: stands.events for name, stands in streams.items()})
        legacy = tuple(
            DrawnSystem(name, tuple(self._stream(name, each, streams, verdicts) for each in found))
            for name, (_, found) in self._built.pumps.items()
        )
        clouds = tuple(
            DrawnSystem(name, (self._flow(flows.get(name, FlowStanding(name)), verdicts[name], behind, rates),))
            for name in self._built.deliveries
        )
        arrows = [arrow for place in (*legacy, *clouds) for arrow in place.arrows]
        topics = tuple(dict.fromkeys(topic for arrow in arrows for topic in arrow.topics))
        return Picture(self._built.store.clock(), legacy, topics, clouds, tuple(absent))

    def _nowhere(self, absent: Sequence[Verdict]) -> dict[str, Verdict]:
        """The verdicts on absent parts, by the names of their streams and flows."""
        parts = {verdict.what: verdict for verdict in absent}
        streams = {f"{name}.{each.name}": adapter_part(name) for name, (_, found) in self._built.pumps.items() for each in found}
        names = streams | {name: flow_part(name) for name in self._built.deliveries}
        return {name: parts[part] for name, part in names.items() if part in parts}

    def _stream(
        self, adapter: str, stream: Stream, streams: dict[str, StreamStanding], verdicts: dict[str, Verdict]
    ) -> Arrow:
        name = f"{adapter}.{stream.name}"
        stands, verdict = streams.get(name, StreamStanding(adapter, stream.name)), verdicts[name]
        return Arrow(
            name, stream.name, _STATES[verdict.state], verdict.why,
            count=stands.records, changes=self._events.now(name), rate=self._events.rate(name),
            fresh=stands.seconds_since_read, stuck=stands.quarantined + stands.held,
            busy=0, topics=tuple(self._topics(stream.entities)), paused=stands.paused,
            besides=_counted({"quarantined": stands.quarantined, "incomplete": stands.incomplete, "held back": stands.held}),
        )  # fmt: skip

    def _flow(
        self, stands: FlowStanding, verdict: Verdict, behind: dict[str, int], rates: dict[str, float]
    ) -> Arrow:
        name, busy = stands.flow, stands.todo + behind.get(stands.flow, 0)
        return Arrow(
            name, name, "busy" if busy and verdict.state == "well" else _STATES[verdict.state], verdict.why,
            count=stands.agreed, changes=stands.holds, rate=rates.get(name, 0.0),
            fresh=stands.seconds_waiting if busy else None, stuck=stands.parked + stands.rejected, busy=busy,
            topics=tuple(self._topics(self._built.deliveries[name].flow.entities)), paused=stands.paused,
            silent=bool(stands.seconds_silent),
            besides=_counted({"parked": stands.parked, "no event": stands.rejected, "given up": stands.dropped}),
        )  # fmt: skip

    def _topics(self, entities: Sequence[Any]) -> list[str]:
        return [topic_of(entity, self._built.kafka.topic_prefix) for entity in entities]

    async def _rates(self) -> dict[str, float]:
        """Confirmed writes a minute, by flow."""
        now = self._built.store.clock()
        found = await traffic.confirmed(self._built.store, now - _WINDOW, _RECENT)
        # Where the newest attempts do not reach back a whole minute, the rate is that of as far as they reach.
        full = sum(each.writes for each in found) >= _RECENT
        return {each.flow: each.writes * 60.0 / (max(now - each.oldest, 1.0) if full else _WINDOW) for each in found}


def _counted(counts: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(f"{count:,} {word}" for word, count in counts.items() if count)
