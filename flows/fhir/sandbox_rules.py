"""
These rules hold what R4 says of the elements that the sandbox takes: types, cardinalities, the codes of required bindings.

They were written from the resource pages of R4 (patient, relatedperson, episodeofcare, datatypes). An element that is not listed
is none of R4's as far as the sandbox knows, and is refused as a server refuses an unknown element.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final, NamedTuple

Json = dict[str, Any]
ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")
_DATE: Final = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")
_URI: Final = re.compile(r"\S+")
_CODE: Final = re.compile(r"[^\s]+( [^\s]+)*")


class Element(NamedTuple):
    """An element: its type, and whether it has to be there and may be repeated."""

    type: str
    required: bool = False
    many: bool = False


def _elements(**types: str) -> dict[str, Element]:
    """`Identifier*` may stand there any number of times, `code!` has to stand there, once."""
    return {
        name.rstrip("_"): Element(type_.rstrip("!*"), "!" in type_, "*" in type_) for name, type_ in types.items()
    }


_RESOURCE: Final = _elements(resourceType="string!", id="id!", meta="Meta", extension="Extension*")
_TYPES: Final[Mapping[str, Mapping[str, Element]]] = {
    "Patient": _RESOURCE | _elements(
        identifier="Identifier*", active="boolean", name="HumanName*", telecom="ContactPoint*", gender="gender", birthDate="date",
        deceasedDateTime="date", address="Address*", managingOrganization="Reference",
    ),
    "RelatedPerson": _RESOURCE | _elements(
        identifier="Identifier*", active="boolean", patient="Reference!", relationship="CodeableConcept*", name="HumanName*",
        telecom="ContactPoint*", gender="gender", birthDate="date", address="Address*", period="Period",
    ),
    "EpisodeOfCare": _RESOURCE | _elements(
        identifier="Identifier*", status="episode-status!", type="CodeableConcept*", patient="Reference!",
        managingOrganization="Reference", period="Period",
    ),
    "Meta": _elements(versionId="id", lastUpdated="string", profile="uri*"),
    "Identifier": _elements(
        extension="Extension*", use="identifier-use", type="CodeableConcept", system="uri", value="string", period="Period",
    ),
    "HumanName": _elements(
        extension="Extension*", use="name-use", text="string", family="string", given="string*", prefix="string*",
        suffix="string*", period="Period",
    ),
    "ContactPoint": _elements(system="contact-system", value="string", use="contact-use", rank="string", period="Period"),
    "Address": _elements(
        extension="Extension*", use="address-use", text="string", line="string*", city="string", district="string",
        postalCode="string", country="string", period="Period",
    ),
    "Period": _elements(start="date", end="date"),
    "Reference": _elements(reference="string", type="uri", identifier="Identifier", display="string"),
    "CodeableConcept": _elements(coding="Coding*", text="string"),
    "Coding": _elements(system="uri", version="string", code="code", display="string"),
    "Extension": _elements(
        url="uri!", extension="Extension*", valueCodeableConcept="CodeableConcept", valueCoding="Coding", valueString="string",
    ),
}  # fmt: skip
_CODES: Final = {
    "gender": {"male", "female", "other", "unknown"},
    "episode-status": {"planned", "waitlist", "active", "onhold", "finished", "cancelled", "entered-in-error"},
    "identifier-use": {"usual", "official", "temp", "secondary", "old"},
    "name-use": {"usual", "official", "temp", "nickname", "anonymous", "old", "maiden"},
    "contact-system": {"phone", "fax", "email", "pager", "url", "sms", "other"},
    "contact-use": {"home", "work", "temp", "old", "mobile"},
    "address-use": {"home", "work", "temp", "old", "billing"},
}
RESOURCES: Final = ("Patient", "RelatedPerson", "EpisodeOfCare")


class Wrong(NamedTuple):
    """An issue of an OperationOutcome: its code, and the path of the element."""

    code: str
    path: str


def wrongs(resource: Json) -> Iterator[Wrong]:
    """All that R4 does not allow in a resource of one of the three kinds."""
    yield from _complex(resource, str(resource.get("resourceType")), str(resource.get("resourceType")))


def _complex(value: Any, type_: str, path: str) -> Iterator[Wrong]:
    if not isinstance(value, dict) or not value:
        yield Wrong("structure", path)
        return
    elements = _TYPES[type_]
    yield from (Wrong("structure", path) for name in value if name not in elements)
    for name, element in elements.items():
        if name in value:
            yield from _element(value[name], element, f"{path}.{name}")
        elif element.required:
            yield Wrong("required", f"{path}.{name}")
    if type_ == "Period" and str(value.get("start", "")) > str(value.get("end", "9999")):
        yield Wrong("invariant", path)
    if type_ == "Extension" and ("extension" in value) == any(name.startswith("value") for name in value):
        yield Wrong("invariant", path)
    if type_ == "ContactPoint" and "value" in value and "system" not in value:
        yield Wrong("invariant", path)


def _element(value: Any, element: Element, path: str) -> Iterator[Wrong]:
    if isinstance(value, list) is not element.many or value == []:
        yield Wrong("structure", path)
        return
    for each in value if element.many else [value]:
        if element.type in _TYPES:
            yield from _complex(each, element.type, path)
        elif not _simple(each, element.type):
            yield Wrong("code-invalid" if element.type in _CODES else "value", path)


def _simple(value: Any, type_: str) -> bool:
    if type_ == "boolean":
        return isinstance(value, bool)
    if not isinstance(value, str) or not value.strip():
        return False
    if type_ in _CODES:
        return value in _CODES[type_]
    if type_ == "date":
        return _is_date(value)
    patterns = {"id": ID, "uri": _URI, "code": _CODE}
    return type_ not in patterns or bool(patterns[type_].fullmatch(value))


def _is_date(value: str) -> bool:
    if not _DATE.fullmatch(value):
        return False
    try:
        date.fromisoformat(f"{value}-01-01"[:10] if len(value) < 10 else value)
    except ValueError:
        return False
    return True
