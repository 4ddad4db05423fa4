"""This stream says who works with a child: FACT_INVOLVEMENTS and DIM_WORKER."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import and_

from adapters.kit.sql import Choice, Joined, Tables, row_of
from adapters.liquidlogic.hdm import Day, real
from adapters.liquidlogic.quirks import identifier, reference
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
    start_dttm: Day
    end_dttm: Day
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
        worker=i.registration or identifier(i.dim_worker_id),
        role=i.dim_lookup_involvement_type_code,
        team=i.team,
        start_date=i.start_dttm,
        end_date=i.end_dttm,
        change_reason=i.dim_lookup_cwreason_code,
    )
