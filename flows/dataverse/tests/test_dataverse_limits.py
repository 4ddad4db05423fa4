"""Dataverse's service protection limits, by a clock that goes on when somebody waits; and two workers that lose answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from canonical import Event, Involvement, Person
from canonical.entity import Entity
from canonical.people import Name
from flows.dataverse.cases import Cases, CaseSettings
from flows.dataverse.contacts import Contacts, ContactSettings
from flows.dataverse.sandbox import DataverseSandbox, DataverseSandboxSettings
from flows.dataverse.sandbox_limits import ServiceLimits
from flows.dataverse.tests.environment import document_of, environment, settings_of
from flows.engine.agree import Agreement
from flows.kit.sandbox_faults import Fault
from flows.port import Confirmed, Limits, Unavailable, Write
from flows.testing import ArrayInbox
from ironbridge.store import Store, StoredLedger
from ironbridge.store.budget import SharedBudget
from tests.agreement import START

THERE = Limits(requests=6000, window=300.0)


@dataclass
class FastClock:
    """A clock that goes on when somebody sleeps."""

    now: float = START.timestamp()
    waited: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waited.append(seconds)
        await asyncio.sleep(0)


def person(number: int) -> Person:
    return Person(key=f"mosaic:person:{number}", names=(Name(given="Ada", family=f"Okafor {number}"),))


def team(number: int, of: int) -> Involvement:
    return Involvement(key=f"mosaic:involvement:{number}", person=f"mosaic:person:{of}", team="North")


def sandbox_by(clock: FastClock, cost: float = 0.15, **limits: int) -> DataverseSandbox:
    return DataverseSandbox(DataverseSandboxSettings(limits=ServiceLimits(clock=clock, **limits), execution=cost))


async def load(store: Store, contacts: int, *, requests: int = THERE.requests) -> tuple[float, DataverseSandbox]:
    """Write so many new contacts: the seconds that it took by the clock of budget and limits, and where they are held."""
    store.clock = clock = FastClock()
    budget = SharedBudget(store, "dataverse", Limits(requests=requests, window=300.0), clock=clock, sleep=clock.sleep)
    async with environment(sandbox_by(clock, requests=requests), budget, requests=requests) as (target, sandbox):
        flow, began = Contacts("people", ContactSettings(), settings_of(sandbox)), clock.now
        for first in range(0, contacts, target.limits.batch):
            numbers = range(first, min(first + target.limits.batch, contacts))
            said = await target.write([Write(who.key, document_of(flow, who)) for who in map(person, numbers)])
            assert all(isinstance(each, Confirmed) for each in said)
        return clock.now - began, sandbox


async def test_contacts_are_loaded_inside_the_limits_at_95_of_100_of_the_budget(store: Store) -> None:
    contacts, requests = 450, 150
    seconds, sandbox = await load(store, contacts, requests=requests)
    assert sandbox.settings.limits.turned_away == {}
    assert sandbox.held.counts["contact"] == contacts
    assert contacts / seconds >= 0.95 * requests / 300.0


@pytest.mark.parametrize(
    ("limits", "turned_away", "why"),
    [
        ({"requests": 2}, 3, "429: more than 6,000 requests in 300 seconds"),
        ({"execution": 1}, 2, "429: more than 20 minutes of execution time in 300 seconds"),
        ({"at_once": 0}, 1, "429: more than 52 requests at once"),
    ],
)
async def test_each_limit_turns_away_for_as_long_as_it_says_and_holds_the_budget(
    store: Store, limits: dict[str, int], turned_away: int, why: str
) -> None:
    store.clock = clock = FastClock()
    budget = SharedBudget(store, "dataverse", THERE, clock=clock, sleep=clock.sleep)
    async with environment(sandbox_by(clock, 1.0, **limits), budget, concurrency=1) as (target, sandbox):
        flow = Contacts("people", ContactSettings(), settings_of(sandbox))
        writes = [Write(who.key, document_of(flow, who)) for who in map(person, range(turned_away))]
        *_, last = await target.write(writes)
        assert isinstance(last, Unavailable)
        assert last.reason == why
        assert last.after is not None
        assert (await budget.standing()).held == pytest.approx(last.after.total_seconds(), abs=2)
        assert last.after >= timedelta(seconds=1)


def events(entities: list[Entity]) -> list[Event]:
    return [Event(each.type_name, "mosaic", each.key, each.owner, 1, START, each.to_bytes()) for each in entities]


async def test_no_contact_and_no_case_is_there_twice_after_two_workers_and_lost_answers(store: Store) -> None:
    store.clock = clock = FastClock()
    entities: list[Entity] = [*(team(n, n) for n in range(60)), *(person(n) for n in range(60))]
    async with environment(sandbox_by(clock), concurrency=2) as (target, sandbox):
        cut = Fault(kind="cut", when="after", path="/contacts(")
        failed = Fault(kind="status", when="after", status=500, path="/incidents(")
        sandbox.faults.extend([cut, failed, *[Fault(kind="slow", path="(")] * 3] * 12)
        flow = Cases("cases", CaseSettings(), settings_of(sandbox))
        workers = [
            Agreement(flow, target, StoredLedger(store, flow.name), clock=clock, edition="1", today=lambda: START.date())
            for _ in range(2)
        ]
        await workers[0].ingest(ArrayInbox(list(events(entities))))
        await _agreed(workers, clock)
        assert sandbox.faults == [] or all(fault.kind == "slow" for fault in sandbox.faults)
        made = [effect["subject"] for effect in sandbox.log() if effect["operation"] == "create"]
        assert (len(made), len(set(made))) == (120, 120)
        assert {kind: sandbox.held.counts[kind] for kind in ("contact", "incident")} == {"contact": 60, "incident": 60}
        assert all(worker.tally.confirmed for worker in workers)


async def _agreed(workers: list[Agreement], clock: FastClock) -> None:
    """Let the workers work side by side until nothing is left to do; the clock goes on where something waits for its time."""
    for _ in range(200):
        if any(await asyncio.gather(*(worker.step() for worker in workers))):
            continue
        due = await workers[0]._ledger.due()
        if due is None:
            return
        clock.now += due
    raise AssertionError("they never come to rest")
