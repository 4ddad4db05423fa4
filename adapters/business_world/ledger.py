"""The general ledger: agltransact, without the budgets that lie in the same table."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, NamedTuple

from adapters.business_world.settings import VOUCHER_TYPE, BusinessWorldSettings, VoucherKind
from adapters.kit.ledgers import dimensions
from adapters.kit.sql import Choice, CodesFromSettings, Tables, row_of
from adapters.kit.sql_conditions import plain_or_blank
from canonical.finance import JournalLine
from canonical.key import key_of

_PARTIES = {"P": "supplier", "R": "customer"}


@row_of("agltransact", key=("client", "voucher_no", "sequence_no"))
class Agltransact(NamedTuple):
    client: str
    voucher_no: int
    sequence_no: int
    voucher_type: Annotated[str, CodesFromSettings(VOUCHER_TYPE)]
    trans_date: date | None
    fiscal_year: int | None
    period: str | None
    account: str | None
    amount: Decimal
    description: str | None
    ext_inv_ref: str | None
    apar_id: str | None
    apar_type: str | None
    dim_1: str | None
    dim_2: str | None
    dim_3: str | None
    dim_4: str | None
    dim_5: str | None
    dim_6: str | None
    dim_7: str | None


def journal_lines(tables: Tables, settings: BusinessWorldSettings) -> Choice:
    budgets = settings.types(VoucherKind.BUDGET)
    return Choice(plain_or_blank(tables[Agltransact].c.voucher_type).not_in(budgets) if budgets else None)


def journal_line(source: str, row: Agltransact) -> JournalLine:
    kind = _PARTIES.get((row.apar_type or "").upper())
    return JournalLine(
        key=key_of(source, "journal-line", row.client, row.voucher_no, row.sequence_no),
        journal=key_of(source, "journal", row.client, row.voucher_no),
        line_number=row.sequence_no,
        document_type=row.voucher_type,
        document_number=str(row.voucher_no),
        external_document_number=row.ext_inv_ref,
        posting_date=row.trans_date,
        fiscal_year=row.fiscal_year,  # named after its first year or its last, as the site likes
        period=row.period,
        account=row.account,
        amount=row.amount,  # in the council's own currency: a voucher's amounts add up to zero in it
        description=row.description,
        party=key_of(source, kind, row.client, row.apar_id) if kind and row.apar_id else None,
        dimensions=dimensions(row),
    )
