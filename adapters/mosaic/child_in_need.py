"""From the referral to the plan: care episodes, assessments, section 47 enquiries, CIN and CP plans."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated, NamedTuple

from sqlalchemy import ColumnElement, Integer, and_, exists, literal, or_

from adapters.kit.sql import Choice, Joined, Soft, Tables, row_of
from adapters.mosaic.codes import ABUSE, CLOSURE, FACTOR, NEED, SOURCE
from adapters.mosaic.mart import (
    STEP,
    Answer,
    Day,
    DmSubgroupSubjects,
    Flag,
    Number,
    PersonsReferral,
    answers,
    concerned,
    of_types,
    open_episode,
    plain,
)
from adapters.mosaic.settings import MosaicSettings
from canonical.children import Assessment, CareEpisode, CarePlan, PlanKind, Section47Enquiry
from canonical.key import key_of

_YES = ("Y", "YES")


@row_of("DM_SERV_USER_GROUP_TYPES", key="group_type")
class DmServUserGroupTypes(NamedTuple):
    group_type: str
    need_code_category_code: str | None


@row_of(
    "DM_SERVICE_USER_GROUPS", of="person_id", to="person_id",
    order=("start_date", "full_group_type", "end_date"), also={"full_group_type": str},
)  # fmt: skip
class DmServiceUserGroups(NamedTuple):
    start_date: Day
    end_date: Day
    need: Soft[Joined[Annotated[str | None, NEED]]]


@row_of("DM_CIN_REFERRALS", key=("referral_id", "person_id"))
class DmCinReferrals(NamedTuple):
    referral_id: Number
    person_id: int
    referral_date: Day
    source_of_referral: Soft[Annotated[str | None, SOURCE]]
    nfa_date: Day
    closure_date: Day
    closure_reason: Soft[Annotated[str | None, CLOSURE]]
    groups: tuple[DmServiceUserGroups, ...]


def care_episodes(mart: Tables, _: MosaicSettings) -> Choice:
    groups, types = mart[DmServiceUserGroups], mart[DmServUserGroupTypes]
    needs = groups.join(types, types.c.GROUP_TYPE == groups.c.FULL_GROUP_TYPE)
    need = types.c.NEED_CODE_CATEGORY_CODE
    return Choice(parts={"groups": Choice(need.is_not(None), needs, {"need": need})})


def care_episode(source: str, r: DmCinReferrals) -> CareEpisode:
    return CareEpisode(
        key=key_of(source, "care-episode", r.referral_id, r.person_id),
        person=key_of(source, "person", r.person_id),
        referral_date=r.referral_date,
        referral_source=r.source_of_referral,
        no_further_action=r.nfa_date is not None,
        primary_need=_primary_need(r),
        close_date=r.closure_date,
        close_reason=r.closure_reason,
    )


def _primary_need(r: DmCinReferrals) -> str | None:
    """The need of the service user group that the child was in when referred, else of the first that began meanwhile."""
    opened, closed = r.referral_date or date.min, r.closure_date or date.max
    # Databases differ in where an empty start stands.
    spans = sorted((each.start_date or date.min, each.end_date or date.max, each.need) for each in r.groups if each.need)
    at_once = [need for start, end, need in spans if start <= opened <= end]
    later = [need for start, _, need in spans if opened < start <= closed]
    return at_once[-1] if at_once else later[0] if later else None


# -- workflow steps ------------------------------------------------------------------------------------------------


@row_of("DM_CIN_ASSESS_FACTORS", of="assessment_id", to="workflow_step_id", order="factor_value")
class DmCinAssessFactors(NamedTuple):
    factor_value: Soft[Annotated[str | None, FACTOR]]


@row_of("DM_WORKFLOW_STEPS", key=("workflow_step_id", "person_id"), also=STEP)
class AssessmentStep(NamedTuple):
    workflow_step_id: Number
    person_id: Joined[int]
    started_on: Day
    completed_on: Day
    factors: tuple[DmCinAssessFactors, ...]
    referrals: tuple[PersonsReferral, ...]


def assessments(mart: Tables, settings: MosaicSettings) -> Choice:
    steps, subjects = mart[AssessmentStep], mart[DmSubgroupSubjects]
    named = {"person_id": subjects.c.SUBJECT_COMPOUND_ID}
    return Choice(of_types(steps, settings.steps.assessment), concerned(steps, subjects), named)


def assessment(source: str, a: AssessmentStep) -> Assessment:
    found = {code for (code,) in a.factors if code}
    return Assessment(
        key=key_of(source, "assessment", a.workflow_step_id, a.person_id),
        person=key_of(source, "person", a.person_id),
        episode=open_episode(source, a.person_id, a.referrals, a.started_on),
        start_date=a.started_on,
        authorised_date=a.completed_on,
        factors=tuple(sorted(found, key=lambda code: (int(re.sub(r"\D", "", code)), code))),
    )


@row_of(
    "DM_WORKFLOW_FORWARDS", key=("workflow_step_id", "subsequent_workflow_step_id"), of=("workflow_step_id", "person_id"),
)  # fmt: skip
class LaterStep(NamedTuple):
    person_id: Joined[int]
    completed_on: Joined[Day]


@row_of("DM_WORKFLOW_BACKWARDS", key=("workflow_step_id", "preceding_workflow_step_id"))
class EarlierStep(NamedTuple):
    workflow_step_id: Number
    preceding_workflow_step_id: Number


@row_of("DM_WORKFLOW_STEPS", key=("workflow_step_id", "person_id"), also=STEP)
class CinPlanStep(NamedTuple):
    workflow_step_id: Number
    person_id: Joined[int]
    started_on: Day
    completed_on: Day
    later: tuple[LaterStep, ...]
    referrals: tuple[PersonsReferral, ...]


def cin_plans(mart: Tables, settings: MosaicSettings) -> Choice:
    """A plan goes on from step to step: its first one is the record, and the later ones about the same child are parts of it."""
    steps, subjects, types = mart[CinPlanStep], mart[DmSubgroupSubjects], settings.steps.cin_plan
    back, first, its = mart[EarlierStep], steps.alias("earlier"), subjects.alias("earlier_subjects")
    before = exists().select_from(
        back.join(first, first.c.WORKFLOW_STEP_ID == back.c.PRECEDING_WORKFLOW_STEP_ID).join(
            its, its.c.SUBGROUP_ID == first.c.SUBGROUP_ID
        )
    ).where(
        back.c.WORKFLOW_STEP_ID == steps.c.WORKFLOW_STEP_ID,
        its.c.SUBJECT_COMPOUND_ID == subjects.c.SUBJECT_COMPOUND_ID,
        of_types(first, types),
    ).correlate(steps, subjects)  # fmt: skip
    ahead = mart[LaterStep]
    after = concerned(ahead.join(steps, steps.c.WORKFLOW_STEP_ID == ahead.c.SUBSEQUENT_WORKFLOW_STEP_ID), subjects, steps)
    person = {"person_id": subjects.c.SUBJECT_COMPOUND_ID}
    later = Choice(of_types(steps, types), after, {**person, "completed_on": steps.c.COMPLETED_ON})
    return Choice(and_(of_types(steps, types), ~before), concerned(steps, subjects), person, {"later": later})


def cin_plan(source: str, p: CinPlanStep) -> CarePlan:
    ends = [p.completed_on, *[each.completed_on for each in p.later]]
    return CarePlan(
        key=key_of(source, "care-plan", f"cin-{p.workflow_step_id}", p.person_id),
        person=key_of(source, "person", p.person_id),
        kind=PlanKind.CHILD_IN_NEED,
        episode=open_episode(source, p.person_id, p.referrals, p.started_on),
        start_date=p.started_on,
        end_date=None if None in ends else max(each for each in ends if each),
    )


@row_of("DM_WORKFLOW_STEPS", key="workflow_step_id", of="person_id", to="person_id",
        also={**STEP, "cp_conference_category": str})  # fmt: skip
class InitialConference(NamedTuple):
    person_id: Joined[int]
    cp_conference_actual_date: Day


@row_of(
    "DM_CACHED_FORM_ANSWERS", of="workflow_step_id", to="workflow_step_id",
    order=("form_id", "question_user_code", "subject_person_id", "text_answer"),
    also={"question_user_code": str, "form_id": int},
)  # fmt: skip
class StepAnswer(NamedTuple):
    subject_person_id: int | None
    text_answer: Answer
    question: Joined[str | None]


@row_of("DM_WORKFLOW_STEPS", key=("workflow_step_id", "person_id"), also={**STEP, "is_section_47_enquiry": Flag})
class Section47Step(NamedTuple):
    workflow_step_id: Number
    person_id: Joined[int]
    started_on: Day
    completed_on: Day
    looked_for: Joined[int]
    conferences: tuple[InitialConference, ...]
    referrals: tuple[PersonsReferral, ...]
    said: tuple[StepAnswer, ...] = ()


def section_47_enquiries(mart: Tables, settings: MosaicSettings) -> Choice:
    steps, subjects, types = mart[Section47Step], mart[DmSubgroupSubjects], settings.steps.section_47
    begun = and_(steps.c.STARTED_ON.is_not(None), steps.c.CANCELLED_ON.is_(None))
    flagged = and_(steps.c.IS_SECTION_47_ENQUIRY.in_(("Y", "y")), begun)
    person = {"person_id": subjects.c.SUBJECT_COMPOUND_ID}
    held = and_(plain(mart[InitialConference].c.CP_CONFERENCE_CATEGORY) == "INITIAL", steps.c.CANCELLED_ON.is_(None))
    asked = {"required": settings.questions.conference_required}
    days: ColumnElement[int] = literal(settings.conference_days, Integer())
    return Choice(
        where=of_types(steps, types) if types else flagged,
        source=concerned(steps, subjects),
        joined={**person, "looked_for": days},
        parts={
            "conferences": Choice(held, concerned(steps, subjects), person),
            "said": answers(mart, StepAnswer, asked),
        },
    )


def section_47_enquiry(source: str, s: Section47Step) -> Section47Enquiry:
    held = _conference(s)
    return Section47Enquiry(
        key=key_of(source, "section-47-enquiry", s.workflow_step_id, s.person_id),
        person=key_of(source, "person", s.person_id),
        episode=open_episode(source, s.person_id, s.referrals, s.started_on),
        start_date=s.started_on,
        end_date=s.completed_on,
        conference_required=True if held else _required(s),
        conference_date=held,
    )


def _conference(s: Section47Step) -> date | None:
    """The child's first initial conference since the enquiry began: the mart does not say which enquiry led to it."""
    began = s.started_on or date.max
    days = [day for _, day in s.conferences if day and timedelta(0) <= day - began <= timedelta(s.looked_for)]
    return min(days, default=None)


