"""Tenants to whom rent is owed, as vendors in Business Central: finance pays the refund like any other bill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints

from canonical import Entity, Person
from canonical.key import read_key
from council_housing.entities import GarageLetting
from flows.business_central import BusinessCentralSettings
from flows.business_central.documents import VENDOR, code
from flows.port import Document, Facts, Grouping, Nothing, Urgency
from flows.systems import FlowSystem


class RefundSettings(BaseModel):
    """The section `[flows.refunds]`. The prefix keeps these vendors' numbers apart from those of the suppliers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefix: Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,4}-$")] = "HT-"


class Refunds:
    """One vendor for each tenant with a garage whose letting has ended and a credit that is left."""

    entities: tuple[type[Entity], ...] = (Person, GarageLetting)
    grouping = Grouping.OWNER

    def __init__(self, name: str, settings: RefundSettings, there: BusinessCentralSettings) -> None:
        self.name = name
        self.settings: Mapping[str, Any] = settings.model_dump(mode="json")
        self._prefix = settings.prefix

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        person, lettings = facts.one(Person), facts.all(GarageLetting)
        if person is None or not person.names:
            return Nothing("the tenant is not published") if lettings else None
        if not any(each.credit and each.end_date and facts.has_come(each.end_date) for each in lettings):
            return Nothing("no letting that has ended with a credit")
        identifier, name = self._prefix + read_key(person.key).identifier, person.names[0]
        number = code(identifier, 20, whole=identifier)
        return Document(VENDOR, number, {"number": number, "displayName": f"{name.given} {name.family}"})

    def urgency(self, entity: str) -> Urgency:
        return Urgency.USUAL


system = FlowSystem(target="business_central", settings=RefundSettings, build=Refunds, package=__name__)
"""The entry point `refunds` in `ironbridge.flows`."""
