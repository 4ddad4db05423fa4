"""Looked after and leaving care: episodes, placements, permanence, screening, care leavers."""

from __future__ import annotations

from datetime import date
from typing import Annotated, NamedTuple

from sqlalchemy import and_, exists

from adapters.kit.children_codes import ADOPTIVE
from adapters.kit.sql import Beside, Choice, Tables, row_of
from adapters.kit.sql_conditions import plain
from adapters.liquidlogic.hdm import Answer, Day, Flag, real
from adapters.liquidlogic.person import postcode
from adapters.liquidlogic.quirks import bad, identifier, leading_code, reference
from adapters.liquidlogic.settings import LiquidlogicSettings
from canonical.children import CareLeaver, HealthScreening, LookedAfterEpisode, Permanence, Placement
from canonical.key import key_of

_START_REASONS = r"[SLPTBU]"
"""Reason for new episode: SSDA903 RNE."""
_END_REASONS = r"E\d{1,2}[A-Z]?|X1"
"""Reason episode ceased: SSDA903 REC."""
_ACTIVITIES = r"[FP][1245]|G[456]"
_ACCOMMODATION = r"[BCDEGHKRSTUV]"
"""Care leavers: SSDA903 OC3, ACTIV and ACCOM."""
_SDQ = "STRENGTHS AND DIFFICULTIES QUESTIONNAIRE%"
_SCORE, _COMPLETED = "SDQSCORE", "FORMENDDATE"


@row_of("FACT_CLA", key="fact_cla_id")
class FactCla(NamedTuple):
    fact_cla_id: int
    fact_referral_id: int | None


@row_of("FACT_CARE_EPISODES", key="fact_care_episodes_id")
class FactCareEpisodes(NamedTuple):
    fact_care_episodes_id: int
    dim_person_id: int
    fact_cla_id: int | None
    fact_cla_placement_id: int | None
    care_start_date: Day
    care_reason_desc: str | None
    care_end_date: Day
    care_reason_end_code: str | None
    care_reason_end_desc: str | None
    cin_903_code: str | None
    referral: Annotated[int | None, Beside(FactCla, "fact_referral_id")]


def looked_after_episodes(hdm: Tables, _: LiquidlogicSettings) -> Choice:
    them = hdm[FactCareEpisodes]
    return Choice(real(them.c.DIM_PERSON_ID, them.c.FACT_CARE_EPISODES_ID))


def looked_after_episode(source: str, e: FactCareEpisodes) -> LookedAfterEpisode:
    return LookedAfterEpisode(
        key=key_of(source, "looked-after-episode", e.fact_care_episodes_id),
        person=key_of(source, "person", e.dim_person_id),
        episode=reference(source, "care-episode", e.referral),
        period=identifier(e.fact_cla_id),
        placement=reference(source, "placement", e.fact_cla_placement_id),
        start_date=e.care_start_date,
        start_reason=_coded("FACT_CARE_EPISODES.CARE_REASON_DESC", e.care_reason_desc, _START_REASONS),
        end_date=e.care_end_date,
        end_reason=e.care_reason_end_code
        or _coded("FACT_CARE_EPISODES.CARE_REASON_END_DESC", e.care_reason_end_desc, _END_REASONS),
        primary_need=e.cin_903_code,
    )


@row_of("FACT_CARE_EPISODES", key="fact_care_episodes_id", of="fact_cla_placement_id")
class PlacementEpisode(NamedTuple):
    ofsted_urn: str | None


@row_of("FACT_CLA_PLACEMENT", key="fact_cla_placement_id")
class FactClaPlacement(NamedTuple):
    fact_cla_placement_id: int
    dim_person_id: int
    fact_cla_id: int | None
    start_dttm: Day
    end_dttm: Day
    dim_lookup_placement_type_code: str | None
    dim_lookup_placement_provider_code: str | None
    postcode: str | None
    distance_from_home: float | None
    dim_lookup_plac_chng_reas_code: str | None
    episodes: tuple[PlacementEpisode, ...]


