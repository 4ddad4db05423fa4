"""The streams of a Mosaic mart, and the adapter that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select

from adapters.kit.sql import SqlAdapter, SqlStream, row_of
from adapters.kit.sql_check import look_for_a_row
from adapters.mosaic import child_in_need as cin
from adapters.mosaic import looked_after as cla
from adapters.mosaic import person as people
from adapters.mosaic import workers
from adapters.mosaic.settings import MosaicSettings
from canonical.errors import IronbridgeError
from canonical.finding import Finding

_MAP = "complete the mart's mapping for the CIN census in Mosaic: an incomplete one leaves the table empty, and is no error there"

DECLARED = (
    SqlStream("person", people.person, people.people),
    SqlStream("care-episode", cin.care_episode, cin.care_episodes),
    SqlStream("assessment", cin.assessment, cin.assessments),
    SqlStream("cin-plan", cin.cin_plan, cin.cin_plans, prefix="cin-"),
    SqlStream("cp-plan", cin.cp_plan, cin.cp_plans, prefix="cp-"),
    SqlStream("section-47-enquiry", cin.section_47_enquiry, cin.section_47_enquiries),
    SqlStream("looked-after-episode", cla.looked_after_episode, cla.looked_after_episodes),
    SqlStream("placement", cla.placement, cla.placements),
    SqlStream("involvement", workers.involvement, workers.involvements),
    SqlStream("health-screening", cla.health_screening, cla.health_screenings),
    SqlStream("permanence", cla.permanence, cla.permanences),
    SqlStream("care-leaver", cla.care_leaver, cla.care_leavers),
)


@row_of("DM_WORKFLOW_STEP_TYPES", key="workflow_step_type_id")
class KnownStepType(NamedTuple):
    workflow_step_type_id: int


@row_of("DM_CACHED_FORM_QUESTIONS")
class KnownQuestion(NamedTuple):
    question_user_code: str | None


@row_of("DM_PROF_REL_TYPES")
class KnownWorkerType(NamedTuple):
    prof_rel_type_code: str | None


class MosaicAdapter(SqlAdapter):
    """A children's system in Mosaic, read from its data mart."""

    def __init__(self, name: str, settings: MosaicSettings) -> None:
        filled = (people.DmEthnicities, cin.DmServUserGroupTypes)
        super().__init__(name, settings, DECLARED, filled=filled, window=settings.refresh_window)
        self._mosaic = settings

    async def check(self) -> Sequence[Finding]:
        """Look at all that every SQL adapter looks at, and at the council's own codes in the settings."""
        findings = list(await super().check())
        if self.database.session.engine is not None:
            for table in (cin.DmCinReferrals, cin.DmCinAssessFactors):
                findings += await look_for_a_row(self.database.session, self.tables[table], _MAP)
            findings += await self._named("steps", self._mosaic.steps.model_dump(), KnownStepType)
            findings += await self._named("questions", self._mosaic.questions.model_dump(), KnownQuestion)
            findings += await self._named("worker_types", {"": self._mosaic.worker_types}, KnownWorkerType)
        return findings

    async def _named(self, setting: str, given: dict[str, tuple[int | str, ...]], known: type) -> list[Finding]:
        """Tell which purposes have no code, and which codes the mart does not know."""
        findings = [
            Finding(f"{setting}.{purpose}: names nothing, and nothing is read for it", True)
            for purpose, codes in given.items() if purpose and not codes and (setting, purpose) != ("steps", "section_47")
        ]  # fmt: skip
        wanted = {str(code).upper(): purpose for purpose, codes in given.items() for code in codes}
        if not wanted:
            return findings
        table = self.tables[known]
        try:
            async with self.database.session.connection(str(table)) as connection:
                there = {str(code).strip().upper() for code in (await connection.execute(select(*table.c))).scalars()}
        except IronbridgeError as error:
            return [*findings, Finding(error.what, False, error.fix)]
        fix = f"take the codes from {table}, as the council's own mart has them"
        strange = [(purpose, code) for code, purpose in wanted.items() if code not in there]
        return findings + [Finding(f"{f'{setting}.{purpose}'.rstrip('.')}: {table} has no {code}", False, fix)
                           for purpose, code in strange]  # fmt: skip
