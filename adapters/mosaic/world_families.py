"""
This module makes up the families of an invented mart and what happened to them, with every quirk of Mosaic.

Nobody here exists. UPNs and NHS numbers are well-formed numbers of nobody, UPRNs of no building.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Any

from stdnum.gb import nhs, upn

from adapters.kit.sql_world import Rows

ASSESSMENT, CIN_PLAN, CONFERENCE, SECTION_47 = (335, 344), (325, 369), 410, 402
QUESTIONS = {
    "conference_required": ("s47_outcome_icpc",),
    "immigration_status": ("imm_status",),
    "immigration_start": ("imm_from",),
    "immigration_end": ("imm_to",),
    "adoption_decision": ("adm_decision",),
    "adoption_match": ("adm_match",),
}
WORKERS = ("ALLWKR", "IRO", "PA")
UNLISTED = "WHITE_XX"
_GIVEN = ("Ada", "Bea", "Dita", "Elsa", "Fern", "Hope", "Iris", "Kit", "Lena", "Max", "Ned", "Otto", "Pip", "Quin", "Wren")
_FAMILIES = ("Alder", "Birch", "Cedar", "Dogwood", "Elder", "Furze", "Gorse", "Hazel", "Ivy", "Juniper", "Larch", "Thorn")
_STREETS = ("Brook Street", "Canal Row", "Dyers Yard", "Ferry Lane", "Glebe Close", "Quarry Rise", "Weir Road")
_ETHNICITIES = {"WHITE_BRIT": "WBRI", "WHITE_IRISH": "WIRI", "MIXED_WBC": "MWBC", "ASIAN_IND": "AIND", "BLACK_AFR": "BAFR"}
_GROUPS = {"CHILD|ABUSE": "N1", "CHILD|DISABILITY": "N2", "CHILD|FAMILY STRESS": "N4", "CHILD|OTHER": None}
_FACTORS = ("1A", "1B", "2A", "3B", "4A", "5A", "8B", "17A", "18B", "20", "22A")
_OPEN = datetime(9999, 12, 31)  # noqa: DTZ001 (a date has no zone)


def midnight(day: date) -> datetime:
    return datetime.combine(day, time.min)


def end(rng: Random, day: date | None) -> datetime | None:
    """An end; an open one is empty, or the last day that there is."""
    return midnight(day) if day else rng.choice((None, None, _OPEN))


class FamilyStory:
    """Makes up families one after another; the same seed and day tell the same story."""

    def __init__(self, seed: int, today: date) -> None:
        self.rng = Random(seed)  # noqa: S311 (a story, not a secret)
        self.today = today
        self.rows: Rows = defaultdict(list)
        self._numbers: dict[str, int] = defaultdict(lambda: 1000)
        self._workers: list[int] = []

    def add(self, table: str, key: str | None, **values: Any) -> int:
        """One row of a table with its next number, which steps unevenly as those of a real system do."""
        number = self._numbers[key or table] = self._numbers[key or table] + self.rng.choice((1, 1, 1, 2, 5))
        self.rows[table].append({key: number, **values} if key else values)
        return number

    def lists(self) -> None:
        """The mart's own mappings, the council's codes, and the workers with their teams."""
        self.rows["DM_ETHNICITIES"] += [
            {"ETHNICITY_CODE": code, "CIN_ETHNICITY_CODE": cin} for code, cin in _ETHNICITIES.items()
        ]
        self.rows["DM_SERV_USER_GROUP_TYPES"] += [
            {"GROUP_TYPE": kind, "NEED_CODE_CATEGORY_CODE": need} for kind, need in _GROUPS.items()
        ]
        types = (*ASSESSMENT, *CIN_PLAN, CONFERENCE, SECTION_47)
        self.rows["DM_WORKFLOW_STEP_TYPES"] += [{"WORKFLOW_STEP_TYPE_ID": each} for each in types]
        codes = [each for codes in QUESTIONS.values() for each in codes]
        self.rows["DM_CACHED_FORM_QUESTIONS"] += [{"QUESTION_USER_CODE": each} for each in codes]
        self.rows["DM_PROF_REL_TYPES"] += [{"PROF_REL_TYPE_CODE": each} for each in WORKERS]
        teams = [self.add("DM_ORGANISATIONS", "ORGANISATION_ID", NAME=name) for name in ("Assessment", "Protection", "Care")]
        for _ in range(20):
            worker = self.add("", "WORKER_ID")
            self._workers.append(worker)
            self.rows["DM_WORKER_ROLES"].append({"WORKER_ID": worker, "ORGANISATION_ID": self.rng.choice(teams)})

    def family(self, most: int) -> int:
        """A family with its children, at most so many; says how many there are."""
        rng, surname = self.rng, self.rng.choice(_FAMILIES)
        births = [self._birth() for _ in range(min(most, rng.choice((1, 1, 2, 3))))]
        children = [self.child(surname, born) for born in births]
        street = "No fixed abode" if rng.random() < 0.05 else f"{rng.randrange(1, 90)} {rng.choice(_STREETS)}, Ludford"
        for child in children:
            self._home(child, street)
        if rng.random() < 0.1 or len(children) == len(self.rows["DM_PERSONS"]):  # the first family has one in any case
            self._double(self.rows["DM_PERSONS"][-1])
        if rng.random() < 0.2:
            self.add("DM_PERSONS", "PERSON_ID", **self._named(surname, None), CONTEXT_FLAG="A")  # a parent
        self._referral(children, max(births))
        for child, born in zip(children, births, strict=True):
            if (self.today - born).days > 16 * 365 and rng.random() < 0.6:
                self._leaver(child)
        return len(children)

    def _birth(self) -> date:
        years = -self.rng.random() / 3 if self.rng.random() < 0.04 else self.rng.triangular(0.1, 21, 9)
        return self.today - timedelta(days=round(years * 365.25))

    def _named(self, surname: str, given: str | None) -> dict[str, Any]:
        """The columns that a person's row must have; the old number is never given twice."""
        return {
            "FIRST_NAME": given, "LAST_NAME": surname, "GENDER": self.rng.choice("MF"),
            "PERSON_ID_LEGACY": f"CF{self.add('', 'legacy'):07d}", "RESTRICTED": "Y" if self.rng.random() < 0.02 else "N",
        }  # fmt: skip

    def child(self, surname: str, born: date) -> int:
        rng, unborn = self.rng, born > self.today
        school = (self.today - born).days > 4.6 * 365
        number = upn_of(rng, born.year + 4) if school else rng.choice((None, "UN6" if unborn else "UN1"))
        ours = rng.randrange(400_000_000, 499_999_999)
        person = self.add(
            "DM_PERSONS", "PERSON_ID", **self._named(surname, None if unborn else rng.choice(_GIVEN)),
            DATE_OF_BIRTH=midnight(born), UPN_ID=number, CONTEXT_FLAG=rng.choice(("C", "C", None)),
            NHS_ID=None if unborn else nhs_of(ours), FULL_ETHNICITY_CODE=rng.choice((*_ETHNICITIES, None)),
            NATIONALITY=rng.choice(("British", "Polish", None)),
        )  # fmt: skip
        if rng.random() < 0.1:
            code = rng.choice(("LD", "MOB", "AUT", "NONE"))
            self.add("DM_DISABILITIES", "DISABILITY_ID", PERSON_ID=person, CIN_DISABILITY_CATEGORY_CODE=code)
        if rng.random() < 0.2:
            self.add("DM_PERSON_REFERENCES", "REFERENCE_ID", PERSON_ID=person, REFERENCE_TYPE="YOT", REFERENCE=f"Y{person}")
        if rng.random() < 0.04:
            self._immigration(person, born)
        kind = rng.choice(list(_GROUPS))
        self.rows["DM_SERVICE_USER_GROUPS"].append(
            {"PERSON_ID": person, "FULL_GROUP_TYPE": kind, "START_DATE": midnight(born), "END_DATE": end(rng, None)}
        )
        return person

    def _double(self, row: dict[str, Any]) -> None:
        """A child that was keyed in twice and referred under both numbers; a day's work merges them."""
        again = {**row, "PERSON_ID_LEGACY": f"D{row['PERSON_ID']}", "UPN_ID": None, "NHS_ID": None}
        del again["PERSON_ID"]
        double = self.add("DM_PERSONS", "PERSON_ID", **again)
        referred, number = midnight(self._between(self.today - timedelta(days=200))), self.add("", "WORKFLOW_STEP_ID")
        dropped = {"NFA_DATE": referred, "CLOSURE_DATE": referred, "CLOSURE_REASON": "RC8"}
        self.rows["DM_CIN_REFERRALS"].append(
            {"REFERRAL_ID": number, "PERSON_ID": double, "REFERRAL_DATE": referred, "SOURCE_OF_REFERRAL": "3A", **dropped}
        )

    def _immigration(self, person: int, born: date) -> None:
        form, since = self.add("", "FORM_ID"), self._between(born)
        said = {"imm_status": ("Unaccompanied asylum seeking child", None), "imm_from": (None, midnight(since))}
        for code, (text, day) in said.items():
            answer = {"QUESTION_USER_CODE": code, "TEXT_ANSWER": text, "DATE_ANSWER": day}
            self.rows["DM_CACHED_FORM_ANSWERS"].append({"FORM_ID": form, "SUBJECT_PERSON_ID": person, **answer})

    def _home(self, child: int, street: str) -> None:
        rng, since = self.rng, self._between(self.today - timedelta(days=2000))
        moved = since if rng.random() < 0.5 else None
        for start, stop in ((since - timedelta(days=400), moved), (moved, None)):
            if start:
                self.rows["DM_ADDRESSES"].append(address(rng, child, self.add("", "address"), street, start, stop))
        self.add("DM_TELEPHONE_NUMBERS", "TELEPHONE_NUMBER_ID", PERSON_ID=child, TELEPHONE_NUMBER="01632 960001",
                 TELEPHONE_NUMBER_TYPE="HOME")  # fmt: skip

    def _subgroup(self, children: Sequence[int]) -> int:
        group = self.add("", "SUBGROUP_ID")
        for child in children:
            self.rows["DM_SUBGROUP_SUBJECTS"].append(
                {"SUBGROUP_ID": group, "SUBJECT_COMPOUND_ID": child, "SUBJECT_TYPE_CODE": "PER"}
            )
        return group

    def step(self, kind: int, subgroup: int, start: date, stop: date | None, **values: Any) -> int:
        done = {"COMPLETED_ON": midnight(stop) if stop and stop <= self.today else None}
        return self.add("DM_WORKFLOW_STEPS", "WORKFLOW_STEP_ID", WORKFLOW_STEP_TYPE_ID=kind, SUBGROUP_ID=subgroup,
                        STARTED_ON=midnight(start) + timedelta(hours=9), **done, **values)  # fmt: skip

    def _referral(self, children: Sequence[int], born: date) -> None:
        """A referral of all the siblings, which is one step, and what follows from it."""
        rng = self.rng
        start = self._between(max(min(born, self.today - timedelta(days=60)), self.today - timedelta(days=3 * 365)))
        stop = None if rng.random() < 0.5 else min(start + timedelta(days=rng.randrange(30, 500)), self.today)
        dropped, referral = rng.random() < 0.1, self.add("", "WORKFLOW_STEP_ID")
        for child in children:
            self.rows["DM_CIN_REFERRALS"].append({
                "REFERRAL_ID": referral, "PERSON_ID": child, "REFERRAL_DATE": midnight(start),
                "SOURCE_OF_REFERRAL": rng.choice(("1A", "2A", "5B", "6 ")), "NFA_DATE": midnight(start) if dropped else None,
                "CLOSURE_DATE": end(rng, stop), "CLOSURE_REASON": "RC7" if stop else None,
            })  # fmt: skip
            self._worker(child, start, stop)
        if not dropped:
            self._work(children, self._subgroup(children), start, stop)

    def _worker(self, child: int, start: date, stop: date | None) -> None:
        rng = self.rng
        for n, kind in enumerate(("ALLWKR", *rng.sample(WORKERS, k=1))):
            mistyped = n and rng.random() < 0.2  # begun and ended at once: an allocation that was keyed in by mistake
            self.add("DM_PROF_RELATIONSHIPS", "PROF_RELATIONSHIP_ID", PERSON_ID=child, WORKER_ID=rng.choice(self._workers),
                     PROF_REL_TYPE_CODE=kind, START_DATE=midnight(start),
                     END_DATE=midnight(start) if mistyped else end(rng, stop))  # fmt: skip

    def _work(self, children: Sequence[int], subgroup: int, start: date, stop: date | None) -> None:
        rng = self.rng
        done = start + timedelta(days=rng.randrange(10, 45))
        step = self.step(rng.choice(ASSESSMENT), subgroup, start, done)
        for code in rng.sample(_FACTORS, k=rng.randrange(4)):
            self.rows["DM_CIN_ASSESS_FACTORS"].append({"ASSESSMENT_ID": step, "FACTOR_VALUE": code})
        self.step(ASSESSMENT[0], subgroup, start, None, CANCELLED_ON=midnight(start))
        if rng.random() < 0.4:
            self._plan(subgroup, done, stop)
        if rng.random() < 0.3:
            self._protection(children, subgroup, start, stop)
        if rng.random() < 0.25:
            for child in children[:2]:
                self._care(child, start, stop)

    def _plan(self, subgroup: int, start: date, stop: date | None) -> None:
        """A child in need plan that goes on in a second step."""
        first = self.step(CIN_PLAN[0], subgroup, start, start + timedelta(days=60))
        if start + timedelta(days=60) > self.today:
            return
        second = self.step(CIN_PLAN[1], subgroup, start + timedelta(days=60), stop)
        self.rows["DM_WORKFLOW_FORWARDS"].append({"WORKFLOW_STEP_ID": first, "SUBSEQUENT_WORKFLOW_STEP_ID": second})
        self.rows["DM_WORKFLOW_BACKWARDS"].append({"WORKFLOW_STEP_ID": second, "PRECEDING_WORKFLOW_STEP_ID": first})

    def _protection(self, children: Sequence[int], subgroup: int, start: date, stop: date | None) -> None:
        rng, held = self.rng, start + timedelta(days=14)
        enquiry = self.step(SECTION_47, subgroup, start, held, IS_SECTION_47_ENQUIRY="Y")
        answer = {"FORM_ID": self.add("", "FORM_ID"), "WORKFLOW_STEP_ID": enquiry, "QUESTION_USER_CODE": "s47_outcome_icpc"}
        self.rows["DM_CACHED_FORM_ANSWERS"].append({**answer, "TEXT_ANSWER": rng.choice(("Yes", "No"))})
        if rng.random() < 0.4 or held > self.today:
            return
        self.step(CONFERENCE, subgroup, held, held, CP_CONFERENCE_ACTUAL_DATE=midnight(held), CP_CONFERENCE_CATEGORY="Initial")
        for child in children:
            plan = self.add("DM_REGISTRATIONS", "REGISTRATION_ID", PERSON_ID=child, REGISTRATION_START_DATE=midnight(held),
                            DEREGISTRATION_DATE=end(rng, stop), IS_CHILD_PROTECTION_PLAN="Y",
                            IS_TEMPORARY_CHILD_PROTECTION="Y" if rng.random() < 0.05 else "N")  # fmt: skip
            for code in rng.sample(("NEG", "EMO", "PHY"), k=rng.choice((1, 1, 2))):
                self.rows["DM_REGISTRATION_CATEGORIES"].append({
                    "REGISTRATION_ID": plan, "CATEGORY_START_DATE": midnight(held), "CIN_ABUSE_CATEGORY_CODE": code,
                    "CATEGORY_END_DATE": end(rng, stop),
                })  # fmt: skip

    def _care(self, child: int, start: date, stop: date | None) -> None:
        """A period of care: each episode is begun by another legal status, another placement, a cut placement, or several."""
        rng, day = self.rng, start
        period = self.add("DM_PERIODS_OF_CARE", "PERIOD_OF_CARE_ID", PERSON_ID=child, START_DATE=midnight(start))
        of = {"PERSON_ID": child, "PERIOD_OF_CARE_ID": period}
        legal, home, split, carer, kind = self._legal(of, day), self.add("", "PLACEMENT_ID"), 1, self._carer(day), "U3"
        for _ in range(rng.randrange(2, 6)):
            until = day + timedelta(days=rng.randrange(20, 90))
            goes_on = until < min(stop or self.today, self.today)
            self._episode(of, (legal, home, split, carer, kind), day, until if goes_on else stop, more=goes_on)
            if not goes_on:
                break
            day = until
            change = rng.choice(("legal", "home", "both", "same carer", "type", "cut"))
            legal = self._legal(of, day) if change not in ("home", "type") else legal
            if change in ("type", "cut"):
                split += 1
            elif change != "legal":
                home, split = self.add("", "PLACEMENT_ID"), 1
                carer = carer if change == "same carer" else self._carer(day)
            kind = rng.choice(("U1", "U4", "A6")) if change == "type" else kind
        self.add("DM_HEALTH_ASSESSMENTS", "HEALTH_ID", PERSON_ID=child, HEALTH_ASSESSMENT_DATE=midnight(self._between(start)),
                 SDQ_SCORE=rng.randrange(41), SDQ_REASON=None)  # fmt: skip

    def _legal(self, of: dict[str, int], day: date) -> int:
        code = self.rng.choice(("V2", "C1", "C2", "E1"))
        return self.add("DM_LEGAL_STATUSES", "LEGAL_STATUS_ID", **of, LEGAL_STATUS=code, START_DATE=midnight(day))

    def _carer(self, day: date) -> int:
        carer = self.add("", "CARER_ID")
        home = {"POST_CODE": a_postcode(self.rng), "START_DATE": midnight(day - timedelta(days=900)), "END_DATE": _OPEN}
        self.rows["DM_PLACEMENT_CARER_ADDRESSES"].append({"CARER_ID": carer, **home})
        return carer

    def _episode(
        self, of: dict[str, int], about: tuple[int, int, int, int, str], day: date, until: date | None, *, more: bool
    ) -> None:
        rng, (legal, home, split, carer, kind) = self.rng, about
        dates = {"START_DATE": midnight(day), "END_DATE": end(rng, until)}
        if not any(row["PLACEMENT_ID"] == home and row["SPLIT_NUMBER"] == split for row in self.rows["DM_PLACEMENTS"][-2:]):
            self.rows["DM_PLACEMENTS"].append({
                "PLACEMENT_ID": home, "SPLIT_NUMBER": split, **of, **dates, "PLACEMENT_TYPE": kind, "CATEGORY_OF_NEED": "N1",
                "REASON_EPISODE_CEASED": None if more or until is None else "E4A", "IS_ADOPTED": "N",
                "REASON_FOR_PLACEMENT_CHANGE": "CARPL" if more else None,
            })  # fmt: skip
        self.rows["DM_PLACEMENTS"][-1]["END_DATE"] = dates["END_DATE"]
        service = self.add("DM_PLACEMENT_DETAILS", "ELEMENT_DETAIL_ID", SPLIT_NUMBER=1, CARER_ID=carer, START_DATE=midnight(day),
                           OFSTED_URN=f"SC{carer:06d}", CIN_PROVIDER_CATEGORY_CODE=rng.choice(("PR1", "PR4")))  # fmt: skip
        summary = {"LEGAL_STATUS_ID": legal, "PLACEMENT_ID": home, "PLACEMENT_SPLIT_NUMBER": split}
        self.rows["DM_CLA_SUMMARIES"].append(
            {**summary, "ELEMENT_DETAIL_ID": service, "SERVICE_SPLIT_NUMBER": 1, **of, **dates}
        )

    def _leaver(self, person: int) -> None:
        rng = self.rng
        for ago in (400, 35):
            self.rows["DM_FORMER_LOOKED_AFTER"].append({
                "PERSON_ID": person, "DATE_OF_SITUATION": midnight(self.today - timedelta(days=ago)),
                "IN_TOUCH_TYPE": rng.choice(("YES", "NO")), "ACTIVITY_TYPE": rng.choice(("F1", "F2", "G5")),
                "ACCOMODATION_TYPE": rng.choice("BCU"), "ACCOMODATION_SUITABLE": rng.choice("12"),
            })  # fmt: skip

    def _between(self, since: date) -> date:
        return since + timedelta(days=self.rng.randrange(max((self.today - since).days, 1)))


