"""The FHIR target against its sandbox: the suite, versions that are wanted, and what answers mean."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from flows.fhir.refusal import reason
from flows.fhir.sandbox import FhirSandbox, FhirSandboxSettings
from flows.fhir.tests.councils import BROKEN, FhirSide, broken, target_of
from flows.kit.http import client
from flows.kit.requests import LocalBudget
from flows.kit.sandbox_faults import Fault
from flows.port import Body, Confirmed, Document, Held, Limits, Refused, Unavailable, Unknown, Write
from flows.testing import TargetSuite

LIMITS = Limits(requests=100_000)


class ShareSide(FhirSide):
    sandbox: FhirSandbox

    def shown(self, address: str) -> Body | None:
        return self.sandbox._held(address)

    def alter(self, number: int) -> None:
        """Somebody else writes the Patient, through the API's own rules of versions."""
        patient = self.document(number, 1)[1].number
        found = self.sandbox.documents("Patient")[patient]
        found["meta"]["versionId"] = str(int(found["meta"]["versionId"]) + 1)
        found["name"] = [{"family": "By-Hand"}]
        change = (json.dumps(found), patient)
        self.sandbox.held._db.execute("UPDATE documents SET document = ? WHERE kind = 'Patient' AND key = ?", change)


@asynccontextmanager
async def shared_record(**settings: Any) -> AsyncIterator[ShareSide]:
    async with (
        FhirSandbox(FhirSandboxSettings(**settings)) as sandbox,
        client(LIMITS, LocalBudget.of(LIMITS), timeout=httpx.Timeout(5.0)) as http,
    ):
        yield ShareSide(target_of(sandbox, http), sandbox, "/fhir")


@pytest.fixture
async def side() -> AsyncIterator[ShareSide]:
    async with shared_record() as made:
        yield made


class TestFhirSandbox(TargetSuite):
    pass


class TestFhirSandboxThatInsistsOnVersions(TargetSuite):
    @pytest.fixture
    async def side(self) -> AsyncIterator[ShareSide]:
        async with shared_record(insists=True) as made:
            yield made


@pytest.mark.parametrize("fault", sorted(BROKEN))
async def test_the_sandbox_refuses_what_a_fhir_server_refuses(fault: str, side: ShareSide) -> None:
    (outcome,) = await side.target.write([broken(side, fault)])
    assert isinstance(outcome, Refused), outcome
    assert "Ashdown" not in outcome.reason
    assert side.held(1) is None
    assert side.effects() == 0


async def test_where_versions_are_wanted_a_lost_ledger_reads_them_first_and_then_agrees() -> None:
    async with shared_record(insists=True) as side:
        subject, first = side.document(1, 1)
        _, second = side.document(1, 2)
        await side.target.write([Write(subject, first)])
        (unknown,) = await side.target.write([Write(subject, second)])
        assert isinstance(unknown, Unknown), f"{unknown}: a 400 without If-Match may mean that it is wanted"
        (shown,) = await side.target.read_back([Write(subject, second, None, (second,))])
        assert isinstance(shown, Held)
        (agreed,) = await side.target.write([Write(subject, second, None, (), shown.ref, shown.tag)])
        assert isinstance(agreed, Confirmed)
        assert agreed.body == second.body


async def test_one_transaction_holds_one_person_and_sends_versions_and_deletions(side: ShareSide) -> None:
    subject, first = side.document(1, 1)
    _, second = side.document(1, 2)
    (created,) = await side.target.write([Write(subject, first)])
    assert isinstance(created, Confirmed)
    sent: list[Any] = []
    taken = side.sandbox._checked
    side.sandbox._checked = lambda entry: (sent.append(entry["request"]), taken(entry))[1]  # type: ignore[func-returns-value,method-assign]
    await side.target.write([Write(subject, second, first, (), created.ref, created.tag)])
    assert [(each["method"], each["url"].partition("/")[0], each["ifMatch"]) for each in sent] == [
        ("DELETE", "EpisodeOfCare", 'W/"1"'),
        ("PUT", "EpisodeOfCare", 'W/"1"'),
        ("PUT", "Patient", 'W/"1"'),
        ("PUT", "RelatedPerson", 'W/"1"'),
    ]
    assert side.sandbox.summary()["documents"] == {"Patient": 1, "EpisodeOfCare": 1, "RelatedPerson": 1}


async def test_a_patient_that_others_refer_to_is_not_deleted(side: ShareSide) -> None:
    subject, document = side.document(1, 1)
    (created,) = await side.target.write([Write(subject, document)])
    assert isinstance(created, Confirmed)
    theirs = {"resourceType": "EpisodeOfCare", "id": "theirs", "patient": {"reference": f"Patient/{created.ref}"}}
    side.sandbox.held.place("EpisodeOfCare", "theirs", json.dumps(theirs))
    (first,) = await side.target.write([Write(subject, None, document, (), created.ref, created.tag)])
    assert isinstance(first, Unknown), "with versions in it, a 409 may be a version: look again"
    (outcome,) = await side.target.write([Write(subject, None, document, (document,), created.ref, created.tag)])
    assert outcome == Refused(
        "the server refuses it (409): the resource: conflict. Other resources there may refer to it: a person has to look"
    )
    assert side.held(1) == document.body


