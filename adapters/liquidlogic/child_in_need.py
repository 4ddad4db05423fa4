"""From the referral to the plan: care episodes, assessments, section 47 enquiries, CIN and CP plans."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import and_, exists

from adapters.kit.children_codes import FACTOR, in_order
from adapters.kit.sql import Choice, Joined, Tables, row_of
from adapters.kit.sql_conditions import is_none_of, plain
from adapters.liquidlogic.hdm import Answer, Day, Flag, real
from adapters.liquidlogic.quirks import answered_day, leading_code, reference
from adapters.liquidlogic.settings import LiquidlogicSettings
from canonical.children import Assessment, CareEpisode, CarePlan, PlanKind, Section47Enquiry
from canonical.key import key_of

_AUTHORISED = "FORMENDDATE"
_SOURCES = r"1[A-D]|2[AB]|3[A-F]|5[A-D]|10|[46789]"
"""Referral sources: CIN census, item N00152."""
_CATEGORIES = {"NEG": "neglect", "PHY": "physical", "SAB": "sexual", "EMO": "emotional", "MUL": "multiple"}
"""Categories of abuse: CIN census, items N00113 and N00115."""


@row_of("FACT_REFERRALS", key="fact_referral_id")
class FactReferrals(NamedTuple):
    fact_referral_id: int
    dim_person_id: int
    refrl_start_dttm: Day
    dim_lookup_cont_sorc_id: str | None
    dim_lookup_cont_sorc_id_desc: str | None
    outcome_nfa_flag: Flag
    dim_lookup_category_of_need_code: str | None
    refrl_end_dttm: Day
    dim_lookup_refrl_endrsn_id_code: str | None


def care_episodes(hdm: Tables, _: LiquidlogicSettings) -> Choice:
    them = hdm[FactReferrals]
    return Choice(real(them.c.DIM_PERSON_ID, them.c.FACT_REFERRAL_ID))


def care_episode(source: str, r: FactReferrals) -> CareEpisode:
    return CareEpisode(
        key=key_of(source, "care-episode", r.fact_referral_id),
        person=key_of(source, "person", r.dim_person_id),
        referral_date=r.refrl_start_dttm,
        # Councils put the census code into the description as often as into the id.
        referral_source=leading_code(r.dim_lookup_cont_sorc_id_desc, _SOURCES) or r.dim_lookup_cont_sorc_id,
        no_further_action=r.outcome_nfa_flag,
        primary_need=r.dim_lookup_category_of_need_code,
        close_date=r.refrl_end_dttm,
        close_reason=r.dim_lookup_refrl_endrsn_id_code,
    )


@row_of("FACT_FORM_ANSWERS", key="fact_form_answer_id", of="fact_form_id", to="fact_form_id")
class AssessmentAnswer(NamedTuple):
    answer_no: str | None
    answer: Answer


@row_of(
    "FACT_SINGLE_ASSESSMENT",
    key="fact_single_assessment_id",
    also={"fact_form_id": int, "dim_lookup_step_substatus_code": str},
)
class FactSingleAssessment(NamedTuple):
    fact_single_assessment_id: int
    dim_person_id: int
    fact_referral_id: int | None
    start_dttm: Day
    answers: tuple[AssessmentAnswer, ...]


def assessments(hdm: Tables, _: LiquidlogicSettings) -> Choice:
    them, answers = hdm[FactSingleAssessment], hdm[AssessmentAnswer]
    asked = plain(answers.c.ANSWER_NO).in_((*FACTOR.codes, _AUTHORISED))
    return Choice(
        where=and_(
            real(them.c.DIM_PERSON_ID),
            is_none_of(them.c.DIM_LOOKUP_STEP_SUBSTATUS_CODE, ("X", "D")),  # cancelled, draft
        ),
        parts={"answers": Choice(and_(answers.c.FACT_FORM_ID != -1, asked))},
    )


def assessment(source: str, a: FactSingleAssessment) -> Assessment:
    answers = [((number or "").upper(), answer) for number, answer in a.answers]
    authorised = [answered_day(answer, "FACT_FORM_ANSWERS.ANSWER") for number, answer in answers if number == _AUTHORISED]
    found = {number for number, answer in answers if number != _AUTHORISED and (answer or "").upper() == "YES"}
    return Assessment(
        key=key_of(source, "assessment", a.fact_single_assessment_id),
        person=key_of(source, "person", a.dim_person_id),
        episode=reference(source, "care-episode", a.fact_referral_id),
        start_date=a.start_dttm,
        authorised_date=max((each for each in authorised if each), default=None),
        factors=in_order(found),
    )


@row_of("FACT_MEETINGS", key="fact_meeting_id")
class FactMeetings(NamedTuple):
    fact_meeting_id: int
    actual_dttm: Day
    dim_lookup_mtg_type_id_code: str | None


@row_of("FACT_CP_CONFERENCE", key="fact_cp_conference_id", of="fact_s47_id", also={"fact_meeting_id": int})
class FactCpConference(NamedTuple):
    actual_dttm: Joined[Day]


@row_of("FACT_S47", key="fact_s47_id")
class FactS47(NamedTuple):
    fact_s47_id: int
    dim_person_id: int
    fact_referral_id: int | None
    start_dttm: Day
    end_dttm: Day
    outcome_cp_conference_flag: Flag
    conferences: tuple[FactCpConference, ...]


def section_47_enquiries(hdm: Tables, _: LiquidlogicSettings) -> Choice:
    them, conferences, meetings = hdm[FactS47], hdm[FactCpConference], hdm[FactMeetings]
    held = Choice(
        where=plain(meetings.c.DIM_LOOKUP_MTG_TYPE_ID_CODE) == "CPCONFERENCE",
        source=conferences.join(meetings, meetings.c.FACT_MEETING_ID == conferences.c.FACT_MEETING_ID),
        joined={"actual_dttm": meetings.c.ACTUAL_DTTM},
    )
    return Choice(real(them.c.DIM_PERSON_ID, them.c.FACT_S47_ID), parts={"conferences": held})


def section_47_enquiry(source: str, s: FactS47) -> Section47Enquiry:
    held = [each.actual_dttm for each in s.conferences if each.actual_dttm]
    return Section47Enquiry(
        key=key_of(source, "section-47-enquiry", s.fact_s47_id),
        person=key_of(source, "person", s.dim_person_id),
        episode=reference(source, "care-episode", s.fact_referral_id),
        start_date=s.start_dttm,
        end_date=s.end_dttm,
        conference_required=s.outcome_cp_conference_flag,
        conference_date=min(held, default=None),  # the initial one; the rest are reviews
    )


@row_of("FACT_CARE_PLANS", key="fact_care_plan_id")
class FactCarePlans(NamedTuple):
    fact_care_plan_id: int
    fact_care_plan_summary_id: int
    dim_lookup_plan_type_id_code: str | None


@row_of("FACT_CARE_PLAN_SUMMARY", key="fact_care_plan_summary_id", also={"dim_lookup_plan_status_id_code": str})
class FactCarePlanSummary(NamedTuple):
    fact_care_plan_summary_id: int
    dim_person_id: int
    fact_referral_id: int | None
    start_dttm: Day
    end_dttm: Day


def cin_plans(hdm: Tables, settings: LiquidlogicSettings) -> Choice:
    them, plans = hdm[FactCarePlanSummary], hdm[FactCarePlans]
    types = tuple(each.upper() for each in settings.cin_plan_types)
    # A summary says nothing of its kind; the revisions of the plan below it do.
    is_cin = exists().where(
        plans.c.FACT_CARE_PLAN_SUMMARY_ID == them.c.FACT_CARE_PLAN_SUMMARY_ID,
        plain(plans.c.DIM_LOOKUP_PLAN_TYPE_ID_CODE).in_(types),
    )
    deleted = ("Z",)
    shown = is_none_of(them.c.DIM_LOOKUP_PLAN_STATUS_ID_CODE, deleted)
    return Choice(and_(real(them.c.DIM_PERSON_ID), shown, is_cin))


def cin_plan(source: str, p: FactCarePlanSummary) -> CarePlan:
    return CarePlan(
        key=key_of(source, "care-plan", f"cin-{p.fact_care_plan_summary_id}"),
        person=key_of(source, "person", p.dim_person_id),
        kind=PlanKind.CHILD_IN_NEED,
        episode=reference(source, "care-episode", p.fact_referral_id),
        start_date=p.start_dttm,
        end_date=p.end_dttm,
    )


@row_of("FACT_CP_PLAN", key="fact_cp_plan_id")
class FactCpPlan(NamedTuple):
    fact_cp_plan_id: int
    dim_person_id: int
    fact_referral_id: int | None
    start_dttm: Day
    end_dttm: Day
    init_category_desc: str | None
    cp_category_desc: str | None


def cp_plans(hdm: Tables, _: LiquidlogicSettings) -> Choice:
    them = hdm[FactCpPlan]
    return Choice(real(them.c.DIM_PERSON_ID, them.c.FACT_CP_PLAN_ID))


def cp_plan(source: str, p: FactCpPlan) -> CarePlan:
    return CarePlan(
        key=key_of(source, "care-plan", f"cp-{p.fact_cp_plan_id}"),
        person=key_of(source, "person", p.dim_person_id),
        kind=PlanKind.CHILD_PROTECTION,
        episode=reference(source, "care-episode", p.fact_referral_id),
        start_date=p.start_dttm,
        end_date=p.end_dttm,
        initial_category=_category(p.init_category_desc),
        latest_category=_category(p.cp_category_desc),
    )


def _category(described: str | None) -> str | None:
    if described is None:
        return None
    meant = [code for code, word in _CATEGORIES.items() if word in described.lower()]
    # Two kinds of abuse in one description are the census's MUL.
    named = meant[0] if len(meant) == 1 else "MUL" if meant else None
    return leading_code(described, "|".join(_CATEGORIES)) or named or described
