"""flows/dfe_csc: who is sent to the DfE, and what a child's record says."""

import json
import re
import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import SecretStr, ValidationError

from canonical import Assessment, CareEpisode, CareLeaver, CarePlan, Entity, LookedAfterEpisode, Person, Placement
from canonical.errors import RefusedError
from canonical.key import key_of
from flows.dfe_csc import ChildRecords, system
from flows.dfe_csc.cohort import birthday, leaves
from flows.dfe_csc.ids import Ids
from flows.dfe_csc.settings import DfeCscSettings
from flows.port import Document, Fact, Facts, Grouping, Nothing, Urgency

CASES = Path(__file__).resolve().parents[1] / "cases"
CHILD = "liquidlogic:person:1042"
TODAY = date(2026, 6, 15)
START, END = date(2024, 4, 1), date(2026, 6, 16)
DAY = timedelta(days=1)
FLOW = ChildRecords("dfe_csc", Ids("liquidlogic"))


def fact(entity: str, number: int = 1, **fields: Any) -> Fact:
    key = CHILD if entity == "person" else f"liquidlogic:{entity}:{number}"
    owner = {} if entity == "person" else {"person": CHILD}
    return Fact(entity, key, CHILD, 1, json.dumps({"key": key} | owner | fields, default=str).encode())


def person(**fields: Any) -> Fact:
    return fact("person", **({"birth_date": "2015-05-05"} | fields))


def episode(**fields: Any) -> Fact:
    return fact("care-episode", **({"referral_date": "2025-05-05"} | fields))


def sent(*facts: Fact, today: date = TODAY) -> bool:
    return isinstance(FLOW.desired(CHILD, Facts(facts, today)), Document)


def schema(shared: Path) -> Draft202012Validator:
    contract = json.loads((shared / "specs" / "dfe-csc" / "openapi.json").read_text())
    return Draft202012Validator(contract["components"]["schemas"]["CSC"], format_checker=FormatChecker())


# --- the record -------------------------------------------------------------------------------------------------------


def outcome(case: Path) -> Any:
    given = json.loads((case / "facts.json").read_text())
    facts = [
        Fact(f["entity"], f["key"], CHILD, 1, json.dumps({n: v for n, v in f.items() if n != "entity"}).encode())
        for f in given["facts"]
    ]
    try:
        document = FLOW.desired(CHILD, Facts(facts, date.fromisoformat(given["today"])))
    except RefusedError as refused:
        return {"refused": str(refused)}
    if not isinstance(document, Document):
        assert isinstance(document, Nothing)
        return None
    assert (document.kind, document.number, document.refers) == ("child", document.body["la_child_id"], {})
    backwards = FLOW.desired(CHILD, Facts(facts[::-1], date.fromisoformat(given["today"])))
    assert isinstance(backwards, Document)
    assert json.dumps(backwards.body) == json.dumps(document.body), "the order of the facts makes no difference"
    return document.body


def test_where_nothing_is_sent_it_says_why():
    def why(*facts: Fact) -> str:
        desired = FLOW.desired(CHILD, Facts(facts, TODAY))
        assert isinstance(desired, Nothing)
        return desired.reason

    assert FLOW.desired(CHILD, Facts((), TODAY)) is None
    assert "the person itself is not published" in why(episode())
    assert "by the date of birth" in why(person(birth_date="1950-05-05"), episode())
    assert "no referral, plan or placement open" in why(person())
    assert "1950" not in why(person(birth_date="1950-05-05"))


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_facts_become_the_child_record_of_the_case(case: Path):
    assert outcome(case) == json.loads((case / "child.json").read_text())


def test_every_case_keeps_the_contract(shared: Path):
    children = [json.loads((case / "child.json").read_text()) for case in CASES.iterdir()]
    records = [child for child in children if child and "refused" not in child]
    assert len(records) >= 6
    schema(shared).validate(records)


