"""The lists 1 to 7: contacts, early help, referrals, assessments, enquiries, children in need, protection plans."""

from __future__ import annotations

from datetime import date
from typing import Annotated, NamedTuple

from adapters.annex_a.codes import Abuse, Need, YesNo, flag
from adapters.annex_a.person import CHILD, person_key
from adapters.kit.lettered import code_of
from adapters.kit.rows import Soft, Spelt, row_of
from adapters.kit.typed import row_key
from canonical.care import EarlyHelp
from canonical.children import Assessment, CareEpisode, CarePlan, Contact, PlanKind, Section47Enquiry

REFERRED, IN_NEED = "referral-", "cin-"
_Child = Annotated[str, Spelt(CHILD)]
_Words = Soft[str | None]


@row_of("list 1", key=("child", "day", "by"))
class ContactLine(NamedTuple):
    child: _Child
    day: Annotated[date, Spelt("Date of Contact")]
    by: Annotated[str, Spelt("Contact Source")]


@row_of("list 2", key=("child", "start"))
class EarlyHelpLine(NamedTuple):
    child: _Child
    start: Annotated[date, Spelt("Assessment start date")]
    completed: Annotated[date | None, Spelt("Assessment completion date")]
    organisation: Annotated[_Words, Spelt("Organisation completing assessment")]


@row_of("list 3", key=("child", "day"))
class ReferralLine(NamedTuple):
    child: _Child
    day: Annotated[date, Spelt("Date of Referral")]
    by: Annotated[_Words, Spelt("Referral Source")]
    no_action: Annotated[YesNo, Spelt("Referral NFA?")]


@row_of("list 4", key=("child", "start"))
class AssessmentLine(NamedTuple):
    child: _Child
    start: Annotated[date, Spelt("Continuous Assessment Start Date")]
    authorised: Annotated[date | None, Spelt("Continuous Assessment Date of Authorisation")]


@row_of("list 5", key=("child", "start"))
class EnquiryLine(NamedTuple):
    child: _Child
    start: Annotated[date, Spelt("Strategy discussion initiating Section 47 Enquiry Start Date")]
    unnecessary: Annotated[YesNo, Spelt("Was an Initial Child Protection Conference deemed unnecessary?")]
    conference: Annotated[date | None, Spelt("Date of Initial Child Protection Conference")]


@row_of("list 6", key=("child", "start"))
class NeedLine(NamedTuple):
    child: _Child
    start: Annotated[date, Spelt("CIN Start Date")]
    need: Annotated[Need, Spelt("Primary Need Code")]
    closed: Annotated[date | None, Spelt("CIN Closure Date")]
    reason: Annotated[_Words, Spelt("Reason for Closure")]


@row_of("list 7", key=("child", "start"))
class ProtectionLine(NamedTuple):
    child: _Child
    start: Annotated[date, Spelt("Child Protection Plan Start Date")]
    initial: Annotated[Abuse, Spelt("Initial Category of Abuse")]
    latest: Annotated[Abuse, Spelt("Latest Category of Abuse")]
    end: Annotated[date | None, Spelt("Child Protection Plan End Date")]


def contact(source: str, c: ContactLine) -> Contact:
    key, child = row_key(source, "contact", c), person_key(source, c.child)
    return Contact(key=key, person=child, contact_date=c.day, source=code_of(c.by))


def early_help(source: str, e: EarlyHelpLine) -> EarlyHelp:
    return EarlyHelp(
        key=row_key(source, "early-help", e),
        person=person_key(source, e.child),
        start_date=e.start,
        completed_date=e.completed,
        organisation=e.organisation,
    )


def referral(source: str, r: ReferralLine) -> CareEpisode:
    return CareEpisode(
        key=row_key(source, "care-episode", r, REFERRED),
        person=person_key(source, r.child),
        referral_date=r.day,
        referral_source=r.by and code_of(r.by),
        no_further_action=flag(r.no_action),
    )


def assessment(source: str, a: AssessmentLine) -> Assessment:
    key, child = row_key(source, "assessment", a), person_key(source, a.child)
    return Assessment(key=key, person=child, start_date=a.start, authorised_date=a.authorised)


def enquiry(source: str, e: EnquiryLine) -> Section47Enquiry:
    unnecessary = flag(e.unnecessary)
    return Section47Enquiry(
        key=row_key(source, "section-47-enquiry", e),
        person=person_key(source, e.child),
        start_date=e.start,
        conference_required=None if unnecessary is None else not unnecessary,
        conference_date=e.conference,
    )


def in_need(source: str, n: NeedLine) -> CareEpisode:
    return CareEpisode(
        key=row_key(source, "care-episode", n, IN_NEED),
        person=person_key(source, n.child),
        referral_date=n.start,
        primary_need=n.need,
        close_date=n.closed,
        close_reason=n.reason and code_of(n.reason),
    )


def protection(source: str, p: ProtectionLine) -> CarePlan:
    return CarePlan(
        key=row_key(source, "care-plan", p),
        person=person_key(source, p.child),
        kind=PlanKind.CHILD_PROTECTION,
        start_date=p.start,
        end_date=p.end,
        initial_category=p.initial,
        latest_category=p.latest,
    )
