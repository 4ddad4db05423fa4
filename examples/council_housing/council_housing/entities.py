"""The entity that no domain of `canonical` has: a tenancy of one of the council's own homes."""

from __future__ import annotations

from typing import Annotated, ClassVar

from canonical import Address, Entity
from canonical.entity import FINANCIAL, IDENTIFYING, PLAIN
from canonical.key import Key
from canonical.values import Amount, Code, Day


class Tenancy(Entity):
    """An agreement between a tenant and the council about one home. It belongs to its tenant."""

    type_name: ClassVar[str] = "tenancy"
    standard: ClassVar[str] = "HACT UK Housing Data Standards 3.5"
    owned_by: ClassVar[str] = "tenant"
    known_by: ClassVar[tuple[str, ...]] = ("agreement",)

    tenant: Annotated[Key, PLAIN]
    agreement: Annotated[Code, PLAIN]
    home: Annotated[Address, IDENTIFYING]
    start_date: Annotated[Day, PLAIN]
    end_date: Annotated[Day | None, PLAIN] = None
    credit: Annotated[Amount | None, FINANCIAL] = None
    """Rent that was paid too much and is owed to the tenant."""


HOUSING = (Tenancy,)
"""The entry point `housing` in `ironbridge.entities`."""