LIST = "at most 36 characters, [A-Za-z0-9_-]+"


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ([person(ethnicity="WHITE"), episode()], "child_details.ethnicity: at most 4 characters"),
        ([person(disabilities=["MOB", "HEARING"]), episode()], "child_details.disabilities: codes of at most 4 char"),
        (
            [person(disabilities=[f"D{n}" for n in range(13)]), episode()],
            "child_details.disabilities: at most 12 codes",
        ),
        ([person(upn_unknown_reason="UN11"), episode()], "unique_pupil_number_unknown_reason: one of UN1 UN2"),
        ([person(identifiers=[{"system": "legacy", "value": "a/b"}]), episode()], f"mis_child_id: {LIST}"),
        ([person(), episode(close_reason="RC99")], "social_care_episodes.closure_reason: at most 3 characters"),
        (
            [person(), episode(), fact("involvement", worker="SW12345678901")],
            "care_worker_details.worker_id: at most 12",
        ),
        ([person(), episode(), fact("assessment", factors=["4AAA"])], "factors: codes of at most 3 characters"),
        ([person(), episode(), fact("care-leaver", activity="X9")], "care_leavers.activity: one of F1 P1"),
        ([person(), episode(), fact("care-leaver", accommodation="Q")], "care_leavers.accommodation: one of B C"),
        ([person(), episode(), fact("looked-after-episode", start_reason="SS")], "start_reason: at most 1 characters"),
        ([person(), episode(), fact("placement", change_reason="CHANGED")], "change_reason: at most 6 characters"),
        ([person(), episode(), fact("care-plan", 10**37, kind="CIN")], f"child_in_need_plan_id: {LIST}"),
    ],
)
def test_what_the_api_would_refuse_parks_the_child_and_names_field_and_rule_but_no_value(facts: list[Fact], says: str):
    with pytest.raises(RefusedError) as refused:
        FLOW.desired(CHILD, Facts(facts, TODAY))
    assert says in str(refused.value)
    assert not any(
        value in str(refused.value) for value in ("WHITE", "HEARING", "a/b", "RC99", "4AAA", "X9", "CHANGED")
    )


def test_a_child_id_that_is_not_of_the_api_s_form_parks_the_child():
    key = "liquidlogic:person:AB-12"
    facts = Facts(
        [
            Fact("person", key, key, 1, json.dumps({"key": key, "birth_date": "2015-05-05"}).encode()),
            Fact("care-episode", "m:e:1", key, 1, json.dumps({"key": "m:e:1", "person": key}).encode()),
        ],
        TODAY,
    )
    with pytest.raises(RefusedError, match="la_child_id: at most 20 characters"):
        FLOW.desired(key, facts)


def test_nobody_is_sent_whose_person_is_not_known():
    assert not sent(episode())


# --- the cohort -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("today", "start"),
    [
        (date(2026, 3, 31), date(2023, 4, 1)),
        (date(2026, 4, 1), date(2024, 4, 1)),
        (date(2026, 12, 31), date(2024, 4, 1)),
        (date(2028, 2, 29), date(2025, 4, 1)),
    ],
)
def test_the_window_runs_from_the_financial_year_of_24_months_ago_to_tomorrow(today: date, start: date):
    assert leaves(start - DAY) <= today < leaves(start)
    assert not sent(person(), episode(referral_date="2019-01-01", close_date=start - DAY), today=today)
    assert sent(person(), episode(referral_date="2019-01-01", close_date=start), today=today)
    assert sent(person(), fact("placement", start_date=today + DAY), today=today)
    assert not sent(person(), fact("placement", start_date=today + 2 * DAY), today=today)


def test_a_child_is_eligible_until_the_26th_birthday_lies_before_the_window():
    assert sent(person(birth_date="1998-04-02"), episode())
    assert not sent(person(birth_date="1998-04-01"), episode())
    assert sent(person(birth_date=TODAY), episode())
    assert not sent(person(birth_date=END), episode())


def test_who_was_born_on_a_leap_day_has_a_26th_birthday_too():
    leap, today = person(birth_date="2000-02-29"), date(2028, 3, 31)
    assert leaves(date(2025, 3, 31)) <= today < leaves(date(2025, 4, 1))
    assert sent(leap, episode(), today=today)
    assert not sent(leap, episode(), today=today + DAY)


def test_an_unborn_child_is_sent_when_it_is_expected_in_the_window():
    for expected, eligible in ((START - DAY, False), (START, True), (END, True), (END + DAY, False), (None, False)):
        facts = person(birth_date=None, expected_birth_date=expected)
        assert sent(facts, episode()) is eligible, expected


def test_who_has_died_is_not_left_out():
    assert sent(person(death_date="2024-01-01"), episode())


def test_a_closed_episode_counts_from_the_first_day_of_the_window():
    assert sent(person(), episode(referral_date="2020-01-01", close_date=START))
    assert not sent(person(), episode(referral_date="2020-01-01", close_date=START - DAY))
    assert sent(person(), episode(referral_date=END, close_date=END))
    assert not sent(person(), episode(referral_date=END + DAY, close_date=END + DAY))


