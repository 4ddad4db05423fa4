"""The streams of an Academy database, and the adapter that reads them."""

from __future__ import annotations

from adapters.academy import benefits, council_tax
from adapters.academy.settings import AcademySettings
from adapters.kit.sql import SqlAdapter, SqlStream

DECLARED = (
    SqlStream("benefit-person", benefits.person, prefix=benefits.PREFIX),
    SqlStream("benefit-claim", benefits.claim, benefits.claims),
    SqlStream("council-tax-person", council_tax.person, council_tax.liable_people, prefix=council_tax.PREFIX),
    SqlStream("council-tax-account", council_tax.account, council_tax.accounts),
)


class AcademyAdapter(SqlAdapter):
    """An Academy revenues and benefits system, read from its database."""

    def __init__(self, name: str, settings: AcademySettings) -> None:
        super().__init__(name, settings, DECLARED)
