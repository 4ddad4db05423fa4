"""
Several streams read these of the mart: whom a workflow step concerns, the answers in its forms, and which referral was open.

The other tables are declared beside the mapping that reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, NamedTuple

from sqlalchemy import ColumnElement, DateTime, Numeric, String, and_, case, false, func
from sqlalchemy.sql.expression import FromClause

from adapters.kit.sql import Choice, Joined, Tables, row_of
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


def plain(code: ColumnElement[Any]) -> ColumnElement[Any]:
    """A code without the blanks and the case in which entries differ."""
    return func.upper(func.rtrim(code))


def concerned(source: FromClause, subjects: FromClause, steps: FromClause | None = None) -> FromClause:
    """
    Steps, each once for every person in its subgroup: one step about three siblings is three rows. `source` is the steps, or
    has them joined to it.
    """
    subgroup = (source if steps is None else steps).c.SUBGROUP_ID
    return source.join(subjects, and_(subgroup == subjects.c.SUBGROUP_ID, plain(subjects.c.SUBJECT_TYPE_CODE) == "PER"))


def of_types(steps: FromClause, types: Sequence[int]) -> ColumnElement[bool]:
    """Steps of these types that have begun and were not cancelled."""
    begun = and_(steps.c.STARTED_ON.is_not(None), steps.c.CANCELLED_ON.is_(None))
    return and_(steps.c.WORKFLOW_STEP_TYPE_ID.in_(types), begun) if types else false()


def answers(mart: Tables, row: type, asked: Mapping[str, Sequence[str]]) -> Choice | None:
    """The answers to some questions, each with our name for its question; None if the council has named none."""
    named = {name: [code.strip().upper() for code in codes] for name, codes in asked.items() if codes}
    if not named:
        return None
    code = plain(mart[row].c.QUESTION_USER_CODE)
    question = case(*[(code.in_(codes), name) for name, codes in named.items()])
    return Choice(where=code.in_([each for codes in named.values() for each in codes]), joined={"question": question})


def open_episode(source: str, person: int, referrals: Sequence[PersonsReferral], day: date | None) -> str | None:
    """The key of the person's care episode that was open on a day: of several the one referred last."""
    known = [each for each in referrals if day and each.referral_date and each.referral_date <= day]
    still = [each for each in known if each.closure_date is None or (day and each.closure_date >= day)]
    last = max(still, key=lambda each: (each.referral_date or date.min, each.referral_id), default=None)
    return None if last is None else key_of(source, "care-episode", last.referral_id, person)
