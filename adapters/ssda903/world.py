"""
An invented SSDA903 return for demonstrations and tests: a folder of CSV files.

`python -m adapters.ssda903.world returns --size 100` makes one; `--change 1` works in it for a day and exports it again.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path
from random import Random
from string import ascii_uppercase
from typing import Any

from adapters.kit.files_world import FilesWork, FilesWorld, Sheets
from adapters.ssda903.adapter import Ssda903Settings

_UPN_LETTERS = sorted(set(ascii_uppercase) - set("IOS"))
_OPEN = ""
_NAMES = {
    name: f"SSDA903_2024_{name}.csv"
    for name in ("header", "episodes", "missing", "reviews", "oc2", "oc3", "ad1", "placed_adoption", "prev_perm", "uasc",
                 "sw_episodes")
}  # fmt: skip


class ReturnStory:
    """The rows of an invented return; the same seed tells the same story."""

    def __init__(self, seed: int, today: date) -> None:
        self.today = today
        self.rng = Random(seed)  # noqa: S311 (a story, not a secret)
        self.sheets: Sheets = defaultdict(list)

    def child(self, number: int) -> None:
        """A child who came into care some years ago. Some were missing, some are adopted, some have left care."""
        born = self.today - timedelta(days=self.rng.randrange(400, 6500))
        this = {"CHILD": str(100_000 + number), "DOB": written(born)}
        self._write("header", CHILD=this["CHILD"], SEX=self.rng.choice("12"), DOB=this["DOB"], ETHNIC="WBRI",
                    UPN=upn(number), MOTHER="1" if number % 29 == 0 else "", MC_DOB="")  # fmt: skip
        began = born + timedelta(days=self.rng.randrange(30, 300))
        self._care(this["CHILD"], number, began)
        self._write("reviews", **this, REVIEW=written(began + timedelta(days=20)), REVIEW_CODE=f"PN{number % 8}")
        flags = ("CONVICTED", "HEALTH_CHECK", "IMMUNISATIONS", "TEETH_CHECK", "HEALTH_ASSESSMENT", "SUBSTANCE_MISUSE")
        self._write("oc2", **this, SDQ_SCORE=str(number % 41), SDQ_REASON="", INTERVENTION_RECEIVED="", INTERVENTION_OFFERED="",
                    **{flag: self.rng.choice("01") for flag in flags})  # fmt: skip
        self._write("prev_perm", **this, PREV_PERM="Z1", LA_PERM="", DATE_PERM="")
        self._write("sw_episodes", **this, SW_ID=f"SW{number % 9}", SW_DECOM=written(began), SW_DEC="", SW_REASON="")
        if number % 3 == 0:
            gone = began + timedelta(days=9)
            self._write("missing", **this, MISSING="M", MIS_START=written(gone), MIS_END=written(gone + timedelta(days=2)))
        if number % 4 == 0:
            self._write("oc3", **this, IN_TOUCH="YES", ACTIV="F2", ACCOM="U1")
        if number % 5 == 0:
            self._adoption(this, began)
        if number % 7 == 0:
            self._write("uasc", CHILD=this["CHILD"], SEX="1", DOB=this["DOB"], DUC=written(born + timedelta(days=6574)))

    def _care(self, child: str, number: int, began: date) -> None:
        """One placement, or two that follow each other."""
        moved = began + timedelta(days=90)
        stays = [(began, None, "S")] if number % 2 else [(began, moved, "S"), (moved, None, "P")]
        for start, end, reason in stays:
            self._write("episodes", CHILD=child, DECOM=written(start), RNE=reason, LS="C2", CIN="N1", PLACE="U6",
                        PLACE_PROVIDER="PR1", DEC=written(end) if end else _OPEN, REC="X1" if end else "",
                        REASON_PLACE_CHANGE="CARPL" if end else "", HOME_POST="TF8 7DT", PL_POST="TF8 7NJ",
                        URN=f"SC{400_000 + number}")  # fmt: skip

    def _adoption(self, this: dict[str, str], began: date) -> None:
        decided, placed = began + timedelta(days=200), began + timedelta(days=320)
        self._write("ad1", **this, DATE_INT=written(decided), DATE_MATCH=written(placed - timedelta(days=30)), FOSTER_CARE="0",
                    NB_ADOPTR="2", SEX_ADOPTR="MF", LS_ADOPTR="L11")  # fmt: skip
        self._write("placed_adoption", **this, DATE_PLACED=written(placed), DATE_PLACED_CEASED="", REASON_PLACED_CEASED="")

    def _write(self, file: str, **row: str) -> None:
        self.sheets[_NAMES[file]].append(row)


def written(day: date) -> str:
    return f"{day:%d/%m/%Y}"


def upn(number: int) -> str:
    """A unique pupil number with its right check letter."""
    digits = f"8931234{number:05}"
    return _UPN_LETTERS[sum(int(digit) * weight for digit, weight in zip(digits, range(2, 14), strict=True)) % 23] + digits


def story(children: int, seed: int, today: date) -> tuple[Sheets, int]:
    told = ReturnStory(seed, today)
    for number in range(1, children + 1):
        told.child(number)
    if children < 3:
        return told.sheets, 0
    told.sheets[_NAMES["header"]][0]["UPN"] = "X000000000000"
    told.sheets[_NAMES["episodes"]][-1]["DECOM"] = "31/02/2024"
    return told.sheets, 2


def _move(work: FilesWork) -> str | None:
    stay = work.pick(_NAMES["episodes"], lambda row: row["DEC"] == _OPEN and row["PL_POST"] != "TF7 5AA")
    if stay is None:
        return None
    stay |= {"PLACE": "K2", "PL_POST": "TF7 5AA"}
    return f"Child {stay['CHILD']} lives elsewhere since {stay['DECOM']}."


def _review(work: FilesWork) -> str | None:
    child = work.pick(_NAMES["header"])
    if child is None:
        return None
    day = written(work.today)
    work.sheets[_NAMES["reviews"]].append({"CHILD": child["CHILD"], "DOB": child["DOB"], "REVIEW": day, "REVIEW_CODE": "PN1"})
    return f"The care of child {child['CHILD']} was reviewed on {day}."


def _taken_out(work: FilesWork) -> str | None:
    away = work.pick(_NAMES["missing"])
    if away is None:
        return None
    work.sheets[_NAMES["missing"]].remove(away)
    return f"Child {away['CHILD']} was not missing on {away['MIS_START']} after all."


def _section(folder: Path) -> dict[str, Any]:
    return {"folders": [str(folder / "ssda903")], "settle": 0, "every": 1}


SSDA903: FilesWorld[Ssda903Settings] = FilesWorld(
    "ssda903", "children", 100, story, (_move, _review, _taken_out), _section
)
WORLD = SSDA903.world()

if __name__ == "__main__":
    SSDA903.main()
