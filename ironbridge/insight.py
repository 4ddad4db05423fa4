"""What the state tells: how the streams and flows stand, what is parked and why, what a flow would write, a record's story."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import from_json
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical import ENTITIES
from canonical.entity import Sensitivity, classified
from canonical.errors import shape_of
from canonical.key import entity_of, key_as_written, key_of
from flows.agree import Agreement, unpack
from flows.ledger import HOLD, State
from flows.port import Document, Fact, Grouping
from ironbridge import hidden
from ironbridge.store import Store, StoredLedger
from ironbridge.store.bulk import among, values
from ironbridge.store.history import plainly

Row = dict[str, Any]
HIDDEN = "•••"
REREADING = "the state was lost or is old: the flow reads the missing events again, then delivers"
_SILENT = "(SELECT b.held FROM budgets b WHERE b.target = f.name) AS silent_until"
REOPENING = "the flow looks at all its subjects again, because another edition was opened"
STANDING_BY = "a worker of another release stands by; it takes over once the others have stopped"
_AGAIN = (
    "f.reopened IS NOT NULL AS reopening, f.standby, "
    "EXISTS (SELECT 1 FROM ingested i WHERE i.flow = f.name AND i.again IS NOT NULL) AS rereading"
)


async def _rows(store: Store, sql: str, **bound: Any) -> list[Row]:
    async with store.read() as connection:
        return await _asked(connection, sql, **bound)


async def _asked(connection: AsyncConnection, sql: str, **bound: Any) -> list[Row]:
    return [dict(row) for row in (await connection.execute(text(sql), bound)).mappings()]


async def streams(store: Store) -> list[Row]:
    """
    Each stream: its living and its quarantined records, all events ever published, when it was last read to its end, and its
    trouble, if any.
    """
    rows = await _rows(
        store,
        "SELECT s.adapter, s.name AS stream, s.sweep, s.read, s.held, s.error, s.paused, s.looked, s.after, s.events, "
        "COALESCE(r.live, 0) AS records, "
        "(SELECT count(*) FROM problems p WHERE p.stream = s.id) AS quarantined FROM streams s LEFT JOIN "
        "(SELECT stream, count(CASE WHEN version > 0 AND NOT deleted THEN 1 END) AS live "
        "FROM records GROUP BY stream) AS r ON r.stream = s.id ORDER BY s.adapter, s.name",
    )
    now = store.clock()
    for row in rows:
        looked = row.pop("looked")
        row["seconds_since_read"] = None if looked is None else round(now - looked, 1)
        row["reading"] = row.pop("after") is not None
        row["paused"] = bool(row["paused"])
    return rows


async def flows(store: Store) -> list[Row]:
    """
    Each flow: its subjects by state, its records that are no events, how long the oldest dirty subject has waited, its
    trouble, and for how many seconds the target still wants silence.
    """
    rows = await _rows(store, f"SELECT f.name AS flow, f.paused, f.error, {_AGAIN} FROM flows f ORDER BY f.name")  # noqa: S608
    counts = await _rows(
        store, "SELECT flow, state, count(*) AS n, count(digest) AS held FROM subjects GROUP BY flow, state"
    )
    rejected = await _rows(store, "SELECT flow, count(*) AS n FROM rejects GROUP BY flow")
    brief = {row["flow"]: row for row in await standing(store)}
    await _uncover(store, rows)
    for row in rows:
        _told_of_editions(row, store.clock())
        found = brief.get(row["flow"], {})
        row["seconds_waiting"], row["seconds_silent"] = found.get("seconds_waiting"), found.get("seconds_silent")
        row["held"] = sum(c["held"] for c in counts if c["flow"] == row["flow"])
        row["rejected"] = sum(r["n"] for r in rejected if r["flow"] == row["flow"])
        for state in State:
            row[state.value] = sum(c["n"] for c in counts if c["flow"] == row["flow"] and c["state"] == state)
        row["todo"] = row["dirty"] + row["sending"]
    return rows


async def standing(store: Store) -> list[Row]:
    """Each flow in brief, cheap enough to be asked often: what is the matter, subjects to do, how long the oldest has waited."""
    rows = await _rows(
        store,
        "SELECT f.name AS flow, f.paused, f.error, (SELECT count(*) FROM subjects s WHERE s.flow = f.name AND "  # noqa: S608
        "s.state IN ('dirty', 'sending')) AS todo, (SELECT min(since) FROM subjects s WHERE s.flow = f.name AND "
        f"s.state IN ('dirty', 'sending')) AS oldest, {_SILENT}, {_AGAIN} FROM flows f ORDER BY f.name",
    )
    await _uncover(store, rows)
    now = store.clock()
    for row in rows:
        oldest = row.pop("oldest")
        row["seconds_waiting"] = None if oldest is None else round(now - oldest, 1)
        left = (row.pop("silent_until") or 0.0) - now
        row["seconds_silent"] = round(left, 1) if left > 0 else None
        _told_of_editions(row, now)
    return rows


def silence(flow: str, seconds: float) -> str:
    """The text that says until when a target wants silence, and how to lift it."""
    until = f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S UTC}"
    return f"the target asked for silence until {until}; `ironbridge release {flow} --why …` lifts it"


async def _uncover(store: Store, rows: Sequence[Row]) -> None:
    """Report hidden events on flows that have no other trouble."""
    found = await _rows(
        store,
        'SELECT flow, topic, "partition", hidden, hidden_since FROM ingested '
        'WHERE hidden > 0 ORDER BY hidden_since, topic, "partition"',
    )
    for row in rows:
        if not row["error"] and (hides := [each for each in found if each["flow"] == row["flow"]]):
            row["error"] = hidden.said(hides)


def _told_of_editions(row: Row, now: float) -> None:
    standby = row["standby"]
    row["standby"] = standby is not None and now - standby < HOLD
    for word in ("paused", "rereading", "reopening"):
        row[word] = bool(row[word])


async def lag(store: Store, flow: str, topics: Sequence[str]) -> int:
    """
    How many offsets of these topics a flow has not taken in, as the state knows what was published. An offset is an event or
    the marker behind a transaction, so it is an upper bound that is 0 when nothing is left.
    """
    published = await _rows(
        store, 'SELECT topic, "partition", max(next) AS next FROM offsets GROUP BY topic, "partition"'
    )
    taken = await _rows(store, 'SELECT topic, "partition", next FROM ingested WHERE flow = :flow', flow=flow)
    stands = {(row["topic"], row["partition"]): row["next"] for row in taken}
    behind = [
        row["next"] - stands.get((row["topic"], row["partition"]), 0) for row in published if row["topic"] in topics
    ]
    return sum(max(each, 0) for each in behind)


async def oldest(store: Store, most: int = 10) -> list[Row]:
    """The subjects that have waited longest to be written: flow, subject, attempts, and for how many seconds."""
    rows = await _rows(
        store,
        "SELECT flow, subject, attempts, since FROM subjects WHERE state IN ('dirty', 'sending') ORDER BY since LIMIT :most",
        most=most,
    )
    now = store.clock()
    for row in rows:
        row["seconds"] = max(now - row.pop("since"), 0.0)
    return rows


async def parked(store: Store, key: str | None = None) -> list[Row]:
    """What does not get on by itself: parked and waiting subjects, quarantined rows, records that are no events."""
    async with store.read() as connection:
        return await _parked(connection, key)


async def _parked(connection: AsyncConnection, key: str | None) -> list[Row]:
    bound = {} if key is None else {"key": key}
    subject, row, place = (
        ("", "", "") if key is None else ("AND s.subject = :key", "WHERE p.key = :key", "WHERE place = :key")
    )
    return await _asked(
        connection,
        "SELECT part, key, state, reason, since, cause FROM ("  # noqa: S608 (our own words)
        # Through the flows, so that one key is found in the index, whatever flow has it.
        "SELECT 0 AS kind, s.flow AS part, s.subject AS key, s.state, s.reason, s.since, s.cause FROM flows f "
        f"JOIN subjects s ON s.flow = f.name WHERE s.state IN ('parked', 'waiting', 'dropped') {subject} "
        "UNION ALL SELECT 1, s.adapter || '.' || s.name, p.key, 'quarantined', p.what, p.since, p.cause FROM problems p "
        f"JOIN streams s ON s.id = p.stream {row} "
        f"UNION ALL SELECT 2, flow, place, 'rejected', what, since, cause FROM rejects {place}"
        ") AS stuck ORDER BY kind, part, key",
        **bound,
    )


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
    adapters = await _rows(store, "SELECT DISTINCT adapter FROM streams")
    guesses = [words]
    for row in adapters:
        for entity in ENTITIES:
            # What somebody types may be the system's own number, or the end of a key as the console shows it.
            guesses += {key_of(row["adapter"], entity, words), key_as_written(row["adapter"], entity, words)}
    async with store.read() as connection:
        found = await connection.execute(
            text(
                f"SELECT key FROM facts WHERE {among(connection, 'key', 'guesses')} "  # noqa: S608 (our own words)
                "UNION SELECT r.key FROM streams s JOIN records r ON r.stream = s.id "
                f"WHERE {among(connection, 'r.key', 'guesses')} "
                "UNION SELECT p.key FROM streams s JOIN problems p ON p.stream = s.id "
                f"WHERE {among(connection, 'p.key', 'guesses')} "
                "UNION SELECT key FROM identifiers WHERE value = :plainly "
                "UNION SELECT s.subject FROM flows f JOIN subjects s ON s.flow = f.name "
                f"WHERE {among(connection, 's.subject', 'guesses')} "
                "UNION SELECT s.subject FROM flows f JOIN subjects s ON s.flow = f.name AND s.ref IS NOT NULL "
                f"WHERE {among(connection, 's.ref', 'ids')} ORDER BY 1 LIMIT :most"
            ),
            {
                "guesses": values(connection, guesses), "plainly": plainly(words), "most": most,
                "ids": values(connection, [words, words.lower()]),
            },
        )  # fmt: skip
        keys = [str(key) for (key,) in found]
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
    async with store.read() as connection:
        return await _told(connection, key, reveal=reveal)


async def _told(connection: AsyncConnection, key: str, *, reveal: bool) -> Row:
    published = await _asked(
        connection,
        'SELECT s.adapter, s.name AS stream, r.entity, r.owner, r.version, r.deleted, r.topic, r.partition, r."offset" '
        "FROM streams s JOIN records r ON r.stream = s.id WHERE r.key = :key",
        key=key,
    )
    read = await _asked(
        connection,
        "SELECT 0 AS now, entity, NULL AS owner, version, at, data, traceparent FROM versions WHERE key = :key "
        "UNION ALL SELECT 1, entity, owner, version, at, data, traceparent FROM facts WHERE key = :key ORDER BY now, version",
        key=key,
    )
    facts = [dict(row) for row in read if row.pop("now")]
    versions = _versions([{k: v for k, v in row.items() if k != "owner"} for row in read], reveal=reveal)
    for fact in facts:
        data = fact.pop("data")
        fact["fields"] = None if data is None else masked(fact["entity"], from_json(data), reveal=reveal)
    named = Fact("", key, facts[0]["owner"] if facts else key, 0, b"")
    subjects = await _asked(
        connection,
        "SELECT flow, subject, state, reason, changes, attempts, ref, confirmed, "  # noqa: S608 (our own words)
        "digest IS NOT NULL AS held, document "
        f"FROM flows f JOIN subjects s ON s.flow = f.name WHERE {among(connection, 's.subject', 'subjects')} "
        "ORDER BY flow, subject",
        subjects=values(connection, sorted(Grouping.subjects_of(named))),
    )
    # What a flow makes of its owner is the story of what it owns only where the flow writes them as one.
    alone = {subject["flow"] for subject in subjects if subject["subject"] == key}
    subjects = [s for s in subjects if s["subject"] == key or s["flow"] not in alone]
    for subject in subjects:
        packed = subject.pop("document")
        document = unpack(packed) if packed else None
        subject["document"] = None if document is None else {"kind": document.kind, "number": document.number}
        subject["tries"] = await _asked(
            connection,
            "SELECT at, outcome, detail, trace FROM attempts WHERE flow = :flow AND subject = :subject ORDER BY id DESC LIMIT 50",
            flow=subject["flow"],
            subject=subject["subject"],
        )
    owns = await _asked(
        connection,
        "SELECT key, entity, version FROM facts WHERE owner = :key AND key <> :key AND data IS NOT NULL "
        "ORDER BY entity, key LIMIT 200",
        key=key,
    )
    stuck = await _parked(connection, key)
    return {
        "key": key, "published": published, "facts": facts, "versions": versions, "subjects": subjects, "owns": owns,
        "stuck": stuck,
    }  # fmt: skip


def _versions(rows: list[Row], *, reveal: bool) -> list[Row]:
    """Versions as they were read, each with the names of the fields in which it differs from the one before that is kept."""
    before: Any = None
    for row in rows:
        data = row.pop("data")
        now = None if data is None else from_json(data)
        # Versions grow with gaps, so compare with the version that was kept last; behind a deletion there is none.
        row["changed"] = None if before is None else list(differing(before, now or {}))
        row["fields"] = None if now is None else masked(row["entity"], now, reveal=reveal)
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
