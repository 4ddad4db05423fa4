"""The certificates that comparisons of both ends leave behind."""

from __future__ import annotations

from dataclasses import dataclass

from ironbridge.store.bulk import put
from ironbridge.store.database import Store
from ironbridge.store.rows import rows
from ironbridge.store.statement import text
from ironbridge.store.tables import certificates


@dataclass(frozen=True, slots=True)
class KeptCertificate:
    """A certificate in a list; `verified` is seconds since 1970."""

    id: int
    flow: str
    verified: float
    agreed: bool


async def keep(store: Store, flow: str, verified: float, agreed: bool, document: bytes) -> int:
    """Keep a certificate; returns its id."""
    async with store.write() as connection:
        row = (flow, verified, agreed, document)
        await put(connection, certificates, ("flow", "verified", "agreed", "document"), [row], {})
        found = await connection.execute(text("SELECT max(id) FROM certificates WHERE flow = :flow"), {"flow": flow})
        return int(found.scalar_one())


async def newest(store: Store, flow: str | None, most: int) -> list[KeptCertificate]:
    """The newest certificates first, of one flow or of all."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT id, flow, verified, agreed FROM certificates "
                "WHERE CAST(:flow AS text) IS NULL OR flow = :flow ORDER BY id DESC LIMIT :most"
            ),
            {"flow": flow, "most": most},
        )
        return rows(KeptCertificate, found)


async def document(store: Store, number: int) -> bytes | None:
    """A kept certificate's document, by its id; None if there is none."""
    async with store.read() as connection:
        found = await connection.execute(text("SELECT document FROM certificates WHERE id = :id"), {"id": number})
        kept: bytes | None = found.scalar_one_or_none()
        return kept
