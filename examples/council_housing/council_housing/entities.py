"""The entity that no domain of `canonical` has: a letting of one of the council's garages."""

from __future__ import annotations

from typing import Annotated, ClassVar

from canonical import Address, Entity
from canonical.entity import FINANCIAL, IDENTIFYING, PLAIN
from canonical.key import Key
from canonical.values import Amount, Code, Day


class GarageLetting(Entity):
    """A tenant rents a garage from the council. The letting belongs to its tenant."""

    type_name: ClassVar[str] = "garage-letting"
    standard: ClassVar[str] = "the council's own words"
    owned_by: ClassVar[str] = "tenant"
    known_by: ClassVar[tuple[str, ...]] = ("agreement",)

    tenant: Annotated[Key, PLAIN]
    agreement: Annotated[Code, PLAIN]
    garage: Annotated[Address, IDENTIFYING]
    start_date: Annotated[Day, PLAIN]
    end_date: Annotated[Day | None, PLAIN] = None
    credit: Annotated[Amount | None, FINANCIAL] = None
    """Rent that was paid too much and is owed to the tenant."""


HOUSING = (GarageLetting,)
"""The entry point `housing` in `ironbridge.entities`."""
