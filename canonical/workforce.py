"""
The council's workforce: posts, and the people who are assigned to them.

Names follow the Standard Safeguarding Dataset v1.4 (`ssd_professionals`) where it has them. A worker is a person: an assignment
belongs to the person who holds the post.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from canonical.entity import IDENTIFYING, PLAIN, Entity
from canonical.key import Key
from canonical.values import Code, Day, Quantity, Text

__all__ = [
    "WORKFORCE",
    "Assignment",
    "Post",
]


class _OfTheWorkforce(Entity):
    standard: ClassVar[str] = "Standard Safeguarding Dataset v1.4"


class Post(_OfTheWorkforce):
    """A post is a place in the council's establishment that people are assigned to, one after another or several at once."""

    type_name: ClassVar[str] = "post"
    known_by: ClassVar[tuple[str, ...]] = ("number",)

    number: Annotated[Code, PLAIN]
    """The personnel system's number of the post, unique in it."""
    title: Annotated[Text | None, PLAIN] = None
    department: Annotated[Text | None, PLAIN] = None
    cost_centre: Annotated[Code | None, PLAIN] = None


class Assignment(_OfTheWorkforce):
    """A person is assigned to a post, or works for the council without one (SSD `ssd_professionals`)."""

    type_name: ClassVar[str] = "assignment"
    owned_by: ClassVar[str] = "person"
    known_by: ClassVar[tuple[str, ...]] = ("staff_number", "registration_number")

    person: Annotated[Key, PLAIN]
    post: Annotated[Key | None, PLAIN] = None
    staff_number: Annotated[Code | None, IDENTIFYING] = None
    """The personnel system's number of the worker (SSD `prof_staff_id`)."""
    registration_number: Annotated[Code | None, IDENTIFYING] = None
    """The Social Work England number (SSD `prof_social_worker_registration_no`)."""
    job_title: Annotated[Text | None, PLAIN] = None
    department: Annotated[Text | None, PLAIN] = None
    full_time_equivalent: Annotated[Quantity | None, IDENTIFYING] = None
    """1 is full time (SSD `prof_full_time_equivalency`)."""
    agency_worker: Annotated[bool | None, IDENTIFYING] = None
    start_date: Annotated[Day | None, IDENTIFYING] = None
    end_date: Annotated[Day | None, IDENTIFYING] = None


WORKFORCE: tuple[type[Entity], ...] = (Post, Assignment)