@pytest.mark.parametrize(
    ("entity", "more"), [("care-plan", {"kind": "CIN"}), ("care-plan", {"kind": "CP"}), ("placement", {})]
)
def test_a_plan_or_a_placement_in_the_window_is_enough(entity: str, more: dict[str, str]):
    for start, end, counts in (
        (START - DAY, START, True),
        (START - DAY, START - DAY, False),
        (END, None, True),
        (END + DAY, None, False),
        (date(2019, 1, 1), None, True),
        (None, None, False),
    ):
        assert sent(person(), fact(entity, start_date=start, end_date=end, **more)) is counts, (start, end)


def test_a_looked_after_episode_counts_through_its_care_episode_only():
    old = episode(referral_date="2015-01-01", close_date="2016-01-01")
    looked_after = fact("looked-after-episode", 2, start_date="2025-01-01")
    assert not sent(person(), old, looked_after)
    assert not sent(person(), looked_after)
    linked = fact("looked-after-episode", 2, episode="liquidlogic:care-episode:1", start_date="2015-01-01")
    assert sent(person(), episode(), linked)
    assert not sent(person(), old, linked)


def test_an_open_episode_without_a_started_assessment_is_enough_even_if_nobody_wrote_down_its_referral():
    waiting = episode(referral_date=None)
    unstarted = fact("assessment", episode="liquidlogic:care-episode:1")
    started = fact("assessment", episode="liquidlogic:care-episode:1", start_date="2025-06-01")
    assert sent(person(), waiting)
    assert sent(person(), waiting, unstarted)
    assert not sent(person(), waiting, started)
    assert not sent(person(), episode(referral_date=None, close_date="2026-01-01"))


def test_a_care_leaver_counts_with_a_contact_in_the_window_and_an_open_episode():
    # An open episode with a referral date is enough by itself: one without, and assessed, leaves the question open.
    assessed = fact("assessment", episode="liquidlogic:care-episode:1", start_date="2020-06-01")

    def leaver(born: object, *contacts: object, **fields: object) -> bool:
        known = [fact("care-leaver", n, contact_date=contact) for n, contact in enumerate(contacts)]
        return sent(person(birth_date=born), episode(referral_date=None, **fields), assessed, *known)

    assert leaver("2005-01-01", START)
    assert leaver("2005-01-01", "2020-01-01", END)
    assert not leaver("2005-01-01", "2025-01-01", END + DAY), "the latest contact decides"
    assert not leaver("2005-01-01", START - DAY)
    assert not leaver("2005-01-01", None)
    assert not leaver("2005-01-01")
    assert not leaver("2005-01-01", START, close_date="2026-01-01")
    assert leaver(date(2010, 6, 15), START)
    assert not leaver(date(2010, 6, 16), START), "16 tomorrow is not yet 16"
    assert leaver("1998-04-02", START)
    assert not leaver("1998-04-01", START)


def test_a_carer_or_an_adult_without_a_record_of_care_is_not_sent():
    assert not sent(person(birth_date="2003-01-01"))


# --- the day ----------------------------------------------------------------------------------------------------------

DATES = st.none() | st.dates(date(2023, 3, 25), date(2032, 4, 5)) | st.dates()
BORN = st.dates(date(1995, 1, 1), date(2032, 1, 1)) | st.dates() | st.none()
DAYS = st.dates(date(2025, 1, 1), date(2032, 12, 31))


def _many(entity: str, *links: str, most: int = 2, **fields: Any) -> Any:
    """Facts of one type, whose links point at one of two care episodes."""
    named = {link: st.sampled_from([None, "liquidlogic:care-episode:1", "liquidlogic:care-episode:2"]) for link in links}
    made = st.lists(st.fixed_dictionaries(dict.fromkeys(fields.pop("dates"), DATES) | named), max_size=most)
    return made.map(lambda them: [fact(entity, n, **fields, **each) for n, each in enumerate(them, start=1)])


KNOWN = st.tuples(
    st.builds(lambda born, due: [person(birth_date=born, expected_birth_date=due)], BORN, DATES),
    _many("care-episode", dates=("referral_date", "close_date")),
    _many("assessment", "episode", dates=("start_date",)),
    _many("care-plan", dates=("start_date", "end_date"), kind="CP"),
    _many("looked-after-episode", "episode", dates=("start_date",), most=1),
    _many("placement", dates=("start_date", "end_date"), most=1),
    _many("care-leaver", dates=("contact_date",)),
).map(lambda groups: [each for group in groups for each in group])


