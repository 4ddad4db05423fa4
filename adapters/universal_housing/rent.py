"""Rent accounts, which stand in the row of their tenancy, and their transactions: the tables tenagree and rtrans."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, NamedTuple

from sqlalchemy import CHAR, Numeric

from adapters.kit.sql import Choice, Joined, Tables, row_of
from adapters.universal_housing.columns import Moment, Money, TagRef, Text3, own_column
from adapters.universal_housing.settings import UniversalHousingSettings
from canonical.housing import RentAccount, RentTransaction
from canonical.key import key_of


@row_of("tenagree", key="tag_ref", also={"u_saff_rentacc": Annotated[str | None, CHAR(20)]}, version="tstamp")
class TenagreeAccount(NamedTuple):
    tag_ref: TagRef
    rentgrp_ref: Text3
    prd_code: Annotated[str | None, CHAR(2)]
    rent: Money
    service: Money
    other_charge: Money
    cur_bal: Money
    payment_reference: Joined[str | None]


@row_of("rtrans", key=("batchid", "transno", "line_no", "line_segno"), version="tstamp")
class Rtrans(NamedTuple):
    batchid: int
    transno: int
    line_no: int
    line_segno: Annotated[int, Numeric(2, 0)]
    tag_ref: TagRef  # without it nobody can say whose money it is, and the row is quarantined
    trans_type: Text3
    trans_src: Text3
    post_date: Moment
    post_year: int | None
    post_prdno: Annotated[int | None, Numeric(3, 0)]
    real_value: Annotated[Decimal, Numeric(9, 2)]
    vat_value: Money


def rent_accounts(tables: Tables, settings: UniversalHousingSettings) -> Choice:
    column = own_column(tables, TenagreeAccount, settings.payment_reference_column)
    return Choice(joined={"payment_reference": column})


def rent_account(source: str, a: TenagreeAccount) -> RentAccount:
    return RentAccount(
        key=key_of(source, "rent-account", a.tag_ref),
        tenancy=key_of(source, "tenancy", a.tag_ref),
        number=a.tag_ref,
        payment_reference=a.payment_reference,
        rent_group=a.rentgrp_ref,
        charge_period=a.prd_code,
        rent=a.rent,
        service_charge=a.service,
        other_charge=a.other_charge,
        balance=a.cur_bal,
    )


def rent_transaction(source: str, t: Rtrans) -> RentTransaction:
    return RentTransaction(
        key=key_of(source, "rent-transaction", t.batchid, t.transno, t.line_no, t.line_segno),
        tenancy=key_of(source, "tenancy", t.tag_ref),
        account=key_of(source, "rent-account", t.tag_ref),
        transaction_type=t.trans_type,
        source=t.trans_src,
        posted_date=t.post_date,
        year=t.post_year,
        period=t.post_prdno,
        amount=t.real_value,
        vat=t.vat_value,
    )
