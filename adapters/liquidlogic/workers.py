"""Who works with a child: FACT_INVOLVEMENTS and DIM_WORKER."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import and_

from adapters.kit.sql import Reading
from adapters.liquidlogic.hdm import Hdm, columns_of, real
from adapters.liquidlogic.quirks import day, identifier, reference, text
from adapters.liquidlogic.settings import LiquidlogicSettings
from adapters.port import Row
from canonical.children import Involvement
from canonical.key import KeysOf, key_of


class FactInvolvements(NamedTuple):
    fact_involvements_id: int
    dim_person_id: int
    fact_referral_id: Any
    dim_worker_id: Any
    dim_lookup_involvement_type_code: str | None
    start_dttm: Any
    end_dttm: Any
    dim_lookup_cwreason_code: str | None
    registration: str | None
    team: str | None


def involvements(hdm: Hdm, source: str, _: LiquidlogicSettings) -> Reading:
    table, workers = hdm["FACT_INVOLVEMENTS"], hdm["DIM_WORKER"]
    known = and_(workers.c.DIM_WORKER_ID == table.c.DIM_WORKER_ID, workers.c.DIM_WORKER_ID != -1)
    return Reading(
        keys=KeysOf(source, "involvement"),
        source=table.outerjoin(workers, known),
        key=(table.c.FACT_INVOLVEMENTS_ID,),
        columns=(*columns_of(table, FactInvolvements), workers.c.WORKER_ID_CODE, workers.c.DEPARTMENT_NAME),
        where=real(table.c.DIM_PERSON_ID),
    )


def involvement(source: str, row: Row) -> Involvement:
    i = FactInvolvements(*row)
    return Involvement(
        key=key_of(source, "involvement", int(i.fact_involvements_id)),
        person=key_of(source, "person", int(i.dim_person_id)),
        episode=reference(source, "care-episode", i.fact_referral_id),
        # WORKER_ID_CODE is the Social Work England number where somebody has entered it.
        worker=text(i.registration) or identifier(i.dim_worker_id),
        role=text(i.dim_lookup_involvement_type_code),
        team=text(i.team),
        start_date=day(i.start_dttm, "FACT_INVOLVEMENTS.START_DTTM"),
        end_date=day(i.end_dttm, "FACT_INVOLVEMENTS.END_DTTM"),
        change_reason=text(i.dim_lookup_cwreason_code),
    )
