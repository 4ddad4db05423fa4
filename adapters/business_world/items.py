"""
Supplier items: open ones in asutrans, settled ones in asuhistr, as invoices, credit notes and payments.

An item is what its voucher type says, see `settings.VoucherKind`. Amounts above zero are owed to the supplier, amounts below
zero take from that.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, func, or_

from adapters.business_world.parties import Asuheader, sundry
from adapters.business_world.settings import PAY_METHOD, VOUCHER_TYPE, BusinessWorldSettings, VoucherKind
from adapters.kit.ledgers import HOME, dimensions, money, reference
from adapters.kit.sql import Choice, CodesFromSettings, Joined, Soft, Tables, row_of
from adapters.kit.sql_conditions import plain_or_blank
from canonical.finance import CreditNote, DocumentLine, Invoice, Payment
from canonical.key import key_of

_CONTROL = ("AP", "AR")
"""aglaccounts.account_type of the accounts that the items themselves are posted to."""


@row_of("aglaccounts", also={"client": str, "account_type": str})
class Aglaccounts(NamedTuple):
    account: str


@row_of("agltransact", order="sequence_no", of=("client", "voucher_no"), to=("client", "voucher_no"), also={
    "client": str, "sequence_no": int,
})  # fmt: skip
class Posting(NamedTuple):
    account: str | None
    amount: Decimal
    cur_amount: Decimal | None
    description: str | None
    dim_1: str | None
    dim_2: str | None
    dim_3: str | None
    dim_4: str | None
    dim_5: str | None
    dim_6: str | None
    dim_7: str | None


@row_of("asutrans", key=("client", "apar_id", "voucher_no", "sequence_no"), moves_to="asuhistr")
class Asutrans(NamedTuple):
    client: str
    apar_id: str
    voucher_no: int
    sequence_no: int
    voucher_type: Annotated[str, CodesFromSettings(VOUCHER_TYPE)]
    trans_date: date | None
    voucher_date: date | None
    due_date: date | None
    payment_date: date | None
    description: str | None
    amount: Decimal
    cur_amount: Decimal | None
    currency: Soft[str | None]
    rest_amount: Decimal | None
    rest_curr: Decimal | None
    status: str | None
    pay_method: Soft[Annotated[str | None, CodesFromSettings(PAY_METHOD)]]
    ext_inv_ref: str | None
    orig_reference: str | None
    order_id: str | None
    contract_id: str | None
    payee: Joined[str | None]
    postings: tuple[Posting, ...] = ()


def invoices(tables: Tables, settings: BusinessWorldSettings) -> Choice:
    """Invoices above zero, and every item of a voucher type that is not mapped: it is quarantined here, and told."""
    kind, amount = _kind(tables), _amount(tables)
    return _items(tables, settings, or_(
        and_(kind.in_(settings.types(VoucherKind.INVOICE)), amount >= 0), kind.not_in(settings.types(*VoucherKind))
    ))  # fmt: skip


def credit_notes(tables: Tables, settings: BusinessWorldSettings) -> Choice:
    kind, amount = _kind(tables), _amount(tables)
    takes = settings.types(VoucherKind.INVOICE, VoucherKind.REVERSAL)
    return _items(tables, settings, or_(
        kind.in_(settings.types(VoucherKind.CREDIT_NOTE)), and_(kind.in_(takes), amount < 0)
    ))  # fmt: skip


def payments(tables: Tables, settings: BusinessWorldSettings) -> Choice:
    kind, amount = _kind(tables), _amount(tables)
    reversed_ = and_(kind.in_(settings.types(VoucherKind.REVERSAL)), amount >= 0)
    return _items(tables, settings, or_(kind.in_(settings.types(VoucherKind.PAYMENT)), reversed_), postings=False)


def _kind(tables: Tables) -> ColumnElement[Any]:
    return plain_or_blank(tables[Asutrans].c.voucher_type)


def _amount(tables: Tables) -> ColumnElement[Any]:
    return func.coalesce(tables[Asutrans].c.amount, 0)


def _items(
    tables: Tables, settings: BusinessWorldSettings, where: ColumnElement[bool], *, postings: bool = True
) -> Choice:
    items, them = tables[Asutrans], tables[Asuheader]
    named = tables.column(Asutrans, settings.sundry_name)  # a sundry supplier's header names nobody
    return Choice(
        where=where,
        source=items.outerjoin(them, and_(them.c.client == items.c.client, them.c.apar_id == items.c.apar_id)),
        joined={"payee": case((sundry(them.c.apar_once), named))},
        parts={"postings": _postings(tables) if postings else None},
    )


def _postings(tables: Tables) -> Choice:
    """The ledger lines of the item's voucher, without those to control accounts."""
    lines, accounts = tables[Posting], tables[Aglaccounts]
    same = and_(accounts.c.client == lines.c.client, accounts.c.account == lines.c.account)
    return Choice(plain_or_blank(accounts.c.account_type).not_in(_CONTROL), lines.outerjoin(accounts, same))


def invoice(source: str, item: Asutrans) -> Invoice:
    return Invoice(key=_key(source, "invoice", item), **_document(source, item, 1))


def credit_note(source: str, item: Asutrans) -> CreditNote:
    corrects = reference(item.orig_reference)
    return CreditNote(key=_key(source, "credit-note", item), corrects=corrects, **_document(source, item, -1))


def payment(source: str, item: Asutrans) -> Payment:
    told = money(item.currency, item.amount, item.cur_amount, item.rest_amount, item.rest_curr)
    return Payment(
        key=_key(source, "payment", item),
        number=str(item.voucher_no),
        supplier=_supplier(source, item),
        currency=told.currency,
        payment_date=item.payment_date or item.trans_date,
        payment_method=item.pay_method,
        amount=-told.amount,  # a payment takes from what is owed
        payee=item.payee,
    )


def _document(source: str, item: Asutrans, sign: int) -> Mapping[str, Any]:
    told = money(item.currency, item.amount, item.cur_amount, item.rest_amount, item.rest_curr)
    return {
        "number": item.ext_inv_ref or str(item.voucher_no),
        "supplier": _supplier(source, item),
        "currency": told.currency,
        "document_date": item.voucher_date or item.trans_date,
        "due_date": item.due_date,
        "payment_date": item.payment_date,
        "lines": _lines(item, told.amount, sign, foreign=told.currency != HOME),
        "outstanding": None if told.rest is None else sign * told.rest,
        "status": item.status,
        "payee": item.payee,
        "payment_method": item.pay_method,
        "order": reference(item.order_id),
        "contract": reference(item.contract_id),
    }


def _lines(item: Asutrans, amount: Decimal, sign: int, *, foreign: bool) -> tuple[DocumentLine, ...]:
    """
    The voucher's ledger lines, VAT among them, if they add up to the item; one line of the whole item if they do not, because
    a voucher may hold several items.
    """
    nets = [(each.cur_amount or Decimal(0)) if foreign else each.amount for each in item.postings]
    if not nets or sum(nets) != amount:
        return (DocumentLine(number=1, description=item.description, net=sign * amount),)
    return tuple(
        DocumentLine(
            number=n, description=each.description, account=each.account, net=sign * net, dimensions=dimensions(each)
        )
        for n, (each, net) in enumerate(zip(item.postings, nets, strict=True), 1)
    )


def _key(source: str, entity: str, item: Asutrans) -> str:
    return key_of(source, entity, item.client, item.apar_id, item.voucher_no, item.sequence_no)


def _supplier(source: str, item: Asutrans) -> str:
    return key_of(source, "supplier", item.client, item.apar_id)
