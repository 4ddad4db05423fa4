"""Looked after and leaving care: episodes, placements, permanence, screening, care leavers."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Annotated, NamedTuple

from sqlalchemy import and_, exists, or_

from adapters.kit.children_codes import (
    ACCOMMODATION,
    ACTIVITY,
    ADOPTIVE,
    CEASED,
    CHANGE,
    IN_TOUCH,
    NEED,
    PLACEMENT,
    PLACEMENT_ORDER,
    PROVIDER,
    SUITABLE,
    WITH_CARER,
)
from adapters.kit.children_periods import came_last, end_reason, last_of, latest_within, start_reason
from adapters.kit.sql import Beside, Choice, Joined, Soft, Tables, row_of
from adapters.kit.sql_conditions import answers_to, plain, said_yes
from adapters.mosaic.mart import Day, Flag, PersonsAnswer, PersonsReferral, open_episode
from adapters.mosaic.person import DmPeriodsOfCare
from adapters.mosaic.settings import MosaicSettings
from canonical.children import CareLeaver, HealthScreening, LookedAfterEpisode, Permanence, Placement
from canonical.key import key_of

_SUMMARY = ("legal_status_id", "placement_id", "placement_split_number", "element_detail_id", "service_split_number")
"""An episode has no number of its own: it is one legal status, one placement and one carer's service together."""


@row_of("DM_LEGAL_STATUSES", key="legal_status_id", of=("person_id", "period_of_care_id"),
        to=("person_id", "period_of_care_id"))  # fmt: skip
class DmLegalStatuses(NamedTuple):
    legal_status: str | None
    start_date: Day


@row_of("DM_PLACEMENTS", key=("placement_id", "split_number"))
class DmPlacements(NamedTuple):
    placement_id: int
    split_number: int
    placement_type: str | None
    category_of_need: str | None
    reason_episode_ceased: str | None


@row_of("DM_PLACEMENT_DETAILS", key=("element_detail_id", "split_number"), also={"carer_id": int})
class DmPlacementDetails(NamedTuple):
    element_detail_id: int
    split_number: int


_Home = Beside(DmPlacements, "placement_type", by=("placement_id", "placement_split_number"))
_Carer = Beside(DmPlacementDetails, "carer_id", by=("element_detail_id", "service_split_number"))


@row_of("DM_CLA_SUMMARIES", key=_SUMMARY, of="period_of_care_id", to="period_of_care_id")
class PeriodsEpisode(NamedTuple):
    legal_status_id: int
    placement_id: int
    placement_split_number: int
    start_date: Day
    carer_id: Annotated[int | None, _Carer]
    placement_type: Annotated[str | None, _Home]


@row_of("DM_CLA_SUMMARIES", key=_SUMMARY)
class DmClaSummaries(NamedTuple):
    legal_status_id: int
    placement_id: int
    placement_split_number: int
    element_detail_id: int
    service_split_number: int
    person_id: int
    period_of_care_id: int | None
    start_date: Day
    end_date: Day
    period_began: Annotated[Day, Beside(DmPeriodsOfCare, "start_date")]
    need: Soft[Annotated[str | None, NEED, replace(_Home, column="category_of_need")]]
    ceased: Soft[Annotated[str | None, CEASED, replace(_Home, column="reason_episode_ceased")]]
    episodes: tuple[PeriodsEpisode, ...]
    referrals: tuple[PersonsReferral, ...]


def looked_after_episode(source: str, e: DmClaSummaries) -> LookedAfterEpisode:
    own = next((each for each in e.episodes if each.start_date == e.start_date and each[:3] == e[:3]), None)
    return LookedAfterEpisode(
        key=key_of(source, "looked-after-episode", *e[:5]),
        person=key_of(source, "person", e.person_id),
        episode=open_episode(source, e.person_id, e.referrals, e.start_date),
        period=None if e.period_of_care_id is None else str(e.period_of_care_id),
        placement=key_of(source, "placement", e.placement_id, e.placement_split_number),
        start_date=e.start_date,
        start_reason=start_reason(own, e.episodes, e.period_began),  # Mosaic keeps neither reason
        end_date=e.end_date,
        end_reason=end_reason(e.start_date, e.end_date, [each.start_date for each in e.episodes], e.ceased),
        primary_need=e.need,
    )


# -- placements ----------------------------------------------------------------------------------------------------


@row_of("DM_PLACEMENT_DETAILS", key=("element_detail_id", "split_number"), of=("placement_id", "placement_split"))
class PlacementService(NamedTuple):
    ofsted_urn: str | None
    cin_provider_category_code: Soft[Annotated[str | None, PROVIDER]]
    start_date: Day
    placement_id: Joined[int]
    placement_split: Joined[int]


@row_of("DM_PLACEMENT_CARER_ADDRESSES", of=("placement_id", "placement_split"), also={"carer_id": int},
        order=("carer_id", "start_date", "post_code", "end_date"))  # fmt: skip
class CarerAddress(NamedTuple):
    post_code: Soft[str | None]
    start_date: Day
    end_date: Day
    placement_id: Joined[int]
    placement_split: Joined[int]


@row_of("DM_PLACEMENTS", key=("placement_id", "split_number"))
class PlacementOfChild(NamedTuple):
    placement_id: int
    split_number: int
    person_id: int
    period_of_care_id: int | None
    placement_type: Soft[Annotated[str | None, PLACEMENT]]
    reason_for_placement_change: Soft[Annotated[str | None, CHANGE]]
    start_date: Day
    end_date: Day
    services: tuple[PlacementService, ...]
    homes: tuple[CarerAddress, ...]


