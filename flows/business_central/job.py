"""
The state of one write on its way through Business Central: the documents found for it, and its outcome.

Business Central accepts two purchase documents of one vendor with one number, and its API documents no key that a client
could set to prevent the second. A doubled document is reported with both ids, and is never created a third time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from canonical.key import entity_of
from flows.business_central.documents import KIND_OF, LINES_OF, VENDOR
from flows.business_central.odata import Answer, Operation, Reply
from flows.business_central.wire import SET_OF, HeldRecord, Plan, Wire, flat
from flows.port import Body, Confirmed, Document, Outcome, Refused, Unavailable, Unknown, Write

_OVER = {"Canceled", "Corrective"}
"""The statuses of a posted invoice that was taken back: its number may then be used again."""


@dataclass(slots=True)
class Job:
    """One write on its way: the document that the target holds, as far as it is known, and the outcome."""

    write: Write
    ref: str | None = None
    held: HeldRecord | None = None
    found: dict[str, HeldRecord] = field(default_factory=dict)
    """All records that this look has found under the write's id and numbers, by id."""
    trouble: Outcome | None = None
    crossed: bool = False
    """Somebody else changed the document meanwhile: it is read once more, and nothing is sent again."""
    begun: bool = False
    """A part of the write is done already."""
    made: bool = False
    """This write has created its document: it is not created again, whatever a look shows."""
    follows: frozenset[int] = frozenset()
    """The lines that the last step created: their dimensions are written next."""
    shows: Body | None = None
    """The job notes here what the answers, or a look, showed of the document after it was written."""
    outcome: Outcome | None = None

    def __post_init__(self) -> None:
        self.ref = self.write.ref

    @property
    def earlier(self) -> tuple[Document, ...]:
        confirmed = self.write.confirmed
        return (*((confirmed,) if confirmed else ()), *self.write.doubtful)

    @property
    def kind(self) -> str:
        """As its documents say. Where none is left the subject's key says it, if it is of an entity that we map ourselves."""
        named = next((document.kind for document in (self.write.document, *self.earlier) if document), None)
        return named or KIND_OF.get(entity_of(self.write.subject), VENDOR)

    @property
    def numbers(self) -> set[str]:
        """The document's number, and every number for which an answer was lost."""
        return {document.number for document in (self.write.document, *self.earlier) if document}

    @property
    def vendor(self) -> str | None:
        return self.write.refs.get("vendorId")

    @property
    def doubted(self) -> bool:
        """Tell whether an earlier request for it has an unknown result: then another create may still be on its way."""
        return self.kind in LINES_OF and bool(self.write.doubtful or self.write.late)

    @property
    def names(self) -> Iterator[str]:
        """The names that lock this write's document: no other write may hold one of them at the same time."""
        yield self.write.subject
        yield from (f"{self.kind} {number}" for number in self.numbers)

    def quick(self, wire: Wire) -> bool:
        """Tell whether the confirmed document can stand for the held one without a question: the tag guards the write."""
        write = self.write
        if self.held or self.crossed or not (write.ref and write.tag) or write.doubtful or write.confirmed is None:
            return False
        if write.document is None:
            self.held = HeldRecord(write.ref, write.tag, {})
            return True
        if self.kind != VENDOR:
            return False  # the lines' own tags are not in the ledger
        held = HeldRecord(write.ref, write.tag, flat(write.confirmed.body))
        changes = wire.changes(held, write.document, self.earlier, None).operations
        # An address is replaced whole and has parts that are not ours, so it has to be read first.
        if not changes or any("address" in (operation.body or {}) for operation in changes):
            return False
        self.held = held
        return True

    def look(self) -> None:
        """Begin a look: forget the records that were found before."""
        self.held = self.trouble = None
        self.found = {}

    def seen(self) -> None:
        """The look is complete: choose the document that is ours, or report that it cannot be told."""
        if self.trouble is not None:
            return
        records = [self.found[ref] for ref in sorted(self.found)]
        current = [record for record in records if record.fields.get("status") not in _OVER]
        if len({record.vendor for record in records}) > 1 and not self.vendor:
            self.trouble = Refused("several vendors have a document with this number, and the right vendor is not known")
        elif len(current) > 1:
            self.trouble = Refused(twice(self.kind, [record.ref for record in current]))
        self.held = self.found.get(self.ref or "") or next(iter(current or records), None)
        if self.held:
            self.ref = self.held.ref

    def plan(self, wire: Wire) -> Plan:
        document, held = self.write.document, self.held
        if document is None:
            return wire.removal(self.kind, held.ref, held.tag) if held else Plan([])
        if held is None:
            return wire.creation(document, self.vendor)
        if not self.begun or self.crossed:
            return wire.changes(held, document, self.earlier, self.vendor)
        # This shows the fields that the company changed by itself. They are written once more only if the runtime asks for it.
        plan, self.follows = wire.following(held, document, self.follows), frozenset()
        self.shows = wire.seen(held, document, self.vendor, self.earlier)
        return plan

    def confirmed(self) -> Outcome:
        return Confirmed(self.ref or "", self.held.tag if self.held else None, self.shows)

    def fail(self, outcome: Outcome, *, partly: bool = False) -> None:
        """End with this outcome. If a part is done already the result is in doubt, and only reading back can tell."""
        if (partly or self.begun) and isinstance(outcome, Unavailable | Refused):
            # The refused part is tried again alone after reading back, and is then refused for good.
            outcome = Unknown(f"only a part of it was done: {outcome.reason}")
        self.outcome = outcome

    def learn(self, wire: Wire, plan: Plan, answers: Sequence[tuple[Operation, Reply]]) -> None:
        """
        All operations are done: confirm if the answers show everything. If not, look again: at lines that a new document's
        answer left out, for their dimensions, for a second document of this number.
        """
        operation, reply = answers[0]
        shown = reply.body if isinstance(reply, Answer) else {}
        made, document = shown.get("id"), self.write.document
        created = self.held is None and document is not None
        self.begun, self.made, self.follows = True, self.made or created, plan.follows
        self.ref = self.ref if self.held else made if isinstance(made, str) else None
        # A changed line gives its document a new tag, and no answer tells that tag.
        alone = len(answers) == 1 and operation.path in (SET_OF[self.kind], f"{SET_OF[self.kind]}({self.ref})")
        told = plan.final and not (created and (self.doubted or not wire.shows_lines(shown, self.kind)))
        if document is None:
            self.outcome = Confirmed(self.ref or "")
        elif self.ref is None:
            self.outcome = Unknown("created, but the answer names no id")
        elif told and alone:
            self.shows = wire.answered(shown, document, self.vendor)
            self.outcome = Confirmed(self.ref, shown.get("@odata.etag"), self.shows)
        elif told:
            there = [(o, reply.body) for o, reply in answers if isinstance(reply, Answer)]
            self.shows = wire.shown(f"{SET_OF[self.kind]}({self.ref})", there, document, self.vendor)
            self.outcome = Confirmed(self.ref, None, self.shows)
        self.held = None


def twice(kind: str, refs: Iterable[str]) -> str:
    """The reason that names the documents which are one and the same."""
    *some, last = sorted(refs)
    there = f"{', '.join(some)} and {last}"
    return (
        f"{SET_OF[kind]}: {there} are one document of one vendor: keep one, delete the others in Business Central, then "
        "retry"
    )


def waves(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """The jobs in waves: two jobs for the same document are in different waves, so that the second finds the first's document."""
    often: dict[tuple[str, str, str | None], int] = {}
    found: list[list[Job]] = []
    for job in jobs:
        document = job.write.document
        which = (job.kind, document.number if document else job.write.subject, job.vendor)
        turn = often[which] = often.get(which, -1) + 1
        if turn == len(found):
            found.append([])
        found[turn].append(job)
    yield from found


class Turns:
    """
    Lets one write at a time work on each document, within this process: two writes that both find nothing would both create.

    Between processes only the claim prevents this.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def taken(self, names: Iterable[str]) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for name in sorted(set(names)):  # always in the same order, so that no two writes wait for each other
                lock = self._locks.get(name) or asyncio.Lock()
                self._locks[name] = lock
                await stack.enter_async_context(lock)
            yield
