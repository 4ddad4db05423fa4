"""
Several streams read these of the mart: whom a workflow step concerns, the answers in its forms, and which referral was open.

The other tables are declared beside the mapping that reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, NamedTuple

from sqlalchemy import ColumnElement, DateTime, Numeric, String, and_, false
from sqlalchemy.sql.expression import FromClause

from adapters.kit.children_periods import open_on
from adapters.kit.sql import Choice, Joined, Tables, row_of
from adapters.kit.sql_conditions import plain
from canonical.key import key_of

Answer = Annotated[str | None, String(4000)]
"""An answer in a form, however long."""
Day = Annotated[date | None, DateTime()]
"""A DATETIME, mostly at midnight, as its day; an end on 9999-12-31 is open."""
Number = Annotated[int, Numeric(9, 0)]
"""The numbers that Mosaic gives its own records are NUMERIC(9), which drivers read as decimals."""
Flag = Annotated[bool | None, String(1)]
"""Y, N or nothing."""

STEP = {"subgroup_id": Number, "workflow_step_type_id": int, "started_on": Day, "completed_on": Day, "cancelled_on": Day}
"""The columns of DM_WORKFLOW_STEPS by which steps are chosen."""


@row_of("DM_SUBGROUP_SUBJECTS", key=("subgroup_id", "subject_compound_id"), also={"subject_type_code": str})
class DmSubgroupSubjects(NamedTuple):
    subgroup_id: Number
    subject_compound_id: Number


@row_of("DM_CIN_REFERRALS", key=("referral_id", "person_id"), of="person_id", to="person_id")
class PersonsReferral(NamedTuple):
    referral_id: Number
    referral_date: Day
    closure_date: Day


@row_of(
    "DM_CACHED_FORM_ANSWERS",
    of="subject_person_id",
    order=("form_id", "question_user_code", "date_answer", "text_answer"),
    to="person_id",
    also={"question_user_code": str},
)
class PersonsAnswer(NamedTuple):
    form_id: int
    text_answer: Answer
    date_answer: Day
    question: Joined[str | None]


def concerned(source: FromClause, subjects: FromClause, steps: FromClause | None = None) -> FromClause:
    """
    Steps, each once for every person in its subgroup: one step about three siblings is three rows. `source` is the steps, or
    has them joined to it.
    """
    subgroup = (source if steps is None else steps).c.SUBGROUP_ID
    return source.join(subjects, and_(subgroup == subjects.c.SUBGROUP_ID, plain(subjects.c.SUBJECT_TYPE_CODE) == "PER"))


def about_each(
    mart: Tables, row: type, where: ColumnElement[bool], parts: Mapping[str, Choice | None] | None = None,
    joined: Mapping[str, ColumnElement[Any]] | None = None,
) -> Choice:  # fmt: skip
    """Steps, each once for every person whom it concerns; the field `person_id` is that person."""
    steps, subjects = mart[row], mart[DmSubgroupSubjects]
    person = {"person_id": subjects.c.SUBJECT_COMPOUND_ID}
    return Choice(where, concerned(steps, subjects), {**person, **(joined or {})}, parts or {})


def begun(steps: FromClause) -> ColumnElement[bool]:
    """Steps that have begun and were not cancelled."""
    return and_(steps.c.STARTED_ON.is_not(None), steps.c.CANCELLED_ON.is_(None))


def of_types(steps: FromClause, types: Sequence[int]) -> ColumnElement[bool]:
    """Steps of these types that have begun and were not cancelled."""
    return and_(steps.c.WORKFLOW_STEP_TYPE_ID.in_(types), begun(steps)) if types else false()


def open_episode(source: str, person: int, referrals: Sequence[PersonsReferral], day: date | None) -> str | None:
    """The key of the person's care episode that was open on a day: of several the one referred last."""
    number = open_on(day, referrals)
    return None if number is None else key_of(source, "care-episode", number, person)
