"""
The target against what it should hold given the facts.

A target that lists what it holds is read whole, page after page. One that only answers for single subjects is asked for
each. One that shows nothing is held against what it last confirmed, and the certificate says so.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from canonical.key import entity_of
from flows.engine.altered import held_otherwise, told_by
from flows.engine.draft import Draft, drafts
from flows.engine.ledger import State, pack, unpack, unpack_all
from flows.port import (
    Absent,
    Body,
    Document,
    Flow,
    Held,
    Holding,
    Inventory,
    ReadBack,
    Target,
    Untold,
    Write,
)
from ironbridge.operate.insight import differing
from ironbridge.operate.reconcile.certificate import Compared, Disagreement, Kind, Where
from ironbridge.operate.reconcile.scratch import PAGE, Scratch
from ironbridge.store import Store, StoredLedger, comparing
from ironbridge.store.comparing import ComparedSubject
from ironbridge.store.names import others_of


@dataclass(frozen=True, slots=True)
class _Draft:
    """A draft says what a subject should be, or `why` that cannot be said."""

    stand: ComparedSubject
    document: Document | None = None
    refs: Mapping[str, str] | None = None
    digest: bytes | None = None
    why: str | None = None

    @property
    def write(self) -> Write:
        stand, confirmed = self.stand, unpack(self.stand.document) if self.stand.document else None
        return Write(
            stand.subject, self.document, confirmed, unpack_all(stand.doubtful), stand.ref, stand.tag, self.refs or {}
        )


class Cloud:
    """One flow's target. `began` is when the comparison began, in seconds since 1970."""

    def __init__(self, store: Store, scratch: Scratch, flow: Flow, target: Target, today: date, began: float) -> None:
        self._store = store
        self._scratch = scratch
        self._flow = flow
        self._target = target
        self._ledger = StoredLedger(store, flow.name)
        self._today = today
        self._began = began
        self._altered: Counter[str] = Counter()
        self._mute: str | None = None  # why the target shows nothing, where it does not
        self._others: Sequence[str] = ()  # the other flows that write there: what is theirs is not ours to judge
        self.part = Compared(Where.CLOUD, target.name, _LISTED if isinstance(target, Inventory) else _ASKED)
        self.differences: list[Disagreement] = []

    # -- the first look ------------------------------------------------------------------------------------------

    async def suspect(self) -> int:
        """
        Put under suspicion what does not agree at the first look; how many that is.

        :raises UnavailableError: the target does not answer.
        """
        self._others = await others_of(self._store, self._flow.name)
        async for stands in self._stands():
            self._altered.update(told for stand in stands if (told := told_by(stand.reason)))
            drafts = await self._drafts(stands)
            await self._scratch.put("INSERT INTO ours VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", map(_row, drafts))
            if not isinstance(self._target, Inventory):
                await self._asked(drafts)
        if isinstance(self._target, Inventory):
            async for page in self._target.holdings():
                await self._held(self._target, page, 1)
            await self._found_by_number()
        unseen = "INSERT OR IGNORE INTO suspects (side, key) SELECT 'cloud', subject FROM ours WHERE why IS NOT NULL"
        listed = " OR (seen IS NULL AND document IS NOT NULL)" if isinstance(self._target, Inventory) else ""
        await self._scratch.do(unseen + listed)
        await self._scratch.do(
            "INSERT OR IGNORE INTO suspects (side, key) SELECT 'stranger', ref FROM strangers WHERE look = 1"
        )
        self.part.looked = await self._scratch.count(
            "SELECT (SELECT count(*) FROM ours WHERE document IS NOT NULL OR why IS NOT NULL OR seen IS NOT NULL) "
            "+ (SELECT count(*) FROM strangers WHERE look = 1)"
        )
        return await self._scratch.count("SELECT count(*) FROM suspects WHERE side IN ('cloud', 'stranger')")

    async def _asked(self, drafts: Sequence[_Draft]) -> None:
        """Ask the target for each subject; where it shows nothing, what it last confirmed stands for what it holds."""
        known = [d for d in drafts if d.why is None and (d.document is not None or d.stand.digest is not None)]
        apart, there = [], []
        async for draft, answer in self._answers(known):
            if draft.stand.digest is not None if self._mute is not None else not isinstance(answer, Absent):
                there.append((draft.stand.subject,))
            if not self._agrees(draft, answer):
                apart.append(draft.stand.subject)
        await self._scratch.put("UPDATE ours SET seen = '' WHERE subject = ?", there)
        await self._scratch.suspect("cloud", apart)

    async def _held(self, target: Inventory, page: Sequence[Holding], look: int) -> None:
        """Match a page of what the target holds with the subjects that were confirmed under these ids."""
        known = await self._scratch.among(
            "SELECT ref, subject, document, confirmed, refers FROM ours WHERE ref IN (SELECT value FROM json_each(?))",
            [holding.ref for holding in page],
        )
        subjects = {ref: row for ref, *row in known}
        apart, seen = [], []
        for holding in page:
            if (row := subjects.get(holding.ref)) is None:
                continue
            subject, packed, confirmed, refers = row
            seen.append((holding.ref, subject))
            document = unpack(packed) if packed else None
            had = unpack(confirmed) if confirmed else None
            refs = json.loads(refers)
            told = target.told(holding, Write(subject, document, had, (), holding.ref, None, refs))
            if document is None or told.body != document.body:
                apart.append(subject)
        strangers = await self._nobodys([h for h in page if h.ref not in subjects])
        rows = [(look, h.ref, h.kind, h.number, _sorted(h.refers)) for h in strangers]
        await self._scratch.put("UPDATE ours SET seen = ? WHERE subject = ?", seen)
        await self._scratch.put("INSERT OR IGNORE INTO strangers VALUES (?, ?, ?, ?, ?)", rows)
        await self._scratch.suspect("cloud", apart)

    async def _nobodys(self, unknown: Sequence[Holding]) -> list[Holding]:
        """Of what no subject of this flow stands for, what no other flow of the target wrote either."""
        refs = [holding.ref for holding in unknown]
        theirs = {ref for flow in self._others for ref in await comparing.refs_among(self._store, flow, refs)}
        return [holding for holding in unknown if holding.ref not in theirs]

    async def _found_by_number(self) -> None:
        """Look once more by number: what no subject was confirmed under may still be one's, made when its answer was lost."""
        matched = (
            "SELECT s.ref, o.subject FROM strangers s JOIN ours o ON o.kind = s.kind AND o.number = s.number "
            "AND o.seen IS NULL AND (o.refers = s.refers OR s.refers = '{}') WHERE s.look = 1 GROUP BY o.subject"
        )
        for ref, subject in await self._scratch.rows(matched):
            await self._scratch.do("UPDATE ours SET seen = ? WHERE subject = ?", ref, subject)
            await self._scratch.do("DELETE FROM strangers WHERE look = 1 AND ref = ?", ref)
            await self._scratch.suspect("cloud", [subject])

    # -- the second look -----------------------------------------------------------------------------------------

    async def unsettled(self) -> bool:
        """Tell whether something that is under suspicion is on its way just now."""
        async for subjects in self._scratch.suspects("cloud"):
            stands = await self._stand_of(subjects)
            if any(s.state in (State.DIRTY, State.SENDING) for s in stands):
                return True
        return False

    async def judge(self) -> None:
        """Say what has gone on not to agree; what moved between the two looks is only counted."""
        async for subjects in self._scratch.suspects("cloud"):
            asked = "SELECT subject, digest, seen FROM ours WHERE subject IN (SELECT value FROM json_each(?))"
            first = {subject: row for subject, *row in await self._scratch.among(asked, subjects)}
            drafts = await self._drafts(await self._stand_of(subjects))
            apart = [(d, a) async for d, a in self._answers([d for d in drafts if d.why is None])]
            behind = await self._behind([d for d, a in apart if isinstance(a, Held) and not self._agrees(d, a)])
            # What was touched while the target was asked may have been written in between.
            now = {s.subject: s.seq for s in await self._stand_of(subjects)}
            for draft, answer in [*apart, *((d, None) for d in drafts if d.why is not None)]:
                subject = draft.stand.subject
                digest, seen = first[subject]
                if answer is not None and self._agrees(draft, answer):
                    continue
                if now[subject] != draft.stand.seq or draft.digest != digest or self._on_its_way(draft.stand):
                    self.part.moved += 1
                elif answer is None:
                    self._differ(draft, Kind.MISSING if seen is None else Kind.STALE, (), draft.why or "")
                else:
                    self._judged(draft, answer, subject in behind, await self._also(subject, answer))
        await self._strangers()
        if self._mute is not None:
            self.part.how = _MUTE.format(reason=self._mute)
        self.part.notes += [f"{count} documents: {told}" for told, count in self._altered.most_common(_MOST)]
        self.part.agreed = self.part.looked - len(self.differences) - self.part.moved - self.part.untold

    def _on_its_way(self, stand: ComparedSubject) -> bool:
        return stand.state != State.AGREED and stand.since >= self._began

    async def _also(self, subject: str, answer: ReadBack) -> str:
        """Another subject that the target holds the same document for; empty if there is none."""
        if not isinstance(answer, Held):
            return ""
        asked = "SELECT subject FROM ours WHERE subject <> ? AND ref = ? AND document IS NOT NULL ORDER BY subject LIMIT 1"
        found = await self._scratch.rows(asked, subject, answer.ref)
        return str(found[0][0]) if found else ""

    def _judged(self, draft: _Draft, answer: ReadBack, behind: bool, also: str) -> None:
        stand = draft.stand
        if isinstance(answer, Untold) and self._mute is None:
            self.part.untold += 1
            _once(self.part.notes, f"the target could not say what it holds: {answer.reason}")
            return
        if isinstance(answer, Untold):
            confirmed = unpack(stand.document) if stand.document else None
            held = confirmed.body if confirmed and stand.digest is not None else None
            behind = True
        else:
            held = answer.body if isinstance(answer, Held) else None
        if held is None:
            self._differ(draft, Kind.MISSING, (), _why(stand))
        elif also and stand.state == State.AGREED:
            fields = differing(held, draft.document.body if draft.document else {})
            self._differ(draft, Kind.DIFFERENT, fields, _BOTH.format(also))
        elif also:
            self._differ(draft, Kind.MISSING, (), f"{_why(stand)}; the target holds it for {also}")
        elif draft.document is None:
            self._differ(draft, Kind.EXTRA, (), _why(stand))
        else:
            kind = Kind.STALE if behind else Kind.DIFFERENT
            why = _why(stand) if behind else _changed(stand, held, draft.document)
            self._differ(draft, kind, differing(held, draft.document.body), why)

    async def _behind(self, drafts: Sequence[_Draft]) -> set[str]:
        """Of subjects that differ, those whose target holds just what it confirmed last: they are merely behind."""
        old = [
            _Draft(d.stand, unpack(d.stand.document), d.refs)
            for d in drafts
            if d.stand.document and d.document is not None and d.digest != d.stand.digest
        ]
        return {
            d.stand.subject
            async for d, a in self._answers(old)
            if isinstance(a, Held) and d.document is not None and a.body == d.document.body
        }

    async def _strangers(self) -> None:
        """List once more what no subject stands for, and look for it among what was confirmed meanwhile."""
        if not isinstance(self._target, Inventory) or not await self._scratch.count(
            "SELECT count(*) FROM suspects WHERE side = 'stranger'"
        ):
            return
        async for page in self._target.holdings():
            rows = [(2, h.ref, h.kind, h.number, _sorted(h.refers)) for h in page]
            await self._scratch.put(
                "INSERT OR IGNORE INTO strangers SELECT ?1, ?2, ?3, ?4, ?5 "
                "WHERE EXISTS (SELECT 1 FROM suspects WHERE side = 'stranger' AND key = ?2)",
                rows,
            )
        async for refs in self._scratch.suspects("stranger"):
            asked = "SELECT * FROM strangers WHERE look = 2 AND ref IN (SELECT value FROM json_each(?))"
            there = {ref: like for _, ref, *like in await self._scratch.among(asked, refs)}
            ours = await comparing.refs_among(self._store, self._flow.name, list(there))
            for ref in refs:
                if ref not in there or ref in ours:
                    self.part.looked -= ref not in there
                    continue
                kind, number, refers = there[ref]
                found = await self._scratch.rows(_LIKE, kind, number, refers)
                why = f"a second one of this number: {found[0][0]} is the first" if found else _NOBODYS
                self.differences.append(Disagreement(Where.CLOUD, Kind.EXTRA, ref, kind, (), why))

    # -- asking --------------------------------------------------------------------------------------------------

    async def _answers(self, drafts: Sequence[_Draft]) -> AsyncIterator[tuple[_Draft, ReadBack]]:
        size = self._target.limits.batch
        for start in range(0, len(drafts), size):
            batch = drafts[start : start + size]
            if self._mute is not None:
                answers: Sequence[ReadBack] = [Untold(self._mute)] * len(batch)
            else:
                answers = await self._target.read_back([d.write for d in batch])
            silent = [a.reason for a in answers if isinstance(a, Untold)]
            if len(silent) == len(batch) and not isinstance(self._target, Inventory):
                self._mute = silent[0]
            for pair in zip(batch, answers, strict=True):
                yield pair

    def _agrees(self, draft: _Draft, answer: ReadBack) -> bool:
        match answer:
            case Held(body):
                return draft.document is not None and body == draft.document.body
            case Absent():
                return draft.document is None
            case Untold():
                return self._mute is not None and draft.digest == draft.stand.digest

    def _differ(self, draft: _Draft, kind: Kind, fields: tuple[str, ...], why: str) -> None:
        what = draft.document.kind if draft.document else entity_of(draft.stand.subject)
        self.differences.append(Disagreement(Where.CLOUD, kind, draft.stand.subject, what, fields, why))

    async def _drafts(self, stands: Sequence[ComparedSubject]) -> list[_Draft]:
        made = await drafts(self._flow, self._ledger, [stand.subject for stand in stands], self._today)
        return [_of(stand, each) for stand, each in zip(stands, made, strict=True)]

    async def _stands(self) -> AsyncIterator[list[ComparedSubject]]:
        after = ""
        while rows := await comparing.subjects_after(self._store, self._flow.name, after, PAGE):
            after = rows[-1].subject
            yield rows

    async def _stand_of(self, subjects: Sequence[str]) -> list[ComparedSubject]:
        return await comparing.subjects_of(self._store, self._flow.name, subjects)


