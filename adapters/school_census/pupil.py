"""Pupils who are no longer on the roll of a school. One who left several schools has a line for each."""

from __future__ import annotations

from datetime import date
from typing import Annotated, NamedTuple

from adapters.kit.rows import DayWritten, Soft, Spelt, row_of
from adapters.kit.typed import row_key
from canonical.education import Enrolment
from canonical.key import key_of
from canonical.people import Identifier, Name, Person, Sex

_FORM = DayWritten("%Y-%b-%d %H:%M:%S")
_SEXES = {"M": Sex.MALE, "F": Sex.FEMALE}
Pupil = Annotated[str, Spelt("pupilnolongeronrolltableid")]


@row_of("LEAVER", key="pupil")
class Leaver(NamedTuple):
    pupil: Pupil
    forename: str | None
    surname: str | None
    dob: Annotated[date | None, _FORM]
    sex: str | None
    upn: Soft[str | None]
    former_upn: Soft[Annotated[str | None, Spelt("formerupn")]]
    learner: Annotated[str | None, Spelt("uniquelearnernumber")]


@row_of("LEAVER", key=("pupil", "place"))
class OffRoll(NamedTuple):
    pupil: Pupil
    place: Annotated[int, Spelt("pupilnolongeronrollorderseqcolumn")]
    school: Annotated[str | None, Spelt("NativeId")]
    entered: Annotated[date | None, _FORM, Spelt("entrydate")]
    left: Annotated[date | None, _FORM, Spelt("leavingdate")]
    part_time: Soft[Annotated[bool | None, Spelt("parttime")]]
    boarder: str | None
    sessions: Soft[Annotated[float | None, Spelt("termlysessionspossible")]]  # 129.0
    ethnicity: Soft[str | None]
    language: Soft[str | None]


def person(source: str, p: Leaver) -> Person:
    learner = (Identifier(system="unique-learner-number", value=p.learner),) if p.learner else ()
    return Person(
        key=row_key(source, "person", p),
        names=(Name(given=p.forename, family=p.surname),),
        birth_date=p.dob,
        sex=_SEXES.get((p.sex or "").upper(), Sex.UNKNOWN),
        upn=p.upn,
        former_upn=p.former_upn,
        identifiers=learner,
    )


def enrolment(source: str, o: OffRoll) -> Enrolment:
    return Enrolment(
        key=row_key(source, "enrolment", o),
        person=key_of(source, "person", o.pupil),
        school=o.school,
        entry_date=o.entered,
        leaving_date=o.left,
        part_time=o.part_time,
        boarder=o.boarder,
        sessions_possible=None if o.sessions is None else int(o.sessions),
        ethnicity=o.ethnicity,
        language=o.language,
    )