def on(known: list[Fact], day: date) -> tuple[Any, date | None]:
    """The outcome on a day, and the first day on which it may be another one."""
    facts = Facts(known, day)
    try:
        found: Any = FLOW.desired(CHILD, facts)
    except RefusedError as refused:
        found = str(refused)
    return found, facts.recheck


@given(KNOWN, DAYS, DAYS)
def test_an_outcome_that_differs_between_two_days_was_to_be_looked_at_again_in_between(known, one, other):
    first, last = sorted((one, other))
    found, recheck = on(known, first)
    assert recheck is None or recheck > first
    if found != on(known, last)[0]:
        assert recheck is not None
        assert recheck <= last


@given(KNOWN, DAYS)
def test_looking_again_only_on_the_days_that_were_told_misses_nothing(known, first):
    """Day by day through two years: what was worked out last is what the day itself would give."""
    found, recheck = on(known, first)
    looks = 0
    for day in (first + n * DAY for n in range(1, 760)):
        if recheck is not None and recheck <= day:
            found, recheck = on(known, day)
            looks += 1
        if day.day in (1, 2, 17):
            assert found == on(known, day)[0]
    assert looks <= 4 * len(known) + 4, "it is looked at on a few days, not on every one"


@given(KNOWN, DAYS)
def test_the_cohort_is_the_one_of_the_specification(known, today):
    """The specification's words, with the window as two days."""
    facts = Facts(known, today)
    start, end = date(today.year - 2 if today.month >= 4 else today.year - 3, 4, 1), today + DAY

    def holds(day: date | None) -> bool:
        return day is not None and start <= day <= end

    def overlaps(first: date | None, last: date | None) -> bool:
        return first is not None and first <= end and (last is None or last >= start)

    child, episodes = facts.one(Person), facts.all(CareEpisode)
    assert child is not None
    born = child.birth_date
    eligible = holds(child.expected_birth_date) if born is None else born < end and birthday(born, 26) > start
    referred = {e.key for e in episodes if overlaps(e.referral_date, e.close_date)}
    started = {a.episode for a in facts.all(Assessment) if a.start_date is not None}
    contact = max((c.contact_date for c in facts.all(CareLeaver) if c.contact_date), default=None)
    leaver = born is not None and eligible and birthday(born, 16) < end and holds(contact)
    cared_for = (
        referred
        or any(overlaps(p.start_date, p.end_date) for p in (*facts.all(CarePlan), *facts.all(Placement)))
        or any(each.episode in referred for each in facts.all(LookedAfterEpisode))
        or any(e.close_date is None and e.key not in started for e in episodes)
        or (leaver and any(e.close_date is None for e in episodes))
    )
    assert sent(*known, today=today) is bool(eligible and cared_for)


def test_a_child_in_care_is_looked_at_again_when_the_window_leaves_its_26th_birthday_behind():
    assert on([person(birth_date="2015-05-05"), episode()], TODAY)[1] == date(2044, 4, 1)


def test_a_child_that_is_sent_for_a_closed_episode_is_looked_at_again_when_the_window_has_left_it_behind():
    closed = [person(), episode(referral_date="2020-01-01", close_date="2024-05-01")]
    assert on(closed, TODAY)[1] == date(2027, 4, 1)
    assert sent(*closed, today=date(2027, 3, 31))
    assert not sent(*closed, today=date(2027, 4, 1))


def test_the_same_reason_is_given_every_day():
    outside = [person(), episode(referral_date="2015-01-01", close_date="2016-01-01")]
    assert on(outside, TODAY) == on(outside, TODAY + DAY)
    assert isinstance(on(outside, TODAY)[0], Nothing)


# --- the flow ---------------------------------------------------------------------------------------------------------


def test_it_depends_on_the_one_setting_that_its_documents_depend_on():
    assert FLOW.settings == {"la_child_ids_of": "liquidlogic"}


def test_safeguarding_goes_first():
    goes = {entity.type_name: FLOW.urgency(entity.type_name) for entity in FLOW.entities}
    first = {name for name, urgency in goes.items() if urgency is Urgency.SAFEGUARDING}
    assert first == {"section-47-enquiry", "care-plan", "looked-after-episode", "placement"}
    assert goes["person"] is goes["care-episode"] is Urgency.USUAL
    assert FLOW.grouping is Grouping.OWNER
    assert all(issubclass(entity, Entity) for entity in FLOW.entities)


