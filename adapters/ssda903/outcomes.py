"""Outcomes of a year, one line a child: the files OC2 (health, offences) and OC3 (after care)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from adapters.kit.rows import Soft, row_of
from adapters.kit.typed import row_key
from adapters.ssda903.child import person_key
from adapters.ssda903.codes import InTouch, NoScore
from canonical.care import Conviction
from canonical.children import CareLeaver, HealthCheck, HealthCheckKind, HealthScreening


@row_of("OC2", key="child")
class Oc2(NamedTuple):
    child: str
    sdq_score: Soft[int | None]
    sdq_reason: NoScore
    convicted: str | None
    health_check: str | None
    immunisations: str | None
    teeth_check: str | None
    health_assessment: str | None
    substance_misuse: str | None
    intervention_received: str | None
    intervention_offered: str | None


@row_of("OC2", key=("child", "kind"))
class Check(NamedTuple):
    child: str
    kind: str
    status: bool
    intervention_offered: bool | None
    intervention_received: bool | None


@row_of("OC2", key="child")
class Convicted(NamedTuple):
    child: str
    convicted: bool


@row_of("OC3", key="child")
class Oc3(NamedTuple):
    child: str
    in_touch: InTouch
    activ: str | None
    accom: str | None


def screening(source: str, o: Oc2) -> HealthScreening:
    return HealthScreening(
        key=row_key(source, "health-screening", o),
        person=person_key(source, o.child),
        score=o.sdq_score,
        reason=o.sdq_reason,
    )


def checks(o: Oc2) -> Iterator[tuple[str | None, ...]]:
    """A row for each kind of check that a line answers, as it was read. An empty cell: the question is not asked of the child."""
    for kind in HealthCheckKind:
        if answer := getattr(o, kind.value.lower()):
            misuse = kind is HealthCheckKind.SUBSTANCE_MISUSE
            offered, received = (o.intervention_offered, o.intervention_received) if misuse else ("", "")
            yield o.child, kind.value, answer, offered or None, received or None


def health_check(source: str, c: Check) -> HealthCheck:
    return HealthCheck(
        key=row_key(source, "health-check", c),
        person=person_key(source, c.child),
        kind=HealthCheckKind(c.kind),
        status="1" if c.status else "0",
        intervention_offered=c.intervention_offered,
        intervention_received=c.intervention_received,
    )


def convictions(o: Oc2) -> Iterator[tuple[str, str]]:
    if o.convicted:
        yield o.child, o.convicted


def conviction(source: str, c: Convicted) -> Conviction:
    return Conviction(key=row_key(source, "conviction", c), person=person_key(source, c.child), convicted=c.convicted)


def care_leaver(source: str, o: Oc3) -> CareLeaver:
    # ACCOM is a letter for where the young person lives, and 1 if that is suitable, 2 if it is not; 0 where nobody knows.
    lives, suitable = (o.accom[0], o.accom[1]) if o.accom and len(o.accom) == 2 and o.accom[0].isalpha() else (o.accom, None)
    return CareLeaver(
        key=row_key(source, "care-leaver", o),
        person=person_key(source, o.child),
        in_touch=o.in_touch,
        activity=o.activ,
        accommodation=lives,
        accommodation_suitable=suitable,
    )
