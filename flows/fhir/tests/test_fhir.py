"""The flow to a shared care record is tested here: its resources, its ids, and the people whom it leaves out."""

import json
import re
import tomllib
from datetime import date, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from canonical import AdultService, Person
from canonical.errors import RefusedError
from canonical.key import key_of
from flows.fhir import CareRecordSettings, system
from flows.fhir.ids import fhir_id, pair_id
from flows.fhir.resources import ADDRESS_KEY, NHS_NUMBER, UK_CORE, VERIFICATION
from flows.fhir.sandbox_rules import wrongs
from flows.fhir.settings import FhirSettings
from flows.fhir.tests.councils import TODAY, adult, desired, document, flow
from flows.port import Fact, Facts, Nothing, Urgency

KEY = "mosaic:person:1042"
PATIENT = "Patient/mosaic.person.1042"


def test_a_person_becomes_these_resources() -> None:
    made = document(*adult())
    related = pair_id(KEY, "mosaic:person:10429")
    council = {
        "type": "Organization",
        "identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "E99"},
    }
    own = "https://council.example/id/care-record"
    status = {
        "url": f"{UK_CORE}/Extension-UKCore-NHSNumberVerificationStatus",
        "valueCodeableConcept": {"coding": [{"system": VERIFICATION, "code": "01"}]},
    }
    uprn = {
        "url": f"{UK_CORE}/Extension-UKCore-AddressKey",
        "extension": [
            {"url": "type", "valueCoding": {"system": ADDRESS_KEY, "code": "UPRN"}},
            {"url": "value", "valueString": "10"},
        ],
    }
    names = [{"use": "usual", "family": "Ashdown", "given": ["Wren"], "prefix": ["Mx"]}, {"family": "Birch"}]
    telecom = [{"system": "phone", "value": "01952 000000", "use": "home"}, {"system": "other", "value": "@wren"}]
    assert (made.kind, made.number) == ("record", "mosaic.person.1042")
    assert made.body == {
        "EpisodeOfCare/mosaic.adult-service.1042-2": {
            "resourceType": "EpisodeOfCare", "id": "mosaic.adult-service.1042-2",
            "meta": {"profile": ["https://fhir.hl7.org.uk/StructureDefinition/UKCore-EpisodeOfCare"]},
            "identifier": [{"system": own, "value": "mosaic:adult-service:1042-2"}], "status": "active",
            "type": [{"text": "Home care"}], "patient": {"reference": PATIENT}, "managingOrganization": council,
            "period": {"start": "2026-01-01"},
        },
        "EpisodeOfCare/mosaic.care-episode.1042-1": {
            "resourceType": "EpisodeOfCare", "id": "mosaic.care-episode.1042-1",
            "meta": {"profile": ["https://fhir.hl7.org.uk/StructureDefinition/UKCore-EpisodeOfCare"]},
            "identifier": [{"system": own, "value": "mosaic:care-episode:1042-1"}], "status": "finished",
            "type": [{"text": "Children's social care"}], "patient": {"reference": PATIENT}, "managingOrganization": council,
            "period": {"start": "2025-01-01", "end": "2025-02-01"},
        },
        PATIENT: {
            "resourceType": "Patient", "id": "mosaic.person.1042",
            "meta": {"profile": ["https://fhir.hl7.org.uk/StructureDefinition/UKCore-Patient"]},
            "identifier": [
                {"system": own, "value": KEY},
                {"extension": [status], "system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9434765919"},
            ],
            "active": True, "name": names, "telecom": telecom, "gender": "female", "birthDate": "1961-05-05",
            "address": [{
                "extension": [uprn], "line": ["1 Ford Lane"], "city": "Iron Bridge", "postalCode": "TF8 7JP",
                "period": {"start": "2020-01-02"},
            }],
            "managingOrganization": council,
        },
        f"RelatedPerson/{related}": {
            "resourceType": "RelatedPerson", "id": related,
            "meta": {"profile": ["https://fhir.hl7.org.uk/StructureDefinition/UKCore-RelatedPerson"]},
            "identifier": [{"system": own, "value": KEY}], "active": True,
            "patient": {"type": "Patient", "identifier": {"system": own, "value": "mosaic:person:10429"}},
            "relationship": [{
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleClass", "code": "CAREGIVER"}],
                "text": "Unpaid carer",
            }],
            "name": names, "telecom": telecom,
        },
    }  # fmt: skip


def test_the_systems_and_extensions_are_those_that_the_nhs_itself_sends(shared: Path) -> None:
    theirs = json.loads((shared / "data/health/fhir-pds/Patient.json").read_text("utf-8"))
    (nhs,) = theirs["identifier"]
    (ours,) = [each for each in document(*adult()).body[PATIENT]["identifier"] if each["system"] == NHS_NUMBER]
    assert (ours["system"], ours["extension"][0]["url"]) == (nhs["system"], nhs["extension"][0]["url"])
    assert (ours["extension"][0].keys(), ours.keys()) == (nhs["extension"][0].keys(), nhs.keys())
    # The sandbox of the NHS has release 1 of the code system. UK Core 2 named England in it and kept the codes.
    (coding,) = nhs["extension"][0]["valueCodeableConcept"]["coding"]
    assert (f"{coding['system']}England", coding["code"]) == (VERIFICATION, "01")
    told = [key for each in theirs["address"] for key in each["extension"]]
    (uprn,) = document(*adult()).body[PATIENT]["address"][0]["extension"]
    assert {(key["url"], *sorted(part["url"] for part in key["extension"])) for key in told} == {(uprn["url"], "type", "value")}
    assert {part["valueCoding"]["system"] for key in told for part in key["extension"] if part["url"] == "type"} == {ADDRESS_KEY}


