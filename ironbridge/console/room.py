"""The console's pages share a room: the platform that they look at, and what is made once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request

from flows.engine.clock import steady
from ironbridge.console.jobs import Jobs
from ironbridge.console.picture import Painter
from ironbridge.console.recent import Recent
from ironbridge.console.sessions import Sessions
from ironbridge.observe.spans import SpanFile, span_file
from ironbridge.operate import stuck
from ironbridge.operate.audit import Actor
from ironbridge.operate.health import Health, Verdict
from ironbridge.operate.stuck import Listing
from ironbridge.runtime.bridge import Platform
from ironbridge.store import Store


@dataclass
class Room:
    """
    One room for each application. `spans` is None if the settings keep none, `sessions` is None if nobody signs in. `clock` gives
    seconds; only differences between its values count.
    """

    built: Platform
    clock: Callable[[], float] = steady
    health: Health = field(init=False)
    painter: Painter = field(init=False)
    groups: Recent[Listing] = field(init=False)
    jobs: Jobs = field(default_factory=Jobs)
    dependencies: Recent[list[Verdict]] = field(init=False)
    spans: SpanFile | None = field(init=False)
    sessions: Sessions | None = None

    def __post_init__(self) -> None:
        self.health = Health(self.built, self.clock)
        self.painter = Painter(self.built, self.health)
        self.groups = Recent(lambda: stuck.groups(self.store))
        self.dependencies = Recent(self._dependencies)
        self.spans = span_file(self.built.settings)

    async def _dependencies(self) -> list[Verdict]:
        """
        Tell whether the state answers, and Kafka where this process knows one: a console beside an embedded broker does
        not.
        """
        found = await self.health.ready()
        return [verdict for verdict in found if verdict.what != "kafka" or self.built.kafka.bootstrap_servers]

    @property
    def store(self) -> Store:
        return self.built.store

    def forget(self) -> None:
        """Somebody has just changed something: look anew."""
        self.painter.picture.forget()
        self.groups.forget()

    async def close(self) -> None:
        await self.jobs.close()


def room_of(request: Request) -> Room:
    room: Room = request.app.state.room
    return room


def actor(request: Request) -> Actor:
    """Say who acts, for the audit trail."""
    return Actor(request.user.display_name, "console")
