"""
Tells people why a server refused a transaction, by its OperationOutcome.

Only an issue's code and the name of an element are repeated. `diagnostics` and `details` are a server's own words and may quote a
record; so may a path of FHIRPath (`name[0].where(family='Ash')`), so a path is told by its names alone.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

# http://hl7.org/fhir/R4/valueset-issue-type.html. Anything else in that place is not repeated.
_CODES: Final = frozenset({
    "invalid", "structure", "required", "value", "invariant", "security", "login", "unknown", "expired", "forbidden",
    "suppressed", "processing", "not-supported", "duplicate", "multiple-matches", "not-found", "deleted", "too-long",
    "code-invalid", "extension", "too-costly", "business-rule", "conflict", "transient", "lock-error", "no-store", "exception",
    "timeout", "incomplete", "throttled", "informational",
})  # fmt: skip
# The elements of the resources that we send. Another word in a path may be somebody's name.
_ELEMENTS: Final = frozenset({
    "Bundle", "Patient", "RelatedPerson", "EpisodeOfCare", "entry", "request", "resource", "id", "meta", "profile", "identifier",
    "system", "value", "extension", "url", "active", "name", "use", "family", "given", "prefix", "telecom", "gender", "birthDate",
    "deceased", "deceasedDateTime", "address", "line", "city", "postalCode", "period", "start", "end", "managingOrganization",
    "type", "text", "status", "patient", "reference", "relationship", "coding", "code", "ifMatch", "method", "fullUrl",
})  # fmt: skip
_WORD: Final = re.compile("[A-Za-z]+")
_ASIDE: Final = re.compile(r"\.?\w+\([^)]*\)|\[[^\]]*\]")  # `.ofType(Patient)`, `[0]`
_MOST: Final = 3


def issues(content: bytes) -> list[dict[str, Any]]:
    """The issues that are errors; none if the answer is no OperationOutcome."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return []
    if not isinstance(said, dict) or said.get("resourceType") != "OperationOutcome":
        return []
    found = [each for each in _listed(said.get("issue")) if isinstance(each, dict)]
    return [each for each in found if each.get("severity") in ("error", "fatal")]


def reason(status: int, content: bytes) -> str:
    """The reason for a record's story: status, codes, elements."""
    told = list(dict.fromkeys(map(_told, issues(content))))
    return f"the server refuses it ({status}): {'; '.join(told[:_MOST]) or 'it does not say why'}"


def _told(issue: dict[str, Any]) -> str:
    code = issue.get("code")
    paths = [*_listed(issue.get("expression")), *_listed(issue.get("location"))]
    where = next((path for each in paths if (path := _path(each))), "")
    return f"{where or 'the resource'}: {code if code in _CODES else 'no code of FHIR'}"


def _path(path: object) -> str:
    plain = _ASIDE.sub("", path) if isinstance(path, str) else ""
    words = _WORD.findall(plain)
    return ".".join(words) if words and all(word in _ELEMENTS for word in words) else ""


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
