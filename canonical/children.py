"""
Children's social care: each entity belongs to one child, whose key it holds in `person`.

Names and codes follow the Standard Safeguarding Dataset v1.4 (the object behind each entity stands in its docstring);
code lists are those of the DfE's CIN census and SSDA903 return. What happened to a child, when and why is special
category data by its nature: all but the keys is classified so.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from canonical.entity import IDENTIFYING, PLAIN, SPECIAL, Entity
from canonical.key import Key
from canonical.values import Code, Day, Postcode, Text

__all__ = [
    "CHILDREN",
    "Assessment",
    "CareEpisode",
    "CareLeaver",
    "CarePlan",
    "HealthScreening",
    "Involvement",
    "LookedAfterEpisode",
    "Permanence",
    "Placement",
    "PlanKind",
    "Section47Enquiry",
]


class _OfAChild(Entity):
    standard: ClassVar[str] = "Standard Safeguarding Dataset v1.4"
    owned_by: ClassVar[str] = "person"

    person: Annotated[Key, PLAIN]


class CareEpisode(_OfAChild):
    """A referral and the child-in-need episode that it opens (SSD `ssd_cin_episodes`)."""

    type_name: ClassVar[str] = "care-episode"

    referral_date: Annotated[Day | None, SPECIAL] = None
    referral_source: Annotated[Code | None, SPECIAL] = None
    no_further_action: Annotated[bool | None, SPECIAL] = None
    primary_need: Annotated[Code | None, SPECIAL] = None
    close_date: Annotated[Day | None, SPECIAL] = None
    close_reason: Annotated[Code | None, SPECIAL] = None


class Assessment(_OfAChild):
    """A child and family assessment and the factors it found (SSD `ssd_cin_assessments`, `ssd_assessment_factors`)."""

    type_name: ClassVar[str] = "assessment"

    episode: Annotated[Key | None, PLAIN] = None
    start_date: Annotated[Day | None, SPECIAL] = None
    authorised_date: Annotated[Day | None, SPECIAL] = None
    factors: Annotated[tuple[Code, ...], SPECIAL] = ()


class PlanKind(StrEnum):
    CHILD_IN_NEED = "CIN"
    CHILD_PROTECTION = "CP"


class CarePlan(_OfAChild):
    """A child in need plan (SSD `ssd_cin_plans`) or a child protection plan (`ssd_cp_plans`)."""

    type_name: ClassVar[str] = "care-plan"

    kind: Annotated[PlanKind, SPECIAL]
    episode: Annotated[Key | None, PLAIN] = None
    start_date: Annotated[Day | None, SPECIAL] = None
    end_date: Annotated[Day | None, SPECIAL] = None
    initial_category: Annotated[Code | None, SPECIAL] = None
    latest_category: Annotated[Code | None, SPECIAL] = None


class Section47Enquiry(_OfAChild):
    """
    An enquiry under section 47 of the Children Act 1989 and its initial conference.

    SSD `ssd_s47_enquiry`, `ssd_initial_cp_conference`.
    """

    type_name: ClassVar[str] = "section-47-enquiry"

    episode: Annotated[Key | None, PLAIN] = None
    start_date: Annotated[Day | None, SPECIAL] = None
    end_date: Annotated[Day | None, SPECIAL] = None
    conference_required: Annotated[bool | None, SPECIAL] = None
    conference_date: Annotated[Day | None, SPECIAL] = None


class LookedAfterEpisode(_OfAChild):
    """One episode of a period of care, SSDA903 sense (SSD `ssd_cla_episodes`)."""

    type_name: ClassVar[str] = "looked-after-episode"

    episode: Annotated[Key | None, PLAIN] = None
    """The care episode (referral) during which the child was looked after."""
    period: Annotated[Code | None, PLAIN] = None
    """The legacy system's identifier of the whole period of care."""
    placement: Annotated[Key | None, PLAIN] = None
    start_date: Annotated[Day | None, SPECIAL] = None
    start_reason: Annotated[Code | None, SPECIAL] = None
    end_date: Annotated[Day | None, SPECIAL] = None
    end_reason: Annotated[Code | None, SPECIAL] = None
    primary_need: Annotated[Code | None, SPECIAL] = None


