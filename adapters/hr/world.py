"""
An invented personnel system's export. Nobody in it exists.

`python -m adapters.hr.world FOLDER --size 100` makes one; `--change 1` does a day's work and exports it again.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

from adapters.hr.adapter import HrSettings
from adapters.kit.files_world import FilesWork, FilesWorld, Sheets

EMPLOYEES, POSTS, ASSIGNMENTS = "employees.csv", "posts.csv", "assignments.csv"
_TITLES = "Social Worker", "Team Manager", "Independent Reviewing Officer"


def written(day: date) -> str:
    return f"{day:%d/%m/%Y}"


def establishment(employees: int, seed: int, today: date) -> Sheets:
    """A post for each employee, and an assignment; every fourth one works for an agency and has another post besides."""
    rng = Random(seed)  # noqa: S311 (a story, not a secret)
    sheets: Sheets = {EMPLOYEES: [], POSTS: [], ASSIGNMENTS: []}
    for number in range(1, employees + 1):
        who, place, title = f"E{number:05}", f"P{number:04}", rng.choice(_TITLES)
        sheets[EMPLOYEES].append({"employee_ref": who, "title": "", "forename": "Hannah", "surname": f"Darby{number}"})
        sheets[POSTS].append(
            {"post_number": place, "post_title": title, "department": "Children", "cost_code": f"C{number % 7:03}"}
        )
        holding = {
            "employee_ref": who, "post_number": place, "start_date": written(today - timedelta(days=rng.randrange(30, 3000))),
            "end_date": "", "job_title": title, "department": "Children", "fte": rng.choice(("1", "0.8", "0.5")),
            "agency": "N", "registration": f"SW{number:05}",
        }  # fmt: skip
        sheets[ASSIGNMENTS].append(holding)
        if number % 4 == 0:
            sheets[ASSIGNMENTS].append(holding | {"post_number": "P0001", "fte": "0.2", "agency": "Y"})
    return sheets


def _story(employees: int, seed: int, today: date) -> tuple[Sheets, int]:
    sheets = establishment(employees, seed, today)
    sheets[ASSIGNMENTS][0]["fte"] = "full"
    sheets[ASSIGNMENTS][-1]["start_date"] = "31/02/2026"
    return sheets, 2


def _leaves(work: FilesWork) -> str | None:
    found = work.pick(ASSIGNMENTS, lambda row: not row["end_date"])
    if found is None:
        return None
    found["end_date"] = written(work.today)
    return f"{found['employee_ref']} leaves {found['post_number']} on {written(work.today)}."


def _renamed(work: FilesWork) -> str | None:
    found = work.pick(POSTS)
    if found is None:
        return None
    found["post_title"] = "Practice Lead"
    return f"The post {found['post_number']} is a Practice Lead's now."


def _section(folder: Path) -> dict[str, Any]:
    return {"folders": [str(folder / "hr")], "settle": 0, "every": 1}


HR: FilesWorld[HrSettings] = FilesWorld("hr", "employees", 100, _story, (_leaves, _renamed), _section)

if __name__ == "__main__":
    HR.main()
