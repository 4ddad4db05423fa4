"""The streams of a Business World database, and the adapter that reads them."""

from __future__ import annotations

from adapters.business_world import items, ledger, orders, parties
from adapters.business_world.settings import BusinessWorldSettings
from adapters.kit.sql import SqlAdapter, SqlStream

DECLARED = (
    SqlStream("supplier", parties.supplier, parties.suppliers),
    SqlStream("customer", parties.customer, parties.customers),
    SqlStream("purchase-order", orders.purchase_order),
    SqlStream("invoice", items.invoice, items.invoices),
    SqlStream("credit-note", items.credit_note, items.credit_notes),
    SqlStream("payment", items.payment, items.payments),
    SqlStream("journal-line", ledger.journal_line, ledger.journal_lines),
)


class BusinessWorldAdapter(SqlAdapter):
    """A Business World installation, with all its clients (company codes)."""

    def __init__(self, name: str, settings: BusinessWorldSettings) -> None:
        super().__init__(name, settings, DECLARED)
