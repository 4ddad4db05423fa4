"""Referrals, and what followed: assessments, plans, enquiries, reviews. Each is known by its child, its referral and its day."""

from __future__ import annotations

from datetime import date
from typing import Annotated, NamedTuple

from adapters.cin_census.codes import ABUSE, CLOSURE, FACTOR, NEED, SOURCE
from adapters.kit.rows import Soft, Spelt, row_of
from adapters.kit.typed import key_part, row_key
from canonical.children import Assessment, CareEpisode, CarePlan, PlanKind, Review, ReviewKind, Section47Enquiry
from canonical.key import KeysOf, key_of

NEED_PLAN, PROTECTION = "cin-", "cp-"
_EPISODE = "Message/Children/Child/CINdetails"

_Child = Annotated[str, Spelt("../../ChildIdentifiers/LAchildID")]
_Referral = Annotated[date, Spelt("../CINreferralDate")]
_Category = Soft[Annotated[str | None, ABUSE]]


@row_of(_EPISODE, key=("child", "referral"))
class Details(NamedTuple):
    child: Annotated[str, Spelt("../ChildIdentifiers/LAchildID")]
    referral: Annotated[date, Spelt("CINreferralDate")]
    source: Soft[Annotated[str | None, SOURCE, Spelt("ReferralSource")]]
    need: Soft[Annotated[str | None, NEED, Spelt("PrimaryNeedCode")]]
    closed: Annotated[date | None, Spelt("CINclosureDate")]
    reason: Soft[Annotated[str | None, CLOSURE, Spelt("ReasonForClosure")]]
    no_action: Soft[Annotated[bool | None, Spelt("ReferralNFA")]]


@row_of("FactorsIdentifiedAtAssessment/AssessmentFactors")
class Factor(NamedTuple):
    code: Soft[Annotated[str | None, FACTOR, Spelt(".")]]


@row_of(f"{_EPISODE}/Assessments", key=("child", "referral", "start"))
class Assessed(NamedTuple):
    child: _Child
    referral: _Referral
    start: Annotated[date, Spelt("AssessmentActualStartDate")]
    authorised: Annotated[date | None, Spelt("AssessmentAuthorisationDate")]
    factors: tuple[Factor, ...]


@row_of(f"{_EPISODE}/CINPlanDates", key=("child", "referral", "start"))
class NeedPlan(NamedTuple):
    child: _Child
    referral: _Referral
    start: Annotated[date, Spelt("CINPlanStartDate")]
    end: Annotated[date | None, Spelt("CINPlanEndDate")]


@row_of(f"{_EPISODE}/Section47", key=("child", "referral", "start"))
class Enquiry(NamedTuple):
    child: _Child
    referral: _Referral
    start: Annotated[date, Spelt("S47ActualStartDate")]
    conference: Annotated[date | None, Spelt("DateOfInitialCPC")]
    not_required: Soft[Annotated[bool | None, Spelt("ICPCnotRequired")]]


@row_of(f"{_EPISODE}/ChildProtectionPlans", key=("child", "referral", "start"))
class ProtectionPlan(NamedTuple):
    child: _Child
    referral: _Referral
    start: Annotated[date, Spelt("CPPstartDate")]
    end: Annotated[date | None, Spelt("CPPendDate")]
    initial: Annotated[_Category, Spelt("InitialCategoryOfAbuse")]
    latest: Annotated[_Category, Spelt("LatestCategoryOfAbuse")]


@row_of(f"{_EPISODE}/ChildProtectionPlans/Reviews/CPPreviewDate", key=("child", "referral", "plan", "day"))
class PlanReview(NamedTuple):
    child: Annotated[str, Spelt("../../../../ChildIdentifiers/LAchildID")]
    referral: Annotated[date, Spelt("../../../CINreferralDate")]
    plan: Annotated[date, Spelt("../../CPPstartDate")]
    day: Annotated[date, Spelt(".")]


def episode(source: str, d: Details) -> CareEpisode:
    return CareEpisode(
        key=row_key(source, "care-episode", d),
        person=key_of(source, "person", d.child),
        referral_date=d.referral,
        referral_source=d.source,
        no_further_action=d.no_action,
        primary_need=d.need,
        close_date=d.closed,
        close_reason=d.reason,
    )


def assessment(source: str, a: Assessed) -> Assessment:
    return Assessment(
        key=row_key(source, "assessment", a),
        person=key_of(source, "person", a.child),
        episode=_opened(source, a),
        start_date=a.start,
        authorised_date=a.authorised,
        factors=tuple(each.code for each in a.factors if each.code),
    )


def need_plan(source: str, p: NeedPlan) -> CarePlan:
    return CarePlan(
        key=row_key(source, "care-plan", p, NEED_PLAN),
        person=key_of(source, "person", p.child),
        kind=PlanKind.CHILD_IN_NEED,
        episode=_opened(source, p),
        start_date=p.start,
        end_date=p.end,
    )


def enquiry(source: str, e: Enquiry) -> Section47Enquiry:
    return Section47Enquiry(
        key=row_key(source, "section-47-enquiry", e),
        person=key_of(source, "person", e.child),
        episode=_opened(source, e),
        start_date=e.start,
        conference_required=None if e.not_required is None else not e.not_required,
        conference_date=e.conference,
    )


def protection_plan(source: str, p: ProtectionPlan) -> CarePlan:
    return CarePlan(
        key=row_key(source, "care-plan", p, PROTECTION),
        person=key_of(source, "person", p.child),
        kind=PlanKind.CHILD_PROTECTION,
        episode=_opened(source, p),
        start_date=p.start,
        end_date=p.end,
        initial_category=p.initial,
        latest_category=p.latest,
    )


def review(source: str, r: PlanReview) -> Review:
    plan = KeysOf(source, "care-plan", PROTECTION).of(r.child, key_part(r.referral), key_part(r.plan))
    key, child = row_key(source, "review", r), key_of(source, "person", r.child)
    return Review(key=key, person=child, kind=ReviewKind.CHILD_PROTECTION, plan=plan, review_date=r.day)


def _opened(source: str, row: Assessed | NeedPlan | Enquiry | ProtectionPlan) -> str:
    return key_of(source, "care-episode", row.child, key_part(row.referral))
