"""
Tenants of a housing system, read from its table TENANTS as people.

The table has no column that shows changes: it is swept, and Ironbridge finds the differences.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from adapters.kit.sql import SqlAdapter, SqlSettings, SqlStream, row_of
from adapters.port import AdapterSystem
from canonical import Address, Name, Person
from canonical.key import key_of


@row_of("TENANTS", key="tenant_no")
class Tenant(NamedTuple):
    tenant_no: int
    forenames: str | None
    surname: str | None
    born: date | None
    nino: str | None
    address: str | None
    postcode: str | None


def person(source: str, tenant: Tenant) -> Person:
    address = Address(lines=tuple(tenant.address.split(",")), postcode=tenant.postcode) if tenant.address else None
    return Person(
        key=key_of(source, "person", tenant.tenant_no),
        names=(Name(given=tenant.forenames, family=tenant.surname),),
        birth_date=tenant.born,
        nino=tenant.nino or None,  # the type tidies and checks it; a row that fails is quarantined, the others go on
        addresses=(address,) if address else (),
    )


def _housing(name: str, settings: SqlSettings) -> SqlAdapter:
    return SqlAdapter(name, settings, [SqlStream("tenants", person)])


system = AdapterSystem(SqlSettings, _housing, __name__)
