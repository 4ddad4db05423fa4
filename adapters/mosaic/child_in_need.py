"""From the referral to the plan: care episodes, assessments, section 47 enquiries, CIN and CP plans."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from sqlalchemy import Integer, and_, exists, literal

from adapters.kit.children_codes import ABUSE, CLOSURE, FACTOR, NEED, SOURCE, in_order
from adapters.kit.children_periods import categories, ended, first_after, held_or_came
from adapters.kit.form_answers import said_of
from adapters.kit.sql import Beside, Choice, Joined, Soft, Tables, row_of
from adapters.kit.sql_conditions import answers_to, not_said_yes, plain, said_yes
from adapters.mosaic.mart import (
    STEP,
    Answer,
    Day,
    DmSubgroupSubjects,
    Flag,
    Number,
    PersonsReferral,
    about_each,
    begun,
    concerned,
    of_types,
    open_episode,
)
from adapters.mosaic.settings import MosaicSettings
from canonical.children import Assessment, CareEpisode, CarePlan, PlanKind, Section47Enquiry
from canonical.key import key_of


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
    need: Soft[Annotated[str | None, NEED, Beside(DmServUserGroupTypes, "need_code_category_code", by=("full_group_type",))]]


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


def care_episode(source: str, r: DmCinReferrals) -> CareEpisode:
    return CareEpisode(
        key=key_of(source, "care-episode", r.referral_id, r.person_id),
        person=key_of(source, "person", r.person_id),
        referral_date=r.referral_date,
        referral_source=r.source_of_referral,
        no_further_action=r.nfa_date is not None,
        # The service user group that the child was in when referred, else the first one that began meanwhile.
        primary_need=held_or_came(r.referral_date, r.closure_date, r.groups),
        close_date=r.closure_date,
        close_reason=r.closure_reason,
    )


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
    return about_each(mart, AssessmentStep, of_types(mart[AssessmentStep], settings.steps.assessment))


def assessment(source: str, a: AssessmentStep) -> Assessment:
    return Assessment(
        key=key_of(source, "assessment", a.workflow_step_id, a.person_id),
        person=key_of(source, "person", a.person_id),
        episode=open_episode(source, a.person_id, a.referrals, a.started_on),
        start_date=a.started_on,
        authorised_date=a.completed_on,
        factors=in_order(code for (code,) in a.factors if code),
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
    joined = {"person_id": subjects.c.SUBJECT_COMPOUND_ID, "completed_on": steps.c.COMPLETED_ON}
    later = Choice(of_types(steps, types), after, joined)
    return about_each(mart, CinPlanStep, and_(of_types(steps, types), ~before), {"later": later})


def cin_plan(source: str, p: CinPlanStep) -> CarePlan:
    return CarePlan(
        key=key_of(source, "care-plan", f"cin-{p.workflow_step_id}", p.person_id),
        person=key_of(source, "person", p.person_id),
        kind=PlanKind.CHILD_IN_NEED,
        episode=open_episode(source, p.person_id, p.referrals, p.started_on),
        start_date=p.started_on,
        end_date=ended([p.completed_on, *[each.completed_on for each in p.later]]),
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
    steps, types = mart[Section47Step], settings.steps.section_47
    initial = plain(mart[InitialConference].c.CP_CONFERENCE_CATEGORY) == "INITIAL"
    asked = {"required": settings.questions.conference_required}
    parts = {
        "conferences": about_each(mart, InitialConference, and_(initial, steps.c.CANCELLED_ON.is_(None))),
        "said": answers_to(mart[StepAnswer].c.QUESTION_USER_CODE, asked),
    }
    flagged = and_(said_yes(steps.c.IS_SECTION_47_ENQUIRY), begun(steps))
    days = {"looked_for": literal(settings.conference_days, Integer())}
    return about_each(mart, Section47Step, of_types(steps, types) if types else flagged, parts, days)


def section_47_enquiry(source: str, s: Section47Step) -> Section47Enquiry:
    # The child's first initial conference since the enquiry began: the mart does not say which enquiry led to it.
    held = first_after(s.started_on, [each.cp_conference_actual_date for each in s.conferences], s.looked_for)
    return Section47Enquiry(
        key=key_of(source, "section-47-enquiry", s.workflow_step_id, s.person_id),
        person=key_of(source, "person", s.person_id),
        episode=open_episode(source, s.person_id, s.referrals, s.started_on),
        start_date=s.started_on,
        end_date=s.completed_on,
        conference_required=True if held else said_of(s.person_id, [each[:2] for each in s.said]),
        conference_date=held,
    )


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
    return Choice(and_(said_yes(them.c.IS_CHILD_PROTECTION_PLAN), not_said_yes(temporary)))


def cp_plan(source: str, p: DmRegistrations) -> CarePlan:
    abuse = categories(p.categories)
    return CarePlan(
        key=key_of(source, "care-plan", f"cp-{p.registration_id}"),
        person=key_of(source, "person", p.person_id),
        kind=PlanKind.CHILD_PROTECTION,
        episode=open_episode(source, p.person_id, p.referrals, p.registration_start_date),
        start_date=p.registration_start_date,
        end_date=p.deregistration_date,
        initial_category=abuse.initial,
        latest_category=abuse.latest,
    )