ACCESS = {
    "la_code": "941",
    "api_endpoint": "https://api.example/api/",
    "token_url": "https://login.example/token",
    "client_id": "us",
    "client_secret": "s3cret",
    "supplier_key": "key",
}


def test_settings_give_the_address_and_the_limits_and_keep_their_secrets():
    settings = DfeCscSettings.model_validate(ACCESS | {"batch": 50})
    assert settings.children == "https://api.example/api/children_social_care_data/941/children"
    assert settings.limits.batch == 50
    assert isinstance(settings.client_secret, SecretStr)
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": 101},
        {"la_code": 94},
        {"la_code": "x"},
        {"api_endpoint": "http://api.example"},
        {"token_url": "http://8.8.8.8/token"},
        {"surprise": 1},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object]):
    with pytest.raises(ValidationError):
        DfeCscSettings.model_validate(ACCESS | wrong)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8801", "http://sandbox:8801", "http://dfe.council.internal"])
def test_an_address_in_the_clear_is_for_sandboxes_in_the_council_s_own_network(url: str):
    DfeCscSettings.model_validate(ACCESS | {"api_endpoint": url, "token_url": f"{url}/token"})


@pytest.mark.parametrize("text", [system.sample, (CASES.parent / "README.md").read_text().split("```")[1][5:]])
def test_the_sample_settings_hold_once_the_secrets_are_there(text: str):
    section = tomllib.loads(text)["targets"]["dfe_csc"]
    DfeCscSettings.model_validate(
        section | {"client_secret": "a", "supplier_key": "b"} | {"token_url": "https://x.example"}
    )


# --- two systems of children ------------------------------------------------------------------------------------------


def numbered(key: str, flow: ChildRecords = FLOW) -> str:
    source = key.partition(":")[0]
    facts = [
        Fact("person", key, key, 1, json.dumps({"key": key, "birth_date": "2015-05-05"}).encode()),
        Fact("care-episode", "m:e:1", key, 1,
             json.dumps({"key": f"{source}:care-episode:1", "person": key, "referral_date": "2026-01-01"}).encode()),
    ]  # fmt: skip
    document = flow.desired(key, Facts(facts, TODAY))
    assert isinstance(document, Document)
    return document.number


def test_two_systems_with_the_same_identifiers_are_two_children():
    assert numbered("liquidlogic:person:1042") == "1042"
    assert re.fullmatch(r"1042X[A-Z2-7]{12}", numbered("mosaic:person:1042"))
    turned = ChildRecords("dfe_csc", Ids("mosaic"))
    assert numbered("mosaic:person:1042", turned) == "1042"
    assert re.fullmatch(r"1042X[A-Z2-7]{12}", numbered("liquidlogic:person:1042", turned))
    assert turned.settings != FLOW.settings


KEYS = st.builds(
    key_of, st.sampled_from(["liquidlogic", "mosaic", "eclipse"]), st.just("person"),
    st.integers(1, 99).map(str) | st.text("A1-:é", min_size=1, max_size=30) | st.just(Ids("b").child("a:person:7")),
)  # fmt: skip


@given(KEYS, KEYS)
def test_two_keys_are_never_one_id(one: str, other: str):
    ids = Ids("liquidlogic")
    assert (ids.child(one) == ids.child(other)) == (one == other)
    assert (ids.record(one) == ids.record(other)) == (one == other)


@given(KEYS.filter(lambda key: not key.startswith("liquidlogic")))
def test_an_id_with_a_mark_keeps_the_api_s_form(key: str):
    assert re.fullmatch("[A-Za-z0-9]{13,20}", Ids("liquidlogic").child(key))
    assert re.fullmatch("[A-Za-z0-9_-]{13,36}", Ids("liquidlogic").record(key))
    assert re.fullmatch("P-[A-Za-z0-9_-]{13,34}", Ids("liquidlogic").record(key, "P-"))


def test_several_identifiers_are_one_id_with_a_mark():
    assert re.fullmatch("A12X[A-Z2-7]{12}", Ids("lcs").child(key_of("lcs", "person", "A-1", 2)))
    assert Ids("lcs").child(key_of("lcs", "person", "A-1", 2)) != Ids("lcs").child(key_of("lcs", "person", "A", "1-2"))
