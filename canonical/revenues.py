"""
Revenues and benefits: council tax accounts and benefit claims, each with the homes that it is about.

No data standard is published for them: the words are those of the Acts and regulations that each entity names, the codes the
revenues system's own. People are entities of their own: an account and a claim name them by their keys.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from canonical.entity import FINANCIAL, IDENTIFYING, PLAIN, Entity, Part
from canonical.key import Key
from canonical.people import Address
from canonical.values import Code, Day

__all__ = [
    "REVENUES",
    "BenefitClaim",
    "BenefitHousehold",
    "CouncilTaxAccount",
    "Occupation",
]


class Occupation(Part):
    """Somebody occupies a dwelling from a day on, and perhaps to another one."""

    dwelling: Annotated[Code, PLAIN]
    """The revenues system's reference of the dwelling."""
    address: Annotated[Address | None, IDENTIFYING] = None
    start_date: Annotated[Day | None, PLAIN] = None
    end_date: Annotated[Day | None, PLAIN] = None


class CouncilTaxAccount(Entity):
    """A council tax account says who is liable for the tax on the dwellings that are occupied."""

    type_name: ClassVar[str] = "council-tax-account"
    standard: ClassVar[str] = "words of the Local Government Finance Act 1992; no data standard is published"
    known_by: ClassVar[tuple[str, ...]] = ("number",)

    number: Annotated[Code, PLAIN]
    """The revenues system's reference of the account, with its check character where there is one."""
    liable: Annotated[Key | None, PLAIN] = None
    """The person who leads those who are liable."""
    forwarding_address: Annotated[Address | None, IDENTIFYING] = None
    payment_method: Annotated[Code | None, FINANCIAL] = None
    occupations: Annotated[tuple[Occupation, ...], IDENTIFYING] = ()


class BenefitHousehold(Part):
    """A claimant's household lives at an address from a day on, and perhaps to another one."""

    start_date: Annotated[Day | None, PLAIN] = None
    end_date: Annotated[Day | None, PLAIN] = None
    address: Annotated[Address | None, IDENTIFYING] = None
    members: Annotated[tuple[Key, ...], PLAIN] = ()
    """The persons in it."""


class BenefitClaim(Entity):
    """Somebody claims a benefit for a household (Housing Benefit, or the council's own reduction of council tax)."""

    type_name: ClassVar[str] = "benefit-claim"
    standard: ClassVar[str] = "words of the Housing Benefit Regulations 2006; no data standard is published"
    known_by: ClassVar[tuple[str, ...]] = ("number",)

    number: Annotated[Code, PLAIN]
    """The benefits system's reference of the claim, unique in it."""
    claimant: Annotated[Key | None, PLAIN] = None
    application_date: Annotated[Day | None, FINANCIAL] = None
    review_date: Annotated[Day | None, FINANCIAL] = None
    cancel_date: Annotated[Day | None, FINANCIAL] = None
    households: Annotated[tuple[BenefitHousehold, ...], IDENTIFYING] = ()


REVENUES: tuple[type[Entity], ...] = (CouncilTaxAccount, BenefitClaim)
