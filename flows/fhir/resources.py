"""
The resources that a person becomes, in the words of R4 and UK Core: Patient, EpisodeOfCare, RelatedPerson.

Systems, extensions and profiles are those of the UK Core StructureDefinitions. No resource says more than the shared record
needs: ethnicity, disability, immigration, plans and reasons are not sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any, Final

from canonical import AdultService, CareEpisode, Person
from canonical.errors import RefusedError
from canonical.key import read_key
from canonical.people import Address, ContactPoint, Name, Sex
from flows.fhir.ids import fhir_id, pair_id
from flows.fhir.settings import CareRecordSettings
from flows.kit.plain import plain
from flows.port import Body, Facts

UK_CORE: Final = "https://fhir.hl7.org.uk/StructureDefinition"
NHS_NUMBER: Final = "https://fhir.nhs.uk/Id/nhs-number"
ODS_CODE: Final = "https://fhir.nhs.uk/Id/ods-organization-code"
VERIFICATION: Final = "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatusEngland"
ADDRESS_KEY: Final = "https://fhir.hl7.org.uk/CodeSystem/UKCore-AddressKeyType"
CAREGIVER: Final = {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleClass", "code": "CAREGIVER"}

_GENDER: Final = {Sex.FEMALE: "female", Sex.MALE: "male", Sex.UNKNOWN: "unknown"}
_SYSTEMS: Final = {"phone", "fax", "email", "pager", "url", "sms"}
_USES: Final = {"home", "work", "temp", "old", "mobile"}
_TEXT: Final = re.compile(r"[\x00-\x20]+")


class CareResources:
    """Makes the resources by the council's settings. `name` is the flow's, for errors."""

    def __init__(self, name: str, settings: CareRecordSettings) -> None:
        self._name = name
        self._settings = settings

    def patient(self, person: Person) -> Body:
        return self._resource("Patient", fhir_id(person.key), {
            "identifier": [self._own(person.key), *self._nhs_number(person)],
            "active": True,
            "name": _names(person.names),
            "telecom": _telecom(person.contacts),
            "gender": _GENDER[person.sex],
            "birthDate": person.birth_date,
            "deceasedDateTime": person.death_date,
            "address": [self._address(each) for each in person.addresses if each.lines or each.town or each.postcode],
            "managingOrganization": self._council(),
        })  # fmt: skip

    def care_episode(self, episode: CareEpisode, facts: Facts) -> Body:
        return self._episode(
            episode.key, episode.person, "Children's social care", (episode.referral_date, episode.close_date), facts
        )

    def service(self, service: AdultService, facts: Facts) -> Body:
        what = _text(service.service_type) or "Adult social care service"
        return self._episode(service.key, service.person, what, (service.start_date, service.end_date), facts)

    def carer(self, person: Person, cared_for: str) -> Body:
        """
        Make the person a RelatedPerson of one whom the person cares for. That one is named by the council's identifier and not by
        an address: two people may care for each other, and a server takes an address only of what is there already.
        """
        return self._resource("RelatedPerson", pair_id(person.key, cared_for), {
            "identifier": [self._own(person.key)],
            "active": True,
            "patient": {"type": "Patient", "identifier": self._own(cared_for)},
            "relationship": [{"coding": [CAREGIVER], "text": "Unpaid carer"}],
            "name": _names(person.names),
            "telecom": _telecom(person.contacts),
        })  # fmt: skip

    def _episode(
        self, key: str, person: str, what: str, period: tuple[date | None, date | None], facts: Facts
    ) -> Body:
        return self._resource("EpisodeOfCare", fhir_id(key), {
            "identifier": [self._own(key)],
            "status": _status(*period, facts),
            "type": [{"text": what}],
            "patient": {"reference": f"Patient/{fhir_id(person)}"},
            "managingOrganization": self._council(),
            "period": self._period("EpisodeOfCare.period", *period),
        })  # fmt: skip

    def _resource(self, kind: str, number: str, fields: Body) -> Body:
        said = {name: value for name, value in fields.items() if value not in (None, [], {})}
        return plain({"resourceType": kind, "id": number, "meta": {"profile": [f"{UK_CORE}/UKCore-{kind}"]}, **said})

    def _own(self, key: str) -> Body:
        return {"system": self._settings.record_system, "value": key}

    def _council(self) -> Body:
        return {"type": "Organization", "identifier": {"system": ODS_CODE, "value": self._settings.organisation}}

    def _nhs_number(self, person: Person) -> Iterator[Body]:
        if person.nhs_number is None:
            return
        status = self._settings.verification.get(read_key(person.key).source)
        told = {"coding": [{"system": VERIFICATION, "code": status}]}
        extension = {"url": f"{UK_CORE}/Extension-UKCore-NHSNumberVerificationStatus", "valueCodeableConcept": told}
        yield {**({"extension": [extension]} if status else {}), "system": NHS_NUMBER, "value": person.nhs_number}

    def _address(self, address: Address) -> Body:
        said = {
            "line": _texts(address.lines),
            "city": _text(address.town),
            "postalCode": address.postcode,
            "period": self._period("Patient.address.period", address.start_date, address.end_date),
        }
        uprn = {"extension": [_uprn(address.uprn)]} if address.uprn else {}
        return {**uprn, **{name: value for name, value in said.items() if value}}

    def _period(self, where: str, start: date | None, end: date | None) -> Body:
        if start and end and start > end:
            raise RefusedError(self._name, f"{where}: ends before it begins (per-1)")
        return {name: day for name, day in (("start", start), ("end", end)) if day}


def _status(start: date | None, end: date | None, facts: Facts) -> str:
    if end and facts.has_come(end):
        return "finished"
    return "planned" if start and not facts.has_come(start) else "active"


def _names(names: Iterable[Name]) -> list[Body]:
    return [
        {**({"use": "usual"} if place == 0 else {}), **said} for place, name in enumerate(names) if (said := _name(name))
    ]


def _name(name: Name) -> Body:
    parts: list[tuple[str, Any]] = [
        ("family", _text(name.family)),
        ("given", _texts([name.given or ""])),
        ("prefix", _texts([name.title or ""])),
    ]
    return {part: value for part, value in parts if value}


def _telecom(contacts: Iterable[ContactPoint]) -> list[Body]:
    return [
        {
            "system": system if (system := contact.system.lower()) in _SYSTEMS else "other",
            "value": value,
            **({"use": use} if (use := (contact.use or "").lower()) in _USES else {}),
        }
        for contact in contacts
        if (value := _text(contact.value))
    ]


def _uprn(uprn: str) -> Body:
    kind = {"url": "type", "valueCoding": {"system": ADDRESS_KEY, "code": "UPRN"}}
    return {"url": f"{UK_CORE}/Extension-UKCore-AddressKey", "extension": [kind, {"url": "value", "valueString": uprn}]}


def _texts(texts: Iterable[str]) -> list[str]:
    return [text for each in texts if (text := _text(each))]


def _text(value: str | None) -> str:
    """A string as R4 takes it: no blank at an end, and no control character."""
    return _TEXT.sub(" ", value or "").strip()
