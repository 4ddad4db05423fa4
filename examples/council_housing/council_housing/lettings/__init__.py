"""Tenants and garages of a housing system. Its tables have no column that shows changes, so they are swept."""

from datetime import date
from decimal import Decimal
from typing import NamedTuple

from adapters.kit.sql import Soft, SqlAdapter, SqlSettings, SqlStream, row_of
from adapters.port import AdapterSystem
from canonical import Address, Name, Person
from canonical.key import key_of
from council_housing.entities import GarageLetting


@row_of("TENANTS", key="tenant_no")
class Tenant(NamedTuple):
    tenant_no: int
    forenames: str | None
    surname: str | None
    born: date | None
    nino: Soft[str | None]


@row_of("LETTINGS", key="letting_no")
class Letting(NamedTuple):
    letting_no: int
    tenant_no: int
    agreement: str
    address: str
    postcode: str | None
    began: date
    ended: date | None
    balance: Decimal


def person(source: str, tenant: Tenant) -> Person:
    return Person(
        key=key_of(source, "person", tenant.tenant_no),
        names=(Name(given=tenant.forenames, family=tenant.surname),),
        birth_date=tenant.born,
        nino=tenant.nino,  # the type tidies and checks it; a number that fails is left out and told, the tenant goes on
    )


def garage_letting(source: str, letting: Letting) -> GarageLetting:
    return GarageLetting(
        key=key_of(source, "garage-letting", letting.letting_no),
        tenant=key_of(source, "person", letting.tenant_no),
        agreement=letting.agreement,
        garage=Address(lines=tuple(letting.address.split(",")), postcode=letting.postcode),
        start_date=letting.began,
        end_date=letting.ended,
        credit=-letting.balance if letting.balance < 0 else None,  # what a tenant owes is above zero in that system
    )


def _housing(name: str, settings: SqlSettings) -> SqlAdapter:
    return SqlAdapter(name, settings, [SqlStream("tenants", person), SqlStream("lettings", garage_letting)])


system = AdapterSystem(SqlSettings, _housing, __name__)
