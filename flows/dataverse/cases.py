"""
This flow says which cases Dataverse should hold: one for each team that works with a child. It writes the contacts, too,
because a document refers to subjects of its own flow: run either this flow or the one for contacts alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field

from canonical import Involvement, Person
from canonical.entity import Entity
from canonical.finding import Finding
from canonical.key import entity_of
from flows.dataverse import contacts
from flows.dataverse.contacts import CONTACT, ContactSettings
from flows.dataverse.parts import cut
from flows.dataverse.settings import DataverseSettings
from flows.dataverse.target import DataverseTarget
from flows.kit.plain import plain, short_name
from flows.port import Document, Facts, Nothing, Target, Urgency
from flows.systems import FlowSystem

CASE = "incident"
_TITLE, _DESCRIPTION = 200, 2000
Choice = Annotated[int, Field(ge=0)]


class CaseSettings(ContactSettings):
    """The section of a flow that writes cases and the contacts that they are about."""

    case_type: Choice | None = 3
    """The value of the choice `casetypecode`; without it the column is not sent."""
    under_way: tuple[Choice, Choice] = (0, 1)
    """State and status (`statecode`, `statuscode`) while the team works with the child."""
    ended: tuple[Choice, Choice] = (2, 6)
    """State and status afterwards. Dataverse resolves a case by an action only, so a case that has ended is cancelled."""


class Cases(contacts.Contacts):
    """A contact for each person, and a case for each involvement of a team, which waits for its child's contact."""

    entities: tuple[type[Entity], ...] = (Person, Involvement)

    def __init__(self, name: str, settings: CaseSettings, there: DataverseSettings) -> None:
        super().__init__(name, settings, there)
        self._case = settings

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        involvement = facts.one(Involvement)
        if involvement is None:
            return super().desired(subject, facts)
        if involvement.team is None:
            return Nothing("no team is named")
        ended = involvement.end_date is not None and facts.has_come(involvement.end_date)
        state, status = self._case.ended if ended else self._case.under_way
        body = plain({
            "title": cut(involvement.team, _TITLE), "description": cut(involvement.role, _DESCRIPTION),
            "casetypecode": self._case.case_type, "statecode": state, "statuscode": status,
        })  # fmt: skip
        return Document(CASE, short_name(subject), body, refers={"customerid_contact": involvement.person})

    def recall(self, key: str, owner: str) -> Sequence[Document]:
        return [Document(CONTACT if entity_of(key) == Person.type_name else CASE, short_name(key), {})]

    def urgency(self, entity: str) -> Urgency:
        return Urgency.SAFEGUARDING if entity == Involvement.type_name else Urgency.USUAL


async def _check(settings: CaseSettings, target: Target) -> Sequence[Finding]:
    findings = list(await contacts.check(settings, target))
    pairs = (settings.under_way, settings.ended)
    named: dict[str, set[int]] = {"statecode": {pair[0] for pair in pairs}, "statuscode": {pair[1] for pair in pairs}}
    named |= {"casetypecode": {settings.case_type}} if settings.case_type is not None else {}
    return findings + (await target.check_choices({CASE: named}) if isinstance(target, DataverseTarget) else [])


system: Final = FlowSystem(target="dataverse", settings=CaseSettings, build=Cases, check=_check)
"""The entry point `dataverse_cases` in `ironbridge.flows`."""
