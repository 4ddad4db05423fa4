"""
Adult social care: each event belongs to one adult, whose key it holds in `person`.

Names and codes follow Client Level Data release 2 (the field behind each of ours stands beside it where the names differ).
Codes of release 2 are whole phrases, so they are texts here. What a council does for an adult, when and why is special
category data by its nature: all but the keys, the system's own reference and the cost is classified so.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from canonical.entity import FINANCIAL, PLAIN, SPECIAL, Entity
from canonical.key import Key
from canonical.values import Amount, Code, Day, Quantity, Text

__all__ = [
    "ADULTS",
    "AdultAssessment",
    "AdultRequest",
    "AdultReview",
    "AdultService",
]


class _OfAnAdult(Entity):
    standard: ClassVar[str] = "Client Level Data release 2"
    owned_by: ClassVar[str] = "person"

    person: Annotated[Key, PLAIN]
    reference: Annotated[Code | None, PLAIN] = None
    """`Event_Reference`: the system's own number of the event. It is no part of what makes an event unique in the return."""
    client_type: Annotated[Text | None, SPECIAL] = None
    """`Client_Type`: `Service user`, `Unpaid carer` or `Unpaid carer known by association`."""
    primary_support_reason: Annotated[Text | None, SPECIAL] = None
    start_date: Annotated[Day | None, SPECIAL] = None
    end_date: Annotated[Day | None, SPECIAL] = None
    description: Annotated[Text | None, SPECIAL] = None
    outcome: Annotated[Text | None, SPECIAL] = None


class AdultRequest(_OfAnAdult):
    """An adult, or somebody for the adult, asks the council for support (Client Level Data event `Request`)."""

    type_name: ClassVar[str] = "adult-request"

    route_of_access: Annotated[Text | None, SPECIAL] = None


class AdultAssessment(_OfAnAdult):
    """
    A worker assesses the needs of an adult or of an unpaid carer (Client Level Data event `Assessment`).

    The carer's fields are those of the module `Carers and linked service users`.
    """

    type_name: ClassVar[str] = "adult-assessment"

    assessment_type: Annotated[Text | None, SPECIAL] = None
    eligible_needs: Annotated[Text | None, SPECIAL] = None
    """`Eligible_Needs_Identified`."""
    method: Annotated[Text | None, SPECIAL] = None
    """`Method_of_Assessment`."""
    hours_caring: Annotated[Code | None, SPECIAL] = None
    """`Total_Hrs_Caring_per_week`, as the source writes it."""
    adults_cared_for: Annotated[int | None, SPECIAL, Field(ge=0)] = None
    """`No_of_adults_being_cared_for`."""
    cared_for: Annotated[tuple[Key, ...], PLAIN, Field(max_length=3)] = ()
    """The persons that the carer cares for: `Adult_1_Linked_Person_ID` to `Adult_3_Linked_Person_ID`."""


class AdultService(_OfAnAdult):
    """An adult or an unpaid carer receives a service, which has a cost (Client Level Data event `Service`)."""

    type_name: ClassVar[str] = "adult-service"

    service_type: Annotated[Text | None, SPECIAL] = None
    component: Annotated[Text | None, SPECIAL] = None
    """`Service_Component`."""
    delivery_mechanism: Annotated[Text | None, SPECIAL] = None
    provider_location: Annotated[Code | None, SPECIAL] = None
    """`Provider_CQC_Location_ID`: the Care Quality Commission's identifier of the place."""
    unit_cost: Annotated[Amount | None, FINANCIAL] = None
    """In pounds, for one unit of `cost_frequency`."""
    cost_frequency: Annotated[Text | None, FINANCIAL] = None
    """`Cost_Frequency_Unit_Type`."""
    planned_units: Annotated[Quantity | None, SPECIAL] = None
    """`Planned_units_per_week`."""


class AdultReview(_OfAnAdult):
    """A worker reviews the support of an adult or of an unpaid carer (Client Level Data event `Review`)."""

    type_name: ClassVar[str] = "adult-review"

    review_reason: Annotated[Text | None, SPECIAL] = None
    outcomes_achieved: Annotated[Text | None, SPECIAL] = None
    """`Review_Outcomes_Achieved`."""
    method: Annotated[Text | None, SPECIAL] = None
    """`Method_of_Review`."""


ADULTS: tuple[type[Entity], ...] = (AdultRequest, AdultAssessment, AdultService, AdultReview)
