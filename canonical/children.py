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
    "Contact",
    "HealthCheck",
    "HealthCheckKind",
    "HealthScreening",
    "Involvement",
    "LegalStatus",
    "LookedAfterEpisode",
    "MissingEpisode",
    "MissingKind",
    "Permanence",
    "Placement",
    "PlanKind",
    "Review",
    "ReviewKind",
    "Section47Enquiry",
    "Visit",
    "VisitKind",
]


class _OfAChild(Entity):
    """An entity that belongs to one child."""

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
    home_postcode: Annotated[Postcode | None, IDENTIFYING] = None
    """The child's address when the period of care began (SSDA903 `HOME_POST`)."""


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
    """Decisions and dates on the way to adoption, and who adopts (SSD `ssd_permanence`; SSDA903 AD1 and PlacedAdoption)."""

    type_name: ClassVar[str] = "permanence"

    period: Annotated[Code | None, PLAIN] = None
    decision_date: Annotated[Day | None, SPECIAL] = None
    placement_order_date: Annotated[Day | None, SPECIAL] = None
    matched_date: Annotated[Day | None, SPECIAL] = None
    placed_date: Annotated[Day | None, SPECIAL] = None
    reversed_date: Annotated[Day | None, SPECIAL] = None
    reversed_reason: Annotated[Code | None, SPECIAL] = None
    adopted_by_carer: Annotated[bool | None, SPECIAL] = None
    adopters: Annotated[int | None, SPECIAL, Field(ge=1, le=2)] = None
    adopters_sex: Annotated[Code | None, SPECIAL] = None
    adopters_legal_status: Annotated[Code | None, SPECIAL] = None


class CareLeaver(_OfAChild):
    """A young person after care: contact, activity, accommodation (SSD `ssd_care_leavers`; SSDA903 OC3 codes)."""

    type_name: ClassVar[str] = "care-leaver"

    contact_date: Annotated[Day | None, SPECIAL] = None
    in_touch: Annotated[Code | None, SPECIAL] = None
    activity: Annotated[Code | None, SPECIAL] = None
    accommodation: Annotated[Code | None, SPECIAL] = None
    accommodation_suitable: Annotated[Code | None, SPECIAL] = None
    eligibility: Annotated[Code | None, SPECIAL] = None


class Contact(_OfAChild):
    """Somebody tells the council about a child, and a referral may follow (SSD `ssd_contacts`; Annex A list 1)."""

    type_name: ClassVar[str] = "contact"

    contact_date: Annotated[Day | None, SPECIAL] = None
    source: Annotated[Code | None, SPECIAL] = None
    outcomes: Annotated[tuple[Code, ...], SPECIAL] = ()


class LegalStatus(_OfAChild):
    """A child has a legal status for a part of a period of care (SSD `ssd_legal_status`; SSDA903 `LS`)."""

    type_name: ClassVar[str] = "legal-status"

    period: Annotated[Code | None, PLAIN] = None
    """The legacy system's identifier of the whole period of care."""
    legal_status: Annotated[Code | None, SPECIAL] = None
    start_date: Annotated[Day | None, SPECIAL] = None
    end_date: Annotated[Day | None, SPECIAL] = None


class ReviewKind(StrEnum):
    """A review is of a child protection plan, of a looked-after child's care, or of a care leaver's pathway plan."""

    CHILD_PROTECTION = "CP"
    LOOKED_AFTER = "CLA"
    PATHWAY = "PATHWAY"