def test_a_verification_status_that_nobody_knows_is_not_claimed() -> None:
    made = document(*adult("liquidlogic:person:7")).body["Patient/liquidlogic.person.7"]
    assert made["identifier"][1] == {"system": NHS_NUMBER, "value": "9434765919"}


def test_the_least_that_is_known_of_a_person_is_lawful() -> None:
    (made,) = document(Person(key="mosaic:person:1", names=[{}], contacts=[], addresses=[{"kind": "HOME"}])).body.values()
    assert sorted(made) == ["active", "gender", "id", "identifier", "managingOrganization", "meta", "resourceType"]
    assert [*wrongs(made)] == []


@pytest.mark.parametrize(
    ("start", "end", "status"),
    [
        ("2026-06-16", None, "planned"),
        ("2026-06-15", None, "active"),
        (None, None, "active"),
        ("2026-06-01", "2026-06-16", "active"),
        ("2026-06-01", "2026-06-15", "finished"),
    ],
)
def test_an_episode_is_planned_active_or_finished_by_the_day(start: str | None, end: str | None, status: str) -> None:
    service = AdultService(key="mosaic:adult-service:1", person=KEY, start_date=start, end_date=end)
    facts = [Fact(each.type_name, each.key, KEY, 1, each.to_bytes()) for each in (Person(key=KEY), service)]
    looked_at = Facts(facts, TODAY)
    made: Any = flow().desired(KEY, looked_at)
    assert made.body["EpisodeOfCare/mosaic.adult-service.1"]["status"] == status
    tomorrow = TODAY + timedelta(days=1)
    assert looked_at.recheck == (tomorrow if "2026-06-16" in (start, end) else None)


def test_a_restricted_record_is_not_shared_and_one_that_is_gone_neither() -> None:
    assert desired(*adult(restricted=True)) == Nothing("the record is restricted: it is not shared")
    assert desired(*adult()[1:]) == Nothing("the person itself is not published: it is quarantined, or gone")
    assert flow().desired(KEY, Facts([], TODAY)) is None
    assert flow().urgency("person") is Urgency.USUAL


def test_a_period_that_ends_before_it_begins_parks_the_person_and_names_no_day() -> None:
    wrong = AdultService(key="mosaic:adult-service:1", person=KEY, start_date="2026-06-02", end_date="2026-06-01")
    with pytest.raises(RefusedError) as told:
        desired(Person(key=KEY), wrong)
    assert "EpisodeOfCare.period: ends before it begins (per-1)" in str(told.value)
    assert "2026" not in str(told.value)


PARTS = st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=3)
SOURCES = st.from_regex("[a-z][a-z0-9_.-]{0,20}", fullmatch=True)
KEYS = st.builds(lambda source, parts: key_of(source, "person", *parts), SOURCES, PARTS)
AWKWARD = [
    "a:person:1", "a.person:person:1", "a_b:person:1", "a-b:person:1", "a.b:person:1", "a:person:1:2", "a:person:1.2",
    "a:person:1-2", "a:person-1:2", "a:person:1%3A2", "a:person:A", "a:person:" + "x" * 80, "a:person:" + "x" * 81,
]  # fmt: skip


@given(st.lists(KEYS, min_size=1, max_size=6, unique=True))
def test_every_key_has_a_lawful_id_of_its_own_that_begins_with_its_source(keys: list[str]) -> None:
    ids = [fhir_id(key) for key in keys] + [pair_id(keys[0], key) for key in keys]
    assert all(re.fullmatch(r"[A-Za-z0-9.-]{1,64}", each) for each in ids)
    assert len(set(ids)) == len(ids)
    for key, each in zip(keys, ids, strict=False):
        source = re.sub(r"[^A-Za-z0-9-]+", "-", key.partition(":")[0])
        assert each.startswith(source[:16])


def test_keys_that_look_alike_have_different_ids() -> None:
    assert len({fhir_id(key) for key in AWKWARD}) == len(AWKWARD)
    assert all(fhir_id(one) != pair_id(one, other) for one, other in combinations(AWKWARD, 2))


def test_the_sample_is_a_section_that_holds() -> None:
    given_ = tomllib.loads(system.sample)["targets"]["fhir"]
    there, says = system.divided({**given_, "client_secret": "s"})
    assert FhirSettings.model_validate(there).base == "https://shared-care.example.nhs.uk/fhir/R4"
    assert CareRecordSettings.model_validate(says).organisation == "E99"
    with pytest.raises(ValidationError):
        CareRecordSettings.model_validate({**says, "verification": {"mosaic": "99"}})


def test_a_day_in_a_document_is_text() -> None:
    made = document(*adult(death_date=date(2026, 1, 2)))
    assert made.body[PATIENT]["deceasedDateTime"] == "2026-01-02"
    assert json.loads(json.dumps(made.body)) == made.body
