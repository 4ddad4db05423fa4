"""
A ledger that can prove its own age. It records each send on the flow's trail before the send leaves, and looks back at
the trail when it starts and now and then.

See flows/engine/trail.py for the reason, and docs/decisions/the-trail-proves-that-a-state-is-old.md.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.errors import UnavailableError
from flows.engine.ledger import HOLD, Edition, Intent, Settlement, State, Task
from flows.engine.settle import untried
from flows.engine.trail import Sent, Trail, in_doubt, unknown
from flows.port import Flow
from ironbridge.store.bulk import among, put, values
from ironbridge.store.database import Store
from ironbridge.store.ledger import StoredLedger
from ironbridge.store.statement import text
from ironbridge.store.subjects import keys_of, locked
from ironbridge.store.tables import subjects

log = logging.getLogger(__name__)
_EVERY = 600.0  # seconds between two looks at the trail, so that the next start has little to read
_PAGE = 1000  # subjects that are put in doubt in one transaction
_LONG = 10_000  # records; a longer reading of the trail is worth a line in the log
_RECENT = 2  # own sends, because two may be saved at a time
_KEPT = 120 * 86_400.0  # seconds that a hand is remembered: longer than its records can lie in the trail
_COLUMNS = ("flow", "subject", "partition", "state", "urgency", "seq", "changes", "since", "attempts", "doubtful", "due", "sent")
# A subject that a worker holds is taken from it, because that worker does not know what else was sent.
_DOUBT = {
    "state": "excluded.state", "claim": "NULL", "waiting_on": "NULL", "seq": "subjects.seq + 1",
    "doubtful": "excluded.doubtful", "due": "excluded.due", "sent": "excluded.sent",
    "since": "CASE WHEN subjects.state IN ('dirty', 'sending') THEN subjects.since ELSE excluded.since END",
    "reason": "CASE WHEN excluded.state = 'dropped' THEN subjects.reason END",
}  # fmt: skip


class TrailedLedger(StoredLedger):
    """One worker's view of one flow's ledger; each send is recorded on the trail before it leaves."""

    def __init__(self, store: Store, flow: Flow, trail: Trail) -> None:
        super().__init__(store, flow.name)
        self._of = flow
        self._trail = trail
        self._sent = 0  # by this hand
        self._numbering = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._looked: float | None = None
        self._looked_to = 0  # the trail's end at that look
        self._proving = asyncio.Lock()
        self._read = 0  # how far this hand has read the trail
        # From other hands' recent records: by hand, how often it had sent, and how often this hand had sent by then.
        self._others: dict[str, tuple[int, int]] = {}

    async def begin(self) -> None:
        before = self._hand
        await super().begin()
        await self._start(before)
        await self.trouble(None)  # the trouble that kept it from beginning is over

    async def _start(self, before: str) -> None:
        """Look back, and only then note this hand in the state. So a state that lacks the hand is an older one."""
        await self.look_back()
        bound = {"flow": self._flow, "hand": self._hand, "before": before, "now": self._store.clock()}
        async with self._store.write() as connection:
            await connection.execute(
                text("DELETE FROM hands WHERE flow = :flow AND hand = :before AND sent = 0"), bound
            )
            await connection.execute(
                text("INSERT INTO hands (flow, hand, sent, at) VALUES (:flow, :hand, 0, :now)"), bound
            )
        self._sent, self._read, self._others = 0, self._looked_to, {}
        self._looked = time.monotonic()

    async def take(self, limit: int, edition: Edition) -> list[Task]:
        if self._looked is None:
            await self._start(self._hand)
        return await super().take(limit, edition)

    async def reclaim(self, claims: Collection[str] = ()) -> int:
        if self._looked is not None and time.monotonic() - self._looked > _EVERY:
            await self.look_back()
            self._looked = time.monotonic()
            await self._prove(self._looked_to)
        return await super().reclaim(claims)

    async def intend(self, intents: Sequence[Intent]) -> set[str]:
        """
        Save the documents that are about to be sent, in the state and then on the trail. Then check that the state knows all
        records that lie before it on the trail.

        :raises UnavailableError: nothing may be sent: the state went back, or the trail is away.
        """
        async with self._numbering:  # otherwise a send could be saved before the one that is numbered before it
            mine = await super().intend(intents)
            if not mine:
                return mine
            self._sent += 1
            sent = Sent(self._hand, self._sent, tuple(sorted(mine)))
        try:
            read = self._read
            at = await self._trail.append(sent)
            if at < read:  # the trail was made anew
                raise self._went_back()
            await self._prove(at, sent)
        except UnavailableError:
            why = "not sent: Kafka did not take note of it, or the state went back"
            tasks = [untried(i.task) for i in intents if i.task.subject in mine]
            await self.settle([Settlement(t, State.DIRTY, "put back", reason=why, doubtful=t.doubtful) for t in tasks])
            raise
        return mine

    async def _sends(self, connection: AsyncConnection) -> None:
        """
        Count one more send of this hand, in the transaction that saves the documents.

        :raises UnavailableError: the state has another count, so it is not the one that this hand has worked with.
        """
        counted = await connection.execute(
            text("UPDATE hands SET sent = sent + 1, at = :now WHERE flow = :flow AND hand = :hand AND sent = :sent"),
            {"flow": self._flow, "hand": self._hand, "sent": self._sent, "now": self._store.clock()},
        )
        if counted.rowcount != 1:
            raise self._went_back()

    async def _prove(self, end: int, sent: Sent | None = None) -> None:
        """
        Check that the state knows all records that lie on the trail before `end`. `sent` is this hand's own record at `end`.

        The state may go back while workers live. A worker that has sent nothing since then does not notice it by itself. But any
        other worker that sends the same subject by the other state has a record on the trail, before or after this one, so one
        of the two sees the other's. If no other hand has sent meanwhile, the state need not be asked.

        :raises UnavailableError: the state lacks a record: it went back.
        """
        async with self._proving:
            async for records in self._trail.follow(self._read, end):
                for record in records:
                    if record.hand != self._hand:
                        number, _ = self._others.get(record.hand, (0, 0))
                        self._others[record.hand] = (max(record.number, number), self._sent)
            self._read = max(self._read, end + (sent is not None))
            # If the state knows a send of ours, it also knows all records that were read before that send.
            recent = {hand: seen for hand, seen in self._others.items() if seen[1] >= self._sent - _RECENT}
            self._others = recent
        if recent:
            named = {hand: number for hand, (number, _) in recent.items()} | ({sent.hand: sent.number} if sent else {})
            counted = await self._counted(set(named))
            if any(counted.get(hand, 0) < number for hand, number in named.items()):
                raise self._went_back()

    def _went_back(self) -> UnavailableError:
        return UnavailableError(
            "state", f"it does not know all that {self._flow} has sent: it went back, perhaps over a failover",
            fix="nothing: the flow looks back at its trail and asks the target about all sends that the state lacks",
        )  # fmt: skip

    # -- looking back --------------------------------------------------------------------------------------------

    async def look_back(self) -> bool:
        """
        Read the trail since the last look. Subjects with a send that this state does not know become doubtful and dirty.

        True if there was one, that is, if the state went back. The look may be interrupted and begun again.

        :raises UnavailableError: the trail or the state is away; nothing may be delivered then.
        """
        async with self._looking:
            since = await self._known_trail()
            reach = await self._trail.reach()
            cut = not reach.first <= since <= reach.end and await self._has_subjects()
            if cut:
                await self._tell(f"its trail does not go back to {since}: it holds {reach.first} to {reach.end}")
                async for page in self._every_subject():
                    await self._put_in_doubt(page, all_of_them=True)
            start = since if reach.first <= since <= reach.end else reach.first
            if reach.end - start > _LONG:
                log.info("%s: looks back at %d records of its trail before it delivers", self._flow, reach.end - start)
            old = cut
            async for records in self._trail.read(start, reach.end):
                missing = unknown(records, await self._counted({record.hand for record in records}))
                if missing and not old:
                    await self._tell(f"the trail names sends that it has never heard of, {len(missing)} subjects at first")
                    old = True
                for at in range(0, len(missing), _PAGE):
                    await self._put_in_doubt(missing[at : at + _PAGE])
            await self._remember(since, reach.end)
            self._looked_to = reach.end
        return old

    async def _tell(self, proof: str) -> None:
        """Report that the state is old, and have all events that it lacks read again before anything is delivered."""
        log.error(
            "%s: the state is older than what this flow has sent (%s). Perhaps it was restored from a copy, or a failover lost "
            "its last seconds. The flow first reads the topics again; then it asks the target about each subject that was sent "
            "since, or sends the subject once more if the target cannot be asked. To do: nothing, unless this goes "
            "on; `ironbridge reconcile %s` shows afterwards that both agree",
            self._flow, proof, self._flow,
        )  # fmt: skip
        ends = {partition: end for partition, end in (await self._trail.ends()).items() if end}
        if ends:
            await self.forgotten(ends)

    async def _known_trail(self) -> int:
        async with self._store.read() as connection:
            found = await connection.execute(text("SELECT trail FROM flows WHERE name = :flow"), {"flow": self._flow})
            return int(found.scalar_one_or_none() or 0)

    async def _remember(self, since: int, end: int) -> None:
        """Note that the trail is known up to `end`, unless another worker has looked back further meanwhile."""
        bound = {"flow": self._flow, "since": since, "end": end, "old": self._store.clock() - _KEPT}
        async with self._store.write() as connection:
            await connection.execute(
                text(
                    "INSERT INTO flows (name, trail) VALUES (:flow, :end) ON CONFLICT (name) "
                    "DO UPDATE SET trail = excluded.trail WHERE flows.trail = :since"
                ),
                bound,
            )
            await connection.execute(text("DELETE FROM hands WHERE flow = :flow AND at < :old"), bound)

    async def _has_subjects(self) -> bool:
        async with self._store.read() as connection:
            found = await connection.execute(
                text("SELECT 1 FROM subjects WHERE flow = :flow LIMIT 1"), {"flow": self._flow}
            )
            return found.first() is not None

    async def _counted(self, hands: set[str]) -> dict[str, int]:
        """Tell how often these hands have sent, according to the state."""
        async with self._store.read() as connection:
            rows = await connection.execute(
                text(f"SELECT hand, sent FROM hands WHERE flow = :flow AND {among(connection, 'hand', 'hands')}"),  # noqa: S608
                {"flow": self._flow, "hands": values(connection, sorted(hands))},
            )
            return {hand: sent for hand, sent in rows.fetchall()}  # noqa: C416 (rows are no pairs to mypy)

    async def _every_subject(self) -> AsyncIterator[list[str]]:
        page = [""]
        while page:
            async with self._store.read() as connection:
                rows = await connection.execute(
                    text(
                        "SELECT subject FROM subjects WHERE flow = :flow AND subject > :after "
                        "ORDER BY subject LIMIT :most"
                    ),
                    {"flow": self._flow, "after": page[-1], "most": _PAGE},
                )
                page = [subject for (subject,) in rows.fetchall()]
            if page:
                yield page

    async def _put_in_doubt(self, named: Sequence[str], *, all_of_them: bool = False) -> None:
        """
        Put subjects in doubt and make them dirty, also subjects that this state has never heard of. A subject that a person has
        dropped is in doubt too; it stays dropped if nothing names it, that is, if `all_of_them` are put in doubt.
        """
        async with self._store.write() as connection:
            now = self._store.clock()
            # First a row for each, locked: one that came into being only now may have doubts, which would be overwritten.
            blank = [(self._flow, subject, 0, State.DIRTY, 0, 0, 0, now, 0, None, None, None) for subject in sorted(named)]
            await put(connection, subjects, _COLUMNS, blank, {"seq": "subjects.seq"})
            stands = await locked(connection, self._flow, named)
            known = await keys_of(connection, named, self._of.grouping)
            rows = []
            for subject in sorted(named):
                stand = stands[subject]
                doubtful = in_doubt(self._of, stand.doubtful, known.get(subject, ()))
                state = State.DROPPED if all_of_them and stand.state == State.DROPPED else State.DIRTY
                # Its partition comes with its next event; nothing depends on it before that.
                # The time of the send is not known. It may be just now, so the target may not show it yet.
                # Not at once: a hand that this state has never heard of may live and be sending it.
                rows.append((self._flow, subject, 0, state, 0, 1, 0, now, 0, doubtful, now + HOLD, now))
            await put(connection, subjects, _COLUMNS, rows, _DOUBT)
