"""
The API's contract as far as a record must keep it: which blocks have ids, and what may stand in a field.

Source: the OpenAPI file 1.0.1, which decides; code lists and stricter forms are those of the payload guidance. A record
is checked before it is sent, because the API refuses a hundred children for the fault of one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from canonical.errors import RefusedError
from flows.port import Body

KEYED: Final = {
    "social_care_episodes": "social_care_episode_id",
    "child_and_family_assessments": "child_and_family_assessment_id",
    "child_in_need_plans": "child_in_need_plan_id",
    "section_47_assessments": "section_47_assessment_id",
    "child_protection_plans": "child_protection_plan_id",
    "child_looked_after_placements": "child_looked_after_placement_id",
}
"""Lists whose items have an id and can be purged by it."""
BLOCKS: Final = frozenset(("health_and_wellbeing", "adoption", "care_leavers"))
"""Blocks without an id, purged as such."""
WORKERS: Final = "care_worker_details"
"""A list whose items have no id: it can only be replaced."""

_Holds = Callable[[Any], bool]
_Rule = tuple[_Holds, str]


def _form(pattern: str, most: int) -> _Rule:
    form = re.compile(pattern)
    return lambda value: len(value) <= most and bool(form.fullmatch(value)), f"at most {most} characters, {pattern}"


def _length(most: int) -> _Rule:
    return lambda value: len(value) <= most, f"at most {most} characters"


def _one_of(codes: str) -> _Rule:
    allowed = frozenset(codes.split())
    return lambda value: value in allowed, f"one of {codes}"


_ID = _form(r"[A-Za-z0-9_-]+", 36)  # the contract would take an empty one: two of those could not be told apart
_CODES: Final[dict[str, tuple[int, int]]] = {"disabilities": (12, 4), "factors": (41, 3)}  # how many, how long
_RULES: Final[dict[str, _Rule]] = {
    "la_child_id": _form(r"[A-Za-z0-9]+", 20),
    "mis_child_id": _ID,
    "unique_pupil_number": _form(r"[A-Za-z0-9]{13}", 13),
    "former_unique_pupil_number": _form(r"[A-Za-z0-9]{13}", 13),
    "unique_pupil_number_unknown_reason": _one_of("UN1 UN2 UN3 UN4 UN5 UN6 UN7 UN8 UN9 UN10"),
    "sex": _one_of("F M U"),
    "ethnicity": _length(4),
    "postcode": _length(8),
    "referral_source": _length(2),
    "closure_reason": _length(3),
    "worker_id": _form(r"[A-Za-z0-9_-]+", 12),
    "start_reason": _length(1),
    "placement_type": _length(3),  # the guidance says 2; where the two differ, the contract decides
    "end_reason": _length(3),
    "change_reason": _length(6),
    "activity": _one_of("F1 P1 F2 P2 F4 P4 F5 P5 G4 G5 G6"),
    "accommodation": _one_of("B C D E G H K R S T U V"),
    **dict.fromkeys(KEYED.values(), _ID),
}

FIELDS: Final = frozenset(
    (
        *_RULES,
        *_CODES,
        *KEYED,
        *BLOCKS,
        WORKERS,
        *("child_details", "first_name", "surname", "date_of_birth", "expected_date_of_birth"),
        *("uasc_flag", "uasc_end_date", "sdq_assessments", "score"),
        *("referral_date", "referral_no_further_action_flag", "closure_date", "start_date", "end_date"),
        *("authorisation_date", "icpc_required_flag", "icpc_date"),
        *("initial_decision_date", "matched_date", "placed_date", "contact_date"),
    )
)
"""Every name that the API has for something, but for `date` and `purge`, which are words too."""


def checked(record: Body, where: str) -> Body:
    """
    The record as it is.

    :raises RefusedError: a value that the API would refuse; names the field and the rule.
    """
    for field, rule in _broken(record, ""):
        raise RefusedError(where, f"{field}: {rule}", fix="correct it in the system that the record comes from")
    return record


def _broken(block: Body, path: str) -> Iterator[tuple[str, str]]:
    for name, value in block.items():
        field = f"{path}{name}"
        if isinstance(value, dict):
            yield from _broken(value, f"{field}.")
        elif name in _CODES:
            yield from _broken_codes(field, value, *_CODES[name])
        elif isinstance(value, list):
            for item in value:
                yield from _broken(item, f"{field}.")
            yield from _repeated(field, value, KEYED.get(name))
        elif name in _RULES and not _RULES[name][0](value):
            yield field, _RULES[name][1]


def _broken_codes(field: str, codes: list[str], many: int, most: int) -> Iterator[tuple[str, str]]:
    if len(codes) > many:
        yield field, f"at most {many} codes"
    if any(len(code) > most for code in codes):
        yield field, f"codes of at most {most} characters"


def _repeated(field: str, items: list[Body], key: str | None) -> Iterator[tuple[str, str]]:
    if key and len({item[key] for item in items}) < len(items):
        yield f"{field}.{key}", "no two alike"
