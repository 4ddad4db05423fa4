"""This flow says what the DfE should hold of the council's children."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from canonical import (
    Assessment,
    CareEpisode,
    CareLeaver,
    CarePlan,
    HealthScreening,
    Involvement,
    LookedAfterEpisode,
    Permanence,
    Person,
    Placement,
    Section47Enquiry,
)
from canonical.entity import Entity
from flows.dfe_csc.child import record
from flows.dfe_csc.cohort import outside
from flows.dfe_csc.contract import checked
from flows.dfe_csc.ids import Ids
from flows.port import Document, Facts, Grouping, Nothing, Urgency

_URGENCY: Final[Mapping[type[Entity], Urgency]] = {
    Person: Urgency.USUAL,
    CareEpisode: Urgency.USUAL,
    Assessment: Urgency.USUAL,
    CarePlan: Urgency.SAFEGUARDING,  # child protection plans; the type does not tell them from the others
    Section47Enquiry: Urgency.SAFEGUARDING,
    LookedAfterEpisode: Urgency.SAFEGUARDING,
    Placement: Urgency.SAFEGUARDING,
    Involvement: Urgency.TIDY_UP,
    HealthScreening: Urgency.TIDY_UP,
    Permanence: Urgency.USUAL,
    CareLeaver: Urgency.USUAL,
}
"""All that a child's record is put together from, and how urgent a change of each is."""
_BY_NAME: Final = {entity.type_name: urgency for entity, urgency in _URGENCY.items()}



class ChildRecords:
    """This flow says what the DfE should hold: one document for each child of the cohort, nothing for anybody else."""

    entities: tuple[type[Entity], ...] = tuple(_URGENCY)
    grouping = Grouping.OWNER
    distinct: Literal[True] = True  # a child's id is worked out from its key (`ids.py`)

    def __init__(self, name: str, ids: Ids) -> None:
        self.name = name
        self.settings: Mapping[str, Any] = {"la_child_ids_of": ids.source}
        self._ids = ids

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        """:raises RefusedError: a value that the API would refuse; names field and rule."""
        person = facts.one(Person)
        if person is None:
            return Nothing("the person itself is not published: it is quarantined, or gone") if [*facts] else None
        if why := outside(person, facts):
            return Nothing(why)
        body = checked(record(person, facts, self._ids), self.name)
        return Document("child", body["la_child_id"], body)

    def urgency(self, entity: str) -> Urgency:
        return _BY_NAME.get(entity, Urgency.USUAL)