def placements(hdm: Tables, _: LiquidlogicSettings) -> Choice:
    them, episodes = hdm[FactClaPlacement], hdm[PlacementEpisode]
    return Choice(
        where=real(them.c.DIM_PERSON_ID, them.c.FACT_CLA_PLACEMENT_ID),
        parts={"episodes": Choice(episodes.c.OFSTED_URN.is_not(None))},
    )


def placement(source: str, p: FactClaPlacement) -> Placement:
    urns = [episode.ofsted_urn for episode in p.episodes if episode.ofsted_urn]
    return Placement(
        key=key_of(source, "placement", p.fact_cla_placement_id),
        person=key_of(source, "person", p.dim_person_id),
        period=identifier(p.fact_cla_id),
        start_date=p.start_dttm,
        end_date=p.end_dttm,
        placement_type=p.dim_lookup_placement_type_code,
        provider=p.dim_lookup_placement_provider_code,
        # Episodes of one placement repeat its URN; some hold a local number instead of Ofsted's.
        ofsted_urn=next((urn for urn in urns if urn.startswith("SC")), None),
        postcode=postcode(p.postcode),
        distance_miles=None if p.distance_from_home == -1 else p.distance_from_home,
        change_reason=p.dim_lookup_plac_chng_reas_code,
    )


@row_of("FACT_CARE_EPISODES", key="fact_care_episodes_id", of="dim_person_id", to="dim_person_id",
        also={"fact_cla_placement_id": int})  # fmt: skip
class AdoptedChildsEpisode(NamedTuple):
    fact_cla_id: int | None
    placement_type: Annotated[str | None, Beside(FactClaPlacement, "dim_lookup_placement_type_code")]
    placed: Annotated[Day, Beside(FactClaPlacement, "start_dttm")]


@row_of("FACT_ADOPTION", key="fact_adoption_id", also={"start_dttm": Day})
class FactAdoption(NamedTuple):
    fact_adoption_id: int
    dim_person_id: int
    decision_dttm: Day
    placement_order_dttm: Day
    matching_dttm: Day
    no_longer_placed_dttm: Day
    dim_lookup_adop_reason_ceased_code: str | None
    adopted_by_carer_flag: Flag
    episodes: tuple[AdoptedChildsEpisode, ...]


def permanences(hdm: Tables, _: LiquidlogicSettings) -> Choice:
    them = hdm[FactAdoption]
    return Choice(and_(real(them.c.DIM_PERSON_ID), them.c.START_DTTM.is_not(None)))


def permanence(source: str, a: FactAdoption) -> Permanence:
    adoptive = [each for each in a.episodes if (each.placement_type or "").upper() in ADOPTIVE]
    return Permanence(
        key=key_of(source, "permanence", a.fact_adoption_id),
        person=key_of(source, "person", a.dim_person_id),
        period=identifier(a.episodes[-1].fact_cla_id) if a.episodes else None,
        decision_date=a.decision_dttm,
        placement_order_date=a.placement_order_dttm,
        matched_date=a.matching_dttm,
        placed_date=min((each.placed for each in adoptive if each.placed), default=None),
        reversed_date=a.no_longer_placed_dttm,
        reversed_reason=a.dim_lookup_adop_reason_ceased_code,
        adopted_by_carer=a.adopted_by_carer_flag,
    )


@row_of("FACT_FORM_ANSWERS", key="fact_form_answer_id", of="fact_form_id", also={"dim_assessment_template_id_desc": str})
class ScreeningAnswer(NamedTuple):
    answer_no: str | None
    answer: Answer
    answered_dttm: Day


@row_of("FACT_FORMS", key="fact_form_id")
class FactForms(NamedTuple):
    fact_form_id: int
    dim_person_id: int
    answers: tuple[ScreeningAnswer, ...]


def health_screenings(hdm: Tables, _: LiquidlogicSettings) -> Choice:
    them, answers = hdm[FactForms], hdm[ScreeningAnswer]
    number, is_sdq = plain(answers.c.ANSWER_NO), plain(answers.c.DIM_ASSESSMENT_TEMPLATE_ID_DESC).like(_SDQ)
    given = answers.c.ANSWER.is_not(None)
    scored = exists().where(answers.c.FACT_FORM_ID == them.c.FACT_FORM_ID, is_sdq, number == _SCORE, given)
    return Choice(
        where=and_(real(them.c.DIM_PERSON_ID), scored),
        parts={"answers": Choice(and_(is_sdq, number.in_((_SCORE, _COMPLETED)), given))},
    )


