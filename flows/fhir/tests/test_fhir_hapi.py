"""The FHIR target against a real HAPI FHIR server: JPA, transactions, versions, validation against R4's own definitions."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from flows.fhir.tests.councils import BROKEN, FhirSide, broken, target_of
from flows.fhir.tests.hapi import NO_AUTHORITIES, Relay, running_hapi
from flows.kit.http import client
from flows.kit.requests import LocalBudget
from flows.port import Absent, Body, Confirmed, Document, Held, Limits, Refused, Unknown, Write
from flows.testing import TargetSuite
from tests.fixtures import needed

pytestmark = pytest.mark.servers
LIMITS = Limits(requests=100_000)


@dataclass
class HapiSide(FhirSide):
    sandbox: Relay
    by_hand: httpx.Client = field(kw_only=True)

    def shown(self, address: str) -> Body | None:
        answer = self.by_hand.get(f"/{address}")
        return None if answer.status_code in (404, 410) else answer.raise_for_status().json()

    def effects(self) -> int:
        return self.sandbox.changes

    def alter(self, number: int) -> None:
        resource = self.shown(f"Patient/{self.document(number, 1)[1].number}")
        assert resource
        resource["name"] = [{"family": "By-Hand"}]
        self.by_hand.put(f"/Patient/{resource['id']}", json=resource).raise_for_status()


@pytest.fixture(scope="module")
def hapi() -> Iterator[httpx.Client]:
    with needed(), running_hapi() as base, httpx.Client(base_url=base, timeout=60, verify=NO_AUTHORITIES) as by_hand:
        yield by_hand


@pytest.fixture
async def side(hapi: httpx.Client) -> AsyncIterator[HapiSide]:
    budget = LocalBudget.of(LIMITS)
    base = str(hapi.base_url).rstrip("/")
    async with Relay(base) as relay, client(LIMITS, budget, timeout=httpx.Timeout(60.0)) as http:
        yield HapiSide(target_of(relay, http), relay, "/fhir", by_hand=hapi)


class TestHapi(TargetSuite):
    pass


async def test_its_capabilities_are_enough(side: HapiSide) -> None:
    found = await side.target.check()
    assert len(found) > 8
    assert [each for each in found if not each.well] == []


async def test_a_change_by_hand_is_read_back_and_then_brought_into_agreement(side: HapiSide) -> None:
    subject, first = side.document(1, 1)
    _, second = side.document(1, 2)
    (created,) = await side.target.write([Write(subject, first)])
    assert isinstance(created, Confirmed)
    assert created.body == first.body, "HAPI shows what it was sent, and the target sees it"
    side.alter(1)
    (crossed,) = await side.target.write([Write(subject, second, first, (), created.ref, created.tag)])
    assert isinstance(crossed, Unknown), "a version that is not the newest: 409 or 412"
    (shown,) = await side.target.read_back([Write(subject, second, first, (second,), created.ref, created.tag)])
    assert isinstance(shown, Held)
    there = Document(first.kind, first.number, shown.body)
    (mended,) = await side.target.write([Write(subject, second, there, (), shown.ref, shown.tag)])
    assert isinstance(mended, Confirmed)
    assert side.held(1) == second.body


async def test_what_was_deleted_is_made_again_under_its_own_id(side: HapiSide) -> None:
    subject, document = side.document(1, 1)
    (created,) = await side.target.write([Write(subject, document)])
    assert isinstance(created, Confirmed)
    await side.target.write([Write(subject, None, document, (), created.ref, created.tag)])
    assert list(await side.target.read_back([Write(subject, document, None, (document,))])) == [Absent()]
    (again,) = await side.target.write([Write(subject, document)])
    assert isinstance(again, Confirmed)
    assert (again.ref, again.tag != created.tag, side.held(1)) == (created.ref, True, document.body)


async def test_a_patient_that_others_refer_to_is_kept_whole_and_told_to_a_person(side: HapiSide) -> None:
    subject, document = side.document(1, 1)
    (created,) = await side.target.write([Write(subject, document)])
    assert isinstance(created, Confirmed)
    theirs = {
        "resourceType": "Observation", "id": side.mine, "status": "final", "code": {"text": "theirs"},
        "subject": {"reference": f"Patient/{created.ref}"},
    }  # fmt: skip
    side.by_hand.put(f"/Observation/{side.mine}", json=theirs).raise_for_status()
    gone = Write(subject, None, document, (document,), created.ref)
    (outcome,) = await side.target.write([gone])
    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith("the server refuses it (409): ")
    assert created.ref not in outcome.reason
    assert side.held(1) == document.body, "all of the transaction, or nothing"


@pytest.mark.parametrize("fault", sorted(BROKEN))
async def test_hapi_refuses_what_the_sandbox_refuses_and_none_of_it_is_there(fault: str, side: HapiSide) -> None:
    write = broken(side, fault)
    (outcome,) = await side.target.write([write])
    assert isinstance(outcome, Refused), outcome
    assert "Ashdown" not in outcome.reason
    assert side.held(1) is None
