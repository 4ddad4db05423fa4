"""Repairs and their work orders: the tables rmreqst and rmworder."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, NamedTuple

from sqlalchemy import CHAR, Numeric, Text

from adapters.kit.sql import Soft, row_of
from adapters.universal_housing.columns import HouseRef, Moment, Text3, reached, reference
from canonical.housing import Repair, WorkOrder
from canonical.key import key_of

Cost = Annotated[Decimal | None, Numeric(14, 2)]


@row_of("rmworder", key="wo_ref", of="rq_ref", also={"rq_ref": Annotated[str, CHAR(8)]}, version="tstamp")
class Rmworder(NamedTuple):
    wo_ref: Annotated[str, CHAR(10)]
    sup_ref: Annotated[str | None, CHAR(12)]
    wo_status: Text3
    created: Moment
    auth_date: Moment
    date_due: Moment
    attend_date: Moment
    completed: Moment
    est_cost: Cost
    act_cost: Cost


@row_of("rmreqst", key="rq_ref", version="tstamp")
class Rmreqst(NamedTuple):
    rq_ref: Annotated[str, CHAR(8)]
    prop_ref: Annotated[str, CHAR(12)]
    house_ref: HouseRef
    rq_date: Moment
    rq_date_due: Moment
    rq_priority: Text3
    rq_status: Text3
    rq_problem: Soft[Annotated[str | None, Text()]]  # of any length
    rq_name: Annotated[str | None, CHAR(40)]
    rq_phone: Soft[Annotated[str | None, Text()]]
    orders: tuple[Rmworder, ...]


def repair(source: str, r: Rmreqst) -> Repair:
    return Repair(
        key=key_of(source, "repair", r.rq_ref),
        number=r.rq_ref,
        property=key_of(source, "property", r.prop_ref),
        household=reference(source, "household", r.house_ref),
        reported_date=r.rq_date,
        due_date=r.rq_date_due,
        priority=r.rq_priority,
        status=r.rq_status,
        description=r.rq_problem,
        reported_by=r.rq_name,
        contacts=reached([r.rq_phone]),
        orders=tuple(map(_order, r.orders)),
    )


def _order(o: Rmworder) -> WorkOrder:
    return WorkOrder(
        number=o.wo_ref,
        contractor=o.sup_ref,
        status=o.wo_status,
        raised_date=o.created,
        authorised_date=o.auth_date,
        due_date=o.date_due,
        attended_date=o.attend_date,
        completed_date=o.completed,
        estimated_cost=o.est_cost,
        actual_cost=o.act_cost,
    )
