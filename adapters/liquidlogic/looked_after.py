"""Looked after and leaving care: episodes, placements, permanence, screening, care leavers."""

from __future__ import annotations

from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import and_, exists

from adapters.kit.sql import Parts, Reading
from adapters.liquidlogic.hdm import Hdm, columns_of, matchable, real
from adapters.liquidlogic.person import postcode
from adapters.liquidlogic.quirks import bad, day, flag, identifier, leading_code, reference, text
from adapters.liquidlogic.settings import LiquidlogicSettings
from adapters.port import Row
from canonical.children import CareLeaver, HealthScreening, LookedAfterEpisode, Permanence, Placement
from canonical.key import KeysOf, key_of

_START_REASONS = r"[SLPTBU]"
"""Reason for new episode: SSDA903 RNE."""
_END_REASONS = r"E\d{1,2}[A-Z]?|X1"
"""Reason episode ceased: SSDA903 REC."""
_ACTIVITIES = r"[FP][1245]|G[456]"
_ACCOMMODATION = r"[BCDEGHKRSTUV]"
"""Care leavers: SSDA903 OC3, ACTIV and ACCOM."""
_ADOPTIVE = {"A3", "A4", "A5", "A6"}
"""Placed for adoption: SSDA903 PLACE."""
_SDQ = "STRENGTHS AND DIFFICULTIES QUESTIONNAIRE%"
_SCORE, _COMPLETED = "SDQSCORE", "FORMENDDATE"


class FactCareEpisodes(NamedTuple):
    fact_care_episodes_id: int
    dim_person_id: int
    fact_cla_id: Any
    fact_cla_placement_id: Any
    care_start_date: Any
    care_reason_desc: str | None
    care_end_date: Any
    care_reason_end_code: str | None
    care_reason_end_desc: str | None
    cin_903_code: str | None
    referral: Any


def looked_after_episodes(hdm: Hdm, source: str, _: LiquidlogicSettings) -> Reading:
    table, periods = hdm["FACT_CARE_EPISODES"], hdm["FACT_CLA"]
    return Reading(
        keys=KeysOf(source, "looked-after-episode"),
        source=table.outerjoin(periods, periods.c.FACT_CLA_ID == table.c.FACT_CLA_ID),
        key=(table.c.FACT_CARE_EPISODES_ID,),
        columns=(*columns_of(table, FactCareEpisodes), periods.c.FACT_REFERRAL_ID),
        where=and_(real(table.c.DIM_PERSON_ID), table.c.FACT_CARE_EPISODES_ID != -1),
    )


def looked_after_episode(source: str, row: Row) -> LookedAfterEpisode:
    e = FactCareEpisodes(*row)
    return LookedAfterEpisode(
        key=key_of(source, "looked-after-episode", int(e.fact_care_episodes_id)),
        person=key_of(source, "person", int(e.dim_person_id)),
        episode=reference(source, "care-episode", e.referral),
        period=identifier(e.fact_cla_id),
        placement=reference(source, "placement", e.fact_cla_placement_id),
        start_date=day(e.care_start_date, "FACT_CARE_EPISODES.CARE_START_DATE"),
        start_reason=_coded("FACT_CARE_EPISODES.CARE_REASON_DESC", e.care_reason_desc, _START_REASONS),
        end_date=day(e.care_end_date, "FACT_CARE_EPISODES.CARE_END_DATE"),
        end_reason=text(e.care_reason_end_code)
        or _coded("FACT_CARE_EPISODES.CARE_REASON_END_DESC", e.care_reason_end_desc, _END_REASONS),
        primary_need=text(e.cin_903_code),
    )


class FactClaPlacement(NamedTuple):
    fact_cla_placement_id: int
    dim_person_id: int
    fact_cla_id: Any
    start_dttm: Any
    end_dttm: Any
    dim_lookup_placement_type_code: str | None
    dim_lookup_placement_provider_code: str | None
    postcode: str | None
    distance_from_home: Any
    dim_lookup_plac_chng_reas_code: str | None
    urns: tuple[tuple[str | None], ...]


def placements(hdm: Hdm, source: str, _: LiquidlogicSettings) -> Reading:
    table, episodes = hdm["FACT_CLA_PLACEMENT"], hdm["FACT_CARE_EPISODES"]
    return Reading(
        keys=KeysOf(source, "placement"),
        source=table,
        key=(table.c.FACT_CLA_PLACEMENT_ID,),
        columns=columns_of(table, FactClaPlacement),
        where=and_(real(table.c.DIM_PERSON_ID), table.c.FACT_CLA_PLACEMENT_ID != -1),
        parts=(
            Parts(
                source=episodes,
                owner=(episodes.c.FACT_CLA_PLACEMENT_ID,),
                columns=(episodes.c.OFSTED_URN,),
                order=(episodes.c.FACT_CARE_EPISODES_ID,),
                where=episodes.c.OFSTED_URN.is_not(None),
            ),
        ),
    )


