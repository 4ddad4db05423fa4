"""Children's systems keep the answers in their forms, a row for each question: these functions read them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from itertools import groupby
from typing import Protocol

from canonical.people import ImmigrationStatus

_YES = ("Y", "YES")


class FormAnswer(Protocol):
    """An answer in a form. `question` is our own name for the question."""

    @property
    def form_id(self) -> int: ...

    @property
    def question(self) -> str | None: ...

    @property
    def text_answer(self) -> str | None: ...

    @property
    def date_answer(self) -> date | None: ...


def immigration_statuses(said: Iterable[FormAnswer]) -> tuple[ImmigrationStatus, ...]:
    """
    Each form about immigration says one status, and when it begins and ends. Its questions are `status`, `start` and `end`; a
    status that means an unaccompanied asylum-seeking child is the question `UASC`. The answers of a form stand together.
    """
    statuses = []
    for _, form in groupby(said, key=lambda each: each.form_id):
        answered = {each.question or "": each for each in form}
        status = "UASC" if "UASC" in answered else answered["status"].text_answer if "status" in answered else None
        start, end = (answered[name].date_answer if name in answered else None for name in ("start", "end"))
        if status:
            statuses.append(ImmigrationStatus(status=status, start_date=start, end_date=end))
    return tuple(statuses)


def said_of(person: int, said: Iterable[tuple[int | None, str | None]]) -> bool | None:
    """
    Tell whether the answer about a person is yes. `said` gives the person whom an answer names, and the answer: the last one
    about this person counts; one that names nobody is about all of them. None if there is none.
    """
    texts = {named: text.upper() for named, text in said if text and named in (None, person)}
    answer = texts.get(person, texts.get(None))
    return None if answer is None else answer in _YES
