"""The child itself, and the message's header."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Annotated, NamedTuple

from adapters.cin_census.codes import DISABILITY, NoUpn, SexCode
from adapters.kit.layout_kinds import FoundRow, refused_file
from adapters.kit.layouts import Passed
from adapters.kit.rows import Soft, Spelt, row_of
from adapters.kit.typed import row_key
from adapters.port import Row
from canonical.people import Identifier, Person, Sex


@row_of("Message/Header/CollectionDetails")
class CensusHeader(NamedTuple):
    collection: Annotated[str | None, Spelt("Collection")]


@row_of("ChildCharacteristics/Disabilities/Disability")
class Disability(NamedTuple):
    code: Soft[Annotated[str | None, DISABILITY, Spelt(".")]]


@row_of("Message/Children/Child", key="child")
class CensusChild(NamedTuple):
    child: Annotated[str, Spelt("ChildIdentifiers/LAchildID")]
    upn: Soft[Annotated[str | None, Spelt("ChildIdentifiers/UPN")]]
    former_upn: Soft[Annotated[str | None, Spelt("ChildIdentifiers/FormerUPN")]]
    no_upn: Annotated[NoUpn, Spelt("ChildIdentifiers/UPNunknown")]
    born: Annotated[date | None, Spelt("ChildIdentifiers/PersonBirthDate")]
    expected: Annotated[date | None, Spelt("ChildIdentifiers/ExpectedPersonBirthDate")]
    # GenderCurrent until the census of 2023/24, Sex since.
    sex: Annotated[SexCode, Spelt("ChildIdentifiers/Sex|ChildIdentifiers/GenderCurrent")]
    died: Annotated[date | None, Spelt("ChildIdentifiers/PersonDeathDate")]
    ethnicity: Soft[Annotated[str | None, Spelt("ChildCharacteristics/Ethnicity")]]
    disabilities: tuple[Disability, ...]


def person(source: str, c: CensusChild) -> Person:
    return Person(
        key=row_key(source, "person", c),
        upn=c.upn,
        former_upn=c.former_upn,
        upn_unknown_reason=c.no_upn,
        birth_date=c.born,
        expected_birth_date=c.expected,
        sex=Sex(c.sex or Sex.UNKNOWN),
        death_date=c.died,
        ethnicity=c.ethnicity,
        disabilities=tuple(each.code for each in c.disabilities if each.code),
        identifiers=(Identifier(system="cin-census", value=c.child),),
    )


def of_the_census(records: Iterator[FoundRow], _: frozenset[str]) -> Iterator[Row | Passed]:
    """
    The records of a message.

    :raises BadRecordError: its header says that it is another return: several of them have this root.
    """
    for kind, row, _line in records:
        if kind is not CensusHeader:
            yield row
        elif row != ("CIN",):
            raise refused_file("its header says Collection, and not CIN", "XML", "take it to the folder of its own return")