def _required(s: Section47Step) -> bool | None:
    """The last answer about the child counts; one that names no child is about all of them."""
    said = {whom: text.upper() for whom, text, _ in s.said if text and whom in (None, s.person_id)}
    answer = said.get(s.person_id, said.get(None))
    return None if answer is None else answer in _YES


# -- child protection plans ----------------------------------------------------------------------------------------


@row_of("DM_REGISTRATION_CATEGORIES", of="registration_id",
        order=("category_start_date", "cin_abuse_category_code", "category_end_date"))  # fmt: skip
class DmRegistrationCategories(NamedTuple):
    category_start_date: Day
    category_end_date: Day
    cin_abuse_category_code: Soft[Annotated[str | None, ABUSE]]


@row_of("DM_REGISTRATIONS", key="registration_id",
        also={"is_child_protection_plan": Flag, "is_temporary_child_protection": Flag})  # fmt: skip
class DmRegistrations(NamedTuple):
    registration_id: Number
    person_id: int
    registration_start_date: Day
    deregistration_date: Day
    categories: tuple[DmRegistrationCategories, ...]
    referrals: tuple[PersonsReferral, ...]


def cp_plans(mart: Tables, _: MosaicSettings) -> Choice:
    them = mart[DmRegistrations]
    temporary = them.c.IS_TEMPORARY_CHILD_PROTECTION  # another council's plan, while the child stays here
    own = or_(temporary.is_(None), temporary.not_in(("Y", "y")))
    return Choice(and_(them.c.IS_CHILD_PROTECTION_PLAN.in_(("Y", "y")), own))


def cp_plan(source: str, p: DmRegistrations) -> CarePlan:
    starts = [each.category_start_date or date.min for each in p.categories]
    return CarePlan(
        key=key_of(source, "care-plan", f"cp-{p.registration_id}"),
        person=key_of(source, "person", p.person_id),
        kind=PlanKind.CHILD_PROTECTION,
        episode=open_episode(source, p.person_id, p.referrals, p.registration_start_date),
        start_date=p.registration_start_date,
        end_date=p.deregistration_date,
        initial_category=_category(p.categories, min(starts, default=date.min)),
        latest_category=_category(p.categories, max(starts, default=date.min)),
    )


def _category(categories: Sequence[DmRegistrationCategories], day: date) -> str | None:
    """The category on a day; several at once are the census's MUL."""
    spans = [(start or date.min, end or date.max, code) for start, end, code in categories]
    codes = {code for start, end, code in spans if code and start <= day and (day < end or start == day)}
    return "MUL" if len(codes) > 1 else next(iter(codes), None)