_MOST = 20  # kinds of findings that are named
_LIKE = "SELECT seen FROM ours WHERE kind = ?1 AND number = ?2 AND seen <> '' AND (refers = ?3 OR '{}' IN (refers, ?3))"
_BOTH = "{} has the same document there, which can be one of the two: the second is parked when its flow starts again"
_NOBODYS = "no subject of this flow stands for it"
_LISTED = "read back: the target listed all that it holds"
_ASKED = "read back: the target was asked for every subject"
_MUTE = (
    "not read back ({reason}): held against what the target last confirmed; what changed there since nobody can tell"
)


def _of(stand: ComparedSubject, made: Draft) -> _Draft:
    why = made.fault if made.missing is None else f"waits for {made.missing}, which the target does not hold"
    return _Draft(stand, made.document, made.refs, made.digest, why)


def _row(draft: _Draft) -> tuple[Any, ...]:
    stand, document = draft.stand, draft.document
    like = document or (unpack(stand.document) if stand.document else None)
    packed = pack(document) if document and draft.why is None else None
    return (
        stand.subject, like.kind if like else None, like.number if like else None, _sorted(draft.refs or {}), stand.ref,
        draft.digest, packed, stand.document, draft.why, None,
    )  # fmt: skip


def _sorted(refers: Mapping[str, str]) -> str:
    return json.dumps(dict(sorted(refers.items())))


def _once(notes: list[str], note: str) -> None:
    if note not in notes:
        notes.append(note)


def _changed(stand: ComparedSubject, held: Body, document: Document) -> str:
    told = told_by(stand.reason)
    if told is None:
        return "somebody changed it there: `ironbridge replay --rewrite` puts it right"
    return f"{told}; it holds {held_otherwise(document.body, held)} otherwise"


def _why(stand: ComparedSubject) -> str:
    match stand.state:
        case State.DIRTY | State.SENDING:
            return f"it is still to be written{': ' + stand.reason if stand.reason else ', or its flow is paused or stopped'}"
        case State.PARKED | State.WAITING | State.DROPPED:
            return f"{stand.state}: {stand.reason or 'see `ironbridge explain`'}"
        case _ if stand.digest is None:
            return "the flow has not looked at it since: `ironbridge replay`"
        case _:
            return (
                "it was confirmed, and somebody changed that there since: `ironbridge replay --rewrite` puts it right"
            )
