"""
Schools: the pupils on their rolls.

Names follow the DfE's school census, whose items stand in its Common Basic Data Set.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from canonical.entity import IDENTIFYING, PLAIN, SPECIAL, Entity
from canonical.key import Key
from canonical.values import Code, Day

__all__ = ["EDUCATION", "Enrolment"]


class Enrolment(Entity):
    """A pupil is, or was, on the roll of a school."""

    type_name: ClassVar[str] = "enrolment"
    standard: ClassVar[str] = "DfE school census (Common Basic Data Set)"
    owned_by: ClassVar[str] = "person"

    person: Annotated[Key, PLAIN]
    school: Annotated[Code | None, PLAIN] = None
    """The school's number, as the source writes it."""
    entry_date: Annotated[Day | None, IDENTIFYING] = None
    leaving_date: Annotated[Day | None, IDENTIFYING] = None
    part_time: Annotated[bool | None, PLAIN] = None
    boarder: Annotated[Code | None, PLAIN] = None
    """The census's code set for boarders."""
    sessions_possible: Annotated[int | None, PLAIN] = None
    """Half days in the term that the pupil could have attended."""
    ethnicity: Annotated[Code | None, SPECIAL] = None
    """As this school has recorded it: two schools may say different things of one pupil."""
    language: Annotated[Code | None, SPECIAL] = None
    """The first language, as this school has recorded it."""


EDUCATION: tuple[type[Entity], ...] = (Enrolment,)
