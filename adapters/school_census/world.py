"""
An invented file of pupils who left their schools. Nobody in it exists.

`python -m adapters.school_census.world FOLDER --size 100` makes one; `--change 1` does a day's work and exports it again.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

from adapters.kit.files_world import FilesWork, FilesWorld, Sheets
from adapters.school_census.adapter import SchoolCensusSettings

FILE = "2026_spring_pupilnolongeronroll.csv"
PUPIL, PLACE = "pupilnolongeronrolltableid", "pupilnolongeronrollorderseqcolumn"


def written(day: date) -> str:
    return f"{day:%Y-%b-%d} 00:00:00"


def leaver(number: int, rng: Random, today: date) -> dict[str, str]:
    """A pupil who left a school this spring."""
    left = today - timedelta(days=rng.randrange(60, 150))
    return {
        PUPIL: f"{number:08x}-3ac", "NativeId": f"SCH{number % 9}",
        "dob": written(today - timedelta(days=rng.randrange(1900, 5800))),
        "surname": f"Darby{number}", "forename": rng.choice(("Abraham", "Deborah", "Hannah")), "upn": "", "formerupn": "",
        "uniquelearnernumber": "", "sex": rng.choice("MF"), "entrydate": written(left - timedelta(days=rng.randrange(100, 900))),
        "leavingdate": written(left), PLACE: "1", "parttime": rng.choice(("True", "False", "")), "boarder": rng.choice(("", "N")),
        "termlysessionspossible": "129.0", "ethnicity": rng.choice(("WBRI", "WIRI")), "language": "ENG",
    }  # fmt: skip


def _story(pupils: int, seed: int, today: date) -> tuple[Sheets, int]:
    rng = Random(seed)  # noqa: S311 (a story, not a secret)
    rows = [leaver(number, rng, today) for number in range(1, pupils + 1)]
    if pupils < 3:
        return {FILE: rows}, 0
    rows[0]["leavingdate"] = "2026-Feb-30 00:00:00"
    rows[1]["upn"] = "A12"
    return {FILE: rows}, 2


def _left_later(work: FilesWork) -> str | None:
    found = work.pick(FILE)
    if found is None:
        return None
    found["leavingdate"] = written(work.today)
    return f"The pupil {found[PUPIL]} left on {work.today:%d/%m/%Y}, and not before."


def _came_back(work: FilesWork) -> str | None:
    found = work.pick(FILE)
    if found is None:
        return None
    work.sheets[FILE].remove(found)
    return f"The pupil {found[PUPIL]} is on the roll again."


def _section(folder: Path) -> dict[str, Any]:
    return {"folders": [str(folder / "school-census")], "settle": 0, "every": 1}


SCHOOL_CENSUS: FilesWorld[SchoolCensusSettings] = FilesWorld(
    "school_census", "pupils", 100, _story, (_left_later, _came_back), _section
)

if __name__ == "__main__":
    SCHOOL_CENSUS.main()
