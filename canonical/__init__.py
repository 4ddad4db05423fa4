"""
The shared language: entities, value types, the event envelope, the error vocabulary. Nothing here does I/O.

`canonical.connect` stands apart from it: by that both sides reach databases.
"""

from canonical.children import (
    CHILDREN,
    Assessment,
    CareEpisode,
    CareLeaver,
    CarePlan,
    HealthScreening,
    Involvement,
    LookedAfterEpisode,
    Permanence,
    Placement,
    PlanKind,
    Section47Enquiry,
)
from canonical.entities import Entities
from canonical.entity import Entity, Sensitivity
from canonical.event import Event
from canonical.finance import FINANCE, CreditNote, DimensionValue, DocumentLine, Invoice, LedgerDimension, Supplier
from canonical.people import PEOPLE, Address, ContactPoint, Identifier, ImmigrationStatus, Name, Person, Sex

ENTITIES = Entities((*PEOPLE, *CHILDREN, *FINANCE))
"""Every entity by its type's name: one topic each."""

__all__ = [
    "ENTITIES",
    "Address",
    "Assessment",
    "CareEpisode",
    "CareLeaver",
    "CarePlan",
    "ContactPoint",
    "CreditNote",
    "DimensionValue",
    "DocumentLine",
    "Entity",
    "Event",
    "HealthScreening",
    "Identifier",
    "ImmigrationStatus",
    "Invoice",
    "Involvement",
    "LedgerDimension",
    "LookedAfterEpisode",
    "Name",
    "Permanence",
    "Person",
    "Placement",
    "PlanKind",
    "Section47Enquiry",
    "Sensitivity",
    "Sex",
    "Supplier",
]
