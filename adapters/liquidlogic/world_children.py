"""
The invented children of the demonstration warehouse: who they are and what happened to them, with every quirk of HDM.

Nobody here exists. UPNs are well-formed numbers of no pupil, UPRNs of no building.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Any

from stdnum.gb import upn

from adapters.kit.sql_world import Rows


def _words(written: str, separator: str | None = None) -> list[str]:
    return written.split(separator)


_GIRLS = _words(
    "Amelia Ava Aisha Beatrix Bronwen Chloe Daisy Edith Efa Ffion Freya Gwen Hannah Imani Isla Jasmine Keira Leila "
    "Lily Maryam Mia Niamh Nia Olivia Poppy Rhiannon Rosie Saoirse Seren Sofia Tegan Willow Yasmin Zara Zofia"
)
_BOYS = _words(
    "Aaron Adam Alfie Amir Archie Ben Callum Dafydd Daniel Dylan Elijah Ethan Finley George Harri Harvey Ibrahim Ioan "
    "Jack Jayden Kacper Kai Leo Liam Logan Mohammed Noah Oliver Osian Owen Rhys Ryan Samuel Theo Tomos Zachary"
)
_FAMILIES = _words(
    "Ashworth Bailey Beddoes Begum Bowen Breeze Cartwright Cureton Davies Dyas Ellis Evason Evans Foulkes Francis "
    "Gittins Gough Gwilt Harris Hotchkiss Hughes Humphreys Ikin Jarvis Jones Khan Kowalski Lewis Llewellyn Lloyd "
    "Mansell Meredith Morgan Nowak O'Brien Onions Oswell Parry Patel Pinches Powell Preece Price Pugh Rees Roberts "
    "Rogers Rowlands Salter Shah Swain Tudor Vaughan Wainwright Whitefoot Wilding Williams Yapp"
)
_STREETS = _words(
    "Abbey Foregate,Belle Vue Road,Castle Street,Copthorne Road,Corve Street,Dale Street,English Bridge Court,"
    "Green End,High Street,Longden Road,Mardol,Oak Lane,Oteley Road,Roman Road,Salop Street,School Lane,"
    "Severn View,Station Road,The Crescent,Underdale Avenue,Wenlock Road,Willow Street,Wyle Cop",
    ",",
)
_TOWNS = {"Shrewsbury": "SY1", "Oswestry": "SY11", "Ludlow": "SY8", "Whitchurch": "SY13", "Bridgnorth": "WV16"}
ETHNICITIES = {
    "WBR": "WBRI", "WIR": "WIRI", "WOT": "WOTH", "WRO": "WROM", "MWB": "MWBC", "MWA": "MWAS", "MOT": "MOTH",
    "AIN": "AIND", "APK": "APKN", "ABA": "ABAN", "BCA": "BCRB", "BAF": "BAFR", "CHN": "CHNE", "OOT": "OOTH",
    "REF": "REFU", "NOB": "NOBT",
}  # fmt: skip
UNLISTED = "ZZZ"
DISABILITIES = {
    "1": "MOB", "2": "HAND", "3": "PC", "4": "INC", "5": "COMM", "6": "LD", "7": "HEAR", "8": "VIS", "9": "BEH",
    "10": "CON", "11": "AUT", "12": "DDA", "0": "NONE",
}  # fmt: skip
_FACTORS = _words("1A 1B 2B 3A 3B 3C 4B 5A 6A 8B 8E 9A 10A 12A 13A 15A 18B 19A 19C 20 21 22A")
_REFERRERS = {
    "1A": "1A - Individual: family member", "1C": "1C - Individual: self", "2A": "2A - Schools", "3A": "3A - GP",
    "3C": "3C - Health visitor", "5B": "5B - LA services: other", "6": "6 - Police", "10": "10 - Unknown",
}  # fmt: skip
_CATEGORIES = ("Neglect", "Emotional abuse", "NEG", "Physical abuse", "Sexual abuse", "EMO - Emotional", "Multiple")
_ACTIVITIES = (
    "F1 - Full time in higher education", "F2 - Full time in education other than higher", "P2: part time education",
    "F4 - Full time in training or employment", "F5 - Full time apprenticeship", "G4 - Not in work: illness",
    "G5 - Not in work: other", "G6 - Not in work: parenting",
)  # fmt: skip
_HOMES = ("B - With parents or relatives", "C - Community home", "D: Semi-independent", "U - Foyer", "T - Foyers", "V")


def midnight(day: date) -> datetime:
    return datetime.combine(day, time.min)


def upn_of(rng: Random, year: int) -> str:
    """A number that no school has issued, with the check letter that it would have."""
    rest = f"893{rng.randrange(2000, 6000)}{year % 100:02d}{rng.randrange(1000):03d}"
    return upn.calc_check_digit(rest) + rest


def a_postcode(rng: Random, district: str) -> str:
    return f"{district} {rng.randrange(1, 10)}{rng.choice('ABDEFGHJLNPQRSTUWXYZ')}{rng.choice('ABDEFGHJLNPQRSTUWXYZ')}"


def address(rng: Random, person: int, number: int, since: date, until: date | None) -> dict[str, Any]:
    town = rng.choice(list(_TOWNS))
    return {
        "DIM_PERSON_ADDRESS_ID": number,
        "DIM_PERSON_ID": person,
        "ADDSS_TYPE_CODE": rng.choice(("HOME", "HOME", "PLAC", "TEMP")),
        "FLAT_NO": f"Flat {rng.randrange(1, 20)}" if rng.random() < 0.1 else None,
        "HOUSE_NO": str(rng.randrange(1, 180)),
        "STREET": rng.choice(_STREETS),
        "TOWN": town.ljust(20) if rng.random() < 0.3 else town,
        "POSTCODE": "XXX XXX" if rng.random() < 0.01 else a_postcode(rng, _TOWNS[town]).ljust(rng.choice((0, 15))),
        "UPRN": f"{rng.randrange(990_000_000_000, 999_999_999_999)}" if rng.random() < 0.7 else None,
        "START_DTTM": midnight(since),
        "END_DTTM": midnight(until) if until else None,
    }


class ChildStory:
    """Makes up children one after another; the same seed and day tell the same story."""

    def __init__(self, seed: int, today: date) -> None:
        self.rng = Random(seed)  # noqa: S311 (a story, not a secret)
        self.today = today
        self.rows: Rows = defaultdict(list)
        self._numbers: dict[str, int] = defaultdict(lambda: 1000)
        self._workers: list[int] = []

    def add(self, table: str, key: str | None, **values: Any) -> int:
        """One row of a table with its next number, which steps unevenly as those of a real system do."""
        number = self._numbers[table] = self._numbers[table] + self.rng.choice((1, 1, 1, 2, 5))
        self.rows[table].append({key: number, **values} if key else values)
        return number

    def lists(self) -> None:
        """The lookups, the workers, and the rows of -1 that stand for nobody."""
        for name, codes in (("DIM_LOOKUP_DFE_ETHNIC", ETHNICITIES), ("DIM_LOOKUP_DISAB", DISABILITIES)):
            self.rows[name] += [{"MAIN_CODE": local, "NAT_ID": national} for local, national in codes.items()]
        self.rows["DIM_PERSON"].append({"DIM_PERSON_ID": -1, "SURNAME": "Unknown", "IS_CLIENT": "Y"})
        self.rows["DIM_WORKER"].append({"DIM_WORKER_ID": -1, "WORKER_ID_CODE": "NONE"})
        self.rows["FACT_REFERRALS"].append({"FACT_REFERRAL_ID": 999, "DIM_PERSON_ID": -1})
        for n in range(25):
            code = f"SW{self.rng.randrange(10_000, 99_999)}" if n % 4 else None
            team = self.rng.choice(("Assessment North", "Case Management South", "Looked After", "Leaving Care"))
            worker = self.add("DIM_WORKER", "DIM_WORKER_ID", WORKER_ID_CODE=code, DEPARTMENT_NAME=team)
            self._workers.append(worker)

    def child(self) -> None:
        rng = self.rng
        age = -rng.random() / 2 if rng.random() < 0.03 else rng.triangular(0.05, 22, 11)  # before birth, or in years
        born = self.today - timedelta(days=round(age * 365.25))
        person = self._person(born)
        for _ in range(rng.choice((1, 1, 1, 2))):
            self._referral(person, born)
        if age > 16 and rng.random() < 0.5:
            self._leaver(person)

    def somebody_else(self) -> None:
        """A parent or carer: in DIM_PERSON, and no client."""
        rng = self.rng
        values = {"FORENAME": rng.choice(_GIRLS + _BOYS), "SURNAME": rng.choice(_FAMILIES), "IS_CLIENT": "N"}
        self.add("DIM_PERSON", "DIM_PERSON_ID", **values, GENDER_MAIN_CODE=rng.choice("MF"))

    def _person(self, born: date) -> int:
        rng, unborn = self.rng, born > self.today
        girl, school = rng.random() < 0.49, (self.today - born).days > 4.6 * 365
        number = upn_of(rng, born.year + 4) if school else None
        reason = None if school else "UN6" if unborn else "UN1"
        forename = None if unborn else rng.choice(_GIRLS if girl else _BOYS)
        in_column = reason is not None and rng.random() < 0.2
        values = {
            "LEGACY_ID": str(rng.randrange(100_000, 9_999_999)),
            "FORENAME": forename.ljust(30) if forename and rng.random() < 0.2 else forename,
            "SURNAME": rng.choice(_FAMILIES),
            "BIRTH_DTTM": midnight(born) + timedelta(hours=rng.choice((0, 0, 0, 0, 13))),
            "DOB_ESTIMATED": "Y" if unborn else "N",
            "DEATH_DTTM": midnight(date(1900, 1, 1)) if rng.random() < 0.05 else None,
            "GENDER_MAIN_CODE": "U" if unborn else rng.choice(("F", "F", "F ")) if girl else "M",
            "ETHNICITY_MAIN_CODE": rng.choice(("WBR", "WBR", "WBR", "WBR  ", *ETHNICITIES)),
            "NATNL_CODE": rng.choice(("GB", "GB", "GB", "PL", None)),
            "UPN": reason if in_column else number and rng.choice((number, number, f" {number}", number.ljust(20))),
            "FORMER_UPN": upn_of(rng, born.year + 4) if school and rng.random() < 0.05 else None,
            "IS_CLIENT": "Y",
        }
        person = self.add("DIM_PERSON", "DIM_PERSON_ID", **values)
        if reason and not in_column:
            self.add("FACT_903_DATA", None, DIM_PERSON_ID=person, NO_UPN_CODE=reason)
        if rng.random() < 0.02:  # keyed in twice, and merged
            self.add("DIM_PERSON", "DIM_PERSON_ID", **values, DUPLICATED_DTTM=self._ago(200))
        self._about(person, max(born, self.today - timedelta(days=20 * 365)))
        return person

    def _about(self, person: int, since: date) -> None:
        rng = self.rng
        moves = sorted(self._between(since) for _ in range(rng.choice((1, 1, 2, 2, 3))))
        for start, end in zip(moves, [*moves[1:], None], strict=True):
            number = self.add("", None)
            self.rows["DIM_PERSON_ADDRESS"].append(address(rng, person, number, start, end))
        for code in rng.sample(list(DISABILITIES)[:-1], k=rng.choice((0, 0, 0, 0, 0, 0, 1, 2))):
            ended = self._ago(400) if rng.random() < 0.1 else None
            self.add(
                "FACT_DISABILITY", "FACT_DISABILITY_ID",
                DIM_PERSON_ID=person, DIM_LOOKUP_DISAB_CODE=code.ljust(4), END_DTTM=ended,
            )  # fmt: skip
        if rng.random() < 0.04:
            described = rng.choice(("Unaccompanied Asylum Seeking Child", "UASC", "Refugee", "Asylum granted"))
            start = self._between(since)
            self.add(
                "FACT_IMMIGRATION_STATUS", "FACT_IMMIGRATION_STATUS_ID", DIM_PERSON_ID=person,
                DIM_LOOKUP_IMMGR_STATUS_DESC=described, START_DTTM=midnight(start),
                END_DTTM=midnight(self._between(start)) if rng.random() < 0.3 else None,
            )  # fmt: skip

    def _referral(self, person: int, born: date) -> None:
        rng = self.rng
        start = self._between(max(min(born, self.today - timedelta(days=60)), self.today - timedelta(days=4 * 365)))
        end = None if rng.random() < 0.5 else min(start + timedelta(days=rng.randrange(20, 500)), self.today)
        by, dropped = rng.choice(list(_REFERRERS)), rng.random() < 0.1
        referral = self.add(
            "FACT_REFERRALS", "FACT_REFERRAL_ID", DIM_PERSON_ID=person, REFRL_START_DTTM=midnight(start),
            DIM_LOOKUP_CONT_SORC_ID=rng.choice((by, "417")), DIM_LOOKUP_CONT_SORC_ID_DESC=_REFERRERS[by],
            OUTCOME_NFA_FLAG="Y" if dropped else rng.choice(("N", "0", None)),
            DIM_LOOKUP_CATEGORY_OF_NEED_CODE=f"N{rng.randrange(1, 9)}",
            REFRL_END_DTTM=midnight(end) if end else rng.choice((None, None, midnight(date(1900, 1, 1)))),
            DIM_LOOKUP_REFRL_ENDRSN_ID_CODE=rng.choice(("RC1", "RC7", "RC8")) if end else None,
        )  # fmt: skip
        self._worker(person, referral, start, end)
        if dropped:
            return
        self._assessment(person, referral, start)
        if rng.random() < 0.4:
            self._cin_plan(person, referral, start, end)
        if rng.random() < 0.25:
            self._protection(person, referral, start, end)
        if rng.random() < 0.12:
            self._care(person, referral, start, end)

    def _worker(self, person: int, referral: int, start: date, end: date | None) -> None:
        rng = self.rng
        for kind in ("CW", *rng.sample(("16PLUS", "IRO", "FSW"), k=rng.choice((0, 0, 1)))):
            self.add(
                "FACT_INVOLVEMENTS", "FACT_INVOLVEMENTS_ID", DIM_PERSON_ID=person, FACT_REFERRAL_ID=referral,
                DIM_WORKER_ID=rng.choice((*self._workers, -1)), DIM_LOOKUP_INVOLVEMENT_TYPE_CODE=kind,
                START_DTTM=midnight(start) + timedelta(hours=9), END_DTTM=midnight(end) if end else None,
                DIM_LOOKUP_CWREASON_CODE="LEFT" if end and rng.random() < 0.2 else None,
            )  # fmt: skip

    def _assessment(self, person: int, referral: int, start: date) -> None:
        rng = self.rng
        done = start + timedelta(days=rng.randrange(10, 60))
        answers = [(code, rng.choice(("Yes", "Yes", "No"))) for code in rng.sample(_FACTORS, k=rng.randrange(0, 6))]
        if done <= self.today:
            answers.append(("FormEndDate", rng.choice((f"{done:%d/%m/%Y}", f"{done} 00:00:00"))))
        form = self._form(person, "Single Assessment", answers, done)
        self.add(
            "FACT_SINGLE_ASSESSMENT", "FACT_SINGLE_ASSESSMENT_ID", DIM_PERSON_ID=person, FACT_REFERRAL_ID=referral,
            FACT_FORM_ID=form, START_DTTM=midnight(start),
            DIM_LOOKUP_STEP_SUBSTATUS_CODE=rng.choice(("C", "C", "C", "C", "C", "A", "A", None, "X", "D")),
        )  # fmt: skip

    def _form(self, person: int, template: str, answers: list[tuple[str, str]], answered: date) -> int:
        form = self.add("FACT_FORMS", "FACT_FORM_ID", DIM_PERSON_ID=person)
        for number, answer in answers:
            self.add(
                "FACT_FORM_ANSWERS", "FACT_FORM_ANSWER_ID", FACT_FORM_ID=form, ANSWER_NO=number, ANSWER=answer,
                ANSWERED_DTTM=midnight(answered) + timedelta(hours=11),
                DIM_ASSESSMENT_TEMPLATE_ID_DESC=template,
            )  # fmt: skip
        return form

    def _cin_plan(self, person: int, referral: int, start: date, end: date | None) -> None:
        rng = self.rng
        summary = self.add(
            "FACT_CARE_PLAN_SUMMARY", "FACT_CARE_PLAN_SUMMARY_ID", DIM_PERSON_ID=person, FACT_REFERRAL_ID=referral,
            START_DTTM=midnight(start + timedelta(days=20)), END_DTTM=midnight(end) if end else None,
            DIM_LOOKUP_PLAN_STATUS_ID_CODE=rng.choice(("A", "A", "A", "C", None, "z")),
        )  # fmt: skip
        kind = rng.choice(("FP", "FP", "FP", "PATH"))
        for _ in range(rng.randrange(1, 3)):  # each revision of the plan
            self.add(
                "FACT_CARE_PLANS", "FACT_CARE_PLAN_ID",
                FACT_CARE_PLAN_SUMMARY_ID=summary, DIM_LOOKUP_PLAN_TYPE_ID_CODE=kind,
            )  # fmt: skip

    def _protection(self, person: int, referral: int, start: date, end: date | None) -> None:
        rng, held = self.rng, start + timedelta(days=15)
        conference = rng.random() < 0.6
        enquiry = self.add(
            "FACT_S47", "FACT_S47_ID", DIM_PERSON_ID=person, FACT_REFERRAL_ID=referral, START_DTTM=midnight(start),
            END_DTTM=midnight(held) if held <= self.today else None,
            OUTCOME_CP_CONFERENCE_FLAG=rng.choice("Y1") if conference else rng.choice("N0"),
        )  # fmt: skip
        if not conference or held > self.today:
            return
        meeting = self.add(
            "FACT_MEETINGS", "FACT_MEETING_ID",
            ACTUAL_DTTM=midnight(held) + timedelta(hours=14), DIM_LOOKUP_MTG_TYPE_ID_CODE="CPConference",
        )  # fmt: skip
        self.add("FACT_CP_CONFERENCE", "FACT_CP_CONFERENCE_ID", FACT_S47_ID=enquiry, FACT_MEETING_ID=meeting)
        self.add(
            "FACT_CP_PLAN", "FACT_CP_PLAN_ID", DIM_PERSON_ID=person, START_DTTM=midnight(held),
            FACT_REFERRAL_ID=referral if rng.random() < 0.9 else -1, END_DTTM=midnight(end) if end else None,
            INIT_CATEGORY_DESC=rng.choice(_CATEGORIES), CP_CATEGORY_DESC=rng.choice(_CATEGORIES),
        )  # fmt: skip

    def _care(self, person: int, referral: int, start: date, end: date | None) -> None:
        rng = self.rng
        period = self.add("FACT_CLA", "FACT_CLA_ID", FACT_REFERRAL_ID=referral)
        begin, adopted = start, rng.random() < 0.1
        for n, last in enumerate((False,) * rng.randrange(0, 3) + (True,)):
            finish = end if last else min(begin + timedelta(days=rng.randrange(15, 120)), end or self.today)
            home = self._placement(person, period, begin, finish, "A3" if adopted and last else None)
            closed = rng.choice(("E4A", "E11", "E48")) if last else "X1"
            self.add(
                "FACT_CARE_EPISODES", "FACT_CARE_EPISODES_ID", DIM_PERSON_ID=person, FACT_CLA_ID=period,
                FACT_CLA_PLACEMENT_ID=home, CARE_START_DATE=midnight(begin),
                CARE_REASON_DESC="P - Change of placement" if n else "S - Started to be looked after",
                CARE_END_DATE=midnight(finish) if finish else None,
                CARE_REASON_END_CODE=closed if finish and rng.random() < 0.7 else None,
                CARE_REASON_END_DESC=f"{closed} - Ceased" if finish else None, CIN_903_CODE=f"N{rng.randrange(1, 9)}",
                OFSTED_URN=rng.choice((f"SC{rng.randrange(100_000, 999_999)}", "LOCAL", None)),
            )  # fmt: skip
            begin = finish or self.today
        self._screening(person, start)
        if adopted:
            self._adoption(person, start)

    def _placement(self, person: int, period: int, start: date, end: date | None, kind: str | None) -> int:
        rng = self.rng
        return self.add(
            "FACT_CLA_PLACEMENT", "FACT_CLA_PLACEMENT_ID", DIM_PERSON_ID=person, FACT_CLA_ID=period,
            START_DTTM=midnight(start), END_DTTM=midnight(end) if end else None,
            DIM_LOOKUP_PLACEMENT_TYPE_CODE=kind or rng.choice(("U1", "U3", "U4", "K2", "H5", "P1")),
            DIM_LOOKUP_PLACEMENT_PROVIDER_CODE=rng.choice(("PR1", "PR4")),
            POSTCODE=a_postcode(rng, rng.choice(("SY2", "TF1", "WR1"))).ljust(12),
            DISTANCE_FROM_HOME=rng.randrange(0, 400) / 4, DIM_LOOKUP_PLAC_CHNG_REAS_CODE="CARPL" if end else None,
        )  # fmt: skip

    def _screening(self, person: int, start: date) -> None:
        day = self._between(start)
        answers = [("SDQScore", str(self.rng.randrange(0, 41))), ("FormEndDate", str(day))]
        self._form(person, "Strengths and Difficulties Questionnaire v2", answers, day)

    def _adoption(self, person: int, start: date) -> None:
        rng, decided = self.rng, self._between(start)
        self.add(
            "FACT_ADOPTION", "FACT_ADOPTION_ID", DIM_PERSON_ID=person, START_DTTM=midnight(start),
            DECISION_DTTM=midnight(decided), PLACEMENT_ORDER_DTTM=midnight(decided), MATCHING_DTTM=None,
            NO_LONGER_PLACED_DTTM=None, ADOPTED_BY_CARER_FLAG=rng.choice(("Y", "N", None)),
        )  # fmt: skip

    def _leaver(self, person: int) -> None:
        rng = self.rng
        status = rng.choice(("Relevant", "Former relevant", "Qualifying", "Eligible"))
        self.add(
            "DIM_CLA_ELIGIBILITY", "DIM_CLA_ELIGIBILITY_ID",
            DIM_PERSON_ID=person, DIM_LOOKUP_ELIGIBILITY_STATUS_DESC=status,
        )  # fmt: skip
        self.add(
            "FACT_CLA_CARE_LEAVERS", "FACT_CLA_CARE_LEAVERS_ID", DIM_PERSON_ID=person, IN_TOUCH_DTTM=self._ago(300),
            DIM_LOOKUP_IN_TOUCH_CODE_CODE=rng.choice(("YES", "NO", "NREQ")),
            DIM_LOOKUP_MAIN_ACTIVITY_DESC=rng.choice(_ACTIVITIES),
            DIM_LOOKUP_ACCOMMODATION_CODE_DESC=rng.choice(_HOMES),
            DIM_LOOKUP_ACCOMMODATION_SUITABLE_DESC=rng.choice(("Suitable", "Unsuitable", "1 - Suitable", None)),
        )  # fmt: skip

    def _between(self, since: date) -> date:
        return since + timedelta(days=self.rng.randrange(max((self.today - since).days, 1)))

    def _ago(self, most: int) -> datetime:
        return midnight(self.today - timedelta(days=self.rng.randrange(1, most)))


def spoil(rows: Rows, rng: Random) -> int:
    """Write a few rows as they should not be, as people do; says how many records cannot be mapped for it."""
    people = [row for row in rows["DIM_PERSON"] if row.get("IS_CLIENT") == "Y" and row["DIM_PERSON_ID"] > 0]
    pupils = [row for row in people if len((row["UPN"] or "").strip()) == 13 and not row.get("DUPLICATED_DTTM")]
    few = max(1, len(people) // 300)
    if len(pupils) < 4 * few:
        return 0
    wrong, long, unknown = (pupils[i : i + few] for i in rng.sample(range(0, len(pupils) - few, few), k=3))
    for row in wrong:
        number = row["UPN"].strip()
        row["UPN"] = ("A" if number[0] != "A" else "B") + number[1:]
    for row in long:
        row["UPN"] = row["UPN"].strip() + "00"
    for row in unknown:
        row["ETHNICITY_MAIN_CODE"] = UNLISTED
    bad = [*wrong, *long, *unknown]
    for row in rows["FACT_CLA_CARE_LEAVERS"][:1]:
        row["DIM_LOOKUP_MAIN_ACTIVITY_DESC"] = "At college"
        bad.append(row)
    for row in [each for each in rows["FACT_FORM_ANSWERS"] if each["ANSWER_NO"] == "SDQScore"][:1]:
        row["ANSWER"] = "n/a"
        bad.append(row)
    return len(bad)
