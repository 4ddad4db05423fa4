"""
The stuck records of the three tables that hold them, counted by cause and read in the order of their keys, all from an index.

A record is stuck as a subject of a flow (parked, waiting, given up), as a quarantined row of a stream, as a record that is
published incomplete, or as a record on a flow's topics that is no event.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ironbridge.store.bulk import among, postgres, values
from ironbridge.store.causes import LACKS, STATE_OF_PROBLEM, STUCK, fill
from ironbridge.store.database import Store
from ironbridge.store.rows import row_of, rows
from ironbridge.store.standing import StuckRecord
from ironbridge.store.statement import text

ORDER = ("parked", "quarantined", "rejected", "incomplete", "waiting", "dropped")
"""The states: first the ones that need a person."""
_PIECE = 2000  # records that are read at a time


@dataclass(frozen=True, slots=True)
class CountedGroup:
    """
    `n` records of a part are in a state for one cause. `key` is the first one's, `since` the oldest one's time (seconds since
    1970), `reason` the first one's.
    """

    part: str
    state: str
    cause: str
    n: int
    key: str
    since: float
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CountedGroups:
    """Some groups, the number of all groups, and the number of records in each state that has any."""

    groups: Sequence[CountedGroup]
    total: int
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Table:
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
_PROBLEMS = _Table("problems", "stream", "key", "what", ("quarantined",), "SELECT id FROM streams", f"NOT ({LACKS})")
_INCOMPLETE = replace(_PROBLEMS, states=("incomplete",), where=LACKS)
_REJECTS = _Table("rejects", "flow", "place", "what", ("rejected",), "SELECT name FROM flows", "1 = 1")
_TABLES = (_SUBJECTS, _PROBLEMS, _INCOMPLETE, _REJECTS)
_COUNTED = (
    "SELECT flow AS part, state, cause, count(*) AS n, min(subject{c}) AS key, min(since) AS since FROM subjects "  # noqa: S608
    f"WHERE state IN ({_STUCK}) AND cause IS NOT NULL GROUP BY flow, state, cause "
    f"UNION ALL SELECT s.adapter || '.' || s.name, {STATE_OF_PROBLEM}, p.cause, p.n, p.key, p.since FROM (SELECT stream, cause, "
    "count(*) AS n, min(key{c}) AS key, min(since) AS since FROM problems WHERE cause IS NOT NULL GROUP BY stream, cause) AS p "
    "JOIN streams s ON s.id = p.stream "
    "UNION ALL SELECT flow, 'rejected', cause, count(*), min(place{c}), min(since) FROM rejects WHERE cause IS NOT NULL "
    "GROUP BY flow, cause"
)
_PLACED = "CASE state " + " ".join(f"WHEN '{state}' THEN {n}" for n, state in enumerate(ORDER)) + " END"


async def counted(store: Store, most: int | None, skip: int) -> CountedGroups:
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
        every = rows(CountedGroup, found)
        # A row without a part is a state's sum: `n` records in so many groups (`since`).
        sums = [row for row in every if row.part is None]
        groups = await _with_reasons(connection, [row for row in every if row.part is not None])
    return CountedGroups(groups, sum(int(row.since) for row in sums), {row.state: int(row.n) for row in sums})


def _counted(connection: AsyncConnection) -> str:
    """Compares keys by their bytes: that is faster than by a language's rules, and most keys are alike."""
    return _COUNTED.format(c=' COLLATE "C"' if postgres(connection) else "")


async def _with_reasons(connection: AsyncConnection, groups: Sequence[CountedGroup]) -> list[CountedGroup]:
    reasons = await _reasons(connection, groups)
    return [replace(each, reason=reasons.get((each.part, each.state, each.key))) for each in groups]


async def _reasons(connection: AsyncConnection, groups: Sequence[CountedGroup]) -> dict[tuple[str, str, str], str | None]:
    """The reasons of the groups' examples."""
    reasons: dict[tuple[str, str, str], str | None] = {}
    for table in _TABLES:
        state = "t.state" if table is _SUBJECTS else f"'{table.states[0]}'"
        part, joined = f"t.{table.part}", ""
        if table.part == "stream":
            part, joined = "s.adapter || '.' || s.name", " JOIN streams s ON s.id = t.stream"
        keys = sorted({each.key for each in groups if each.state in table.states})
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


