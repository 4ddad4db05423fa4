"""
This flow says what a shared care record should hold of a person: a Patient, with episodes of care and the people that the person
cares for.

A document's body has one field a resource, named by its address (`Patient/mosaic.person.1042`), in a fixed order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from canonical import AdultAssessment, AdultService, CareEpisode, Person
from canonical.entity import Entity
from flows.fhir.ids import fhir_id
from flows.fhir.resources import CareResources
from flows.fhir.settings import CareRecordSettings, FhirSettings
from flows.port import Body, Document, Facts, Grouping, Nothing, Urgency

KIND = "record"


class CareRecords:
    """One document for each person: the Patient with its episodes, and a RelatedPerson for each one whom the person cares for."""

    entities: tuple[type[Entity], ...] = (Person, CareEpisode, AdultService, AdultAssessment)
    grouping = Grouping.OWNER
    distinct: Literal[True] = True  # a Patient's id is worked out from its key (`ids.py`)

    def __init__(self, name: str, settings: CareRecordSettings, _there: FhirSettings) -> None:
        self.name = name
        self.settings: Mapping[str, Any] = settings.model_dump(mode="json")
        self._resources = CareResources(name, settings)

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        person = facts.one(Person)
        if person is None:
            return Nothing("the person itself is not published: it is quarantined, or gone") if [*facts] else None
        if person.restricted:
            return Nothing("the record is restricted: it is not shared")
        named = {f"{each['resourceType']}/{each['id']}": each for each in self._all(person, facts)}
        return Document(KIND, fhir_id(subject), dict(sorted(named.items())))

    def urgency(self, entity: str) -> Urgency:
        return Urgency.USUAL

    def _all(self, person: Person, facts: Facts) -> list[Body]:
        make = self._resources
        cared_for = {each for assessment in facts.all(AdultAssessment) for each in assessment.cared_for}
        return [
            make.patient(person),
            *(make.care_episode(episode, facts) for episode in facts.all(CareEpisode)),
            *(make.service(service, facts) for service in facts.all(AdultService)),
            *(make.carer(person, other) for other in sorted(cared_for)),
        ]

