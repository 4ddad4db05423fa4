"""The person of an event: each line has its columns, and those of one person have to agree."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from adapters.cld.codes import ETHNICITY, SEX, Day
from adapters.kit.rows import Soft, Spelt, row_of
from adapters.kit.typed import row_key
from canonical.people import Address, Identifier, Person, Sex


@row_of("CLD", key="person")
class Adult(NamedTuple):
    person: Annotated[str, Spelt("LA_Person_Unique_Identifier")]
    nhs_number: Soft[str | None]
    gender: Soft[Annotated[str | None, SEX]]
    ethnicity: Soft[Annotated[str | None, ETHNICITY]]
    date_of_birth: Day
    date_of_death: Day
    postcode: Soft[str | None]


def person(source: str, a: Adult) -> Person:
    return Person(
        key=row_key(source, "person", a),
        nhs_number=a.nhs_number,
        sex=Sex(a.gender or Sex.UNKNOWN),
        ethnicity=a.ethnicity,
        birth_date=a.date_of_birth,
        death_date=a.date_of_death,
        addresses=(Address(postcode=a.postcode),) if a.postcode else (),
        identifiers=(Identifier(system="cld", value=a.person),),
    )