async def group(store: Store, cause_in: Callable[[str, str], str]) -> CountedGroup | None:
    """The group that has records for the cause that `cause_in` gives for its part and state; None if there is none."""
    await fill(store)
    async with store.read() as connection:
        for part, state in await _places(connection):
            if found := await StuckPlace.of(part, state, cause_in(part, state)).count(connection):
                return found
    return None


async def _places(connection: AsyncConnection) -> list[tuple[str, str]]:
    """Every part with the states in which its records may be stuck."""
    flows = await connection.execute(text("SELECT name FROM flows ORDER BY name"))
    found = [(flow, state) for (flow,) in flows for state in (*STUCK, "rejected")]
    streams = await connection.execute(text("SELECT adapter || '.' || name FROM streams ORDER BY 1"))
    return found + [(stream, state) for (stream,) in streams for state in ("quarantined", "incomplete")]


def _table_of(state: str) -> _Table:
    return next(table for table in _TABLES if state in table.states)


@dataclass(frozen=True, slots=True)
class StuckPlace:
    """The records of one part in one state, for one cause (None: any)."""

    part: str
    state: str
    cause: str | None
    table: _Table

    @classmethod
    def of(cls, part: str, state: str, cause: str | None) -> StuckPlace:
        return cls(part, state, cause, _table_of(state))

    async def count(self, connection: AsyncConnection) -> CountedGroup | None:
        """The records of the place's cause, counted; None if there are none."""
        where, bound = await self._where(connection)
        found = await connection.execute(
            text(f"SELECT count(*), min({self.table.key}), min(since) FROM {self.table.name} WHERE {where}"),  # noqa: S608
            bound,
        )
        n, key, since = found.one()
        if not n or self.cause is None:
            return None
        (counted,) = await _with_reasons(
            connection, [CountedGroup(self.part, self.state, self.cause, n, key, since)]
        )
        return counted

    async def _where(self, connection: AsyncConnection) -> tuple[str, dict[str, Any]]:
        """The SQL condition, by columns of the index."""
        bound: dict[str, Any] = {"part": self.part}
        if self.table.part == "stream":
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

    async def _rows(self, connection: AsyncConnection, sign: str, mark: tuple[str, str], most: int) -> list[StuckRecord]:
        """The rows whose cause and key are `>`, `>=` or `<` a mark, the nearest to it first."""
        t, where, bound = self.table, *await self._where(connection)
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
        return [row_of(StuckRecord, row, part=self.part, state=self.state) for row in found.mappings()]

    async def page(self, store: Store, most: int, *, start: str = "", before: str = "") -> StuckPage:
        """Rows of the place's cause: from a key on, or the ones right before another key; else the first ones."""
        cause = self.cause or ""
        async with store.read() as connection:
            if before:
                back = await self._rows(connection, "<", (cause, before), most)
                start = back[-1].key if len(back) == most else ""
            found = await self._rows(connection, ">=", (cause, start), most + 1)
            if start and not found:
                start, found = "", await self._rows(connection, ">=", (cause, ""), most + 1)
            earlier = bool(start and await self._rows(connection, "<", (cause, start), 1))
        return StuckPage(found[:most], earlier, found[most].key if len(found) > most else None)

    async def pieces(self, store: Store) -> AsyncIterator[list[StuckRecord]]:
        """All rows, in pieces. The caller may change a piece before asking for the next."""
        after = ("", "")
        while True:
            async with store.read() as connection:
                piece = await self._rows(connection, ">", after, _PIECE)
            if piece:
                yield piece
            if len(piece) < _PIECE:
                return
            after = piece[-1].cause or "", piece[-1].key


@dataclass(frozen=True, slots=True)
class StuckPage:
    """Some rows in the order of their keys; whether there are earlier ones, and the key that follows them."""

    rows: list[StuckRecord]
    earlier: bool
    then: str | None


async def everything(store: Store) -> AsyncIterator[list[StuckRecord]]:
    """Every stuck row, in pieces."""
    await fill(store)
    async with store.read() as connection:
        places = sorted(await _places(connection), key=lambda place: (_TABLES.index(_table_of(place[1])), place))
    for part, state in places:
        async for piece in StuckPlace.of(part, state, None).pieces(store):
            yield piece
