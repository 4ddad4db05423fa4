"""
These tables say which flow writes which document, where several flows write to one target; and which target each flow
writes to.

Two flows of one target must never write one document in turns. So before a document is sent its name, its kind and number at
the target, is given to its flow, for as long as the target holds the document.

Nor must two subjects of one flow. So a name is given to a subject, too, when the subject first comes to it: one statement for
all new documents of a batch, and none for a flow that works its numbers out from keys (`flows.port.Distinct`). Here a name that
nobody wants any more does no harm: whether its subject still wants it is asked before another one is refused it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from flows.engine.ledger import NamedDocument, unpack
from flows.port import Document
from ironbridge.store.bulk import among, postgres, put, values
from ironbridge.store.database import Store
from ironbridge.store.statement import text
from ironbridge.store.subjects import dirtied, locked
from ironbridge.store.tables import names

_PAGE = 1000
_COLUMNS = ("target", "name", "flow", "subject")


class TakenName(NamedTuple):
    """A taken name is the one that a target knows a document by, with the subject that it is for."""

    subject: str
    name: str


def name_of(document: Document, refs: Mapping[str, str]) -> str:
    """
    Kind and number, with the target's ids of what the document refers to: an invoice's number is unique for its vendor only.
    """
    return "\x1f".join([document.kind, document.number, *(refs[field] for field in sorted(document.refers) if field in refs)])


async def aim(store: Store, flow: str, target: str, others: Sequence[str], *, distinct: bool = False) -> None:
    """
    Note which target a flow writes to. If `others` do so too, give each of these flows the names of what the target already
    holds for it, unless it has them. A flow that is alone there has its subjects' names from before, too, unless they are
    `distinct` anyway.
    """
    # Names are kept up only while the target is shared, and after a move to another target they are not that one's.
    named = "CASE WHEN flows.target = excluded.target THEN flows.named ELSE FALSE END" if others else "FALSE"
    async with store.write() as connection:
        await connection.execute(
            text(
                "INSERT INTO flows (name, target) VALUES (:flow, :target) ON CONFLICT (name) "  # noqa: S608 (our own words)
                f"DO UPDATE SET target = excluded.target, named = {named}"
            ),
            {"flow": flow, "target": target},
        )
        gone = "DELETE FROM names WHERE flow = :flow AND target <> :target"
        await connection.execute(text(gone), {"flow": flow, "target": target})
    for each in sorted({flow, *others}) if others else ():
        await _adopt(store, target, each)
    if not others and not distinct:
        await _adopt_all(store, target, flow)


async def _adopt(store: Store, target: str, flow: str) -> None:
    async with store.read() as connection:
        named = await connection.execute(text("SELECT named FROM flows WHERE name = :flow"), {"flow": flow})
        if named.scalar_one_or_none():
            return
    async with store.write() as connection:  # while it was alone there, nobody took away what its subjects have no more
        await connection.execute(text("DELETE FROM names WHERE flow = :flow"), {"flow": flow})
    await _adopt_all(store, target, flow)
    async with store.write() as connection:
        await connection.execute(text("UPDATE flows SET named = TRUE WHERE name = :flow"), {"flow": flow})


async def _adopt_all(store: Store, target: str, flow: str) -> None:
    """Give a flow's subjects the names of what the target was confirmed to hold for them, unless they have any."""
    after = ""
    while True:
        async with store.write() as connection:
            rows = await connection.execute(
                text(
                    "SELECT subject, document FROM subjects WHERE flow = :flow AND subject > :after AND document IS NOT NULL "
                    "AND NOT EXISTS (SELECT 1 FROM names WHERE names.flow = :flow AND names.subject = subjects.subject) "
                    "ORDER BY subject LIMIT :page"
                ),
                {"flow": flow, "after": after, "page": _PAGE},
            )
            documents = {subject: unpack(document) for subject, document in rows.fetchall()}
            if not documents:
                return
            after = max(documents)
            refs = await _refs(connection, flow, documents.values())
            known = {s: {f: refs[r] for f, r in d.refers.items() if r in refs} for s, d in documents.items()}
            held = [TakenName(subject, name_of(document, known[subject])) for subject, document in documents.items()]
            await _give(connection, target, flow, held)
            await _part(connection, target, flow, held)


async def _part(connection: AsyncConnection, target: str, flow: str, held: Sequence[TakenName]) -> None:
    """
    Two subjects of the flow had one document, from before names were kept for subjects. It is now the first one's, which is
    written again; the other is looked at as one of which the target holds nothing, and is parked then.
    """
    these = among(connection, "name", "these")
    rows = await connection.execute(
        text(f"SELECT name, subject FROM names WHERE target = :target AND flow = :flow AND {these}"),  # noqa: S608
        {"target": target, "flow": flow, "these": values(connection, sorted({each.name for each in held}))},
    )
    owners: dict[str, str] = {name: subject for name, subject in rows.fetchall()}  # noqa: C416 (rows are no pairs to mypy)
    pairs = {each.subject: owners[each.name] for each in held if owners.get(each.name, each.subject) != each.subject}
    await locked(connection, flow, {*pairs, *pairs.values()})
    again = "state = CASE WHEN state = 'sending' THEN state ELSE 'dirty' END, seq = seq + 1, digest = NULL"
    nothing = ", document = NULL, ref = NULL, tag = NULL"
    for subjects, sets in ((set(pairs.values()), again), (set(pairs), again + nothing)):
        if subjects:
            await connection.execute(
                text(f"UPDATE subjects SET {sets} WHERE flow = :flow AND {among(connection, 'subject', 'these')}"),  # noqa: S608
                {"flow": flow, "these": values(connection, sorted(subjects))},
            )