def placement(source: str, row: Row) -> Placement:
    p = FactClaPlacement(*row)
    urns = [urn for (value,) in p.urns if (urn := text(value))]
    distance = None if p.distance_from_home is None else float(p.distance_from_home)
    return Placement(
        key=key_of(source, "placement", int(p.fact_cla_placement_id)),
        person=key_of(source, "person", int(p.dim_person_id)),
        period=identifier(p.fact_cla_id),
        start_date=day(p.start_dttm, "FACT_CLA_PLACEMENT.START_DTTM"),
        end_date=day(p.end_dttm, "FACT_CLA_PLACEMENT.END_DTTM"),
        placement_type=text(p.dim_lookup_placement_type_code),
        provider=text(p.dim_lookup_placement_provider_code),
        # Episodes of one placement repeat its URN; some hold a local number instead of Ofsted's.
        ofsted_urn=next((urn for urn in urns if urn.startswith("SC")), None),
        postcode=postcode(p.postcode),
        distance_miles=None if distance == -1 else distance,
        change_reason=text(p.dim_lookup_plac_chng_reas_code),
    )


class FactAdoption(NamedTuple):
    fact_adoption_id: int
    dim_person_id: int
    decision_dttm: Any
    placement_order_dttm: Any
    matching_dttm: Any
    no_longer_placed_dttm: Any
    dim_lookup_adop_reason_ceased_code: str | None
    adopted_by_carer_flag: Any
    episodes: tuple[tuple[Any, Any, Any], ...]


def permanences(hdm: Hdm, source: str, _: LiquidlogicSettings) -> Reading:
    table, episodes, homes = hdm["FACT_ADOPTION"], hdm["FACT_CARE_EPISODES"], hdm["FACT_CLA_PLACEMENT"]
    of_the_child = episodes.join(table, table.c.DIM_PERSON_ID == episodes.c.DIM_PERSON_ID)
    return Reading(
        keys=KeysOf(source, "permanence"),
        source=table,
        key=(table.c.FACT_ADOPTION_ID,),
        columns=columns_of(table, FactAdoption),
        where=and_(real(table.c.DIM_PERSON_ID), table.c.START_DTTM.is_not(None)),
        parts=(
            Parts(
                source=of_the_child.outerjoin(homes, homes.c.FACT_CLA_PLACEMENT_ID == episodes.c.FACT_CLA_PLACEMENT_ID),
                owner=(table.c.FACT_ADOPTION_ID,),
                columns=(episodes.c.FACT_CLA_ID, homes.c.DIM_LOOKUP_PLACEMENT_TYPE_CODE, homes.c.START_DTTM),
                order=(episodes.c.FACT_CARE_EPISODES_ID,),
            ),
        ),
    )


def permanence(source: str, row: Row) -> Permanence:
    a = FactAdoption(*row)
    column = "FACT_CLA_PLACEMENT.START_DTTM"
    placed = [day(start, column) for _, kind, start in a.episodes if (text(kind) or "").upper() in _ADOPTIVE]
    return Permanence(
        key=key_of(source, "permanence", int(a.fact_adoption_id)),
        person=key_of(source, "person", int(a.dim_person_id)),
        period=identifier(a.episodes[-1][0]) if a.episodes else None,
        decision_date=day(a.decision_dttm, "FACT_ADOPTION.DECISION_DTTM"),
        placement_order_date=day(a.placement_order_dttm, "FACT_ADOPTION.PLACEMENT_ORDER_DTTM"),
        matched_date=day(a.matching_dttm, "FACT_ADOPTION.MATCHING_DTTM"),
        placed_date=min((each for each in placed if each), default=None),
        reversed_date=day(a.no_longer_placed_dttm, "FACT_ADOPTION.NO_LONGER_PLACED_DTTM"),
        reversed_reason=text(a.dim_lookup_adop_reason_ceased_code),
        adopted_by_carer=flag(a.adopted_by_carer_flag, "FACT_ADOPTION.ADOPTED_BY_CARER_FLAG"),
    )


class FactForms(NamedTuple):
    fact_form_id: int
    dim_person_id: int
    answers: tuple[tuple[str | None, str | None, Any], ...]


def health_screenings(hdm: Hdm, source: str, _: LiquidlogicSettings) -> Reading:
    table, answers = hdm["FACT_FORMS"], hdm["FACT_FORM_ANSWERS"]
    number, is_sdq = matchable(answers.c.ANSWER_NO), matchable(answers.c.DIM_ASSESSMENT_TEMPLATE_ID_DESC).like(_SDQ)
    scored = exists().where(
        answers.c.FACT_FORM_ID == table.c.FACT_FORM_ID, is_sdq, number == _SCORE, answers.c.ANSWER.is_not(None)
    )
    return Reading(
        keys=KeysOf(source, "health-screening"),
        source=table,
        key=(table.c.FACT_FORM_ID,),
        columns=columns_of(table, FactForms),
        where=and_(real(table.c.DIM_PERSON_ID), scored),
        parts=(
            Parts(
                source=answers,
                owner=(answers.c.FACT_FORM_ID,),
                columns=(answers.c.ANSWER_NO, answers.c.ANSWER, answers.c.ANSWERED_DTTM),
                order=(answers.c.FACT_FORM_ANSWER_ID,),
                where=and_(is_sdq, number.in_((_SCORE, _COMPLETED)), answers.c.ANSWER.is_not(None)),
            ),
        ),
    )


