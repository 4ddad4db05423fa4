"""From the referral to the plan: care episodes, assessments, section 47 enquiries, CIN and CP plans."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from sqlalchemy import and_, exists

from adapters.kit.sql import Parts, Reading
from adapters.liquidlogic.hdm import Hdm, columns_of, is_none_of, matchable, real
from adapters.liquidlogic.quirks import day, flag, leading_code, reference, text
from adapters.liquidlogic.settings import LiquidlogicSettings
from adapters.port import Row
from canonical.children import Assessment, CareEpisode, CarePlan, PlanKind, Section47Enquiry
from canonical.key import KeysOf, key_of

_FACTORS = (
    *("1A", "1B", "1C", "2A", "2B", "2C", "3A", "3B", "3C", "4A", "4B", "4C", "5A", "5B", "5C", "6A", "6B", "6C", "7A"),
    *("8B", "8C", "8D", "8E", "8F", "9A", "10A", "11A", "12A", "13A", "14A", "15A", "16A", "17A", "18A", "18B", "18C"),
    *("19A", "19B", "19C", "20", "21", "22A", "23A", "24A"),
)
"""Factors identified at the end of assessment: CIN census, code list of item N00181."""
_AUTHORISED = "FORMENDDATE"
_SOURCES = r"1[A-D]|2[AB]|3[A-F]|5[A-D]|10|[46789]"
"""Referral sources: CIN census, item N00152."""
_CATEGORIES = {"NEG": "neglect", "PHY": "physical", "SAB": "sexual", "EMO": "emotional", "MUL": "multiple"}
"""Categories of abuse: CIN census, items N00113 and N00115."""


class FactReferrals(NamedTuple):
    fact_referral_id: int
    dim_person_id: int
    refrl_start_dttm: Any
    dim_lookup_cont_sorc_id: Any
    dim_lookup_cont_sorc_id_desc: str | None
    outcome_nfa_flag: Any
    dim_lookup_category_of_need_code: str | None
    refrl_end_dttm: Any
    dim_lookup_refrl_endrsn_id_code: Any


def care_episodes(hdm: Hdm, source: str, _: LiquidlogicSettings) -> Reading:
    table = hdm["FACT_REFERRALS"]
    return Reading(
        keys=KeysOf(source, "care-episode"),
        source=table,
        key=(table.c.FACT_REFERRAL_ID,),
        columns=columns_of(table, FactReferrals),
        where=and_(real(table.c.DIM_PERSON_ID), table.c.FACT_REFERRAL_ID != -1),
    )


def care_episode(source: str, row: Row) -> CareEpisode:
    r = FactReferrals(*row)
    return CareEpisode(
        key=key_of(source, "care-episode", int(r.fact_referral_id)),
        person=key_of(source, "person", int(r.dim_person_id)),
        referral_date=day(r.refrl_start_dttm, "FACT_REFERRALS.REFRL_START_DTTM"),
        # Councils put the census code into the description as often as into the id.
        referral_source=leading_code(r.dim_lookup_cont_sorc_id_desc, _SOURCES) or text(r.dim_lookup_cont_sorc_id),
        no_further_action=flag(r.outcome_nfa_flag, "FACT_REFERRALS.OUTCOME_NFA_FLAG"),
        primary_need=text(r.dim_lookup_category_of_need_code),
        close_date=day(r.refrl_end_dttm, "FACT_REFERRALS.REFRL_END_DTTM"),
        close_reason=text(r.dim_lookup_refrl_endrsn_id_code),
    )


class FactSingleAssessment(NamedTuple):
    fact_single_assessment_id: int
    dim_person_id: int
    fact_referral_id: Any
    start_dttm: Any
    answers: tuple[tuple[str | None, str | None], ...]


def assessments(hdm: Hdm, source: str, _: LiquidlogicSettings) -> Reading:
    table, answers = hdm["FACT_SINGLE_ASSESSMENT"], hdm["FACT_FORM_ANSWERS"]
    wanted = matchable(answers.c.ANSWER_NO).in_((*_FACTORS, _AUTHORISED))
    return Reading(
        keys=KeysOf(source, "assessment"),
        source=table,
        key=(table.c.FACT_SINGLE_ASSESSMENT_ID,),
        columns=columns_of(table, FactSingleAssessment),
        where=and_(
            real(table.c.DIM_PERSON_ID),
            is_none_of(table.c.DIM_LOOKUP_STEP_SUBSTATUS_CODE, ("X", "D")),  # cancelled, draft
        ),
        parts=(
            Parts(
                source=answers.join(table, answers.c.FACT_FORM_ID == table.c.FACT_FORM_ID),
                owner=(table.c.FACT_SINGLE_ASSESSMENT_ID,),
                columns=(answers.c.ANSWER_NO, answers.c.ANSWER),
                order=(answers.c.FACT_FORM_ANSWER_ID,),
                where=and_(answers.c.FACT_FORM_ID != -1, wanted),
            ),
        ),
    )


def assessment(source: str, row: Row) -> Assessment:
    a = FactSingleAssessment(*row)
    answers = [((text(number) or "").upper(), text(answer)) for number, answer in a.answers]
    authorised = [day(answer, "FACT_FORM_ANSWERS.ANSWER") for number, answer in answers if number == _AUTHORISED]
    found = {number for number, answer in answers if number != _AUTHORISED and (answer or "").upper() == "YES"}
    return Assessment(
        key=key_of(source, "assessment", int(a.fact_single_assessment_id)),
        person=key_of(source, "person", int(a.dim_person_id)),
        episode=reference(source, "care-episode", a.fact_referral_id),
        start_date=day(a.start_dttm, "FACT_SINGLE_ASSESSMENT.START_DTTM"),
        authorised_date=max((each for each in authorised if each), default=None),
        factors=tuple(sorted(found, key=lambda code: (int(re.sub(r"\D", "", code)), code))),
    )


class FactS47(NamedTuple):
    fact_s47_id: int
    dim_person_id: int
    fact_referral_id: Any
    start_dttm: Any
    end_dttm: Any
    outcome_cp_conference_flag: Any
    conferences: tuple[tuple[Any], ...]


def section_47_enquiries(hdm: Hdm, source: str, _: LiquidlogicSettings) -> Reading:
    table, conferences, meetings = hdm["FACT_S47"], hdm["FACT_CP_CONFERENCE"], hdm["FACT_MEETINGS"]
    return Reading(
        keys=KeysOf(source, "section-47-enquiry"),
        source=table,
        key=(table.c.FACT_S47_ID,),
        columns=columns_of(table, FactS47),
        where=and_(real(table.c.DIM_PERSON_ID), table.c.FACT_S47_ID != -1),
        parts=(
            Parts(
                source=conferences.join(meetings, meetings.c.FACT_MEETING_ID == conferences.c.FACT_MEETING_ID),
                owner=(conferences.c.FACT_S47_ID,),
                columns=(meetings.c.ACTUAL_DTTM,),
                order=(conferences.c.FACT_CP_CONFERENCE_ID,),
                where=matchable(meetings.c.DIM_LOOKUP_MTG_TYPE_ID_CODE) == "CPCONFERENCE",
            ),
        ),
    )


def section_47_enquiry(source: str, row: Row) -> Section47Enquiry:
    s = FactS47(*row)
    held = [day(moment, "FACT_MEETINGS.ACTUAL_DTTM") for (moment,) in s.conferences]
    return Section47Enquiry(
        key=key_of(source, "section-47-enquiry", int(s.fact_s47_id)),
        person=key_of(source, "person", int(s.dim_person_id)),
        episode=reference(source, "care-episode", s.fact_referral_id),
        start_date=day(s.start_dttm, "FACT_S47.START_DTTM"),
        end_date=day(s.end_dttm, "FACT_S47.END_DTTM"),
        conference_required=flag(s.outcome_cp_conference_flag, "FACT_S47.OUTCOME_CP_CONFERENCE_FLAG"),
        conference_date=min((each for each in held if each), default=None),  # the initial one; the rest are reviews
    )


class FactCarePlanSummary(NamedTuple):
    fact_care_plan_summary_id: int
    dim_person_id: int
    fact_referral_id: Any
    start_dttm: Any
    end_dttm: Any


def cin_plans(hdm: Hdm, source: str, settings: LiquidlogicSettings) -> Reading:
    table, plans = hdm["FACT_CARE_PLAN_SUMMARY"], hdm["FACT_CARE_PLANS"]
    types = tuple(each.upper() for each in settings.cin_plan_types)
    # A summary says nothing of its kind; the revisions of the plan below it do.
    is_cin = exists().where(
        plans.c.FACT_CARE_PLAN_SUMMARY_ID == table.c.FACT_CARE_PLAN_SUMMARY_ID,
        matchable(plans.c.DIM_LOOKUP_PLAN_TYPE_ID_CODE).in_(types),
    )
    return Reading(
        keys=KeysOf(source, "care-plan", prefix="cin-"),
        source=table,
        key=(table.c.FACT_CARE_PLAN_SUMMARY_ID,),
        columns=columns_of(table, FactCarePlanSummary),
        where=and_(
            real(table.c.DIM_PERSON_ID),
            is_none_of(table.c.DIM_LOOKUP_PLAN_STATUS_ID_CODE, ("Z",)),  # deleted
            is_cin,
        ),
    )


def cin_plan(source: str, row: Row) -> CarePlan:
    p = FactCarePlanSummary(*row)
    return CarePlan(
        key=key_of(source, "care-plan", f"cin-{int(p.fact_care_plan_summary_id)}"),
        person=key_of(source, "person", int(p.dim_person_id)),
        kind=PlanKind.CHILD_IN_NEED,
        episode=reference(source, "care-episode", p.fact_referral_id),
        start_date=day(p.start_dttm, "FACT_CARE_PLAN_SUMMARY.START_DTTM"),
        end_date=day(p.end_dttm, "FACT_CARE_PLAN_SUMMARY.END_DTTM"),
    )


class FactCpPlan(NamedTuple):
    fact_cp_plan_id: int
    dim_person_id: int
    fact_referral_id: Any
    start_dttm: Any
    end_dttm: Any
    init_category_desc: str | None
    cp_category_desc: str | None


def cp_plans(hdm: Hdm, source: str, _: LiquidlogicSettings) -> Reading:
    table = hdm["FACT_CP_PLAN"]
    return Reading(
        keys=KeysOf(source, "care-plan", prefix="cp-"),
        source=table,
        key=(table.c.FACT_CP_PLAN_ID,),
        columns=columns_of(table, FactCpPlan),
        where=and_(real(table.c.DIM_PERSON_ID), table.c.FACT_CP_PLAN_ID != -1),
    )


def cp_plan(source: str, row: Row) -> CarePlan:
    p = FactCpPlan(*row)
    return CarePlan(
        key=key_of(source, "care-plan", f"cp-{int(p.fact_cp_plan_id)}"),
        person=key_of(source, "person", int(p.dim_person_id)),
        kind=PlanKind.CHILD_PROTECTION,
        episode=reference(source, "care-episode", p.fact_referral_id),
        start_date=day(p.start_dttm, "FACT_CP_PLAN.START_DTTM"),
        end_date=day(p.end_dttm, "FACT_CP_PLAN.END_DTTM"),
        initial_category=_category(p.init_category_desc),
        latest_category=_category(p.cp_category_desc),
    )


def _category(described: str | None) -> str | None:
    written = text(described)
    if written is None:
        return None
    meant = [code for code, word in _CATEGORIES.items() if word in written.lower()]
    # Two kinds of abuse in one description are the census's MUL.
    named = meant[0] if len(meant) == 1 else "MUL" if meant else None
    return leading_code(written, "|".join(_CATEGORIES)) or named or written
