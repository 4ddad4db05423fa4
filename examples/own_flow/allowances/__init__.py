"""Young people who have left care, as vendors in Business Central: finance pays their allowances like any other bill."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from canonical import CareLeaver, Entity, Person
from canonical.key import read_key
from flows.business_central import BusinessCentralSettings
from flows.business_central.documents import VENDOR, code
from flows.port import Document, Facts, Grouping, Nothing, Urgency
from flows.systems import FlowSystem


class AllowancesSettings(BaseModel):
    """The section `[flows.allowances]`. The prefix keeps these vendors' numbers apart from those of the suppliers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefix: Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,4}-$")] = "CL-"


class Allowances:
    """One vendor for each care leaver who is in touch with the council."""

    entities: tuple[type[Entity], ...] = (Person, CareLeaver)
    grouping = Grouping.OWNER

    def __init__(self, name: str, settings: AllowancesSettings, there: BusinessCentralSettings) -> None:
        self.name = name
        self.settings = settings.model_dump(mode="json")
        self._prefix = settings.prefix

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        person, leavers = facts.one(Person), facts.all(CareLeaver)
        if person is None or not person.names:
            return Nothing("the person is not published") if [*facts] else None
        if not any(leaver.in_touch == "YES" for leaver in leavers):
            return Nothing("no care leaver who is in touch")
        number = code(self._prefix + read_key(person.key).identifier, 20, whole=self._prefix + read_key(person.key).identifier)
        name = person.names[0]
        return Document(VENDOR, number, {"number": number, "displayName": f"{name.given} {name.family}"})

    def urgency(self, entity: str) -> Urgency:
        return Urgency.USUAL


system = FlowSystem(target="business_central", settings=AllowancesSettings, build=Allowances, package=__name__)
"""The entry point `allowances` in `ironbridge.flows`."""
