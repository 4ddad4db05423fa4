"""
Records that are stuck, grouped by their reason, so that a hundred alike need one decision.

A group holds the records of one part in one state for one cause (see store/causes.py). Groups are counted, and their
records read, from an index, a page at a time, so that 100,000 parked records show at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from ironbridge.operate.insight import Row
from ironbridge.store import Store
from ironbridge.store.bulk import among, postgres, values
from ironbridge.store.causes import STUCK, WAITING, WAITS, bare, cause_of, fill

STATES = {
    "parked": "Parked", "waiting": "Waiting", "dropped": "Given up", "quarantined": "Quarantined", "rejected": "No event",
}  # fmt: skip
ID = re.compile(r"[0-9a-f]{12}")
SHOWN = 50
"""Groups that are shown at a time."""
_TO_DO = ". To do: "
_NEXT = {
    "parked": "Mend the record in the legacy system, or the target's settings; then have it looked at again.",
    "waiting": "Nothing: it goes by itself once the record that it refers to is there. See that one's story.",
    "dropped": "Nothing: it was given up. The next change of its facts brings it back.",
    "quarantined": "Mend the record in the legacy system: it is then published by itself with the next reading.",
    "rejected": "Find out who writes to the topic besides Ironbridge's adapters.",
}
_ORDER = ("parked", "quarantined", "rejected", "waiting", "dropped")
_PIECE = 2000  # records that are read or changed at a time


@dataclass(frozen=True, slots=True)
class Group:
    """
    Records of one part that are in one state for one reason. `rule` names the broken rule, `next` the person's next step.
    There are `count` of them; `example` is the first one's key, `oldest` the time since which the oldest is there (seconds
    since 1970). `rows` are given only if the group was made from rows.
    """

    id: str
    part: str
    state: str
    cause: str
    rule: str
    next: str
    count: int
    example: str
    oldest: float
    rows: tuple[Row, ...] = ()

    @property
    def word(self) -> str:
        return STATES.get(self.state, self.state)

    @property
    def keys(self) -> list[str]:
        return [str(row["key"]) for row in self.rows]


class Listing(NamedTuple):
    """Some groups, the number of all groups, and the number of records in each state."""

    groups: list[Group]
    total: int
    counts: dict[str, int]


class _Table(NamedTuple):
    """The table that holds the records of some states; `part` is the column that names the flow or stream."""

    name: str
    part: str
    key: str
    reason: str
    states: tuple[str, ...]
    parts: str
    where: str


_STUCK = ", ".join(f"'{state}'" for state in STUCK)
_SUBJECTS = _Table("subjects", "flow", "subject", "reason", STUCK, "SELECT name FROM flows", f"state IN ({_STUCK})")
_PROBLEMS = _Table("problems", "stream", "key", "what", ("quarantined",), "SELECT id FROM streams", "1 = 1")
_REJECTS = _Table("rejects", "flow", "place", "what", ("rejected",), "SELECT name FROM flows", "1 = 1")
_TABLES = (_SUBJECTS, _PROBLEMS, _REJECTS)
_COUNTED = (
    "SELECT flow AS part, state, cause, count(*) AS n, min(subject{c}) AS key, min(since) AS since FROM subjects "  # noqa: S608
    f"WHERE state IN ({_STUCK}) AND cause IS NOT NULL GROUP BY flow, state, cause "
    "UNION ALL SELECT s.adapter || '.' || s.name, 'quarantined', p.cause, p.n, p.key, p.since FROM (SELECT stream, cause, "
    "count(*) AS n, min(key{c}) AS key, min(since) AS since FROM problems WHERE cause IS NOT NULL GROUP BY stream, cause) AS p "
    "JOIN streams s ON s.id = p.stream "
    "UNION ALL SELECT flow, 'rejected', cause, count(*), min(place{c}), min(since) FROM rejects WHERE cause IS NOT NULL "
    "GROUP BY flow, cause"
)
_PLACED = "CASE state " + " ".join(f"WHEN '{state}' THEN {n}" for n, state in enumerate(_ORDER)) + " END"


async def groups(store: Store, most: int | None = SHOWN, skip: int = 0) -> Listing:
    """Groups: first the ones that need a person, then the largest first. `most` of them behind `skip`; None for all."""
    await fill(store)
    limit = "" if most is None else f" ORDER BY {_PLACED}, n DESC, part, cause LIMIT :most OFFSET :skip"
    async with store.read() as connection:
        found = await connection.execute(
            text(
                f"WITH counted AS MATERIALIZED ({_counted(connection)}), shown AS (SELECT * FROM counted{limit}) "  # noqa: S608
                "SELECT part, state, cause, n, key, since FROM shown UNION ALL SELECT NULL, state, NULL, "
                "CAST(sum(n) AS bigint), NULL, CAST(count(*) AS double precision) FROM counted GROUP BY state"
            ),
            {} if most is None else {"most": most, "skip": skip},
        )
        every = [dict(row) for row in found.mappings()]
        rows, sums = [row for row in every if row["part"] is not None], [row for row in every if row["part"] is None]
        reasons = await _reasons(connection, rows)
    made = [_group(row, reasons.get((row["part"], row["state"], row["key"])), row["n"]) for row in rows]
    counts = dict.fromkeys(STATES, 0) | {row["state"]: row["n"] for row in sums}
    return Listing(sorted(made, key=_order), sum(int(row["since"]) for row in sums), counts)


def _counted(connection: AsyncConnection) -> str:
    """Compares keys by their bytes: that is faster than by a language's rules, and most keys are alike."""
    return _COUNTED.format(c=' COLLATE "C"' if postgres(connection) else "")


