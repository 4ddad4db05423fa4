"""A hospital's outbox, on somebody else's MLLP client: it sends one message after the other, each again until it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import hl7
from hl7.mllp import open_hl7_connection

from adapters.hospital import HospitalAdapter


class Outbox:
    """Messages that wait to be sent, and the answers to those that were."""

    def __init__(self, adapter: HospitalAdapter) -> None:
        self._adapter = adapter
        self.unsent: list[str] = []
        self.answers: list[str] = []

    def put(self, messages: Iterable[str]) -> None:
        self.unsent += messages

    @property
    def codes(self) -> list[str]:
        """MSA-1 of each answer."""
        return [str(hl7.parse(answer).segment("MSA")[1]) for answer in self.answers]

    async def run(self) -> None:
        while True:
            try:
                await self._send()
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.01)

    async def _send(self) -> None:
        if not self._adapter.mllp.port:
            await asyncio.sleep(0.005)
            return
        reader, writer = await open_hl7_connection("127.0.0.1", self._adapter.mllp.port, encoding="utf-8")
        try:
            while self._adapter.mllp.port:
                if self.unsent:
                    writer.writeblock(self.unsent[0].encode())
                    self.answers.append(str(await reader.readmessage()))
                    del self.unsent[0]
                await asyncio.sleep(0.002)
        finally:
            writer.close()


@asynccontextmanager
async def outbox(adapter: HospitalAdapter) -> AsyncIterator[Outbox]:
    """An outbox that is at work."""
    made = Outbox(adapter)
    work = asyncio.create_task(made.run())
    yield made
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await adapter.close()
