"""What the state tells: how the streams and flows stand, what is parked and why, what a flow would write, a record's story."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import from_json

from canonical import ENTITIES
from canonical.entity import Sensitivity, classified
from canonical.errors import shape_of
from canonical.key import entity_of, key_as_written, key_of
from flows.engine.agree import Agreement, unpack
from flows.engine.ledger import HOLD, State
from flows.port import Document
from ironbridge.kafka import hidden
from ironbridge.store import Store, StoredLedger, traffic
from ironbridge.store import standing as stands
from ironbridge.store import story as stories
from ironbridge.store.history import plainly

Row = dict[str, Any]
HIDDEN = "•••"
REREADING = "the state was lost or is old: the flow reads the missing events again, then delivers"
REOPENING = "the flow looks at all its subjects again, because another edition was opened"
STANDING_BY = "a worker of another release stands by; it takes over once the others have stopped"


async def streams(store: Store) -> list[Row]:
    """
    Each stream: its living and its quarantined records, all events ever published, when it was last read to its end, and its
    trouble, if any.
    """
    every = await stands.streams(store)
    now, rows = store.clock(), []  # asked after the first read, which tells the store's clock
    for found in every:
        row = found._asdict()
        looked = row.pop("looked")
        row["seconds_since_read"] = None if looked is None else round(now - looked, 1)
        row["reading"] = row.pop("after") is not None
        row["paused"] = bool(found.paused)
        rows.append(row)
    return rows


async def flows(store: Store) -> list[Row]:
    """
    Each flow: its subjects by state, its records that are no events, how long the oldest dirty subject has waited, its
    trouble, and for how many seconds the target still wants silence.
    """
    rows = await standing(store)
    counts, rejected = await stands.subjects(store), await stands.rejects(store)
    for row in rows:
        mine = [count for count in counts if count.flow == row["flow"]]
        row["held"] = sum(count.held for count in mine)
        row["rejected"] = rejected.get(row["flow"], 0)
        for state in State:
            row[state.value] = sum(count.subjects for count in mine if count.state == state)
        row["todo"] = row["dirty"] + row["sending"]
    return rows


async def standing(store: Store) -> list[Row]:
    """Each flow in brief, cheap enough to be asked often: what is the matter, subjects to do, how long the oldest has waited."""
    every, hides = await stands.flows(store), await stands.hidden_events(store)
    now = store.clock()
    return [_brief(found, [each for each in hides if each.flow == found.flow], now) for found in every]


def _brief(found: stands.FlowStanding, hides: Sequence[stands.HiddenEvents], now: float) -> Row:
    """A flow in brief. Hidden events are its trouble where it has no other."""
    left = (found.silent_until or 0.0) - now
    return {
        "flow": found.flow,
        "paused": bool(found.paused),
        "error": found.error or (hidden.said([each._asdict() for each in hides]) if hides else found.error),
        "todo": found.todo,
        "reopening": bool(found.reopening),
        "standby": found.standby is not None and now - found.standby < HOLD,
        "rereading": bool(found.rereading),
        "seconds_waiting": None if found.oldest is None else round(now - found.oldest, 1),
        "seconds_silent": round(left, 1) if left > 0 else None,
    }


def silence(flow: str, seconds: float) -> str:
    """The text that says until when a target wants silence, and how to lift it."""
    until = f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S UTC}"
    return f"the target asked for silence until {until}; `ironbridge release {flow} --why …` lifts it"


async def lag(store: Store, flow: str, topics: Sequence[str]) -> int:
    """
    How many offsets of these topics a flow has not taken in, as the state knows what was published. An offset is an event or
    the marker behind a transaction, so it is an upper bound that is 0 when nothing is left.
    """
    behind, ends = await traffic.taken_in(store, flow), await traffic.published(store)
    return sum(max(end - behind.get(place, 0), 0) for place, end in ends.items() if place[0] in topics)


async def oldest(store: Store, most: int = 10) -> list[Row]:
    """The subjects that have waited longest to be written: flow, subject, attempts, and for how many seconds."""
    every = await stands.oldest(store, most)
    now = store.clock()
    return [
        {"flow": each.flow, "subject": each.subject, "attempts": each.attempts, "seconds": max(now - each.since, 0.0)}
        for each in every
    ]


async def parked(store: Store, key: str | None = None) -> list[Row]:
    """What does not get on by itself: parked and waiting subjects, quarantined rows, records that are no events."""
    async with store.read() as connection:
        return [each._asdict() for each in await stands.stuck(connection, key)]


@dataclass(frozen=True, slots=True)
class Change:
    """What a flow would do for one subject: `create`, `update`, `remove`, `wait` or `refuse`, and which fields change."""

    subject: str
    action: str
    fields: list[tuple[str, Any, Any]]
    reason: str = ""


async def plan(agreement: Agreement, ledger: StoredLedger) -> AsyncIterator[Change]:
    """Every subject that the target does not agree with, as far as is known, and what would be written. Writes nothing."""
    async for tasks in ledger.every():
        settled, wanted = await agreement.consider(tasks)
        for each in settled:
            if each.state in (State.PARKED, State.WAITING):
                action = "refuse" if each.state is State.PARKED else "wait"
                yield Change(each.task.subject, action, [], each.reason or "")
        for want in wanted:
            before, after = want.write.confirmed, want.write.document
            action = "remove" if after is None else "update" if before else "create"
            yield Change(want.task.subject, action, differences(before, after))


def differences(before: Document | None, after: Document | None) -> list[tuple[str, Any, Any]]:
    """The fields that differ: path, value before, value after; None where there is none."""
    had, has = dict(_leaves(before.body if before else {})), dict(_leaves(after.body if after else {}))
    paths = list(dict.fromkeys([*had, *has]))
    return [(path, had.get(path), has.get(path)) for path in paths if had.get(path) != has.get(path)]


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
    """What an item of a list is called: its own id where it has one, so that an insertion does not shift the others."""
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


async def story(store: Store, key: str, *, reveal: bool = False) -> Row:
    """
    All that is known of one record: every version as read and which fields changed, oldest first; as published; what each
    flow made of it, with every attempt; what it owns. Personal fields are masked.
    """
    told = await stories.story(store, key)
    return {
        "key": key,
        "published": [each._asdict() for each in told.published],
        "facts": [_fact(each, reveal=reveal) for each in told.facts],
        "versions": _versions([*told.versions, *told.facts], reveal=reveal),
        "subjects": [_subject(each) for each in told.subjects],
        "owns": [each._asdict() for each in told.owns],
        "stuck": [each._asdict() for each in told.stuck],
    }


def _fact(found: stories.KnownVersion, *, reveal: bool) -> Row:
    row = found._asdict()
    data = row.pop("data")
    return row | {"fields": None if data is None else masked(found.entity, from_json(data), reveal=reveal)}


def _subject(found: stories.SubjectStory) -> Row:
    document = unpack(found.document) if found.document else None
    return found._asdict() | {
        "document": None if document is None else {"kind": document.kind, "number": document.number},
        "tries": [each._asdict() for each in found.tries],
    }


def _versions(found: Sequence[stories.KnownVersion], *, reveal: bool) -> list[Row]:
    """Versions as they were read, each with the names of the fields in which it differs from the one before that is kept."""
    rows, before = [], None
    for each in found:
        row = each._asdict()
        del row["owner"], row["data"]
        now = None if each.data is None else from_json(each.data)
        # Versions grow with gaps, so compare with the version that was kept last; behind a deletion there is none.
        row["changed"] = None if before is None else list(differing(before, now or {}))
        row["fields"] = None if now is None else masked(each.entity, now, reveal=reveal)
        rows.append(row)
        before = now
    return rows


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
