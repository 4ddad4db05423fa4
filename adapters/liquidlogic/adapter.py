"""The streams of a Liquidlogic warehouse, and the adapter that reads them."""

from __future__ import annotations

from adapters.kit.sql import SqlAdapter, SqlStream
from adapters.liquidlogic import child_in_need as cin
from adapters.liquidlogic import looked_after as cla
from adapters.liquidlogic import person as people
from adapters.liquidlogic import workers
from adapters.liquidlogic.hdm import DimLookupDfeEthnic, DimLookupDisab
from adapters.liquidlogic.settings import LiquidlogicSettings

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


class LiquidlogicAdapter(SqlAdapter):
    """A Liquidlogic children's system, read from its warehouse."""

    def __init__(self, name: str, settings: LiquidlogicSettings) -> None:
        super().__init__(name, settings, DECLARED, filled=(DimLookupDfeEthnic, DimLookupDisab))