def health_screening(source: str, row: Row) -> HealthScreening:
    f = FactForms(*row)
    column = "FACT_FORM_ANSWERS.ANSWERED_DTTM"
    # Answered twice: the later one counts, of one day the one that was saved last.
    answers = sorted(
        ((text(number) or "").upper(), day(moment, column) or date.min, place, text(answer))
        for place, (number, answer, moment) in enumerate(f.answers)
    )
    latest = {number: (answer, answered) for number, answered, _, answer in answers}
    score, answered = latest[_SCORE]
    if score is None or not score.isdigit():
        fix = "correct the score in the questionnaire: a whole number from 0 to 40"
        bad("FACT_FORM_ANSWERS.ANSWER", "is not a whole number", score, fix)
    _, completed = latest.get(_COMPLETED, (None, answered))
    return HealthScreening(
        key=key_of(source, "health-screening", int(f.fact_form_id)),
        person=key_of(source, "person", int(f.dim_person_id)),
        completed_date=None if completed == date.min else completed,
        score=int(score),
    )


class FactClaCareLeavers(NamedTuple):
    fact_cla_care_leavers_id: int
    dim_person_id: int
    in_touch_dttm: Any
    dim_lookup_in_touch_code_code: str | None
    dim_lookup_main_activity_desc: str | None
    dim_lookup_accommodation_code_desc: str | None
    dim_lookup_accommodation_suitable_desc: str | None
    eligibilities: tuple[tuple[str | None], ...]


def care_leavers(hdm: Hdm, source: str, _: LiquidlogicSettings) -> Reading:
    table, eligibility = hdm["FACT_CLA_CARE_LEAVERS"], hdm["DIM_CLA_ELIGIBILITY"]
    return Reading(
        keys=KeysOf(source, "care-leaver"),
        source=table,
        key=(table.c.FACT_CLA_CARE_LEAVERS_ID,),
        columns=columns_of(table, FactClaCareLeavers),
        where=real(table.c.DIM_PERSON_ID),
        parts=(
            Parts(
                source=eligibility.join(table, table.c.DIM_PERSON_ID == eligibility.c.DIM_PERSON_ID),
                owner=(table.c.FACT_CLA_CARE_LEAVERS_ID,),
                columns=(eligibility.c.DIM_LOOKUP_ELIGIBILITY_STATUS_DESC,),
                order=(eligibility.c.DIM_CLA_ELIGIBILITY_ID,),
                where=eligibility.c.DIM_LOOKUP_ELIGIBILITY_STATUS_DESC.is_not(None),
            ),
        ),
    )


def care_leaver(source: str, row: Row) -> CareLeaver:
    c = FactClaCareLeavers(*row)
    table = "FACT_CLA_CARE_LEAVERS"
    accommodation = c.dim_lookup_accommodation_code_desc
    return CareLeaver(
        key=key_of(source, "care-leaver", int(c.fact_cla_care_leavers_id)),
        person=key_of(source, "person", int(c.dim_person_id)),
        contact_date=day(c.in_touch_dttm, f"{table}.IN_TOUCH_DTTM"),
        in_touch=text(c.dim_lookup_in_touch_code_code),
        activity=_coded(f"{table}.DIM_LOOKUP_MAIN_ACTIVITY_DESC", c.dim_lookup_main_activity_desc, _ACTIVITIES),
        accommodation=_coded(f"{table}.DIM_LOOKUP_ACCOMMODATION_CODE_DESC", accommodation, _ACCOMMODATION),
        accommodation_suitable=_suitable(c.dim_lookup_accommodation_suitable_desc),
        eligibility=text(c.eligibilities[-1][0]) if c.eligibilities else None,
    )


def _coded(column: str, described: str | None, pattern: str) -> str | None:
    """The warehouse has only the descriptions of these lists; councils let them begin with the return's code."""
    if text(described) is None:
        return None
    code = leading_code(described, pattern)
    if code is None:
        fix = "let the entry of Liquidlogic's list begin with its SSDA903 code, e.g. `F2 - …`"
        bad(column, "does not begin with its code", described, fix)
    return code


def _suitable(described: str | None) -> str | None:
    written = text(described)
    if written is None:
        return None
    unsuitable = "unsuitable" in written.lower() or "not suitable" in written.lower()
    return leading_code(written, "[12]") or ("2" if unsuitable else "1" if "suitable" in written.lower() else written)
