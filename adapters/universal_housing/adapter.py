"""The streams of a Universal Housing database, and the adapter that reads them."""

from __future__ import annotations

from adapters.kit.sql import SqlAdapter, SqlStream
from adapters.universal_housing import homes, people, rent, repairs
from adapters.universal_housing.settings import UniversalHousingSettings

DECLARED = (
    SqlStream("person", people.person),
    SqlStream("property", homes.property_, homes.properties),
    SqlStream("household", people.household),
    SqlStream("tenancy", homes.tenancy),
    SqlStream("rent-account", rent.rent_account, rent.rent_accounts),
    SqlStream("rent-transaction", rent.rent_transaction),
    SqlStream("repair", repairs.repair),
)


class UniversalHousingAdapter(SqlAdapter):
    """A Universal Housing system, read from its database."""

    def __init__(self, name: str, settings: UniversalHousingSettings) -> None:
        super().__init__(name, settings, DECLARED)