def health_screening(source: str, f: FactForms) -> HealthScreening:
    # Answered twice: the later one counts, of one day the one that was saved last.
    answers = sorted(
        ((number or "").upper(), moment or date.min, place, answer)
        for place, (number, answer, moment) in enumerate(f.answers)
    )
    latest = {number: (answer, answered) for number, answered, _, answer in answers}
    score, answered = latest[_SCORE]
    if score is None or not score.isdigit():
        fix = "correct the score in the questionnaire: a whole number from 0 to 40"
        bad("FACT_FORM_ANSWERS.ANSWER", "is not a whole number", score, fix)
    _, completed = latest.get(_COMPLETED, (None, answered))
    return HealthScreening(
        key=key_of(source, "health-screening", f.fact_form_id),
        person=key_of(source, "person", f.dim_person_id),
        completed_date=None if completed == date.min else completed,
        score=int(score),
    )


@row_of("DIM_CLA_ELIGIBILITY", key="dim_cla_eligibility_id", of="dim_person_id", to="dim_person_id")
class DimClaEligibility(NamedTuple):
    dim_lookup_eligibility_status_desc: str | None


@row_of("FACT_CLA_CARE_LEAVERS", key="fact_cla_care_leavers_id")
class FactClaCareLeavers(NamedTuple):
    fact_cla_care_leavers_id: int
    dim_person_id: int
    in_touch_dttm: Day
    dim_lookup_in_touch_code_code: str | None
    dim_lookup_main_activity_desc: str | None
    dim_lookup_accommodation_code_desc: str | None
    dim_lookup_accommodation_suitable_desc: str | None
    eligibilities: tuple[DimClaEligibility, ...]


def care_leavers(hdm: Tables, _: LiquidlogicSettings) -> Choice:
    known = Choice(hdm[DimClaEligibility].c.DIM_LOOKUP_ELIGIBILITY_STATUS_DESC.is_not(None))
    return Choice(real(hdm[FactClaCareLeavers].c.DIM_PERSON_ID), parts={"eligibilities": known})


def care_leaver(source: str, c: FactClaCareLeavers) -> CareLeaver:
    table = "FACT_CLA_CARE_LEAVERS"
    accommodation = c.dim_lookup_accommodation_code_desc
    return CareLeaver(
        key=key_of(source, "care-leaver", c.fact_cla_care_leavers_id),
        person=key_of(source, "person", c.dim_person_id),
        contact_date=c.in_touch_dttm,
        in_touch=c.dim_lookup_in_touch_code_code,
        activity=_coded(f"{table}.DIM_LOOKUP_MAIN_ACTIVITY_DESC", c.dim_lookup_main_activity_desc, _ACTIVITIES),
        accommodation=_coded(f"{table}.DIM_LOOKUP_ACCOMMODATION_CODE_DESC", accommodation, _ACCOMMODATION),
        accommodation_suitable=_suitable(c.dim_lookup_accommodation_suitable_desc),
        eligibility=c.eligibilities[-1].dim_lookup_eligibility_status_desc if c.eligibilities else None,
    )


def _coded(column: str, described: str | None, pattern: str) -> str | None:
    """The warehouse has only the descriptions of these lists; councils let them begin with the return's code."""
    if described is None:
        return None
    code = leading_code(described, pattern)
    if code is None:
        fix = "let the entry of Liquidlogic's list begin with its SSDA903 code, e.g. `F2 - …`"
        bad(column, "does not begin with its code", described, fix)
    return code


def _suitable(described: str | None) -> str | None:
    if described is None:
        return None
    said = described.lower()
    unsuitable = "unsuitable" in said or "not suitable" in said
    return leading_code(described, "[12]") or ("2" if unsuitable else "1" if "suitable" in said else described)
