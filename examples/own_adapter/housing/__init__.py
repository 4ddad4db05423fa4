"""
Tenants of a housing system, read from its table TENANTS as people.

The table has no column that shows changes: it is swept, and Ironbridge finds the differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import column, table

from adapters.kit.sql import Database, Reading, SqlSettings
from adapters.port import AdapterSystem, Row, Stream
from canonical import Address, Name, Person
from canonical.finding import Finding
from canonical.key import KeysOf, key_of

TENANTS = table("TENANTS", *map(column, ("TENANT_NO", "FORENAMES", "SURNAME", "BORN", "NINO", "ADDRESS", "POSTCODE")))


class HousingSettings(SqlSettings):
    """The section `[adapters.housing]`: how to reach the database, and how often to look."""

    every: timedelta = timedelta(minutes=10)


class Housing:
    """A housing system. `name` is the source in every key."""

    def __init__(self, name: str, settings: HousingSettings) -> None:
        self.name = name
        self._settings = settings
        self._database = Database(name, settings)
        self._tenants = Reading(KeysOf(name, "person"), TENANTS, key=(TENANTS.c.TENANT_NO,), columns=tuple(TENANTS.c))

    def streams(self) -> Sequence[Stream]:
        return [Stream("tenants", (Person,), self.tenant, self._database.sweep(self._tenants), self._settings.every)]

    def tenant(self, row: Row) -> Person:
        number, forenames, surname, born, nino, address, postcode = row
        return Person(
            key=key_of(self.name, "person", number),
            names=(Name(given=forenames, family=surname),),
            birth_date=born,
            nino=nino or None,  # the type tidies and checks it; a row that fails is quarantined, the others go on
            addresses=(Address(lines=tuple(address.split(",")), postcode=postcode),) if address else (),
        )

    async def open(self) -> None:
        await self._database.open()

    async def close(self) -> None:
        await self._database.close()

    async def check(self) -> Sequence[Finding]:
        return await self._database.check([self._tenants])


system = AdapterSystem(HousingSettings, Housing, __name__)
