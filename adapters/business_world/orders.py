"""Purchase orders: apoheader, with the lines of apodetail."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import NamedTuple

from adapters.kit.ledgers import dimensions, reference
from adapters.kit.sql import row_of
from canonical.finance import OrderLine, PurchaseOrder
from canonical.key import key_of


@row_of("apodetail", order=("line_no", "sequence_no"), of=("client", "order_id"), also={
    "client": str, "order_id": str, "sequence_no": int,
})  # fmt: skip
class Apodetail(NamedTuple):
    line_no: int
    art_descr: str | None
    account: str | None
    amount: Decimal
    tax_amount: Decimal | None
    vow_amount: Decimal | None
    arr_amount: Decimal | None
    dim_1: str | None
    dim_2: str | None
    dim_3: str | None
    dim_4: str | None
    dim_5: str | None
    dim_6: str | None
    dim_7: str | None


@row_of("apoheader", key=("client", "order_id"))
class Apoheader(NamedTuple):
    client: str
    order_id: str
    apar_id: str
    status: str | None
    order_date: date | None
    deliv_date: date | None
    contract_id: str | None
    lines: tuple[Apodetail, ...]


def purchase_order(source: str, row: Apoheader) -> PurchaseOrder:
    return PurchaseOrder(
        key=key_of(source, "purchase-order", row.client, row.order_id),
        number=row.order_id,
        supplier=key_of(source, "supplier", row.client, row.apar_id),
        order_date=row.order_date,
        delivery_date=row.deliv_date,
        status=row.status,
        contract=reference(row.contract_id),
        lines=tuple(map(_line, row.lines)),
    )


def _line(line: Apodetail) -> OrderLine:
    # A line may be split over several accounts: its parts have one number, in the order of sequence_no.
    return OrderLine(
        number=line.line_no,
        description=line.art_descr,
        account=line.account,
        net=line.amount,
        tax=line.tax_amount,
        received=line.vow_amount,
        invoiced=line.arr_amount,
        dimensions=dimensions(line),
    )
