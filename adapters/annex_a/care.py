"""The lists 8 to 11: looked-after children, care leavers, children to be adopted, adopters."""

from __future__ import annotations

from datetime import date
from typing import Annotated, NamedTuple

from adapters.annex_a.codes import Need, YesNo, flag
from adapters.annex_a.person import ADOPTER, CHILD, person_key
from adapters.kit.lettered import code_of
from adapters.kit.rows import Soft, Spelt, row_of
from adapters.kit.typed import row_key
from canonical.care import Adopter
from canonical.children import CareLeaver, LegalStatus, LookedAfterEpisode, Permanence, Placement

_Child = Annotated[str, Spelt(CHILD)]
_Words = Soft[str | None]


@row_of("list 8", key=("child", "start"))
class CareLine(NamedTuple):
    child: _Child
    start: Annotated[date, Spelt("Date Started to be Looked After")]
    need: Annotated[Need, Spelt("Child's Category of Need")]
    end: Annotated[date | None, Spelt("Date Ceased to be Looked After")]
    reason: Annotated[_Words, Spelt("Reason Ceased to be Looked After")]


@row_of("list 8", key=("child", "start"))
class PlacementLine(NamedTuple):
    child: _Child
    start: Annotated[date, Spelt("Start Date of Most Recent Placement")]
    kind: Annotated[_Words, Spelt("Placement Type")]
    provider: Annotated[_Words, Spelt("Placement Provider")]
    postcode: Annotated[_Words, Spelt("Placement postcode")]
    urn: Annotated[_Words, Spelt("URN of Placement")]


@row_of("list 8", key=("child", "start"))
class StatusLine(NamedTuple):
    child: _Child
    start: Annotated[date, Spelt("Start date of current legal status")]
    status: Annotated[_Words, Spelt("Child's Legal Status")]


@row_of("list 9", key="child")
class LeaverLine(NamedTuple):
    child: _Child
    eligibility: Annotated[_Words, Spelt("Eligibility Category")]
    in_touch: Annotated[_Words, Spelt("LA in Touch")]
    contact: Annotated[date | None, Spelt("Latest Date of Contact")]
    accommodation: Annotated[_Words, Spelt("Type of Accommodation")]
    suitable: Annotated[_Words, Spelt("Suitability of Accommodation")]
    activity: Annotated[_Words, Spelt("Activity Status")]


@row_of("list 10", key="child")
class AdoptionLine(NamedTuple):
    child: _Child
    decision: Annotated[date | None, Spelt("Date of Decision that Child Should be Placed for Adoption")]
    order: Annotated[date | None, Spelt("Date of Placement Order")]
    matched: Annotated[date | None, Spelt("Date of Matching Child and Prospective Adopters")]
    placed: Annotated[date | None, Spelt("Date Placed for Adoption")]
    reversed_on: Annotated[date | None, Spelt("Date of Decision that Child Should No Longer be Placed for Adoption")]
    reason: Annotated[_Words, Spelt("Reason Why Child No Longer Placed for Adoption")]


@row_of("list 11", key="adopter")
class AdopterLine(NamedTuple):
    adopter: Annotated[str, Spelt(ADOPTER)]
    family: Annotated[str | None, Spelt("Family identifier")]
    fostering: Annotated[YesNo, Spelt("Is the (prospective) adopter fostering for adoption?")]
    enquiry: Annotated[date | None, Spelt("Date enquiry received")]
    first_start: Annotated[date | None, Spelt("Date Stage 1 started")]
    first_end: Annotated[date | None, Spelt("Date Stage 1 ended")]
    second_start: Annotated[date | None, Spelt("Date Stage 2 started")]
    second_end: Annotated[date | None, Spelt("Date Stage 2 ended")]
    application: Annotated[date | None, Spelt("Date application submitted")]
    approved: Annotated[date | None, Spelt("Date application approved")]
    matched: Annotated[date | None, Spelt("Date adopter matched with child(ren)")]
    placed: Annotated[date | None, Spelt("Date child/children placed with adopter(s)")]
    children: Annotated[Soft[int | None], Spelt("No. of children placed")]
    order: Annotated[date | None, Spelt("Date of Adoption Order")]
    left: Annotated[date | None, Spelt("Date of leaving adoption process")]
    reason: Annotated[_Words, Spelt("Reason for leaving adoption process")]


def period(source: str, c: CareLine) -> LookedAfterEpisode:
    return LookedAfterEpisode(
        key=row_key(source, "looked-after-episode", c),
        person=person_key(source, c.child),
        start_date=c.start,
        end_date=c.end,
        end_reason=_code(c.reason),
        primary_need=c.need,
    )


def placement(source: str, p: PlacementLine) -> Placement:
    return Placement(
        key=row_key(source, "placement", p),
        person=person_key(source, p.child),
        start_date=p.start,
        placement_type=_code(p.kind),
        provider=_code(p.provider),
        postcode=p.postcode,
        ofsted_urn=p.urn,
    )


def status(source: str, s: StatusLine) -> LegalStatus:
    key, child = row_key(source, "legal-status", s), person_key(source, s.child)
    return LegalStatus(key=key, person=child, start_date=s.start, legal_status=_code(s.status))


def leaver(source: str, c: LeaverLine) -> CareLeaver:
    return CareLeaver(
        key=row_key(source, "care-leaver", c),
        person=person_key(source, c.child),
        eligibility=_code(c.eligibility),
        in_touch=_code(c.in_touch),
        contact_date=c.contact,
        accommodation=_code(c.accommodation),
        accommodation_suitable=_code(c.suitable),
        activity=_code(c.activity),
    )


def adoption(source: str, a: AdoptionLine) -> Permanence:
    return Permanence(
        key=row_key(source, "permanence", a),
        person=person_key(source, a.child),
        decision_date=a.decision,
        placement_order_date=a.order,
        matched_date=a.matched,
        placed_date=a.placed,
        reversed_date=a.reversed_on,
        reversed_reason=_code(a.reason),
    )


def adopter(source: str, a: AdopterLine) -> Adopter:
    return Adopter(
        key=row_key(source, "adopter", a),
        person=person_key(source, f"adopter-{a.adopter}"),
        family=a.family,
        fostering_for_adoption=flag(a.fostering),
        enquiry_date=a.enquiry,
        stage_1_start_date=a.first_start,
        stage_1_end_date=a.first_end,
        stage_2_start_date=a.second_start,
        stage_2_end_date=a.second_end,
        application_date=a.application,
        approved_date=a.approved,
        matched_date=a.matched,
        placed_date=a.placed,
        children_placed=a.children,
        adoption_order_date=a.order,
        left_date=a.left,
        left_reason=a.reason,
    )


def _code(written: str | None) -> str | None:
    return written and code_of(written)