@pytest.mark.parametrize(
    ("status", "wait", "expected"), [(503, 120, timedelta(seconds=120)), (429, None, None), (503, None, None)]
)
async def test_a_server_that_turns_us_away_is_asked_again(
    status: int, wait: int | None, expected: timedelta | None, side: ShareSide
) -> None:
    side.sandbox.faults.append(Fault(kind="status", status=status, retry_after=wait, path="/fhir"))
    (outcome,) = await side.target.write([Write(*side.document(1, 1))])
    assert isinstance(outcome, Unavailable)
    assert outcome.after == expected


@pytest.mark.parametrize(("status", "kind"), [(412, Unknown), (409, Unknown), (422, Refused), (400, Refused), (404, Refused)])
async def test_a_status_of_a_create_means_what_r4_says(status: int, kind: type, side: ShareSide) -> None:
    side.sandbox.faults.append(Fault(kind="status", status=status, path="/fhir"))
    (outcome,) = await side.target.write([Write(*side.document(1, 1))])
    assert isinstance(outcome, kind), outcome


async def test_a_transaction_answered_in_another_shape_is_in_doubt(side: ShareSide) -> None:
    async def answer(request: Any) -> Any:
        found = await FhirSandbox.answer(side.sandbox, request)
        said = json.loads(found.body)
        if said.get("type") == "transaction-response":
            said["entry"].pop()
            found.body = json.dumps(said).encode()
            found.headers["content-length"] = str(len(found.body))
        return found

    side.sandbox.answer = answer  # type: ignore[method-assign]
    (outcome,) = await side.target.write([Write(*side.document(1, 1))])
    assert outcome == Unknown("200, but not one answer a resource")


@pytest.mark.parametrize("insists", [False, True])
async def test_a_change_by_hand_does_not_keep_an_episode_there_that_shall_go(insists: bool) -> None:
    async with shared_record(insists=insists) as side:
        subject, first = side.document(1, 1)
        _, second = side.document(1, 2)
        (created,) = await side.target.write([Write(subject, first)])
        assert isinstance(created, Confirmed)
        side.alter(1)
        crossed = Write(subject, second, first, (), created.ref, created.tag)
        assert isinstance((await side.target.write([crossed]))[0], Unknown)
        (shown,) = await side.target.read_back([replace(crossed, doubtful=(second,))])
        assert isinstance(shown, Held)
        there = Document(first.kind, first.number, shown.body)
        (mended,) = await side.target.write([Write(subject, second, there, (), shown.ref, shown.tag)])
        assert isinstance(mended, Confirmed)
        assert side.held(1) == second.body


# -- check ---------------------------------------------------------------------------------------------------------


async def test_check_finds_all_well_and_changes_nothing(side: ShareSide) -> None:
    found = await side.target.check()
    assert [each for each in found if not each.well] == []
    assert (len(found), side.effects()) == (12, 0)


async def test_check_tells_what_a_server_lacks() -> None:
    lacks = {"interaction": [{"code": "read"}], "updateCreate": False, "versioning": "no-version"}
    async with shared_record(offers=lacks) as side:
        told = [each.what for each in await side.target.check() if not each.well]
    assert told[:3] == [
        "Patient: it offers read, update and delete: no update, no delete",
        "Patient: it takes our ids (updateCreate): it does not",
        "Patient: it keeps versions: it does not",
    ]
    assert len(told) == 9


async def test_check_tells_of_a_page_that_is_no_capability_statement_and_of_a_wrong_secret(side: ShareSide) -> None:
    side.sandbox.faults.append(Fault(kind="garbage", path="/metadata"))
    assert (await side.target.check())[0].what == "the server says what it offers: it does not (200)"
    side.sandbox.tokens._settings = FhirSandboxSettings(client_secret="another")
    side.target._access.auth._token = None  # type: ignore[attr-defined,union-attr]
    (told,) = await side.target.check()
    assert (told.well, "CLIENT_SECRET" in told.fix) == (False, True)


# -- refusals ------------------------------------------------------------------------------------------------------


def outcome_of(*issues: Any) -> bytes:
    return json.dumps({"resourceType": "OperationOutcome", "issue": list(issues)}).encode()


def test_a_reason_names_codes_and_elements_and_never_a_value() -> None:
    said = outcome_of(
        {"severity": "error", "code": "value", "diagnostics": "Ashdown 9434765919", "details": {"text": "Ashdown"},
         "expression": ["Bundle.entry[0].resource.ofType(Patient).name[0].family"]},
        {"severity": "error", "code": "Ashdown", "expression": ["Patient.name.where(family='Ashdown')"]},
        {"severity": "fatal", "code": "required", "location": ["Patient.Ashdown"]},
        {"severity": "information", "code": "informational", "diagnostics": "not an error"},
    )  # fmt: skip
    assert reason(422, said) == (
        "the server refuses it (422): Bundle.entry.resource.name.family: value; Patient.name: no code of FHIR; "
        "the resource: required"
    )


@pytest.mark.parametrize("said", [b"", b"<html>Ashdown</html>", b"[]", b'{"resourceType": "Patient"}', outcome_of("Ashdown")])
def test_an_answer_that_is_no_outcome_gives_no_more_than_its_status(said: bytes) -> None:
    assert reason(422, said) == "the server refuses it (422): it does not say why"

