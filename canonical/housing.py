"""
Council housing: properties, households, tenancies, rent and repairs.

Things are called as in the HACT UK Housing Data Standards; codes are the housing system's own. A tenancy owns its rent account
and the transactions on it, a property owns its repairs. People are entities of their own: a household names them by their keys.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from canonical.entity import FINANCIAL, IDENTIFYING, PLAIN, SPECIAL, Entity, Part
from canonical.key import Key
from canonical.people import Address, ContactPoint
from canonical.values import UPRN, Amount, Code, Currency, Day, Postcode, Text

__all__ = [
    "HOUSING",
    "Household",
    "HouseholdMember",
    "Property",
    "RentAccount",
    "RentTransaction",
    "Repair",
    "Tenancy",
    "WorkOrder",
]


class _OfHousing(Entity):
    standard: ClassVar[str] = "HACT UK Housing Data Standards 3.5"


class Property(_OfHousing):
    """
    A property is a place that the council lets or looks after: a dwelling, a block, an estate.

    Each names the next larger one in `parent`: a dwelling leads to its block, a block to its estate.
    """

    type_name: ClassVar[str] = "property"
    known_by: ClassVar[tuple[str, ...]] = ("number", "uprn")

    number: Annotated[Code, PLAIN]
    """The housing system's reference of the property, unique in it."""
    parent: Annotated[Key | None, PLAIN] = None
    level: Annotated[Code | None, PLAIN] = None
    """The level of the hierarchy on which it stands, as the housing system codes it."""
    address_lines: Annotated[tuple[Text, ...], IDENTIFYING] = ()
    postcode: Annotated[Postcode | None, IDENTIFYING] = None
    uprn: Annotated[UPRN | None, IDENTIFYING] = None
    category: Annotated[Code | None, PLAIN] = None
    subtype: Annotated[Code | None, PLAIN] = None
    ownership: Annotated[Code | None, PLAIN] = None
    bedrooms: Annotated[int | None, PLAIN, Field(ge=0)] = None


class HouseholdMember(Part):
    """A person lives in a household. Names, day of birth and numbers are those of the person."""

    person: Annotated[Key, PLAIN]
    relationship: Annotated[Code | None, IDENTIFYING] = None
    responsible: Annotated[bool | None, IDENTIFYING] = None
    """The person is a tenant, and answers for the tenancy."""


class Household(_OfHousing):
    """A household is the people who live together in a property, and the way to reach them."""

    type_name: ClassVar[str] = "household"
    known_by: ClassVar[tuple[str, ...]] = ("number",)

    number: Annotated[Code, PLAIN]
    """The housing system's reference of the household, unique in it."""
    name: Annotated[Text | None, IDENTIFYING] = None
    property: Annotated[Key | None, PLAIN] = None
    members: Annotated[tuple[HouseholdMember, ...], IDENTIFYING] = ()
    joint: Annotated[bool | None, PLAIN] = None
    """More than one person is a tenant."""
    vulnerable: Annotated[bool | None, SPECIAL] = None
    contacts: Annotated[tuple[ContactPoint, ...], IDENTIFYING] = ()
    correspondence_address: Annotated[Address | None, IDENTIFYING] = None
    """Where letters go, if not to the property."""


class Tenancy(_OfHousing):
    """A tenancy lets a property to a household, from a day on and perhaps to another one."""

    type_name: ClassVar[str] = "tenancy"
    known_by: ClassVar[tuple[str, ...]] = ("number",)

    number: Annotated[Code, PLAIN]
    """The housing system's reference of the tenancy, unique in it."""
    property: Annotated[Key | None, PLAIN] = None
    household: Annotated[Key | None, PLAIN] = None
    tenure: Annotated[Code | None, PLAIN] = None
    agreement_type: Annotated[Code | None, PLAIN] = None
    start_date: Annotated[Day | None, PLAIN] = None
    end_date: Annotated[Day | None, PLAIN] = None
    current: Annotated[bool | None, PLAIN] = None
    """The housing system says that the tenancy runs now, whatever its days say."""


