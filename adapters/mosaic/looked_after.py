"""Looked after and leaving care: episodes, placements, permanence, screening, care leavers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated, NamedTuple

from sqlalchemy import and_, exists, or_
from sqlalchemy.sql.expression import FromClause

from adapters.kit.sql import Choice, Joined, Soft, Tables, row_of
from adapters.mosaic.codes import ACCOMMODATION, ACTIVITY, CEASED, CHANGE, IN_TOUCH, NEED, PLACEMENT, PROVIDER, SUITABLE
from adapters.mosaic.mart import Day, Flag, PersonsAnswer, PersonsReferral, answers, open_episode, plain
from adapters.mosaic.person import DmPeriodsOfCare
from adapters.mosaic.settings import MosaicSettings
from canonical.children import CareLeaver, HealthScreening, LookedAfterEpisode, Permanence, Placement
from canonical.key import key_of

_ADOPTIVE = ("A3", "A4", "A5", "A6")
"""Placed for adoption: SSDA903 PLACE."""
_WITH_CARER = ("A3", "A5")
"""The foster carer with whom the child lives already adopts it."""
_PLACEMENT_ORDER = "E1"
"""A placement order was granted: SSDA903 LS."""

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


@row_of("DM_CLA_SUMMARIES", key=_SUMMARY, of="period_of_care_id", to="period_of_care_id")
class PeriodsEpisode(NamedTuple):
    legal_status_id: int
    placement_id: int
    placement_split_number: int
    start_date: Day
    carer_id: Joined[int | None]
    placement_type: Joined[str | None]


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
    period_began: Joined[Day]
    need: Soft[Joined[Annotated[str | None, NEED]]]
    ceased: Soft[Joined[Annotated[str | None, CEASED]]]
    episodes: tuple[PeriodsEpisode, ...]
    referrals: tuple[PersonsReferral, ...]


def looked_after_episodes(mart: Tables, _: MosaicSettings) -> Choice:
    them, homes, periods = mart[DmClaSummaries], mart[DmPlacements], mart[DmPeriodsOfCare]
    services = mart[DmPlacementDetails]
    home, service = _with_home(mart, them), and_(
        services.c.ELEMENT_DETAIL_ID == them.c.ELEMENT_DETAIL_ID, services.c.SPLIT_NUMBER == them.c.SERVICE_SPLIT_NUMBER
    )  # fmt: skip
    episodes = {"carer_id": services.c.CARER_ID, "placement_type": homes.c.PLACEMENT_TYPE}
    return Choice(
        source=home.outerjoin(periods, periods.c.PERIOD_OF_CARE_ID == them.c.PERIOD_OF_CARE_ID),
        joined={
            "period_began": periods.c.START_DATE,
            "need": homes.c.CATEGORY_OF_NEED,
            "ceased": homes.c.REASON_EPISODE_CEASED,
        },
        parts={"episodes": Choice(source=home.outerjoin(services, service), joined=episodes)},
    )


def _with_home(mart: Tables, them: FromClause) -> FromClause:
    homes = mart[DmPlacements]
    same = and_(homes.c.PLACEMENT_ID == them.c.PLACEMENT_ID, homes.c.SPLIT_NUMBER == them.c.PLACEMENT_SPLIT_NUMBER)
    return them.outerjoin(homes, same)


def looked_after_episode(source: str, e: DmClaSummaries) -> LookedAfterEpisode:
    return LookedAfterEpisode(
        key=key_of(source, "looked-after-episode", *e[:5]),
        person=key_of(source, "person", e.person_id),
        episode=open_episode(source, e.person_id, e.referrals, e.start_date),
        period=None if e.period_of_care_id is None else str(e.period_of_care_id),
        placement=key_of(source, "placement", e.placement_id, e.placement_split_number),
        start_date=e.start_date,
        start_reason=start_reason(e),
        end_date=e.end_date,
        end_reason=_end_reason(e),
        primary_need=e.need,
    )


def start_reason(e: DmClaSummaries) -> str | None:
    """
    Tell why the episode began (SSDA903 RNE). Mosaic does not keep it: it shows in what differs from the episode before.

    S: the period of care began. L: another legal status. P: another placement; T: another type of placement with the same
    carer. Both at once are U with the same carer, and B with another one.
    """
    began = e.start_date or date.max
    own = next((each for each in e.episodes if each.start_date == e.start_date and each[:3] == e[:3]), None)
    before = [each for each in e.episodes if each.start_date is not None and each.start_date < began]
    if own is None or not before:
        return "S" if own is not None and e.period_began in (None, e.start_date) else None
    last = max(before, key=lambda each: each.start_date or date.min)
    same_carer = own.carer_id is not None and own.carer_id == last.carer_id
    other_type = own.placement_type != last.placement_type
    # A placement that was cut in two has another SPLIT_NUMBER, and is the same one.
    moved = own.placement_id != last.placement_id or own.carer_id != last.carer_id or other_type
    if own.legal_status_id != last.legal_status_id:
        return "L" if not moved else "U" if same_carer else "B"
    return "T" if same_carer and other_type else "P"


def _end_reason(e: DmClaSummaries) -> str | None:
    """The placement's reason is the last episode's; one that another follows at once ceased with X1."""
    if e.end_date is None:
        return None
    follows = (e.end_date, e.end_date + timedelta(days=1)) if e.end_date < date.max else ()
    return "X1" if any(each.start_date in follows and each.start_date != e.start_date for each in e.episodes) else e.ceased


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
    services = sorted(p.services, key=lambda each: each.start_date or date.min)
    urns = [each.ofsted_urn for each in services if each.ofsted_urn]
    providers = [each.cin_provider_category_code for each in services if each.cin_provider_category_code]
    return Placement(
        key=key_of(source, "placement", p.placement_id, p.split_number),
        person=key_of(source, "person", p.person_id),
        period=None if p.period_of_care_id is None else str(p.period_of_care_id),
        start_date=p.start_date,
        end_date=p.end_date,
        placement_type=p.placement_type,
        provider=providers[-1] if providers else None,
        ofsted_urn=urns[-1] if urns else None,
        postcode=_postcode(p),
        change_reason=p.reason_for_placement_change,
    )


def _postcode(p: PlacementOfChild) -> str | None:
    """The postcode of the home in which the carer lived when the placement ended, or lives now."""
    last = p.end_date or date.max
    lived = [each for each in p.homes if each.post_code and (each.start_date or date.min) <= last]
    still = [each for each in lived if (each.end_date or date.max) >= (p.start_date or date.min)]
    latest = max(still, key=lambda each: each.start_date or date.min, default=None)
    return None if latest is None else latest.post_code


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
    order = plain(mart[DmLegalStatuses].c.LEGAL_STATUS) == _PLACEMENT_ORDER
    said = {"decision": asked.adoption_decision, "match": asked.adoption_match}
    return Choice(
        where=or_(plain(them.c.PLACEMENT_TYPE).in_(_ADOPTIVE), them.c.IS_ADOPTED.in_(("Y", "y"))),
        parts={"statuses": Choice(order), "said": answers(mart, PersonsAnswer, said)},
    )


def permanence(source: str, a: AdoptivePlacement) -> Permanence:
    kind = (a.placement_type or "").upper()
    orders = [each.start_date for each in a.statuses if each.start_date]
    return Permanence(
        key=key_of(source, "permanence", a.placement_id, a.split_number),
        person=key_of(source, "person", a.person_id),
        period=None if a.period_of_care_id is None else str(a.period_of_care_id),
        decision_date=_answered(a.said, "decision"),
        placement_order_date=max(orders, default=None),
        matched_date=_answered(a.said, "match"),
        placed_date=a.start_date if kind in _ADOPTIVE else None,
        adopted_by_carer=kind in _WITH_CARER if kind in _ADOPTIVE else None,
    )


def _answered(said: Sequence[PersonsAnswer], question: str) -> date | None:
    """The latest day that was answered."""
    return max((each.date_answer for each in said if each.question == question and each.date_answer), default=None)


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