class Review(_OfAChild):
    """
    A meeting reviews a child protection plan, a looked-after child's care or a pathway plan.

    SSD `ssd_cp_reviews`, `ssd_cla_reviews`, the pathway review of `ssd_care_leavers`; SSDA903 `REVIEW_CODE` (`PN0` … `PN7`);
    CIN census `CPPreviewDate`.
    """

    type_name: ClassVar[str] = "review"

    kind: Annotated[ReviewKind, SPECIAL]
    plan: Annotated[Key | None, PLAIN] = None
    """The care plan that is reviewed, if it is a child protection plan."""
    period: Annotated[Code | None, PLAIN] = None
    """The legacy system's identifier of the whole period of care, if the child is looked after."""
    due_date: Annotated[Day | None, SPECIAL] = None
    review_date: Annotated[Day | None, SPECIAL] = None
    cancelled: Annotated[bool | None, SPECIAL] = None
    participation: Annotated[Code | None, SPECIAL] = None
    quorate: Annotated[bool | None, SPECIAL] = None
    plan_continues: Annotated[bool | None, SPECIAL] = None
    """The review decided that the child protection plan goes on."""


class VisitKind(StrEnum):
    """A visit is part of a plan, of care, or of an independent reviewing officer's work."""

    CHILD_IN_NEED = "CIN"
    CHILD_PROTECTION = "CP"
    LOOKED_AFTER = "CLA"
    REVIEWING_OFFICER = "IRO"


class Visit(_OfAChild):
    """
    A worker visits a child at home or in a placement.

    SSD `ssd_cin_visits`, `ssd_cp_visits`, `ssd_cla_visits`, the contact of the reviewing officer of `ssd_cla_episodes`.
    """

    type_name: ClassVar[str] = "visit"

    kind: Annotated[VisitKind, SPECIAL]
    plan: Annotated[Key | None, PLAIN] = None
    """The care plan that asks for the visit."""
    period: Annotated[Code | None, PLAIN] = None
    """The legacy system's identifier of the whole period of care, if the child is looked after."""
    visit_date: Annotated[Day | None, SPECIAL] = None
    seen: Annotated[bool | None, SPECIAL] = None
    seen_alone: Annotated[bool | None, SPECIAL] = None
    bedroom_seen: Annotated[bool | None, SPECIAL] = None


class MissingKind(StrEnum):
    """A child is missing from the placement, or absent from it without permission (SSDA903 `MISSING`)."""

    MISSING = "M"
    ABSENT = "A"


class MissingEpisode(_OfAChild):
    """A child goes missing from a placement, or is absent from it, and returns (SSD `ssd_missing`; SSDA903 `MISSING`)."""

    type_name: ClassVar[str] = "missing-episode"

    kind: Annotated[MissingKind | None, SPECIAL] = None
    start_date: Annotated[Day | None, SPECIAL] = None
    end_date: Annotated[Day | None, SPECIAL] = None
    interview_offered: Annotated[Code | None, SPECIAL] = None
    """The answer to whether a return home interview was offered, as Annex A list 8 asks it."""
    interview_accepted: Annotated[Code | None, SPECIAL] = None


class HealthCheckKind(StrEnum):
    """A health check feeds one of these columns of the SSDA903 file OC2."""

    ASSESSMENT = "HEALTH_ASSESSMENT"
    DEVELOPMENT = "HEALTH_CHECK"
    DENTAL = "TEETH_CHECK"
    IMMUNISATIONS = "IMMUNISATIONS"
    SUBSTANCE_MISUSE = "SUBSTANCE_MISUSE"


class HealthCheck(_OfAChild):
    """
    A looked-after child's health, teeth, immunisations or misuse of substances were looked at.

    SSD `ssd_cla_health`, `ssd_cla_immunisations`, `ssd_cla_substance_misuse`; SSDA903 file OC2. The Strengths and
    Difficulties Questionnaire is a `HealthScreening`.
    """

    type_name: ClassVar[str] = "health-check"

    kind: Annotated[HealthCheckKind, SPECIAL]
    check_date: Annotated[Day | None, SPECIAL] = None
    status: Annotated[Code | None, SPECIAL] = None
    substance: Annotated[Code | None, SPECIAL] = None
    intervention_offered: Annotated[bool | None, SPECIAL] = None
    intervention_received: Annotated[bool | None, SPECIAL] = None


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
    Contact,
    LegalStatus,
    Review,
    Visit,
    MissingEpisode,
    HealthCheck,
)
