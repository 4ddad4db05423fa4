"""The events of an adult's care: requests, assessments, services and reviews. Each line of the file is one of them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

from adapters.cld.codes import EVENT, Client, Day, Outcome
from adapters.kit.rows import Soft, Spelt, row_of
from adapters.kit.typed import row_key
from canonical.adults import AdultAssessment, AdultRequest, AdultReview, AdultService
from canonical.key import key_of

_Person = Annotated[str, Spelt("LA_Person_Unique_Identifier")]
_Reference = Annotated[str, Spelt("Event_Reference")]
_Linked = "Adult_{}_Linked_Person_ID"
_OTHERS = ("assessment", "service", "review")


@row_of("CLD", key=("person", "reference"))
class CldRequest(NamedTuple):
    person: _Person
    reference: _Reference
    event_type: Annotated[str, EVENT]
    client_type: Client
    primary_support_reason: str | None
    event_start_date: Day
    event_end_date: Day
    event_description: str | None
    event_outcome: Outcome
    request_route_of_access: str | None


@row_of("CLD", key=("person", "reference"))
class CldAssessment(NamedTuple):
    person: _Person
    reference: _Reference
    event_type: str
    client_type: Client
    primary_support_reason: str | None
    event_start_date: Day
    event_end_date: Day
    event_description: str | None
    event_outcome: Outcome
    assessment_type: str | None
    eligible_needs_identified: str | None
    method_of_assessment: str | None
    total_hrs_caring_per_week: Soft[str | None]
    no_of_adults_being_cared_for: Soft[int | None]
    first: Annotated[str | None, Spelt(_Linked.format(1))]
    second: Annotated[str | None, Spelt(_Linked.format(2))]
    third: Annotated[str | None, Spelt(_Linked.format(3))]


@row_of("CLD", key=("person", "reference"))
class CldService(NamedTuple):
    person: _Person
    reference: _Reference
    event_type: str
    client_type: Client
    primary_support_reason: str | None
    event_start_date: Day
    event_end_date: Day
    event_description: str | None
    event_outcome: Outcome
    service_type: str | None
    service_component: str | None
    delivery_mechanism: str | None
    provider_cqc_location_id: Soft[str | None]
    unit_cost: Soft[Decimal | None]
    cost_frequency_unit_type: str | None
    planned_units_per_week: Soft[Decimal | None]


@row_of("CLD", key=("person", "reference"))
class CldReview(NamedTuple):
    person: _Person
    reference: _Reference
    event_type: str
    client_type: Client
    primary_support_reason: str | None
    event_start_date: Day
    event_end_date: Day
    event_description: str | None
    event_outcome: Outcome
    review_reason: str | None
    review_outcomes_achieved: str | None
    method_of_review: str | None


_Event = CldRequest | CldAssessment | CldService | CldReview


def requests(row: CldRequest) -> Iterator[CldRequest]:
    """A request, and a line whose event is none of the four: the code map of its column says so."""
    yield from [row] if _kind(row) not in _OTHERS else []


def assessments(row: CldAssessment) -> Iterator[CldAssessment]:
    yield from [row] if _kind(row) == "assessment" else []


def services(row: CldService) -> Iterator[CldService]:
    yield from [row] if _kind(row) == "service" else []


def reviews(row: CldReview) -> Iterator[CldReview]:
    yield from [row] if _kind(row) == "review" else []


def _kind(row: _Event) -> str:
    return row.event_type.strip().casefold()


def _of_any(source: str, entity: str, row: _Event) -> dict[str, Any]:
    return {
        "key": row_key(source, entity, row),
        "person": key_of(source, "person", row.person),
        "reference": row.reference,
        "client_type": row.client_type,
        "primary_support_reason": row.primary_support_reason,
        "start_date": row.event_start_date,
        "end_date": row.event_end_date,
        "description": row.event_description,
        "outcome": row.event_outcome,
    }


def request(source: str, r: CldRequest) -> AdultRequest:
    return AdultRequest(**_of_any(source, "adult-request", r), route_of_access=r.request_route_of_access)


def assessment(source: str, a: CldAssessment) -> AdultAssessment:
    return AdultAssessment(
        **_of_any(source, "adult-assessment", a),
        assessment_type=a.assessment_type,
        eligible_needs=a.eligible_needs_identified,
        method=a.method_of_assessment,
        hours_caring=a.total_hrs_caring_per_week,
        adults_cared_for=a.no_of_adults_being_cared_for,
        cared_for=tuple(key_of(source, "person", each) for each in (a.first, a.second, a.third) if each),
    )


def service(source: str, s: CldService) -> AdultService:
    return AdultService(
        **_of_any(source, "adult-service", s),
        service_type=s.service_type,
        component=s.service_component,
        delivery_mechanism=s.delivery_mechanism,
        provider_location=s.provider_cqc_location_id,
        unit_cost=s.unit_cost,
        cost_frequency=s.cost_frequency_unit_type,
        planned_units=s.planned_units_per_week,
    )


def review(source: str, r: CldReview) -> AdultReview:
    return AdultReview(
        **_of_any(source, "adult-review", r),
        review_reason=r.review_reason,
        outcomes_achieved=r.review_outcomes_achieved,
        method=r.method_of_review,
    )
