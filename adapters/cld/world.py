"""
An invented Client Level Data file, as a case system makes it. Nobody in it exists.

`python -m adapters.cld.world FOLDER --size 100` makes one; `--change 1` does a day's work and exports it again.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

from adapters.cld.adapter import CldSettings
from adapters.kit.files_world import FilesWork, FilesWorld, Sheets

FILE = "CLD_2026_Q1.csv"
EVENTS = ("Request", "Assessment", "Service", "Review")
PERSON, REFERENCE = "LA_Person_Unique_Identifier", "Event_Reference"
_ABOUT = ("NHS_Number", PERSON, "Gender", "Ethnicity", "Date_of_Birth", "Date_of_Death", "Client_Type", "Primary_Support_Reason",
          "Postcode", "Event_Type", REFERENCE, "Event_Start_Date", "Event_End_Date", "Event_Description",
          "Event_Outcome")  # fmt: skip
_OF_KINDS = {
    "Request": {"Request_Route_of_Access": "Community / other route"},
    "Assessment": {"Assessment_Type": "Long term assessment", "Eligible_Needs_Identified": "Yes",
                   "Method_of_Assessment": "Virtual", "Total_Hrs_Caring_per_week": "", "No_of_adults_being_cared_for": "",
                   "Adult_1_Linked_Person_ID": "", "Adult_2_Linked_Person_ID": "", "Adult_3_Linked_Person_ID": ""},
    "Service": {"Service_Type": "Long term support: Community", "Service_Component": "Equipment",
                "Delivery_Mechanism": "Direct payment", "Unit_Cost": "64.10", "Cost_Frequency_Unit_Type": "Weekly",
                "Planned_units_per_week": "7.0", "Provider_CQC_Location_ID": "1-000000001"},
    "Review": {"Review_Reason": "Planned", "Review_Outcomes_Achieved": "Fully achieved", "Method_of_Review": "Face to face"},
}  # fmt: skip
_COLUMNS = (*_ABOUT, *(column for columns in _OF_KINDS.values() for column in columns))
_ETHNICITIES = "White: Irish", "Asian or Asian British: Indian", "No data: Refused"


def adult(number: int, rng: Random, today: date) -> list[dict[str, str]]:
    """An adult with all four events; every fifth one is a carer of the one before."""
    born, asked = today - timedelta(days=rng.randrange(8_000, 33_000)), today - timedelta(days=rng.randrange(100, 300))
    carer = number % 5 == 0
    who = {
        PERSON: person_of(number), "Gender": rng.choice(("Male", "Female")), "Ethnicity": rng.choice(_ETHNICITIES),
        "Date_of_Birth": written(born), "Client_Type": "Unpaid carer" if carer else "Service user",
        "Primary_Support_Reason": "Learning Disability Support", "Postcode": f"TF{number % 9 + 1} 1AA",
    }  # fmt: skip
    rows = []
    for at, kind in enumerate(EVENTS):
        begins = asked + timedelta(days=20 * at)
        when = {"Event_Start_Date": written(begins), "Event_End_Date": "" if kind == "Service" else written(begins)}
        event = {"Event_Type": kind, REFERENCE: f"{who[PERSON]}-{at + 1}", "Event_Outcome": "NFA: Other"}
        cares = {"No_of_adults_being_cared_for": "1", "Adult_1_Linked_Person_ID": person_of(number - 1)}
        rows.append(dict.fromkeys(_COLUMNS, "") | who | when | event | _OF_KINDS[kind])
        rows[-1] |= cares if carer and kind == "Assessment" else {}
    return rows


def person_of(number: int) -> str:
    return f"A{number:06}"


def written(day: date) -> str:
    return f"{day:%d/%m/%Y}"


def _story(adults: int, seed: int, today: date) -> tuple[Sheets, int]:
    rng = Random(seed)  # noqa: S311 (a story, not a secret)
    rows = [row for number in range(1, adults + 1) for row in adult(number, rng, today)]
    if adults < 3:
        return {FILE: rows}, 0
    rows[0]["Event_Type"] = "Enquiry"
    rows[-1]["Event_Start_Date"] = "31/02/2026"
    rows[-2]["Event_Outcome"] = "Progress to nowhere"
    return {FILE: rows}, 3


def _service_ends(work: FilesWork) -> str | None:
    found = work.pick(FILE, lambda row: row["Event_Type"] == "Service" and not row["Event_End_Date"])
    if found is None:
        return None
    found["Event_End_Date"] = written(work.today)
    return f"The service {found[REFERENCE]} ended on {written(work.today)}."


def _request_withdrawn(work: FilesWork) -> str | None:
    found = work.pick(FILE, lambda row: row["Event_Type"] == "Request")
    if found is None:
        return None
    work.sheets[FILE].remove(found)
    return f"The request {found[REFERENCE]} was entered by mistake."


def _section(folder: Path) -> dict[str, Any]:
    return {"folders": [str(folder / "cld")], "settle": 0, "every": 1}


CLD: FilesWorld[CldSettings] = FilesWorld("cld", "adults", 100, _story, (_service_ends, _request_withdrawn), _section)

if __name__ == "__main__":
    CLD.main()
