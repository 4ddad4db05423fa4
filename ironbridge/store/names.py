"""
These tables say which flow writes which document, where several flows write to one target; and which target each flow
writes to.

Two flows of one target must never write one document in turns. So before a document is sent its name, its kind and number at
the target, is given to its flow, for as long as the target holds the document. A flow that has its target for itself pays
nothing for this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from flows.engine.ledger import unpack
from flows.port import Document
from ironbridge.store import comparing
from ironbridge.store.bulk import among, put, values
from ironbridge.store.database import Store
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


async def aim(store: Store, flow: str, target: str, others: Sequence[str]) -> None:
    """
    Note which target a flow writes to. If `others` do so too, give each of these flows the names of what the target already
    holds for it, unless it has them.
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


async def _adopt(store: Store, target: str, flow: str) -> None:
    async with store.read() as connection:
        named = await connection.execute(text("SELECT named FROM flows WHERE name = :flow"), {"flow": flow})
        if named.scalar_one_or_none():
            return
    after = ""
    while stands := await comparing.subjects_after(store, flow, after, _PAGE):
        after = stands[-1].subject
        documents = {s.subject: unpack(s.document) for s in stands if s.document}
        async with store.write() as connection:
            refs = await _refs(connection, flow, documents.values())
            known = {s: {f: refs[r] for f, r in d.refers.items() if r in refs} for s, d in documents.items()}
            held = [TakenName(subject, name_of(document, known[subject])) for subject, document in documents.items()]
            await _give(connection, target, flow, held)
    async with store.write() as connection:
        await connection.execute(text("UPDATE flows SET named = TRUE WHERE name = :flow"), {"flow": flow})


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