def placements(mart: Tables, _: MosaicSettings) -> Choice:
    them, services, homes = mart[DmClaSummaries], mart[PlacementService], mart[CarerAddress]
    same = and_(services.c.ELEMENT_DETAIL_ID == them.c.ELEMENT_DETAIL_ID, services.c.SPLIT_NUMBER == them.c.SERVICE_SPLIT_NUMBER)
    of = {"placement_id": them.c.PLACEMENT_ID, "placement_split": them.c.PLACEMENT_SPLIT_NUMBER}
    served, carers = them.join(services, same), mart[DmPlacementDetails].c.CARER_ID
    return Choice(
        parts={
            "services": Choice(source=served, joined=of),
            "homes": Choice(source=served.join(homes, carers == homes.c.CARER_ID), joined=of),
        }
    )


def placement(source: str, p: PlacementOfChild) -> Placement:
    return Placement(
        key=key_of(source, "placement", p.placement_id, p.split_number),
        person=key_of(source, "person", p.person_id),
        period=None if p.period_of_care_id is None else str(p.period_of_care_id),
        start_date=p.start_date,
        end_date=p.end_date,
        placement_type=p.placement_type,
        provider=came_last((each.start_date, each.cin_provider_category_code) for each in p.services),
        ofsted_urn=came_last((each.start_date, each.ofsted_urn) for each in p.services),
        # The home in which the carer lived when the placement ended, or lives now.
        postcode=latest_within(p.start_date, p.end_date, [(each[1], each[2], each[0]) for each in p.homes]),
        change_reason=p.reason_for_placement_change,
    )


# -- adoption, screening, leaving care -------------------------------------------------------------------------------


@row_of("DM_PLACEMENTS", key=("placement_id", "split_number"), also={"is_adopted": Flag})
class AdoptivePlacement(NamedTuple):
    placement_id: int
    split_number: int
    person_id: int
    period_of_care_id: int | None
    placement_type: str | None
    start_date: Day
    statuses: tuple[DmLegalStatuses, ...]
    said: tuple[PersonsAnswer, ...] = ()


def permanences(mart: Tables, settings: MosaicSettings) -> Choice:
    them, asked = mart[AdoptivePlacement], settings.questions
    order = plain(mart[DmLegalStatuses].c.LEGAL_STATUS) == PLACEMENT_ORDER
    said = {"decision": asked.adoption_decision, "match": asked.adoption_match}
    return Choice(
        where=or_(plain(them.c.PLACEMENT_TYPE).in_(ADOPTIVE), said_yes(them.c.IS_ADOPTED)),
        parts={"statuses": Choice(order), "said": answers_to(mart[PersonsAnswer].c.QUESTION_USER_CODE, said)},
    )


def permanence(source: str, a: AdoptivePlacement) -> Permanence:
    kind = (a.placement_type or "").upper()
    return Permanence(
        key=key_of(source, "permanence", a.placement_id, a.split_number),
        person=key_of(source, "person", a.person_id),
        period=None if a.period_of_care_id is None else str(a.period_of_care_id),
        decision_date=last_of(each.date_answer for each in a.said if each.question == "decision"),
        placement_order_date=last_of(each.start_date for each in a.statuses),
        matched_date=last_of(each.date_answer for each in a.said if each.question == "match"),
        placed_date=a.start_date if kind in ADOPTIVE else None,
        adopted_by_carer=kind in WITH_CARER if kind in ADOPTIVE else None,
    )


@row_of("DM_HEALTH_ASSESSMENTS", key="health_id")
class DmHealthAssessments(NamedTuple):
    health_id: int
    person_id: int
    health_assessment_date: Day
    sdq_score: int | None
    sdq_reason: str | None


def health_screenings(mart: Tables, _: MosaicSettings) -> Choice:
    them = mart[DmHealthAssessments]
    return Choice(or_(them.c.SDQ_SCORE.is_not(None), them.c.SDQ_REASON.is_not(None)))


def health_screening(source: str, h: DmHealthAssessments) -> HealthScreening:
    return HealthScreening(
        key=key_of(source, "health-screening", h.health_id),
        person=key_of(source, "person", h.person_id),
        completed_date=h.health_assessment_date,
        score=h.sdq_score,
        reason=h.sdq_reason,
    )


@row_of("DM_FORMER_LOOKED_AFTER", of="person_id", order=("date_of_situation", "in_touch_type", "activity_type",
        "accomodation_type", "accomodation_suitable"))  # fmt: skip
class FormerSituation(NamedTuple):
    date_of_situation: Day
    in_touch_type: Soft[Annotated[str | None, IN_TOUCH]]
    activity_type: Soft[Annotated[str | None, ACTIVITY]]
    accomodation_type: Soft[Annotated[str | None, ACCOMMODATION]]
    accomodation_suitable: Soft[Annotated[str | None, SUITABLE]]


@row_of("DM_PERSONS", key="person_id")
class FormerChild(NamedTuple):
    person_id: int
    situations: tuple[FormerSituation, ...]


def care_leavers(mart: Tables, _: MosaicSettings) -> Choice:
    them, situations = mart[FormerChild], mart[FormerSituation]
    return Choice(exists().where(situations.c.PERSON_ID == them.c.PERSON_ID))


def care_leaver(source: str, c: FormerChild) -> CareLeaver:
    """A care leaver is one record, as they were found last: the mart gives a person's situations no numbers."""
    last = max(c.situations, key=lambda each: each.date_of_situation or date.min)
    return CareLeaver(
        key=key_of(source, "care-leaver", c.person_id),
        person=key_of(source, "person", c.person_id),
        contact_date=last.date_of_situation,
        in_touch=last.in_touch_type,
        activity=last.activity_type,
        accommodation=last.accomodation_type,
        accommodation_suitable=last.accomodation_suitable,
    )
