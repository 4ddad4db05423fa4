"""Children's records to the Department for Education's children's social care data API."""

from __future__ import annotations

from datetime import date
from typing import Final

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
from flows.dfe_csc.cohort import outside, window
from flows.dfe_csc.contract import checked
from flows.dfe_csc.ids import Ids
from flows.dfe_csc.settings import ChildRecordsSettings, DfeCscSettings
from flows.dfe_csc.target import DfeCsc
from flows.kit.resources import Resources
from flows.port import Document, Facts, Flow, Grouping, Nothing, Target, Urgency
from flows.systems import FlowSystem, TargetSystem

_MAPPING: Final = 1  # raise it with every change of what a record looks like: then all children are looked at again

_URGENCY: Final = {
    Section47Enquiry.type_name: Urgency.SAFEGUARDING,
    CarePlan.type_name: Urgency.SAFEGUARDING,  # child protection plans; the type does not tell them from the others
    LookedAfterEpisode.type_name: Urgency.SAFEGUARDING,
    Placement.type_name: Urgency.SAFEGUARDING,
    Involvement.type_name: Urgency.TIDY_UP,
    HealthScreening.type_name: Urgency.TIDY_UP,
}


class ChildRecords:
    """What the DfE should hold: one document for each child of the cohort, nothing for anybody else."""

    entities: tuple[type[Entity], ...] = (
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
    )
    grouping = Grouping.OWNER

    def __init__(self, name: str, ids: Ids) -> None:
        self.name = name
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
        return _URGENCY.get(entity, Urgency.USUAL)

    def edition(self, today: date) -> str:
        span = window(today)
        return f"{_MAPPING}:{self._ids.source}:{span.start}:{span.end}"


def _flow(name: str, _settings: ChildRecordsSettings, there: DfeCscSettings) -> Flow:
    return ChildRecords(name, there.ids)


def _target(name: str, settings: DfeCscSettings, resources: Resources) -> Target:
    return DfeCsc(name, settings, resources.http(settings.limits))


system: Final = TargetSystem(
    package=__name__,
    settings=DfeCscSettings,
    build=_target,
    flow=FlowSystem(target="dfe_csc", settings=ChildRecordsSettings, build=_flow),
)
"""The entry point `dfe_csc` in `ironbridge.targets`."""
