"""The streams of a Liquidlogic warehouse, and the adapter that reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from adapters.kit.sql import Database, Reading
from adapters.liquidlogic import child_in_need as cin
from adapters.liquidlogic import looked_after as cla
from adapters.liquidlogic import person as people
from adapters.liquidlogic import workers
from adapters.liquidlogic.hdm import Hdm
from adapters.liquidlogic.settings import LiquidlogicSettings
from adapters.port import Row, Stream
from canonical.children import (
    Assessment,
    CareEpisode,
    CareLeaver,
    CarePlan,
    HealthScreening,
    Involvement,
    LookedAfterEpisode,
    Permanence,
    Placement,
    Section47Enquiry,
)
from canonical.entity import Entity
from canonical.finding import Finding
from canonical.people import Person


@dataclass(frozen=True, slots=True)
class Kind:
    """One stream: the table whose rows become the entity, how they are read, and how one is mapped."""

    table: str
    entity: type[Entity]
    reading: Callable[[Hdm, str, LiquidlogicSettings], Reading]
    map: Callable[[str, Row], Entity]


KINDS: dict[str, Kind] = {
    "person": Kind("DIM_PERSON", Person, people.reading, people.person),
    "care-episode": Kind("FACT_REFERRALS", CareEpisode, cin.care_episodes, cin.care_episode),
    "assessment": Kind("FACT_SINGLE_ASSESSMENT", Assessment, cin.assessments, cin.assessment),
    "cin-plan": Kind("FACT_CARE_PLAN_SUMMARY", CarePlan, cin.cin_plans, cin.cin_plan),
    "cp-plan": Kind("FACT_CP_PLAN", CarePlan, cin.cp_plans, cin.cp_plan),
    "section-47-enquiry": Kind("FACT_S47", Section47Enquiry, cin.section_47_enquiries, cin.section_47_enquiry),
    "looked-after-episode": Kind(
        "FACT_CARE_EPISODES", LookedAfterEpisode, cla.looked_after_episodes, cla.looked_after_episode
    ),
    "placement": Kind("FACT_CLA_PLACEMENT", Placement, cla.placements, cla.placement),
    "involvement": Kind("FACT_INVOLVEMENTS", Involvement, workers.involvements, workers.involvement),
    "health-screening": Kind("FACT_FORMS", HealthScreening, cla.health_screenings, cla.health_screening),
    "permanence": Kind("FACT_ADOPTION", Permanence, cla.permanences, cla.permanence),
    "care-leaver": Kind("FACT_CLA_CARE_LEAVERS", CareLeaver, cla.care_leavers, cla.care_leaver),
}


class LiquidlogicAdapter:
    """
    A Liquidlogic children's system, read from its warehouse.

    `name` is the source in every key.
    """

    def __init__(self, name: str, settings: LiquidlogicSettings) -> None:
        self.name = name
        self.database = Database(name, settings)
        self._settings = settings
        self._hdm = Hdm(settings.in_schema, {KINDS[stream].table: column for stream, column in settings.tail.items()})

    def readings(self) -> dict[str, Reading]:
        """What each stream is read from."""
        return {stream: kind.reading(self._hdm, self.name, self._settings) for stream, kind in KINDS.items()}

    def streams(self) -> Sequence[Stream]:
        return [self._stream(name, reading) for name, reading in self.readings().items()]

    def _stream(self, name: str, reading: Reading) -> Stream:
        kind, settings, change = KINDS[name], self._settings, self._settings.tail.get(name)
        if change is None:
            how = self.database.sweep(reading)
            return Stream(name, (kind.entity,), partial(kind.map, self.name), how, settings.every, pause=settings.pause)
        tail = self.database.tail(
            reading, self._hdm[kind.table].c[change], overlap=settings.tail_overlap, every=settings.sweep_every
        )
        return Stream(name, (kind.entity,), partial(kind.map, self.name), tail, settings.every, pause=settings.pause)

    async def open(self) -> None:
        await self.database.open()

    async def close(self) -> None:
        await self.database.close()

    async def check(self) -> Sequence[Finding]:
        """Every table and column of every stream, and the lists that codes are translated by."""
        readings = self.readings()
        for stream, column in self._settings.tail.items():
            change = self._hdm[KINDS[stream].table].c[column]
            readings[stream] = replace(readings[stream], columns=(*readings[stream].columns, change))
        lookups = [self._hdm[name] for name in ("DIM_LOOKUP_DFE_ETHNIC", "DIM_LOOKUP_DISAB")]
        return await self.database.check(list(readings.values()), lookups)
