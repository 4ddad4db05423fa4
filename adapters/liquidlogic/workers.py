"""This stream says who works with a child: FACT_INVOLVEMENTS and DIM_WORKER."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_

from adapters.kit.sql import Choice, Joined, Tables, row_of
from adapters.liquidlogic.hdm import real
from adapters.liquidlogic.quirks import day, identifier, reference, text
from adapters.liquidlogic.settings import LiquidlogicSettings
from canonical.children import Involvement
from canonical.key import key_of


@row_of("DIM_WORKER", key="dim_worker_id")
class DimWorker(NamedTuple):
    dim_worker_id: int
    worker_id_code: str | None
    department_name: str | None


@row_of("FACT_INVOLVEMENTS", key="fact_involvements_id")
class FactInvolvements(NamedTuple):
    fact_involvements_id: int
    dim_person_id: int
    fact_referral_id: int | None
    dim_worker_id: int | None
    dim_lookup_involvement_type_code: str | None
    start_dttm: datetime | None
    end_dttm: datetime | None
    dim_lookup_cwreason_code: str | None
    registration: Joined[str | None]
    team: Joined[str | None]


def involvements(hdm: Tables, _: LiquidlogicSettings) -> Choice:
    them, workers = hdm[FactInvolvements], hdm[DimWorker]
    known = and_(workers.c.DIM_WORKER_ID == them.c.DIM_WORKER_ID, workers.c.DIM_WORKER_ID != -1)
    return Choice(
        where=real(them.c.DIM_PERSON_ID),
        source=them.outerjoin(workers, known),
        joined={"registration": workers.c.WORKER_ID_CODE, "team": workers.c.DEPARTMENT_NAME},
    )


def involvement(source: str, i: FactInvolvements) -> Involvement:
    return Involvement(
        key=key_of(source, "involvement", i.fact_involvements_id),
        person=key_of(source, "person", i.dim_person_id),
        episode=reference(source, "care-episode", i.fact_referral_id),
        # WORKER_ID_CODE is the Social Work England number where somebody has entered it.
        worker=text(i.registration) or identifier(i.dim_worker_id),
        role=text(i.dim_lookup_involvement_type_code),
        team=text(i.team),
        start_date=day(i.start_dttm, "FACT_INVOLVEMENTS.START_DTTM"),
        end_date=day(i.end_dttm, "FACT_INVOLVEMENTS.END_DTTM"),
        change_reason=text(i.dim_lookup_cwreason_code),
    )
