"""Targets with one record a document: they pass the suite, and find their records again after any doubt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from canonical.connect.oauth import OAuthClient
from canonical.errors import MisconfiguredError
from flows.kit.http import ClientCredentials, client
from flows.kit.records import RecordAccess, RecordPlace, RecordTarget
from flows.kit.requests import LocalBudget
from flows.kit.sandbox_faults import Fault
from flows.kit.sandbox_records import RecordSandbox
from flows.port import Absent, Body, Confirmed, Document, Held, Limits, NotDone, Refused, Unknown, Untold, Write
from flows.testing import SandboxSide, TargetSuite

LIMITS = Limits(batch=20, concurrency=4, requests=10_000, window=1.0)


class Shelf(RecordSandbox):
    def refuses(self, kind: str, record: dict[str, Any]) -> str:
        return "" if record.get("name") else "name: is required"


class Shelved(RecordTarget):
    url = ""

    def place(self, kind: str, number: str) -> RecordPlace:
        return RecordPlace(f"{self.url}/{kind}/{number}", f"/{kind}/{{number}}")

    async def check(self) -> list[Any]:
        return [await self.asked("the shelf can be read", f"{self.url}/tenants", "/tenants", "ask for the right to read it")]


class ShelfSide(SandboxSide):
    def document(self, number: int, version: int) -> tuple[str, Document]:
        return f"x:person:{number}", Document("tenants", str(number), {"name": f"Ash {version}", "card": {"no": number}})

    def refusable(self, number: int) -> tuple[str, Document]:
        return f"x:person:{number}", Document("tenants", str(number), {"name": ""})

    def held(self, number: int) -> Body | None:
        found: Body | None = self.sandbox.documents("tenants").get(str(number))
        return found

    def alter(self, number: int) -> None:
        self.sandbox.held.place("tenants", "0", "{}")
        self.sandbox.held._db.execute("UPDATE documents SET document = '{\"name\": \"by hand\"}' WHERE key = ?", (str(number),))


@pytest.fixture
async def side() -> AsyncIterator[ShelfSide]:
    async with Shelf() as sandbox, client(LIMITS, LocalBudget.of(LIMITS), timeout=httpx.Timeout(2.0)) as http:
        we = OAuthClient("shelf", f"{sandbox.url}/token", "ironbridge", SecretStr("sandbox-secret"))
        target = Shelved("shelf", LIMITS, RecordAccess(http, ClientCredentials(we)))
        target.url = sandbox.url
        yield ShelfSide(target, sandbox, "/tenants/")


class TestRecords(TargetSuite):
    @pytest.fixture
    async def side(self, side: ShelfSide) -> ShelfSide:
        return side


ONE, TWO = Document("tenants", "1", {"name": "Ash"}), Document("tenants", "2", {"name": "Ash"})


async def test_a_document_that_gets_another_number_leaves_no_record_under_the_old_one(side: ShelfSide) -> None:
    (made,) = await side.target.write([Write("s", ONE)])
    assert isinstance(made, Confirmed)
    (moved,) = await side.target.write([Write("s", TWO, ONE, (), made.ref, made.tag)])
    assert isinstance(moved, Confirmed)
    assert moved.ref == "2"
    assert list(side.sandbox.documents("tenants")) == ["2"]


async def test_a_new_number_whose_old_record_may_still_be_there_is_written_again_until_that_is_gone(side: ShelfSide) -> None:
    await side.target.write([Write("s", ONE)])
    side.sandbox.faults.append(Fault(kind="cut", path="/tenants/1"))
    doubted = Write("s", TWO, ONE)
    (outcome,) = await side.target.write([doubted])
    assert isinstance(outcome, Unknown)
    assert sorted(side.sandbox.documents("tenants")) == ["1", "2"]
    (told,) = await side.target.read_back([Write("s", TWO, ONE, (TWO,))])
    assert isinstance(told, Untold)
    (outcome,) = await side.target.write([Write("s", TWO, None, (TWO, ONE))])
    assert isinstance(outcome, Confirmed)
    assert list(side.sandbox.documents("tenants")) == ["2"]


async def test_what_is_read_back_shows_the_fields_that_the_document_speaks_of(side: ShelfSide) -> None:
    await side.target.write([Write("s", Document("tenants", "1", {"name": "Ash", "note": "x"}))])
    (told, none) = await side.target.read_back([Write("s", ONE), Write("t", TWO)])
    assert isinstance(told, Held)
    assert (told.body, told.ref, none) == ({"name": "Ash"}, "1", Absent())


async def test_the_ids_of_what_a_document_refers_to_are_sent_with_it(side: ShelfSide) -> None:
    document = Document("tenants", "1", {"name": "Ash"}, {"landlord": "x:supplier:1"})
    await side.target.write([Write("s", document, refs={"landlord": "L-9"})])
    assert side.sandbox.documents("tenants")["1"] == {"name": "Ash", "landlord": "L-9"}


async def test_a_refusal_tells_the_status_and_no_value(side: ShelfSide) -> None:
    (outcome,) = await side.target.write([Write("s", Document("tenants", "1", {"name": ""}))])
    assert outcome == Refused("the target refuses the record (400)")


async def test_a_fault_of_the_settings_stops_all_and_costs_nothing_that_is_known(side: ShelfSide) -> None:
    side.sandbox.faults.append(Fault(kind="status", status=403, path="/tenants/1"))
    outcomes = list(await side.target.write([Write("s", ONE), Write("t", TWO)]))
    assert isinstance(outcomes[0], NotDone)
    assert isinstance(outcomes[1], Confirmed)
    side.sandbox.faults.append(Fault(kind="status", status=403, path="/tenants/", times=2))
    with pytest.raises(MisconfiguredError, match="does not allow us this"):
        await side.target.write([Write("s", ONE), Write("t", TWO)])
    side.sandbox.faults.append(Fault(kind="status", status=403, path="/tenants/1"))
    assert list(await side.target.read_back([Write("s", ONE)])) == [Untold("does not allow us this (403)")]


async def test_its_check_asks_the_address_once(side: ShelfSide) -> None:
    assert [(f.what, f.well) for f in await side.target.check()] == [("the shelf can be read", True)]
    side.sandbox.faults.append(Fault(kind="status", status=404, path="/tenants"))
    (finding,) = await side.target.check()
    assert (finding.what, finding.well, finding.fix) == ("the shelf can be read: 404", False, "ask for the right to read it")
