"""This flow says which contacts Dataverse should hold: one for each person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from canonical import Person
from canonical.entity import Entity
from canonical.finding import Finding
from canonical.people import Name, Sex
from flows.dataverse.parts import ACTIVE, INACTIVE, cut, reached
from flows.dataverse.settings import DataverseSettings
from flows.dataverse.target import DataverseTarget
from flows.kit.plain import plain, short_name
from flows.port import Document, Facts, Grouping, Nothing, Target, Urgency

CONTACT = "contact"
_NAME, _TITLE = 50, 100


class ContactSettings(BaseModel):
    """The settings of a flow that writes contacts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    genders: dict[Sex, Annotated[int, Field(ge=0)]] = Field(default_factory=lambda: {Sex.MALE: 1, Sex.FEMALE: 2})
    """Sex to the value of the choice `gendercode`; a sex that is not named here is not sent."""


class Contacts:
    """One contact for each person who has a name and whose record is not restricted."""

    entities: tuple[type[Entity], ...] = (Person,)
    grouping = Grouping.KEY
    distinct: Literal[True] = True

    def __init__(self, name: str, settings: ContactSettings, _there: DataverseSettings) -> None:
        self.name = name
        self.settings: Mapping[str, Any] = settings.model_dump(mode="json")
        self._genders = settings.genders

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        person = facts.one(Person)
        return contact(person, self._genders) if person else None

    def recall(self, key: str, owner: str) -> Sequence[Document]:
        return [Document(CONTACT, short_name(key), {})]

    def urgency(self, entity: str) -> Urgency:
        return Urgency.USUAL


def contact(person: Person, genders: Mapping[Sex, int]) -> Document | Nothing:
    """The contact of a person: inactive once the person has died."""
    if person.restricted:
        return Nothing("the record is restricted")
    name = next(iter(person.names), Name())
    named = {"firstname": cut(name.given, _NAME), "lastname": cut(name.family, _NAME)}
    if not any(named.values()):
        return Nothing("the person has no name")
    body = plain({
        **named, "salutation": cut(name.title, _TITLE), "birthdate": person.birth_date,
        "gendercode": genders.get(person.sex), **(INACTIVE if person.death_date else ACTIVE),
    })  # fmt: skip
    return Document(CONTACT, short_name(person.key), body | reached(person.addresses, person.contacts))


async def check(settings: ContactSettings, target: Target) -> Sequence[Finding]:
    """Check whether the choices have the values that the settings name."""
    named = {CONTACT: {"gendercode": set(settings.genders.values())}} if settings.genders else {}
    return await target.check_choices(named) if isinstance(target, DataverseTarget) else []
