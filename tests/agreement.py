"""A small council for the tests of agreement: a flow over suppliers and invoices, a clock, a state, and its workers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from canonical import DocumentLine, Event, Invoice, Supplier
from canonical.entity import Entity
from canonical.errors import RefusedError
from canonical.key import key_of, read_key
from flows.engine.agree import Agreement
from flows.engine.ledger import Task
from flows.port import Document, Facts, Grouping, Nothing, Urgency
from flows.testing import ArrayInbox, MemoryTrail, ScriptedTarget
from ironbridge.store import Store, StoredLedger
from ironbridge.store.trail import TrailedLedger

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
BAD = "Refused Ltd"
BROKEN = "Broken Ltd"
UNWANTED = "Unwanted Ltd"
WHY = "the target is not told of this one"


def supplier_key(number: int) -> str:
    return key_of("payables", "supplier", number)


def invoice_key(number: int) -> str:
    return key_of("payables", "invoice", number)


def event(entity: Entity, version: int, *, deleted: bool = False, traceparent: str | None = None) -> Event:
    data = None if deleted else entity.to_bytes()
    at = START + timedelta(seconds=version)
    return Event(entity.type_name, "payables", entity.key, entity.owner, version, at, data, traceparent=traceparent)


def supplier(number: int, version: int = 1, name: str | None = None, **more: Any) -> Event:
    who = Supplier(key=supplier_key(number), number=str(number), name=name or f"Supplier {number} as of {version}")
    return event(who, version, **more)


def invoice(number: int, of: int, version: int = 1, **more: Any) -> Event:
    line = DocumentLine(number=1, net=Decimal(f"{version}.00"))
    what = Invoice(key=invoice_key(number), number=str(number), supplier=supplier_key(of), lines=(line,))
    return event(what, version, **more)


class PurchaseFlow:
    """Suppliers, and invoices that refer to them. `edition_name` and `suffix` stand for a new release, see `World.release`."""

    name = "purchasing"
    entities: tuple[type[Entity], ...] = (Supplier, Invoice)
    grouping = Grouping.KEY
    settings: Mapping[str, Any] = {}

    def __init__(self) -> None:
        self.edition_name = "1"
        self.suffix = ""
        self.asked: list[str] = []

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        self.asked.append(subject)
        if who := facts.one(Supplier):
            if who.name == BAD:
                raise RefusedError(self.name, "name: is not one that the target can ever hold")
            if who.name == BROKEN:
                raise KeyError(who.name)
            if who.name == UNWANTED:
                return Nothing(WHY)
            return Document("supplier", who.number, {"number": who.number, "name": who.name + self.suffix})
        if what := facts.one(Invoice):
            body = {"number": what.number, "net": str(what.net)}
            return Document("invoice", what.number, body, {"vendorId": what.supplier})
        return None

    def recall(self, key: str, owner: str) -> Sequence[Document]:
        _, kind, number = read_key(key)
        return [Document(kind, number, {})]

    def urgency(self, entity: str) -> Urgency:
        return Urgency.USUAL if entity == Invoice.type_name else Urgency.TIDY_UP


@dataclass
class Clock:
    now: float = START.timestamp()

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class World:
    """One flow, its target and its state; `agreement` is its first worker."""

    store: Store
    clock: Clock = field(default_factory=Clock)
    flow: PurchaseFlow = field(default_factory=PurchaseFlow)
    target: ScriptedTarget = field(default_factory=ScriptedTarget)
    inbox: ArrayInbox = field(default_factory=ArrayInbox)
    trail: MemoryTrail = field(default_factory=MemoryTrail)

    def __post_init__(self) -> None:
        self.store.clock = self.clock
        self.ledger = self.new_ledger()
        self.agreement = self.worker(self.ledger)

    def new_ledger(self) -> StoredLedger:
        return TrailedLedger(self.store, self.flow, self.trail)

    async def take(self, limit: int, ledger: StoredLedger | None = None) -> list[Task]:
        """Take subjects as a worker of the flow's present edition does."""
        ledger = ledger or self.ledger
        edition = await ledger.reopen(self.flow.edition_name)
        assert edition is not None
        return await ledger.take(limit, edition)

    def worker(self, ledger: Any = None, target: Any = None) -> Agreement:
        return Agreement(
            self.flow, target or self.target, ledger or self.new_ledger(), clock=self.clock,
            edition=self.flow.edition_name, today=lambda: START.date(),
        )  # fmt: skip

    def release(self, name: str, suffix: str | None = None) -> None:
        """Start the first worker anew, as a process of another release."""
        self.flow.edition_name, self.flow.suffix = name, self.flow.suffix if suffix is None else suffix
        self.agreement = self.worker(self.ledger)

    async def arrive(self, *events: Any) -> None:
        self.inbox.add(*events)
        while await self.agreement.ingest(self.inbox):
            pass

    async def agree(self, agreement: Agreement | None = None, *, rounds: int = 200) -> None:
        """Work until nothing is left to do; the clock goes on where something waits for its time."""
        worker = agreement or self.agreement
        for _ in range(rounds):
            if await worker.step():
                continue
            await worker._ledger.reclaim()
            due = await worker._ledger.due()
            if due is None:
                return
            self.clock.forward(due)
        raise AssertionError("it never comes to rest")

    async def row(self, subject: str) -> dict[str, Any]:
        (row,) = await self.rows("SELECT * FROM subjects WHERE subject = :subject", subject=subject)
        return row

    async def states(self) -> dict[str, str]:
        rows = await self.rows("SELECT subject, state FROM subjects ORDER BY subject")
        return {row["subject"]: row["state"] for row in rows}

    async def story(self, subject: str) -> list[str]:
        rows = await self.rows("SELECT outcome FROM attempts WHERE subject = :subject ORDER BY id", subject=subject)
        return [row["outcome"] for row in rows]

    async def rows(self, sql: str, **bound: Any) -> list[dict[str, Any]]:
        async with self.store.read() as connection:
            return [dict(row) for row in (await connection.execute(text(sql), bound)).mappings()]

    async def run(self, sql: str, **bound: Any) -> None:
        async with self.store.write() as connection:
            await connection.execute(text(sql), bound)

    def written(self) -> list[str]:
        """What was sent, subject by subject, in order."""
        return [write.subject for batch in self.target.batches for write in batch]

    def agreement_of(self, target: ScriptedTarget) -> Agreement:
        """The first worker, with another target before it."""
        return self.worker(self.ledger, target)

    def name_of(self, number: int) -> str | None:
        document = self.target.documents.get(supplier_key(number))
        return None if document is None else document.body["name"]


def numbers(subjects: Sequence[str]) -> list[int]:
    return [int(read_key(subject).identifier) for subject in subjects]


class KilledError(BaseException):
    """The process is gone: nothing that it would have done happens any more."""


class Mortal:
    """A ledger or a target in a process that dies at a given step: before a call, or after it, its answer unheard."""

    def __init__(self, inner: Any, fate: Fate) -> None:
        self._inner = inner
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def called(*args: Any, **more: Any) -> Any:
            self._fate.step(f"before {name}")
            answer = await found(*args, **more)
            self._fate.step(f"after {name}")
            return answer

        return called


@dataclass
class Fate:
    """Dies at step `at`; None: never. `steps` tells the steps that were lived through."""

    at: int | None = None
    steps: list[str] = field(default_factory=list)

    def step(self, what: str) -> None:
        if self.at is not None and len(self.steps) >= self.at:
            raise KilledError(what)
        self.steps.append(what)
