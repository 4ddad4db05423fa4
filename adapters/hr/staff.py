"""
Employees, posts and who holds them: the three files of a personnel system.

`employee_ref` and `cost_code` are iTrent's names; "post details" and "post holdings" are the words of ResourceLink.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, NamedTuple

from adapters.kit.rows import DayWritten, Soft, row_of
from adapters.kit.typed import row_key
from canonical.key import key_of
from canonical.people import Identifier, Name, Person
from canonical.workforce import Assignment, Post

_FORM = DayWritten("%d/%m/%Y")


@row_of("employees", key="employee_ref")
class Employee(NamedTuple):
    employee_ref: str
    title: Soft[str | None]
    forename: str | None
    surname: str | None


@row_of("posts", key="post_number")
class PostDetails(NamedTuple):
    post_number: str
    post_title: str | None
    department: str | None
    cost_code: Soft[str | None]


@row_of("assignments", key=("employee_ref", "post_number", "start_date"))
class PostHolding(NamedTuple):
    employee_ref: str
    post_number: str
    start_date: Annotated[date, _FORM]
    end_date: Annotated[date | None, _FORM]
    job_title: str | None
    department: str | None
    fte: Soft[Decimal | None]
    agency: Soft[bool | None]
    registration: Soft[str | None]


def person(source: str, e: Employee) -> Person:
    return Person(
        key=row_key(source, "person", e),
        names=(Name(given=e.forename, family=e.surname, title=e.title),),
        identifiers=(Identifier(system="employee-ref", value=e.employee_ref),),
    )


def post(source: str, p: PostDetails) -> Post:
    return Post(
        key=row_key(source, "post", p),
        number=p.post_number,
        title=p.post_title,
        department=p.department,
        cost_centre=p.cost_code,
    )


def assignment(source: str, h: PostHolding) -> Assignment:
    return Assignment(
        key=row_key(source, "assignment", h),
        person=key_of(source, "person", h.employee_ref),
        post=key_of(source, "post", h.post_number),
        staff_number=h.employee_ref,
        registration_number=h.registration,
        job_title=h.job_title,
        department=h.department,
        full_time_equivalent=h.fte,
        agency_worker=h.agency,
        start_date=h.start_date,
        end_date=h.end_date,
    )