class _OfATenancy(_OfHousing):
    owned_by: ClassVar[str] = "tenancy"

    tenancy: Annotated[Key, PLAIN]
    currency: Annotated[Currency, PLAIN] = "GBP"


class RentAccount(_OfATenancy):
    """A rent account says what a tenancy costs in each period and what is owed on it."""

    type_name: ClassVar[str] = "rent-account"
    known_by: ClassVar[tuple[str, ...]] = ("number", "payment_reference")

    number: Annotated[Code, PLAIN]
    payment_reference: Annotated[Code | None, IDENTIFYING] = None
    """The tenant quotes it with each payment."""
    rent_group: Annotated[Code | None, PLAIN] = None
    charge_period: Annotated[Code | None, PLAIN] = None
    """How often the charges fall due, as the housing system codes it."""
    rent: Annotated[Amount | None, FINANCIAL] = None
    """For one charge period, and so are the other charges."""
    service_charge: Annotated[Amount | None, FINANCIAL] = None
    other_charge: Annotated[Amount | None, FINANCIAL] = None
    balance: Annotated[Amount | None, FINANCIAL] = None
    """Above zero if the tenant owes it, below zero if the council does."""


class RentTransaction(_OfATenancy):
    """A charge or a receipt changes the balance of a rent account."""

    type_name: ClassVar[str] = "rent-transaction"

    account: Annotated[Key | None, PLAIN] = None
    transaction_type: Annotated[Code | None, PLAIN] = None
    """The kind of charge or of receipt, as the housing system codes it."""
    source: Annotated[Code | None, PLAIN] = None
    posted_date: Annotated[Day | None, PLAIN] = None
    year: Annotated[int | None, PLAIN] = None
    period: Annotated[int | None, PLAIN, Field(ge=0)] = None
    """The rent period within the year in which it was posted."""
    amount: Annotated[Amount, FINANCIAL]
    """The transaction adds this amount to the balance: above zero for a charge, below zero for a receipt."""
    vat: Annotated[Amount | None, FINANCIAL] = None


class WorkOrder(Part):
    """A work order sends a contractor to a repair."""

    number: Annotated[Code, PLAIN]
    contractor: Annotated[Code | None, PLAIN] = None
    """The contractor's number in the housing system."""
    status: Annotated[Code | None, PLAIN] = None
    raised_date: Annotated[Day | None, PLAIN] = None
    authorised_date: Annotated[Day | None, PLAIN] = None
    due_date: Annotated[Day | None, PLAIN] = None
    attended_date: Annotated[Day | None, PLAIN] = None
    completed_date: Annotated[Day | None, PLAIN] = None
    estimated_cost: Annotated[Amount | None, FINANCIAL] = None
    actual_cost: Annotated[Amount | None, FINANCIAL] = None


class Repair(_OfHousing):
    """Somebody asks for a repair of a property, and work orders see to it."""

    type_name: ClassVar[str] = "repair"
    owned_by: ClassVar[str] = "property"
    known_by: ClassVar[tuple[str, ...]] = ("number", "orders[].number")

    number: Annotated[Code, PLAIN]
    property: Annotated[Key, PLAIN]
    household: Annotated[Key | None, PLAIN] = None
    reported_date: Annotated[Day | None, PLAIN] = None
    due_date: Annotated[Day | None, PLAIN] = None
    priority: Annotated[Code | None, PLAIN] = None
    status: Annotated[Code | None, PLAIN] = None
    description: Annotated[Text | None, SPECIAL] = None
    """Whoever took the call writes here which thing is broken. The words may tell of somebody's health."""
    reported_by: Annotated[Text | None, IDENTIFYING] = None
    contacts: Annotated[tuple[ContactPoint, ...], IDENTIFYING] = ()
    currency: Annotated[Currency, PLAIN] = "GBP"
    orders: Annotated[tuple[WorkOrder, ...], FINANCIAL] = ()


HOUSING: tuple[type[Entity], ...] = (Property, Household, Tenancy, RentAccount, RentTransaction, Repair)
