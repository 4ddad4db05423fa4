"""The shared language: entities, value types, the event envelope, the error vocabulary. Nothing here does I/O."""

from canonical.childrens import (
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
from canonical.entity import Entity, Sensitivity
from canonical.event import Event
from canonical.finance import CreditNote, DimensionValue, DocumentLine, Invoice, LedgerDimension, Supplier
from canonical.people import Address, ContactPoint, Identifier, ImmigrationStatus, Name, Person, Sex

ENTITIES: dict[str, type[Entity]] = {
    entity.type_name: entity
    for entity in (
        Person,
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
        Supplier,
        Invoice,
        CreditNote,
        LedgerDimension,
    )
}
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
