"""
An invented CIN census message, as a case system makes it. No child in it exists.

`python -m adapters.cin_census.world FOLDER --size 100` makes one; `--change 1` does a day's work and makes it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

from lxml import etree

from adapters.cin_census.adapter import CinCensusSettings
from adapters.kit.files_world import FilesWork, FilesWorld, Sheets, put_whole

CENSUS = "CIN_2026.xml"
_HEADER = {"CollectionDetails/Collection": "CIN", "CollectionDetails/Year": "2026", "Source/LEA": "893"}
IDENTIFIERS, CHARACTERISTICS, EPISODE = "ChildIdentifiers", "ChildCharacteristics", "CINdetails"
_NEEDS, _FACTORS = ("N1", "N2", "N4", "N5"), ("1A", "2B", "3A", "4B", "10A")


def write_census(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write a message; a child's row names each of its elements by its path. What is empty is left out."""
    message = etree.Element("Message")
    _fill(etree.SubElement(message, "Header"), _HEADER)
    children = etree.SubElement(message, "Children")
    for row in rows:
        _fill(etree.SubElement(children, "Child"), row)
    put_whole(path, etree.tostring(message, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _fill(element: Any, values: Mapping[str, str]) -> None:
    for place, value in values.items():
        at = element
        for name in place.split("/") if value else ():
            found = at.find(name)
            at = etree.SubElement(at, name) if found is None else found
        if value:
            at.text = value


def read_census(path: Path) -> list[dict[str, str]]:
    """Read a message that `write_census` wrote: every row has the places that a child may have."""
    children = etree.parse(path, etree.XMLParser(resolve_entities=False)).getroot().iterfind("Children/Child")
    return [{place: child.findtext(place, "") for place in PLACES} for child in children]


def child(number: int, rng: Random, today: date) -> dict[str, str]:
    """A child with one referral; every second one is assessed and has a plan, every fourth one is protected by one."""
    born, referred = today - timedelta(days=rng.randrange(400, 6000)), today - timedelta(days=rng.randrange(90, 300))
    who = {
        "LAchildID": f"C{number:05}", "UPN": "", "UPNunknown": f"UN{number % 7 + 1}", "PersonBirthDate": born.isoformat(),
        "Sex": rng.choice("MF"),
    }  # fmt: skip
    likes = {"Ethnicity": rng.choice(("WBRI", "AIND", "BAFR", "MOTH")), "Disabilities/Disability": rng.choice(("NONE", "AUT"))}
    about = {"CINreferralDate": referred.isoformat(), "ReferralSource": rng.choice(("1A", "2B", "6")),
             "PrimaryNeedCode": rng.choice(_NEEDS), "CINclosureDate": "", "ReasonForClosure": ""}  # fmt: skip
    whole = {EPISODE: about | _work(number, rng, referred), IDENTIFIERS: who, CHARACTERISTICS: likes}
    order = (IDENTIFIERS, CHARACTERISTICS, EPISODE)
    return {f"{part}/{name}": value for part in order for name, value in whole[part].items()}


def _work(number: int, rng: Random, referred: date) -> dict[str, str]:
    """The places of all that may follow a referral, in the census' order; empty where it did not."""
    day = [(referred + timedelta(days=days)).isoformat() for days in (2, 30, 35, 40, 52, 60)]
    assessed, protected = number % 2 == 0, number % 4 == 0
    factor = rng.choice(_FACTORS)
    return {
        "Assessments/AssessmentActualStartDate": day[0] if assessed else "",
        "Assessments/AssessmentAuthorisationDate": day[1] if assessed else "",
        "Assessments/FactorsIdentifiedAtAssessment/AssessmentFactors": factor if assessed else "",
        "CINPlanDates/CINPlanStartDate": day[2] if assessed else "",
        "Section47/S47ActualStartDate": day[3] if protected else "",
        "Section47/DateOfInitialCPC": day[4] if protected else "",
        "Section47/ICPCnotRequired": "false" if protected else "",
        "ReferralNFA": "false",
        "ChildProtectionPlans/CPPstartDate": day[4] if protected else "",
        "ChildProtectionPlans/InitialCategoryOfAbuse": "NEG" if protected else "",
        "ChildProtectionPlans/LatestCategoryOfAbuse": "NEG" if protected else "",
        "ChildProtectionPlans/Reviews/CPPreviewDate": day[5] if protected else "",
    }


PLACES = tuple(child(1, Random(1), date(2026, 6, 1)))  # noqa: S311 (a story, not a secret)


def _story(children: int, seed: int, today: date) -> tuple[Sheets, int]:
    rng = Random(seed)  # noqa: S311 (a story, not a secret)
    rows = [child(number, rng, today) for number in range(1, children + 1)]
    if children < 3:
        return {CENSUS: rows}, 0
    rows[0][f"{IDENTIFIERS}/UPN"] = "X000000000000"
    rows[-1][f"{IDENTIFIERS}/PersonBirthDate"] = "2014-02-31"
    return {CENSUS: rows}, 2


def _closed(work: FilesWork) -> str | None:
    found = work.pick(CENSUS, lambda row: not row[f"{EPISODE}/CINclosureDate"])
    if found is None:
        return None
    found |= {f"{EPISODE}/CINclosureDate": work.today.isoformat(), f"{EPISODE}/ReasonForClosure": "RC8"}
    return f"The case of child {found[f'{IDENTIFIERS}/LAchildID']} was closed on {work.today}."


def _planned(work: FilesWork) -> str | None:
    found = work.pick(CENSUS, lambda row: not row[f"{EPISODE}/CINPlanDates/CINPlanStartDate"])
    if found is None:
        return None
    found[f"{EPISODE}/CINPlanDates/CINPlanStartDate"] = work.today.isoformat()
    return f"Child {found[f'{IDENTIFIERS}/LAchildID']} has a plan since {work.today}."


def _section(folder: Path) -> dict[str, Any]:
    return {"folders": [str(folder / "cin_census")], "settle": 0, "every": 1}


CIN_CENSUS: FilesWorld[CinCensusSettings] = FilesWorld(
    "cin_census", "children", 100, _story, (_closed, _planned), _section, read=read_census, write=write_census
)

if __name__ == "__main__":
    CIN_CENSUS.main()
