"""
This module reads what the state tells: how the streams and flows stand, what is parked and why, what a flow would
write, a record's story.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic_core import from_json

from canonical import ENTITIES
from canonical.entity import Sensitivity, classified
from canonical.errors import shape_of
from canonical.key import entity_of, key_as_written, key_of
from canonical.turns import in_turns
from flows.engine.agree import Agreement
from flows.engine.ledger import State
from flows.port import Document
from ironbridge.kafka import hidden
from ironbridge.store import Store, StoredLedger, extracts, traffic
from ironbridge.store import standing as stands
from ironbridge.store import story as stories
from ironbridge.store.extracts import ReadExtract
from ironbridge.store.history import plainly
from ironbridge.store.standing import FlowBrief, FlowStanding, StreamStanding, StuckRecord, Unwritten
from ironbridge.store.story import KnownVersion, OwnedRecord, PublishedRecord, SubjectStory

HIDDEN = "•••"
REREADING = "the state was lost or is old: the flow reads the missing events again, then delivers"
REOPENING = "the flow looks at all its subjects again, because another edition was opened"
STANDING_BY = "a worker of another release stands by; it takes over once the others have stopped"

F = TypeVar("F", bound=FlowBrief)


async def streams(store: Store) -> list[StreamStanding]:
    """
    Each stream: its living and its quarantined records, all events ever published, when it was last read to its end, and its
    trouble, if any.
    """
    return await stands.streams(store)


async def files(store: Store, part: str, most: int) -> list[ReadExtract]:
    """
    The files of a stream (`adapter.stream`) that were read last, and what each of them held besides its records, or why it was
    refused. A file stays in the list after it was moved away, as its records do; one that takes its place takes its row, too. A
    refused file that was taken away is forgotten.
    """
    return await extracts.newest(store, part, most)


async def flows(store: Store) -> list[FlowStanding]:
    """
    Each flow: its subjects by state, its records that are no events, how long the oldest dirty subject has waited, its
    trouble, and for how many seconds the target still wants silence.
    """
    return await _troubled(store, await stands.flows(store))


async def standing(store: Store) -> list[FlowBrief]:
    """Each flow in brief, cheap enough to be asked often: what is the matter, subjects to do, how long the oldest has waited."""
    return await _troubled(store, await stands.briefs(store))


async def _troubled(store: Store, every: Sequence[F]) -> list[F]:
    """Hidden events are the trouble of a flow that has no other."""
    hides = await stands.hidden_events(store)
    return [_with_trouble(each, [events for events in hides if events.flow == each.flow]) for each in every]


def _with_trouble(brief: F, hides: Sequence[stands.HiddenEvents]) -> F:
    return replace(brief, error=hidden.said(hides)) if hides and not brief.error else brief


def silence(flow: str, seconds: float) -> str:
    """The text that says until when a target wants silence, and how to lift it."""
    until = f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S UTC}"
    return f"the target asked for silence until {until}; `ironbridge release {flow} --why …` lifts it"


async def lag(store: Store, flow: str, topics: Sequence[str]) -> int:
    """
    Tell how many offsets of these topics a flow has not taken in, as the state knows what was published. An offset is
    an event or the marker behind a transaction, so it is an upper bound that is 0 when nothing is left.
    """
    behind, ends = await traffic.taken_in(store, flow), await traffic.published(store)
    return sum(max(end - behind.get(place, 0), 0) for place, end in ends.items() if place[0] in topics)


async def oldest(store: Store, most: int = 10) -> list[Unwritten]:
    """The subjects that have waited longest to be written."""
    return await stands.oldest(store, most)


async def parked(store: Store, key: str | None = None) -> list[StuckRecord]:
    """Return what does not get on by itself: parked and waiting subjects, quarantined rows, records that are no events."""
    async with store.read() as connection:
        return await stands.stuck(connection, key)


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field of a document that differs, by its path; a value is None where there is none."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Change:
    """
    A change says what a flow would do for one subject: `create`, `update`, `remove`, `wait` or `refuse`, and which
    fields change.
    """

    subject: str
    action: str
    fields: Sequence[FieldChange]
    reason: str = ""

    def shown(self, *, reveal: bool) -> Change:
        """The same for a person's eyes: values are texts, by their shape only unless the person may see them."""
        seen = [FieldChange(f.path, shown(f.before, reveal=reveal), shown(f.after, reveal=reveal)) for f in self.fields]
        return replace(self, fields=seen)


async def plan(agreement: Agreement, ledger: StoredLedger) -> AsyncIterator[Change]:
    """Every subject that the target does not agree with, as far as is known, and what would be written. Writes nothing."""
    async for tasks in ledger.every():
        settled, wanted = await agreement.consider(tasks)
        for each in settled:
            if each.state in (State.PARKED, State.WAITING):
                action = "refuse" if each.state is State.PARKED else "wait"
                yield Change(each.task.subject, action, [], each.reason or "")
        async for want in in_turns(wanted):
            before, after = want.write.confirmed, want.write.document
            action = "remove" if after is None else "update" if before else "create"
            yield Change(want.task.subject, action, differences(before, after))


async def has_subjects(ledger: StoredLedger) -> bool:
    """Tell whether the flow has taken in anything yet."""
    async for _ in ledger.every():
        return True
    return False


def differences(before: Document | None, after: Document | None) -> list[FieldChange]:
    """The fields that differ."""
    had, has = dict(_leaves(before.body if before else {})), dict(_leaves(after.body if after else {}))
    paths = list(dict.fromkeys([*had, *has]))
    return [FieldChange(path, had.get(path), has.get(path)) for path in paths if had.get(path) != has.get(path)]


