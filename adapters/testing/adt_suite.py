"""
Shipped for the tests of an adapter of ADT messages: the suite of every adapter with a hospital's messages, and cases to play.

The messages are sent by the MLLP client of the library `hl7`, one after the other, each again until it is answered.
"""
# ruff: noqa: S101 (these are tests)

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import hl7
import pytest
from hl7.mllp import open_hl7_connection

from adapters.kit.adt import AdtAdapter
from adapters.port import Adapter
from adapters.testing.suite import AdapterSuite, Bench
from canonical.key import key_of

_HEAD = r"MSH|^~\&|PAS|RXX|Ironbridge|Council|20261127120000||ADT^{event}|{number}|P|2.4||||||UNICODE UTF-8"


def written(number: str, event: str, segments: Sequence[str]) -> str:
    """A message with this number (MSH-10) and event, and these segments behind MSH and EVN."""
    return "\r".join([_HEAD.format(event=event, number=number), f"EVN|{event}|20261127115900", *segments, ""])


def pid(number: int, born: str = "19500102", street: str = "1 High Street") -> str:
    """The segment of an invented patient, whose number at the hospital RXX this is."""
    return f"PID|1||{number}^^^RXX^PI||Darby^Abraham||{born}|M|||{street}^^Ironbridge^^TF8 7AB"


class Outbox:
    """Messages that wait to be sent, and the answers to those that were."""

    def __init__(self, adapter: AdtAdapter) -> None:
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
async def outbox(adapter: AdtAdapter) -> AsyncIterator[Outbox]:
    """An outbox that is at work. The adapter is closed with it."""
    made = Outbox(adapter)
    work = asyncio.create_task(made.run())
    yield made
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await adapter.close()


async def read_all(bench: Bench, sending: Outbox, messages: Sequence[str]) -> int:
    """Send messages, and read until all are answered; the number of events that were published."""
    sending.put(messages)
    published = 0
    while sending.unsent:
        published += len(await bench.read())
    return published


def held(bench: Bench) -> dict[str, Any]:
    """Return the newest state of each key in the log: its fields that are not empty, or None for a tombstone."""
    newest = {event.key: event.data for event in bench.log.told()}
    states = {key: None if data is None else json.loads(data) for key, data in newest.items()}
    return {k: state and {n: v for n, v in state.items() if n != "key" and v != []} for k, state in states.items()}


async def play(adapter: AdtAdapter, case: Mapping[str, Any]) -> None:
    """
    Send a case's messages, and look that what comes of them is as it says. A case is a TOML file:

    `[[message]]` has an `event`, its `segments` and the `answer` that it gets, AA unless it says so. `[held."KEY"]` are the
    fields of a record that is held in the end, but for those of the list `not_looked_at`; `gone` are keys that were deleted.
    `told` are texts of answers, `quarantined` the rules that were broken.
    """
    async with outbox(adapter) as sending:
        bench = Bench(adapter)
        await read_all(bench, sending, [written(str(n), m["event"], m["segments"]) for n, m in enumerate(case["message"])])
        assert sending.codes == [m.get("answer", "AA") for m in case["message"]]
        found = held(bench)
    left_out = case.get("not_looked_at", [])
    wanted = case.get("held", {}) | dict.fromkeys(case.get("gone", []))
    assert {k: f and {n: v for n, v in f.items() if n not in left_out} for k, f in found.items()} == wanted
    for told in case.get("told", []):
        assert any(told in answer for answer in sending.answers), sending.answers
    assert [each.rule for each in bench.problems().values()] == case.get("quarantined", [])


class AdtSuite(AdapterSuite):
    """
    The scenarios of every adapter, for one of ADT messages: three patients lie in a hospital, and messages change that. Say the
    adapter's `name`, and make it in `made` with a register in the folder, port 0 and a short `wait`. Its numbers of patients are
    of the type PI.
    """

    name: ClassVar[str]

    def made(self, folder: Path) -> AdtAdapter:
        raise NotImplementedError

    @pytest.fixture
    async def adapter(self, tmp_path: Path) -> AsyncIterator[AdtAdapter]:
        adapter = self.made(tmp_path)
        async with outbox(adapter) as self.outbox:
            for number in (1, 2, 3):
                pv1 = f"PV1|1|I|AMU^^{number}^RXX{'|' * 16}V{number}"
                self.outbox.put([written(f"a{number}", "A01", [pid(number), pv1])])
            yield adapter

    async def change_one(self, adapter: Adapter) -> str:
        return self._send("b", "A31", pid(2, street="2 Wharfage"))

    async def delete_one(self, adapter: Adapter) -> str:
        self._send("c", "A11", pid(2), f"PV1|1|I{'|' * 17}V2")
        return key_of(self.name, "hospital-stay", "V2")

    async def break_one(self, adapter: Adapter) -> str:
        self.outbox.unsent = [each for each in self.outbox.unsent if pid(2) not in each]
        return self._send("d", "A31", pid(2, born="19501402"))

    async def mend_it(self, adapter: Adapter) -> None:
        self._send("e", "A31", pid(2, born="19501204"))

    async def counted(self, adapter: Adapter) -> dict[str, int]:
        return {"messages": 2}  # a person and a stay: the next message comes once this one is answered

    def _send(self, number: str, event: str, *segments: str) -> str:
        self.outbox.put([written(number, event, segments)])
        return key_of(self.name, "person", "2")
