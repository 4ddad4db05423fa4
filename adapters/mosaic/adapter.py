"""The streams of a Mosaic mart, and the adapter that reads them."""

from __future__ import annotations

from typing import NamedTuple

from adapters.kit.sql import SqlAdapter, SqlStream, row_of
from adapters.kit.sql_check import FILL, CodesGiven
from adapters.mosaic import child_in_need as cin
from adapters.mosaic import looked_after as cla
from adapters.mosaic import person as people
from adapters.mosaic import workers
from adapters.mosaic.settings import MosaicSettings

_MAP = "complete the mart's mapping for the CIN census in Mosaic: an incomplete one leaves the table empty, and is no error there"

DECLARED = (
    SqlStream("person", people.person, people.people),
    SqlStream("care-episode", cin.care_episode),
    SqlStream("assessment", cin.assessment, cin.assessments),
    SqlStream("cin-plan", cin.cin_plan, cin.cin_plans, prefix="cin-"),
    SqlStream("cp-plan", cin.cp_plan, cin.cp_plans, prefix="cp-"),
    SqlStream("section-47-enquiry", cin.section_47_enquiry, cin.section_47_enquiries),
    SqlStream("looked-after-episode", cla.looked_after_episode),
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
        filled: dict[type, str] = dict.fromkeys((people.DmEthnicities, cin.DmServUserGroupTypes), FILL)
        filled |= dict.fromkeys((cin.DmCinReferrals, cin.DmCinAssessFactors), _MAP)
        # Without types of section 47 the mart's own flag tells.
        steps = {purpose: types for purpose, types in settings.steps if types or purpose != "section_47"}
        given = (
            CodesGiven("steps", steps, KnownStepType, "mart"),
            CodesGiven("questions", dict(settings.questions), KnownQuestion, "mart"),
            CodesGiven("worker_types", {"": settings.worker_types}, KnownWorkerType, "mart"),
        )
        super().__init__(name, settings, DECLARED, filled=filled, window=settings.refresh_window, given=given)