async def claim(store: Store, flow: str, named: Sequence[NamedDocument]) -> dict[str, str]:
    """See `flows.engine.ledger.Ledger.name`. Of several subjects with one name the first in their order gets it."""
    wanted = {each.subject: name_of(each.document, each.refs) for each in sorted(named, key=attrgetter("subject"))}
    rows = sorted({name: subject for subject, name in reversed(wanted.items())}.items())
    async with store.write() as connection:
        if postgres(connection):
            given = "unnest(CAST(:names AS text[]), CAST(:subjects AS text[])) AS given (name, subject)"
            bound: dict[str, Any] = {"names": [name for name, _ in rows], "subjects": [subject for _, subject in rows]}
        else:
            given = "(SELECT value ->> 0 AS name, value ->> 1 AS subject FROM json_each(:rows)) AS given"
            bound = {"rows": json.dumps(rows)}
        has = await connection.execute(
            text(
                f"INSERT INTO names (target, name, flow, subject) SELECT {_TARGET}, given.name, :flow, given.subject "  # noqa: S608
                f"FROM {given} WHERE TRUE ON CONFLICT (target, name) DO UPDATE SET flow = names.flow "
                "RETURNING name, flow, subject"
            ),
            bound | {"flow": flow},
        )
        owners: dict[str, str] = {name: subject for name, by, subject in has.fetchall() if by == flow}
    return {subject: owners[name] for subject, name in wanted.items() if owners.get(name, subject) != subject}


async def give_over(store: Store, flow: str, named: Sequence[NamedDocument]) -> None:
    """See `flows.engine.ledger.Ledger.rename`."""
    if not named:
        return
    bound = [{"flow": flow, "name": name_of(n.document, n.refs), "subject": n.subject} for n in named]
    async with store.write() as connection:
        await connection.execute(
            text(f"UPDATE names SET subject = :subject WHERE target = {_TARGET} AND flow = :flow AND name = :name"),  # noqa: S608
            sorted(bound, key=itemgetter("name")),
        )


async def awaiting(store: Store, flow: str, subjects: Collection[str]) -> set[str]:
    """See `flows.engine.ledger.Ledger.awaiting`."""
    if not subjects:
        return set()
    async with store.read() as connection:
        condition = f"state = 'parked' AND {among(connection, 'waiting_on', 'these')}"
        bound = {"these": values(connection, sorted(subjects))}
        asked = text(f"SELECT DISTINCT waiting_on FROM subjects WHERE flow = :flow AND {condition}")  # noqa: S608 (our own words)
        awaited = {subject for (subject,) in await connection.execute(asked, {"flow": flow, **bound})}
    if awaited:
        async with store.write() as connection:
            await dirtied(connection, flow, condition, **bound)
    return awaited


_TARGET = "COALESCE((SELECT target FROM flows WHERE flows.name = :flow), :flow)"


async def _refs(connection: AsyncConnection, flow: str, documents: Iterable[Document]) -> dict[str, str]:
    referred = sorted({subject for document in documents for subject in document.refers.values()})
    these = among(connection, "subject", "these")
    found = await connection.execute(
        text(f"SELECT subject, ref FROM subjects WHERE flow = :flow AND ref IS NOT NULL AND {these}"),  # noqa: S608
        {"flow": flow, "these": values(connection, referred)},
    )
    return {subject: ref for subject, ref in found.fetchall()}  # noqa: C416 (rows are no pairs to mypy)


async def _give(connection: AsyncConnection, target: str, flow: str, held: Iterable[TakenName]) -> None:
    rows = sorted((target, each.name, flow, each.subject) for each in held)
    await put(connection, names, _COLUMNS, rows, {})


async def take(store: Store, target: str, flow: str, wanted: Sequence[TakenName]) -> dict[str, str]:
    """Give these names to a flow, as far as no other flow has them. Returns the others' by subject: the flow that has it."""
    async with store.write() as connection:
        await _give(connection, target, flow, wanted)
        these = among(connection, "name", "these")
        found = await connection.execute(
            text(f"SELECT name, flow FROM names WHERE target = :target AND flow <> :flow AND {these}"),  # noqa: S608
            {"target": target, "flow": flow, "these": values(connection, [each.name for each in wanted])},
        )
        taken: dict[str, str] = {name: other for name, other in found.fetchall()}  # noqa: C416 (as above)
    return {each.subject: taken[each.name] for each in wanted if each.name in taken}


async def keep_only(store: Store, target: str, flow: str, now: Mapping[str, str]) -> None:
    """Give up the names that these subjects had before: `now` says by subject the only one that is left, empty for none."""
    if not now:
        return
    bound = [{"target": target, "flow": flow, "subject": subject, "name": name} for subject, name in sorted(now.items())]
    async with store.write() as connection:
        await connection.execute(
            text("DELETE FROM names WHERE target = :target AND flow = :flow AND subject = :subject AND name <> :name"), bound
        )


async def others_of(store: Store, flow: str) -> list[str]:
    """The other flows that write to a flow's target."""
    async with store.read() as connection:
        found = await connection.execute(
            text("SELECT o.name FROM flows f JOIN flows o ON o.target = f.target AND o.name <> f.name WHERE f.name = :flow"),
            {"flow": flow},
        )
        return [name for (name,) in found.fetchall()]