def _order(of: Group) -> tuple[int, int, str, str]:
    return _ORDER.index(of.state), -of.count, of.part, of.cause


async def _reasons(connection: AsyncConnection, rows: Sequence[Row]) -> dict[tuple[str, str, str], str | None]:
    """The reasons of the groups' examples."""
    reasons: dict[tuple[str, str, str], str | None] = {}
    for table in _TABLES:
        state = "t.state" if table is _SUBJECTS else f"'{table.states[0]}'"
        part, joined = f"t.{table.part}", ""
        if table is _PROBLEMS:
            part, joined = "s.adapter || '.' || s.name", " JOIN streams s ON s.id = t.stream"
        keys = sorted({row["key"] for row in rows if row["state"] in table.states})
        for piece in (keys[at : at + _PIECE] for at in range(0, len(keys), _PIECE)):
            found = await connection.execute(
                text(
                    f"SELECT {part}, {state}, t.{table.key}, t.{table.reason} FROM {table.name} t{joined} "  # noqa: S608
                    f"WHERE t.{table.part} IN ({table.parts}) AND {among(connection, f't.{table.key}', 'keys')}"
                ),
                {"keys": values(connection, piece)},
            )
            reasons |= {(part, state, key): reason for part, state, key, reason in found}
    return reasons


async def group(store: Store, name: str) -> Group | None:
    """The group of an id as it is now; None if it is empty, or if the id is none."""
    if not ID.fullmatch(name):
        return None
    await fill(store)
    async with store.read() as connection:
        for part, state in await _places(connection):
            place = _Place.of(part, state, _shifted(part, state, name))
            where, bound = await place.where(connection)
            found = await connection.execute(
                text(
                    f"SELECT count(*) AS n, min({place.table.key}) AS key, min(since) AS since "  # noqa: S608
                    f"FROM {place.table.name} WHERE {where}"
                ),
                bound,
            )
            row = dict(found.mappings().one()) | {"part": part, "state": state, "cause": place.cause}
            if row["n"]:
                return _group(row, (await _reasons(connection, [row])).get((part, state, row["key"])), row["n"])
    return None


async def _places(connection: AsyncConnection) -> list[tuple[str, str]]:
    """Every part with the states in which its records may be stuck."""
    flows = await connection.execute(text("SELECT name FROM flows ORDER BY name"))
    places = [(flow, state) for (flow,) in flows for state in (*STUCK, "rejected")]
    streams = await connection.execute(text("SELECT adapter || '.' || name FROM streams ORDER BY 1"))
    return places + [(stream, "quarantined") for (stream,) in streams]


def _table_of(state: str) -> _Table:
    return next(table for table in _TABLES if state in table.states)