class Placement(_OfAChild):
    """A looked-after child lives in a placement (SSD `ssd_cla_placement`)."""

    type_name: ClassVar[str] = "placement"

    period: Annotated[Code | None, PLAIN] = None
    start_date: Annotated[Day | None, SPECIAL] = None
    end_date: Annotated[Day | None, SPECIAL] = None
    placement_type: Annotated[Code | None, SPECIAL] = None
    provider: Annotated[Code | None, SPECIAL] = None
    ofsted_urn: Annotated[Code | None, SPECIAL] = None
    postcode: Annotated[Postcode | None, IDENTIFYING] = None
    distance_miles: Annotated[float | None, SPECIAL, Field(ge=0, allow_inf_nan=False)] = None
    change_reason: Annotated[Code | None, SPECIAL] = None


class Involvement(_OfAChild):
    """A worker's time with a child (SSD `ssd_involvements`, `ssd_professionals`)."""

    type_name: ClassVar[str] = "involvement"

    episode: Annotated[Key | None, PLAIN] = None
    worker: Annotated[Code | None, IDENTIFYING] = None
    """The Social Work England number where there is one, else the system's own."""
    role: Annotated[Code | None, PLAIN] = None
    team: Annotated[Text | None, PLAIN] = None
    start_date: Annotated[Day | None, SPECIAL] = None
    end_date: Annotated[Day | None, SPECIAL] = None
    change_reason: Annotated[Code | None, SPECIAL] = None


class HealthScreening(_OfAChild):
    """A Strengths and Difficulties Questionnaire, scored 0 to 40 (SSD `ssd_sdq_scores`; SSDA903 `SDQ_SCORE`)."""

    type_name: ClassVar[str] = "health-screening"

    instrument: Annotated[Code, SPECIAL] = "SDQ"
    completed_date: Annotated[Day | None, SPECIAL] = None
    score: Annotated[int | None, SPECIAL, Field(ge=0, le=40)] = None
    reason: Annotated[Code | None, SPECIAL] = None


class Permanence(_OfAChild):
    """Decisions and dates on the way to adoption (SSD `ssd_permanence`)."""

    type_name: ClassVar[str] = "permanence"

    period: Annotated[Code | None, PLAIN] = None
    decision_date: Annotated[Day | None, SPECIAL] = None
    placement_order_date: Annotated[Day | None, SPECIAL] = None
    matched_date: Annotated[Day | None, SPECIAL] = None
    placed_date: Annotated[Day | None, SPECIAL] = None
    reversed_date: Annotated[Day | None, SPECIAL] = None
    reversed_reason: Annotated[Code | None, SPECIAL] = None
    adopted_by_carer: Annotated[bool | None, SPECIAL] = None


class CareLeaver(_OfAChild):
    """A young person after care: contact, activity, accommodation (SSD `ssd_care_leavers`; SSDA903 OC3 codes)."""

    type_name: ClassVar[str] = "care-leaver"

    contact_date: Annotated[Day | None, SPECIAL] = None
    in_touch: Annotated[Code | None, SPECIAL] = None
    activity: Annotated[Code | None, SPECIAL] = None
    accommodation: Annotated[Code | None, SPECIAL] = None
    accommodation_suitable: Annotated[Code | None, SPECIAL] = None
    eligibility: Annotated[Code | None, SPECIAL] = None


CHILDREN: tuple[type[Entity], ...] = (
    CareEpisode,
    Assessment,
    CarePlan,
    Section47Enquiry,
    LookedAfterEpisode,
    Placement,
    Involvement,
    HealthScreening,
    Permanence,
    CareLeaver,
)
