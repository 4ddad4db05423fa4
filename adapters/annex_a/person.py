"""The persons of the lists: each line has their columns, and the lines of one person have to agree."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Annotated, NamedTuple

from adapters.annex_a.codes import EthnicityCode, SexWord
from adapters.kit.lettered import words_of
from adapters.kit.rows import Spelt, row_of
from adapters.kit.typed import row_key
from canonical.key import key_of
from canonical.people import Identifier, Person, Sex

CHILD, ADOPTER = "Child Unique ID", "Individual adopter identifier"


@row_of("the lists 1 to 10", key="child")
class ListedChild(NamedTuple):
    child: Annotated[str, Spelt(CHILD)]
    gender: Annotated[SexWord, Spelt("Gender")]
    ethnicity: Annotated[EthnicityCode, Spelt("Ethnicity")]
    born: Annotated[date | None, Spelt("Date of Birth")]


@row_of("list 11", key="adopter")
class ListedAdopter(NamedTuple):
    adopter: Annotated[str, Spelt(ADOPTER)]
    gender: Annotated[SexWord, Spelt("Gender")]
    ethnicity: Annotated[EthnicityCode, Spelt("Ethnicity")]


def in_one_spelling(row: ListedChild) -> Iterator[ListedChild]:
    """A line without the letters before its words: the lists spell the same child in several ways."""
    yield row._replace(gender=words_of(str(row.gender)), ethnicity=words_of(str(row.ethnicity)))


def child(source: str, c: ListedChild) -> Person:
    return Person(
        key=row_key(source, "person", c),
        sex=Sex(c.gender or Sex.UNKNOWN),
        ethnicity=c.ethnicity,
        birth_date=c.born,
        identifiers=(Identifier(system="annex-a", value=c.child),),
    )


def adopting(source: str, a: ListedAdopter) -> Person:
    return Person(
        key=row_key(source, "person", a, "adopter-"),
        sex=Sex(a.gender or Sex.UNKNOWN),
        ethnicity=a.ethnicity,
        identifiers=(Identifier(system="annex-a-adopter", value=a.adopter),),
    )


def person_key(source: str, child: str) -> str:
    return key_of(source, "person", child)
