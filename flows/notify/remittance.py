"""This flow tells suppliers by e-mail what they were paid: a remittance advice for each payment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Literal

from canonical import Payment, Supplier
from canonical.entity import Entity
from canonical.key import read_key
from flows.notify.settings import PaymentValue, RemittanceSettings
from flows.port import Document, Facts, Grouping, Nothing, Urgency


class RemittanceAdvice:
    """
    A supplier is a subject that says where its e-mail goes, and a payment is a subject that refers to its supplier.

    A payment is told once its day has come, and for some days after that: by then Notify has forgotten what it sent, so nobody
    could tell any more whether the message went.
    """

    entities: tuple[type[Entity], ...] = (Supplier, Payment)
    grouping = Grouping.KEY
    distinct: Literal[True] = True  # a document's number is its entity's key

    def __init__(self, name: str, settings: RemittanceSettings) -> None:
        self.name = name
        self.settings: Mapping[str, Any] = settings.model_dump(mode="json")
        self._given = settings

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        if supplier := facts.one(Supplier):
            return _recipient(supplier)
        payment = facts.one(Payment)
        if payment is None:
            return None
        return self._untold(payment, facts) or self._message(payment, facts.version(payment))

    def _untold(self, payment: Payment, facts: Facts) -> Nothing | None:
        day = payment.payment_date
        if day is None:
            return Nothing("the payment has no date")
        if payment.amount <= 0:
            return Nothing("the supplier was given nothing")
        if day < self._given.since:
            return Nothing("the payment is older than `since`")
        if not facts.has_come(day):
            return Nothing("the payment's day has not come")
        if facts.has_come(day + timedelta(days=self._given.days)):
            return Nothing("the payment was too long ago to be told")
        return None

    def _message(self, payment: Payment, version: int) -> Document:
        body: dict[str, Any] = {
            "template": str(self._given.template),
            "version": version,
            "personalisation": {field: _shown(payment, value) for field, value in self._given.fields.items()},
        }
        if self._given.reply_to:
            body["options"] = {"email_reply_to_id": str(self._given.reply_to)}
        return Document("email", payment.key, body, {"to": payment.supplier})

    def urgency(self, entity: str) -> Urgency:
        return Urgency.USUAL


def _recipient(supplier: Supplier) -> Document | Nothing:
    address = next((contact.value for contact in supplier.contacts if contact.system == "email"), None)
    return Document("recipient", supplier.key, {"to": address}) if address else Nothing("the supplier has no e-mail address")


def _shown(payment: Payment, value: PaymentValue) -> str | list[str]:
    match value:
        case "amount":
            sign = "£" if payment.currency == "GBP" else f"{payment.currency} "
            return f"{sign}{payment.amount:,.2f}"
        case "payment_date":
            return _day(payment.payment_date)
        case "documents":
            return [read_key(each.document).identifier for each in payment.settles]
        case "currency" | "number" | "payee":
            return getattr(payment, value) or ""


def _day(day: date | None) -> str:
    return f"{day.day} {day:%B %Y}" if day else ""