@dataclass(frozen=True, slots=True)
class _Place:
    """The records of one part in one state, for one cause (None: any)."""

    part: str
    state: str
    cause: str | None
    table: _Table

    @classmethod
    def of(cls, part: str, state: str, cause: str | None) -> _Place:
        return cls(part, state, cause, _table_of(state))

    async def where(self, connection: AsyncConnection) -> tuple[str, dict[str, Any]]:
        """The SQL condition, by columns of the index."""
        bound: dict[str, Any] = {"part": self.part}
        if self.table is _PROBLEMS:
            found = await connection.execute(
                text("SELECT id FROM streams WHERE adapter || '.' || name = :part"), {"part": self.part}
            )
            bound["part"] = found.scalar_one_or_none()
        condition = f"{self.table.where} AND {self.table.part} = :part"
        if self.table is _SUBJECTS:
            condition, bound = condition + " AND state = :state", bound | {"state": self.state}
        if self.cause is not None:
            condition, bound = condition + " AND cause = :cause", bound | {"cause": self.cause}
        return condition, bound

    async def rows(self, connection: AsyncConnection, sign: str, mark: tuple[str, str], most: int) -> list[Row]:
        """The rows whose cause and key are `>`, `>=` or `<` a mark, the nearest to it first."""
        t, where, bound = self.table, *await self.where(connection)
        down = " DESC" if sign == "<" else ""
        # The index orders the rows of one cause by key, and the rows of any cause by cause and key.
        mine, order = f"(cause, {t.key}) {sign} (:from, :key)", f"cause{down}, {t.key}{down}"
        if self.cause is not None:
            mine, order = f"{t.key} {sign} :key", f"{t.key}{down}"
        found = await connection.execute(
            text(
                f"SELECT {t.key} AS key, {t.reason} AS reason, since, cause FROM {t.name} "  # noqa: S608
                f"WHERE {where} AND {mine} ORDER BY {order} LIMIT :most"
            ),
            bound | {"key": mark[1], "most": most} | ({"from": mark[0]} if self.cause is None else {}),
        )
        return [{"part": self.part, "state": self.state} | dict(row) for row in found.mappings()]


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a group's rows in the order of their keys; whether there are earlier ones, and the key that follows them."""

    rows: list[Row]
    earlier: bool
    then: str | None


async def page(store: Store, of: Group, most: int, *, start: str = "", before: str = "") -> Page:
    """A page of a group's rows: from a key on, or the ones right before another key; the first page if there are none."""
    place = _Place.of(of.part, of.state, of.cause)
    async with store.read() as connection:
        if before:
            back = await place.rows(connection, "<", (of.cause, before), most)
            start = str(back[-1]["key"]) if len(back) == most else ""
        rows = await place.rows(connection, ">=", (of.cause, start), most + 1)
        if start and not rows:
            start, rows = "", await place.rows(connection, ">=", (of.cause, ""), most + 1)
        earlier = bool(start and await place.rows(connection, "<", (of.cause, start), 1))
    return Page(rows[:most], earlier, str(rows[most]["key"]) if len(rows) > most else None)


async def members(store: Store, of: Group) -> AsyncIterator[list[str]]:
    """The keys of all records that are in a group now, in pieces. The caller may change a piece before asking for the next."""
    async for rows in _pieces(store, _Place.of(of.part, of.state, of.cause)):
        yield [str(row["key"]) for row in rows]


async def everything(store: Store) -> AsyncIterator[list[Row]]:
    """Every stuck row, in pieces."""
    await fill(store)
    async with store.read() as connection:
        places = sorted(await _places(connection), key=lambda place: (_TABLES.index(_table_of(place[1])), place))
    for part, state in places:
        async for rows in _pieces(store, _Place.of(part, state, None)):
            yield rows


async def _pieces(store: Store, place: _Place) -> AsyncIterator[list[Row]]:
    after = ("", "")
    while True:
        async with store.read() as connection:
            rows = await place.rows(connection, ">", after, _PIECE)
        if rows:
            yield rows
        if len(rows) < _PIECE:
            return
        after = rows[-1]["cause"], rows[-1]["key"]


def grouped(rows: Sequence[Row]) -> list[Group]:
    """The groups of some rows, in the same order and with the same ids as `groups` gives them."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        part, state, key = str(row["part"]), str(row["state"]), str(row["key"])
        cause = row.get("cause") or cause_of(state, key, row["reason"])
        found.setdefault((part, state, cause), []).append(row)
    made = [_made(part, state, cause, members) for (part, state, cause), members in found.items()]
    return sorted(made, key=_order)


def _made(part: str, state: str, cause: str, rows: Sequence[Row]) -> Group:
    first = min(rows, key=lambda row: str(row["key"]))
    told = {"part": part, "state": state, "cause": cause, "key": first["key"], "since": min(row["since"] for row in rows)}
    return _group(told, first["reason"], len(rows), tuple(rows))


def _group(row: Row, reason: str | None, count: int, rows: tuple[Row, ...] = ()) -> Group:
    part, state, cause, key = (str(row[name]) for name in ("part", "state", "cause", "key"))
    # A record that was given up while it waited keeps its cause.
    said = WAITS if cause == WAITING else bare(state, key, reason)
    rule, _, fix = said.partition(_TO_DO)
    return Group(
        _shifted(part, state, cause), part, state, cause, rule, fix or _NEXT[state], count, key, float(row["since"]), rows
    )


def _shifted(part: str, state: str, number: str) -> str:
    """
    Turns a cause into a group's id, and a group's id back into its cause: one is the other, shifted by a number that part and
    state give. So a group is found by its id without a look at the others.
    """
    by = hashlib.blake2b(f"{part}\0{state}".encode(), digest_size=6).digest()
    return f"{int(number, 16) ^ int.from_bytes(by, 'big'):012x}"
