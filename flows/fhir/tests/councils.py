"""A council's side of a FHIR server, for tests: facts, documents, and the scenarios of a side."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import uuid4

import httpx

from canonical import AdultAssessment, AdultService, CareEpisode, Person
from canonical.entity import Entity
from flows.fhir import CareRecords, CareRecordSettings, FhirSettings, FhirTarget
from flows.kit.sandbox import Sandbox
from flows.port import Body, Document, Fact, Facts, Nothing, Write
from flows.testing import SandboxSide

TODAY = date(2026, 6, 15)
SAYS = CareRecordSettings(
    record_system="https://council.example/id/care-record", organisation="E99", verification={"mosaic": "01"}
)


def settings(sandbox: Sandbox) -> FhirSettings:
    given: Mapping[str, Any] = {
        "base_url": f"{sandbox.url}/fhir", "token_url": f"{sandbox.url}/token", "client_id": sandbox.settings.client_id,
        "client_secret": sandbox.settings.client_secret, "requests": 100_000,
    }  # fmt: skip
    return FhirSettings.model_validate(given)


def flow() -> CareRecords:
    return CareRecords("fhir", SAYS, FhirSettings.model_construct())


def desired(*entities: Entity, today: date = TODAY) -> Document | Nothing | None:
    facts = [Fact(each.type_name, each.key, each.owner, 1, each.to_bytes()) for each in entities]
    return flow().desired(entities[0].owner, Facts(facts, today))


def document(*entities: Entity, today: date = TODAY) -> Document:
    found = desired(*entities, today=today)
    assert isinstance(found, Document)
    return found


def adult(key: str = "mosaic:person:1042", **fields: Any) -> list[Entity]:
    """Somebody with all that a record can have: an episode, a service, and a person who is cared for."""
    given = {
        "names": [{"given": "Wren", "family": "Ashdown", "title": "Mx"}, {"family": "Birch"}],
        "birth_date": "1961-05-05", "sex": "F", "nhs_number": "9434765919",
        "addresses": [
            {"lines": ["1 Ford Lane"], "town": "Iron Bridge", "postcode": "TF8 7JP", "uprn": "10", "start_date": "2020-01-02"}
        ],
        "contacts": [{"system": "phone", "value": "01952 000000", "use": "home"}, {"system": "Twitter", "value": "@wren"}],
        **fields,
    }  # fmt: skip
    source, _, number = key.split(":", 2)
    return [
        Person(key=key, **given),
        CareEpisode(key=f"{source}:care-episode:{number}-1", person=key, referral_date="2025-01-01", close_date="2025-02-01"),
        AdultService(key=f"{source}:adult-service:{number}-2", person=key, start_date="2026-01-01", service_type="Home care"),
        AdultAssessment(key=f"{source}:adult-assessment:{number}-3", person=key, cared_for=[f"{source}:person:{number}9"]),
    ]


def target_of(sandbox: Sandbox, http: httpx.AsyncClient) -> FhirTarget:
    return FhirTarget("fhir", settings(sandbox), http)


@dataclass
class FhirSide(SandboxSide):
    """Documents of four resources, under keys that no other test has."""

    mine: str = field(default_factory=lambda: uuid4().hex[:8])

    def key(self, number: int) -> str:
        return f"mosaic:person:{self.mine}-{number}"

    def document(self, number: int, version: int) -> tuple[str, Document]:
        person, episode, *others = adult(self.key(number), birth_date=f"196{version}-05-05")
        return self.key(number), document(person, *([episode] if version == 1 else []), *others)

    def refusable(self, number: int) -> tuple[str, Document]:
        subject, found = self.document(number, 1)
        patient = f"Patient/{found.number}"
        return subject, Document(found.kind, found.number, {**found.body, patient: {**found.body[patient], "gender": "F"}})

    def shown(self, address: str) -> Body | None:
        """One resource as the server holds it."""
        raise NotImplementedError

    def held(self, number: int) -> Body | None:
        """Give the resources that the documents of that number name, as the server holds them, without its own additions."""
        _, everything = self.document(number, 1)
        found = {each: _bare(resource) for each in everything.body if (resource := self.shown(each)) is not None}
        return found or None


def _bare(resource: Body) -> Body:
    meta = {name: value for name, value in resource["meta"].items() if name == "profile"}
    return {**resource, "meta": meta}


BROKEN: Mapping[str, tuple[str, Body]] = {
    "a code that the binding has not": ("Patient", {"gender": "F"}),
    "a date that is no day": ("Patient", {"birthDate": "1961-13-40"}),
    "one value where a list belongs": ("Patient", {"name": {"family": "Ashdown"}}),
    "an element that R4 has not": ("Patient", {"shoeSize": "Ashdown"}),
    "an episode without its status": ("EpisodeOfCare", {"status": None}),
    "an episode without its patient": ("EpisodeOfCare", {"patient": None}),
    "an episode of a patient who is not there": ("EpisodeOfCare", {"patient": {"reference": "Patient/nobody.of.Ashdown"}}),
    "a related person without a patient": ("RelatedPerson", {"patient": None}),
    "a period that ends before it begins": ("EpisodeOfCare", {"period": {"start": "2026-02-01", "end": "2026-01-01"}}),
    "an id that is none": ("Patient", {"id": "Ash_down"}),
    "a contact point without a system": ("Patient", {"telecom": [{"value": "01952 Ashdown"}]}),
}
"""Faults that a FHIR server refuses: the resource, and the fields that are put into it or taken out (None)."""


def broken(side: FhirSide, fault: str) -> Write:
    """A write of the side's first document, with a fault in one resource."""
    subject, found = side.document(1, 1)
    kind, fields = BROKEN[fault]
    body = dict(found.body)
    address = next(each for each in body if each.startswith(f"{kind}/"))
    changed = {name: value for name, value in {**body.pop(address), **fields}.items() if value is not None}
    return Write(subject, Document(found.kind, found.number, {**body, f"{kind}/{changed['id']}": changed}))