def differing(had: Any, has: Any) -> tuple[str, ...]:
    """The names of the fields in which two JSON values differ, by their paths."""
    before, after = dict(_leaves(had)), dict(_leaves(has))
    paths = [path for path in dict.fromkeys([*before, *after]) if before.get(path) != after.get(path)]
    return tuple(paths) or (() if had == has else ("an empty list or block",))


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for k, v in value.items() for leaf in _leaves(v, f"{path}.{k}" if path else str(k))]
    if isinstance(value, list):
        return [leaf for i, v in enumerate(value) for leaf in _leaves(v, f"{path}[{_identity(v, i)}]")]
    return [(path, value)]


def _identity(item: Any, index: int) -> str:
    """Name an item of a list: by its own id where it has one, so that an insertion does not shift the others."""
    if isinstance(item, dict):
        return next((str(v) for k, v in item.items() if k.endswith("_id")), str(index))
    return str(index)


async def find(store: Store, words: str, most: int = 50) -> list[str]:
    """
    The keys of what somebody may mean: a key or the end of one, an NHS number, a UPN, a supplier's or an invoice's number,
    or a target's own id of it. All by indexes; what was looked for goes nowhere.
    """
    words = words.strip()
    guesses = [words]
    for adapter in await stories.adapters(store):
        for entity in ENTITIES:
            # What somebody types may be the system's own number, or the end of a key as the console shows it.
            guesses += {key_of(adapter, entity, words), key_as_written(adapter, entity, words)}
    keys = await stories.named(store, guesses, plainly(words), [words, words.lower()], most)
    # One number may be that of a person and of somebody's episode. Entities that people look up by numbers of their own go first.
    return sorted(keys, key=lambda key: (not _looked_up(key), key))


def _looked_up(key: str) -> bool:
    entity = ENTITIES.get(entity_of(key))
    return entity is not None and bool(entity.known_by)


@dataclass(frozen=True, slots=True)
class Version:
    """
    One version of a record, for a person's eyes; `at` is when it was observed (seconds since 1970).

    `fields` are masked, None where the version is a deletion. `changed` names the fields in which it differs from the version
    before it, None where there is none to compare with.
    """

    entity: str
    owner: str | None
    version: int
    at: float
    traceparent: str | None
    fields: Mapping[str, Any] | None
    changed: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """
    All that is known of one record. `published`: as its adapters know it; `facts`: its newest version, if there is any;
    `versions`: all that are kept, oldest first, the newest included; `subjects`: what each flow made of it; `owns`: what
    belongs to it; `stuck`: where it does not get on.
    """

    key: str
    published: Sequence[PublishedRecord] = ()
    facts: Sequence[Version] = ()
    versions: Sequence[Version] = ()
    subjects: Sequence[SubjectStory] = ()
    owns: Sequence[OwnedRecord] = ()
    stuck: Sequence[StuckRecord] = ()


async def story(store: Store, key: str, *, reveal: bool = False) -> Story:
    """
    All that is known of one record: every version as read and which fields changed, oldest first; as published; what each
    flow made of it, with every attempt; what it owns. Personal fields are masked.
    """
    told = await stories.story(store, key)
    facts = [_version(each, _content(each), reveal=reveal) for each in told.facts]
    versions = _versions([*told.versions, *told.facts], reveal=reveal)
    return Story(key, told.published, facts, versions, told.subjects, told.owns, told.stuck)


def _versions(found: Sequence[KnownVersion], *, reveal: bool) -> list[Version]:
    """Versions as they were read, each with the names of the fields in which it differs from the one before that is kept."""
    told: list[Version] = []
    before = None
    for each in found:
        now = _content(each)
        # Versions grow with gaps, so compare with the version that was kept last; behind a deletion there is none.
        changed = None if before is None else list(differing(before, now or {}))
        told.append(_version(each, now, changed, reveal=reveal))
        before = now
    return told


def _content(of: KnownVersion) -> dict[str, Any] | None:
    return None if of.data is None else from_json(of.data)


def _version(
    found: KnownVersion, content: dict[str, Any] | None, changed: list[str] | None = None, *, reveal: bool
) -> Version:
    seen = None if content is None else masked(found.entity, content, reveal=reveal)
    return Version(found.entity, found.owner, found.version, found.at, found.traceparent, seen, changed)


def masked(entity: str, fields: dict[str, Any], *, reveal: bool = False) -> dict[str, Any]:
    """An entity's fields with all that is not plain hidden; a hidden field still shows that it is there."""
    if reveal or entity not in ENTITIES:
        return fields if reveal else dict.fromkeys(fields, HIDDEN)
    plain = {path for path, kind in classified(ENTITIES[entity]) if kind is Sensitivity.PLAIN}
    shown: dict[str, Any] = _mask(fields, plain, "")
    return shown


def _mask(value: Any, plain: set[str], path: str) -> Any:
    if isinstance(value, dict):
        return {k: _mask(v, plain, f"{path}.{k}" if path else k) for k, v in value.items()}
    if isinstance(value, list):
        return [_mask(v, plain, path + "[]") for v in value] if value and isinstance(value[0], dict) else (
            value if path in plain else [HIDDEN] * len(value)
        )  # fmt: skip
    return value if path in plain else HIDDEN


def shown(value: Any, *, reveal: bool) -> str:
    """A document's value for a person's eyes: its shape unless they may see it."""
    if value is None:
        return "—"
    return str(value) if reveal or isinstance(value, bool) else shape_of(value)