def address(rng: Random, person: int, number: int, street: str, since: date, until: date | None) -> dict[str, Any]:
    postcode = a_postcode(rng)
    return {
        "REF_ADDRESSES_PEOPLE_ID": number, "PERSON_ID": person, "ADDRESS_TYPE": "MAIN", "POST_CODE": postcode,
        "ADDRESS": street if "abode" in street else f"{street}, {postcode}", "START_DATE": midnight(since),
        "END_DATE": end(rng, until), "UNIQUE_ID": rng.choice((None, rng.randrange(990_000_000_000, 999_999_999_999))),
    }  # fmt: skip


def a_postcode(rng: Random) -> str:
    return f"SY8 {rng.randrange(1, 10)}{rng.choice('ABDEFGHJLN')}{rng.choice('PQRSTUWXYZ')}"


def upn_of(rng: Random, year: int) -> str:
    """A number that no school has issued, with the check letter that it would have."""
    rest = f"893{rng.randrange(2000, 6000)}{year % 100:02d}{rng.randrange(1000):03d}"
    return upn.calc_check_digit(rest) + rest


def nhs_of(nine: int) -> int | None:
    """The number with its check digit; None if there is none."""
    return next((number for number in range(nine * 10, nine * 10 + 10) if nhs.is_valid(str(number))), None)


def spoil(rows: Rows, rng: Random) -> int:
    """Write a few rows as they should not be, as people do; says how many records cannot be mapped as they stand."""
    children = [row for row in rows["DM_PERSONS"] if row.get("CONTEXT_FLAG") != "A"]
    few = rng.sample(children, k=min(3, len(children)))
    for row, (column, value) in zip(few, (("RESTRICTED", "?"), ("FULL_ETHNICITY_CODE", UNLISTED), ("NHS_ID", 4)), strict=False):
        row[column] = value
    return len(few)
