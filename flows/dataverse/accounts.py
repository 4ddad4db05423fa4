"""This flow says which accounts Dataverse should hold: one for each supplier that is a firm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from canonical import Supplier
from canonical.entity import Entity
from canonical.finding import Finding
from flows.dataverse.parts import ACTIVE, INACTIVE, cut, reached
from flows.dataverse.settings import DataverseSettings
from flows.dataverse.target import DataverseTarget
from flows.kit.plain import plain, short_name
from flows.port import Document, Facts, Grouping, Nothing, Target, Urgency
from flows.systems import FlowSystem

ACCOUNT = "account"
_NAME, _NUMBER = 160, 20


class AccountSettings(BaseModel):
    """The section of a flow that writes accounts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    relationship: Annotated[int, Field(ge=1)] | None = 10
    """The value of the choice `customertypecode` for a supplier; without it the column is not sent."""


class Accounts:
    """One account for each supplier, inactive when it is blocked or has ended."""

    entities: tuple[type[Entity], ...] = (Supplier,)
    grouping = Grouping.KEY
    distinct: Literal[True] = True

    def __init__(self, name: str, settings: AccountSettings, _there: DataverseSettings) -> None:
        self.name = name
        self.settings: Mapping[str, Any] = settings.model_dump(mode="json")
        self._relationship = settings.relationship

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        supplier = facts.one(Supplier)
        if supplier is None:
            return None
        if supplier.redacted:
            return Nothing("the extract withholds who was paid")
        if supplier.kind is not None:
            return Nothing("it is no firm with an account of its own")
        ended = supplier.blocked or (supplier.end_date is not None and facts.has_come(supplier.end_date))
        body = plain({
            "name": cut(supplier.name, _NAME), "customertypecode": self._relationship,
            "accountnumber": supplier.number if len(supplier.number) <= _NUMBER else None, **(INACTIVE if ended else ACTIVE),
        })  # fmt: skip
        return Document(ACCOUNT, short_name(supplier.key), body | reached(supplier.addresses, supplier.contacts))

    def recall(self, key: str, owner: str) -> Sequence[Document]:
        return [Document(ACCOUNT, short_name(key), {})]

    def urgency(self, entity: str) -> Urgency:
        return Urgency.TIDY_UP


async def _check(settings: AccountSettings, target: Target) -> Sequence[Finding]:
    named = {ACCOUNT: {"customertypecode": {settings.relationship}}} if settings.relationship is not None else {}
    return await target.check_choices(named) if isinstance(target, DataverseTarget) else []


system: Final = FlowSystem(target="dataverse", settings=AccountSettings, build=Accounts, check=_check)
"""The entry point `dataverse_accounts` in `ironbridge.flows`."""
