"""flows/dfe_csc: what is sent to the API, against its sandbox, and what its answers become."""

import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from canonical.errors import MisconfiguredError
from canonical.finding import Finding
from flows.dfe_csc.contract import KEYED
from flows.dfe_csc.ids import Ids
from flows.dfe_csc.partial import changes, to_send, whole
from flows.dfe_csc.refusal import named, reason
from flows.dfe_csc.sandbox import CHILD_FIELDS, DfeCscSandbox, DfeCscSandboxSettings, LeftOut, merged
from flows.dfe_csc.settings import DfeCscSettings
from flows.dfe_csc.target import DfeCsc
from flows.kit.http import client
from flows.kit.requests import LocalBudget
from flows.kit.sandbox import Fault
from flows.port import Body, Confirmed, Document, Limits, NotDone, Outcome, Refused, Unavailable, Unknown, Untold, Write

LA = "941"
COUNCIL = DfeCscSandboxSettings(la_codes=frozenset({LA}))


def child(number: int, **more: Any) -> Document:
    name = f"C{number}"
    details = {"sex": "U", "disabilities": ["NONE"], "uasc_flag": False}
    body = {"la_child_id": name, "mis_child_id": name, "child_details": details} | more
    return Document("child", name, body)


def write(document: Document | None, **known: Any) -> Write:
    return Write(f"x:person:{document.number if document else 'C0'}", document, **known)


@dataclass
class Sent:
    """The target under test, the sandbox it speaks to, and every body that went over the wire."""

    target: DfeCsc
    sandbox: DfeCscSandbox
    bodies: list[list[Body]] = field(default_factory=list)

    async def write(self, *writes: Write) -> Sequence[Outcome]:
        return await self.target.write(writes)

    @property
    def held(self) -> dict[str, Any]:
        return self.sandbox.documents(LA)


def access(url: str, **more: Any) -> DfeCscSettings:
    return DfeCscSettings.model_validate(
        {
            "la_code": LA,
            "api_endpoint": url,
            "token_url": f"{url}/token",
            "client_id": "ironbridge",
            "client_secret": "sandbox-secret",
            "supplier_key": "sandbox-supplier",
        }
        | more
    )


@asynccontextmanager
async def sending(sandbox: DfeCscSandbox | None = None, **settings: Any) -> AsyncIterator[Sent]:
    budget = LocalBudget(10_000, 1.0)
    async with (
        sandbox or DfeCscSandbox(COUNCIL) as running,
        client(Limits(), budget, timeout=httpx.Timeout(2.0)) as http,
    ):
        sent = Sent(DfeCsc("dfe_csc", access(running.url, **settings), http), running)

        async def keep(request: httpx.Request) -> None:
            if request.url.path.endswith("/children"):
                sent.bodies.append(json.loads(request.content))

        http.event_hooks["request"].append(keep)
        yield sent


@pytest.fixture
async def sent() -> AsyncIterator[Sent]:
    async with sending() as sent:
        yield sent


# --- what is sent -----------------------------------------------------------------------------------------------------


def sent_for(write: Write) -> Body:
    [record] = to_send(write, Ids("x"))
    return record


def care(number: str, **blocks: Any) -> Body:
    return {"social_care_episode_id": number, "referral_date": "2025-01-01"} | blocks


SDQ = {"sdq_assessments": [{"date": "2026-01-01", "score": 4}]}


def test_a_child_that_is_not_known_to_be_there_is_sent_whole():
    new = child(1, health_and_wellbeing=SDQ, social_care_episodes=[care("a")])
    assert sent_for(write(new)) == new.body


def test_only_the_blocks_and_episodes_that_changed_are_sent_and_the_identifiers_and_details_always():
    before = child(1, health_and_wellbeing=SDQ, social_care_episodes=[care("a"), care("b"), care("c")])
    closed = care("b", closure_date="2026-02-02")
    after = child(1, health_and_wellbeing=SDQ, social_care_episodes=[care("a"), closed, care("c")])
    assert sent_for(write(after, confirmed=before)) == child(1, social_care_episodes=[closed]).body
    assert sent_for(write(before, confirmed=before)) == child(1).body


def test_what_vanished_is_purged_by_its_id():
    plans = [{"child_protection_plan_id": "p1"}, {"child_protection_plan_id": "p2", "start_date": "2025-02-02"}]
    before = child(
        1,
        health_and_wellbeing=SDQ,
        social_care_episodes=[
            care("a"),
            care(
                "b",
                care_worker_details=[{"worker_id": "w"}],
                child_protection_plans=plans,
                adoption={"matched_date": "2026-01-01"},
                care_leavers={"activity": "F2"},
            ),
        ],
    )
    after = child(1, social_care_episodes=[care("b", child_protection_plans=plans[:1])])
    purged = care(
        "b",
        care_worker_details=[],
        child_protection_plans=[{"child_protection_plan_id": "p2", "purge": True}, plans[0]],
        adoption={"purge": True},
        care_leavers={"purge": True},
    )
    gone = {"social_care_episode_id": "a", "purge": True}
    expected = child(1, health_and_wellbeing={"purge": True}, social_care_episodes=[gone, purged]).body
    assert sent_for(write(after, confirmed=before)) == expected
    assert sent_for(write(after, doubtful=(before,))) == expected


def test_a_plan_that_moved_is_purged_in_the_old_episode_before_it_is_sent_in_the_new_one():
    plan = [{"child_in_need_plan_id": "p"}]
    before = child(1, social_care_episodes=[care("a"), care("b", child_in_need_plans=plan)])
    after = child(1, social_care_episodes=[care("a", child_in_need_plans=plan), care("b")])
    assert sent_for(write(after, confirmed=before))["social_care_episodes"] == [
        care("b", child_in_need_plans=[{"child_in_need_plan_id": "p", "purge": True}]),
        care("a", child_in_need_plans=plan),
    ]


def test_where_anything_is_in_doubt_the_whole_child_is_sent_with_purges_of_all_that_may_be_there():
    before = child(1, social_care_episodes=[care("a"), care("b")])
    lost = child(1, health_and_wellbeing=SDQ, social_care_episodes=[care("a"), care("c")])
    after = child(1, social_care_episodes=[care("a")])
    assert sent_for(write(after, confirmed=before, doubtful=(lost, before))) == {
        **after.body,
        "health_and_wellbeing": {"purge": True},
        "social_care_episodes": [
            {"social_care_episode_id": "c", "purge": True},
            {"social_care_episode_id": "b", "purge": True},
            care("a"),
        ],
    }


def test_a_child_that_should_not_be_there_is_purged_under_both_its_ids():
    known = child(7)
    known.body["mis_child_id"] = "LCS-7"
    purge = {"la_child_id": "C7", "mis_child_id": "LCS-7", "purge": True}
    assert sent_for(Write("x:person:C7", None, confirmed=known)) == purge
    assert sent_for(Write("x:person:C7", None, doubtful=(known,))) == purge
    assert sent_for(Write("x:person:C7", None)) == purge | {"mis_child_id": "C7"}


async def test_a_child_that_gets_another_id_is_purged_under_the_old_one(sent: Sent):
    [first] = await sent.write(write(child(7, health_and_wellbeing=SDQ)))
    assert isinstance(first, Confirmed)
    renamed = write(child(8, health_and_wellbeing=SDQ), confirmed=child(7, health_and_wellbeing=SDQ))
    [second] = await sent.write(renamed)
    assert isinstance(second, Confirmed)
    assert list(sent.held) == ["C8"]
    purge = {"la_child_id": "C7", "mis_child_id": "C7", "purge": True}
    assert sent.bodies[-1] == [purge, child(8, health_and_wellbeing=SDQ).body]


async def test_a_full_batch_of_children_that_get_other_ids_goes_in_two_requests():
    async with sending(batch=2) as sent:
        moved = [write(child(n + 10), confirmed=child(n)) for n in (1, 2)]
        assert all(isinstance(outcome, Confirmed) for outcome in await sent.write(*moved))
        assert [len(body) for body in sent.bodies] == [2, 2]
        assert sorted(sent.held) == ["C11", "C12"]


async def test_a_child_whose_new_record_is_refused_is_not_confirmed_by_the_purge_of_its_old_one(sent: Sent):
    spoilt = write(child(8, social_care_episodes=[care("no such id!")]), confirmed=child(7))
    [outcome] = await sent.write(spoilt)
    assert isinstance(outcome, Refused)


# --- partial updates leave exactly the whole document -----------------------------------------------------------------

DAYS = st.dates(min_value=date(2024, 1, 1)).map(str)
BLOCKS = sorted(set(KEYED) - {"social_care_episodes"})


def maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Body]:
    return st.fixed_dictionaries({}, optional=fields)


def keyed(key: str, inner: st.SearchStrategy[Body]) -> st.SearchStrategy[list[Body]]:
    ids = st.lists(st.sampled_from("abcd"), unique=True, min_size=1, max_size=4)
    return ids.flatmap(
        lambda names: st.tuples(*(inner.map(lambda body, n=name: {key: n} | body) for name in names))
    ).map(list)


def ends(block: str) -> str:
    return "authorisation_date" if block == "child_and_family_assessments" else "end_date"


EPISODES = keyed(
    KEYED["social_care_episodes"],
    st.builds(
        lambda referred, own, parts: {"referral_date": referred} | own | parts,
        DAYS,
        maybe(closure_date=DAYS, closure_reason=st.sampled_from(["RC1", "RC7"])),
        maybe(
            **{name: keyed(KEYED[name], maybe(start_date=DAYS, **{ends(name): DAYS})) for name in BLOCKS},
            care_worker_details=st.lists(
                maybe(worker_id=st.sampled_from("uvw"), start_date=DAYS), min_size=1, max_size=2
            ),
            adoption=maybe(matched_date=DAYS, placed_date=DAYS).filter(bool),
            care_leavers=maybe(contact_date=DAYS).filter(bool),
        ),
    )
    .map(lambda e: e | {"care_worker_details": [w for w in e.get("care_worker_details", []) if w]})
    .map(lambda e: {name: value for name, value in e.items() if value != []}),
)
CHILDREN = st.builds(
    lambda details, blocks: (
        {"la_child_id": "C1", "mis_child_id": "C1", "child_details": {"sex": "U"} | details} | blocks
    ),
    maybe(surname=st.sampled_from(["One", "Two"]), date_of_birth=DAYS),
    maybe(
        health_and_wellbeing=st.just(SDQ),
        social_care_episodes=EPISODES,
    ),
)


def same(record: Body) -> Body:
    """Without the order of lists with ids: the API keeps its own."""
    plain = {}
    for name, value in record.items():
        if name in KEYED:
            plain[name] = sorted((same(item) for item in value), key=lambda item: str(item[KEYED[name]]))
        else:
            plain[name] = value
    return plain


def taken(held: Body, sent: Body) -> Body:
    """What the sandbox holds after it was sent a body."""
    return merged(held, json.loads(json.dumps(sent)), CHILD_FIELDS, LeftOut.CLEARED)


@effort(max_examples=150, deadline=None)
@given(st.lists(CHILDREN, min_size=2, max_size=5))
def test_after_any_sequence_of_partial_updates_the_api_holds_exactly_the_last_document(documents: list[Body]):
    held = taken({}, documents[0])
    for before, after in pairwise(documents):
        held = taken(held, changes(after, before))
        assert same(held) == same(after)


@effort(max_examples=150, deadline=None)
@given(CHILDREN, st.lists(st.tuples(CHILDREN, st.booleans()), max_size=3), CHILDREN)
def test_after_any_lost_answers_the_api_holds_exactly_the_document(
    first: Body, lost: list[tuple[Body, bool]], last: Body
):
    held, may_hold = taken({}, first), [first]
    for document, arrived in lost:
        body = whole(document, may_hold)
        may_hold.append(document)
        if arrived:
            held = taken(held, body)
    assert same(taken(held, whole(last, may_hold))) == same(last)


@effort(max_examples=15, deadline=None)
@given(st.lists(CHILDREN, min_size=1, max_size=3))
async def test_over_the_wire_a_child_is_kept_in_agreement_through_changes_and_a_purge(documents: list[Body]):
    async with sending() as sent:
        before = None
        for body in documents:
            after = Document("child", "C1", body)
            assert isinstance((await sent.write(write(after, confirmed=before)))[0], Confirmed)
            assert same(sent.held["C1"]) == same(body)
            before = after
        assert isinstance((await sent.write(Write("x:person:C1", None, confirmed=before)))[0], Confirmed)
        assert sent.held == {}


@effort(max_examples=60, deadline=None)
@given(CHILDREN, CHILDREN, CHILDREN)
def test_whatever_is_sent_keeps_the_contract(contract: Callable[[object], None], first: Body, second: Body, last: Body):
    contract([first, changes(second, first), whole(last, [first, second])])


@pytest.fixture(scope="session")
def contract(shared: Path) -> Callable[[object], None]:
    api = json.loads((shared / "specs" / "dfe-csc" / "openapi.json").read_text())
    validator = Draft202012Validator(api["components"]["schemas"]["CSC"], format_checker=FormatChecker())
    return lambda records: validator.validate(records)  # hypothesis prints its arguments: keep them short


# --- answers ----------------------------------------------------------------------------------------------------------


async def test_a_batch_is_one_request_and_each_receipt_confirms_its_child(sent: Sent):
    outcomes = await sent.write(*(write(child(n)) for n in range(100)))
    assert len({str(UUID(o.ref)) for o in outcomes if isinstance(o, Confirmed)}) == 100
    assert len(sent.bodies) == 1
    assert list(sent.held) == sorted(f"C{n}" for n in range(100))


async def test_nothing_to_write_asks_nothing(sent: Sent):
    assert list(await sent.write()) == []
    assert sent.sandbox.requests == 0


async def test_the_records_that_a_400_names_are_refused_and_the_others_go_again_at_once(sent: Sent):
    sent.sandbox.faults.append(Fault(kind="refuse", keys=frozenset({"C2", "C5"})))
    outcomes = await sent.write(*(write(child(n)) for n in range(8)))
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Refused)] == [2, 5]
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Confirmed)] == [0, 1, 3, 4, 6, 7]
    assert [len(body) for body in sent.bodies] == [8, 6]
    assert sorted(sent.held) == ["C0", "C1", "C3", "C4", "C6", "C7"]


async def test_a_refusal_names_field_and_rule_and_never_the_value(sent: Sent):
    bad = [child(n) for n in range(4)]
    bad[1].body["child_details"]["postcode"] = "SECRET VALUE"
    bad[3].body["social_care_episodes"] = [care("a", referral_source="LONG")]
    outcomes = await sent.write(*map(write, bad))
    assert outcomes[1] == Refused("the API refused the record (400): child_details, postcode: too long")
    assert outcomes[3] == Refused("the API refused the record (400): social_care_episodes, referral_source: too long")
    assert all(isinstance(outcomes[n], Confirmed) for n in (0, 2))


class Mute(DfeCscSandbox):
    """Refuses without a word of whom it means."""

    async def answer(self, request: Request) -> Response:
        answer = await super().answer(request)
        return PlainTextResponse("Payload was malformed", 400) if answer.status_code == 400 else answer


async def test_a_400_that_names_nobody_is_halved_until_the_culprit_stands_alone():
    async with sending(Mute(COUNCIL)) as sent:
        sent.sandbox.faults.append(Fault(kind="refuse", keys=frozenset({"C37"})))
        outcomes = await sent.write(*(write(child(n)) for n in range(100)))
        assert outcomes[37] == Refused("the API refused the record (400): it does not say why")
        assert sum(isinstance(outcome, Confirmed) for outcome in outcomes) == 99
        assert len(sent.held) == 99
        assert len(sent.bodies) <= 1 + 2 * 7


async def test_a_write_ends_after_a_while_even_if_all_are_refused_one_by_one_and_the_rest_comes_next_time():
    async with sending(Mute(COUNCIL)) as sent:
        sent.sandbox.faults.append(Fault(kind="refuse", keys=frozenset(f"C{n}" for n in range(100))))
        outcomes = await sent.write(*(write(child(n)) for n in range(100)))
        assert len(sent.bodies) == 32
        assert 10 < sum(isinstance(outcome, Refused) for outcome in outcomes) < 100
        assert NotDone("not sent: too many records of the batch were refused at once") in outcomes


async def test_a_413_sends_the_batch_in_halves():
    async with sending(DfeCscSandbox(DfeCscSandboxSettings(max_bytes=3000))) as sent:
        outcomes = await sent.write(*(write(child(n)) for n in range(40)))
        assert all(isinstance(outcome, Confirmed) for outcome in outcomes)
        assert [len(body) for body in sent.bodies] == [40, 20, 20]
        assert len(sent.held) == 40


async def test_a_child_that_is_too_large_by_itself_is_refused():
    async with sending(DfeCscSandbox(DfeCscSandboxSettings(max_bytes=3000))) as sent:
        large = child(1, social_care_episodes=[care(f"e{n}") for n in range(100)])
        outcomes = await sent.write(write(child(0)), write(large))
        assert isinstance(outcomes[0], Confirmed)
        assert outcomes[1] == Refused("the record is larger than the API takes (413)")


async def test_a_429_and_a_503_are_unavailable_for_as_long_as_they_say_and_leave_nothing_half_done(sent: Sent):
    for status in (429, 503):
        sent.sandbox.faults.append(Fault(kind="status", status=status, retry_after=0))
        assert await sent.write(write(child(1)), write(child(2))) == [
            Unavailable(f"{status}: turned away for now", timedelta(0))
        ] * 2  # fmt: skip
    assert sent.held == {}


async def test_an_answer_that_was_lost_is_unknown_and_the_next_write_sets_it_right(sent: Sent):
    before = child(1, social_care_episodes=[care("a")])
    lost = child(1, social_care_episodes=[care("b")], health_and_wellbeing=SDQ)
    after = child(1, social_care_episodes=[care("a"), care("c")])
    await sent.write(write(before))
    sent.sandbox.faults.append(Fault(kind="cut", when="after"))
    assert isinstance((await sent.write(write(lost, confirmed=before)))[0], Unknown)
    assert "b" in json.dumps(sent.held), "it was done all the same"
    assert isinstance((await sent.write(write(after, confirmed=before, doubtful=(lost,))))[0], Confirmed)
    assert same(sent.held["C1"]) == same(after.body)


@pytest.mark.parametrize("status", [408, 429, 502, 503])
async def test_an_answer_that_comes_after_the_work_is_unavailable_which_leaves_it_in_doubt(sent: Sent, status: int):
    sent.sandbox.faults.append(Fault(kind="status", status=status, when="after", retry_after=1))
    (outcome,) = await sent.write(write(child(1)))
    assert type(outcome) is Unavailable
    assert "C1" in sent.held


async def test_a_child_whose_new_id_is_refused_is_not_purged_under_its_old_one(sent: Sent):
    before, after = child(1), child(2)
    await sent.write(write(before))
    sent.sandbox.faults.append(Fault(kind="refuse", keys=frozenset({"C2"})))
    outcomes = await sent.write(write(child(0)), Write("x:person:C1", after, before), write(child(3)))
    assert [type(outcome) for outcome in outcomes] == [Confirmed, Refused, Confirmed]
    assert sorted(sent.held) == ["C0", "C1", "C3"]


async def test_a_child_that_is_purged_under_one_id_and_sent_under_another_goes_in_one_request(sent: Sent):
    renamed = [Write(f"x:person:C{n}", child(n + 100), child(n)) for n in range(60)]
    outcomes = await sent.write(*renamed)
    assert all(isinstance(outcome, Confirmed) for outcome in outcomes)
    assert [len(body) for body in sent.bodies] == [100, 20]


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_a_gateway_that_failed_after_the_work_was_done_is_unknown(sent: Sent, status: int):
    sent.sandbox.faults.append(Fault(kind="status", status=status, when="after"))
    outcomes = await sent.write(write(child(1)))
    assert outcomes == [Unknown(f"{status}: the other side failed and does not say how far it came")]
    assert "C1" in sent.held


async def test_a_page_in_place_of_receipts_is_unknown(sent: Sent):
    sent.sandbox.faults.append(Fault(kind="garbage", when="after"))
    assert await sent.write(write(child(1))) == [Unknown("200, but the answer is not JSON (text/html)")]


@pytest.mark.parametrize("receipts", [[], ["one"], ["one", "two", "three"], [1, 2], {"a": 1}, "text", None])
async def test_receipts_that_do_not_fit_the_records_are_unknown(receipts: object):
    class Careless(DfeCscSandbox):
        async def answer(self, request: Request) -> Response:
            answer = await super().answer(request)
            return answer if request.url.path.endswith("/token") else JSONResponse(receipts)

    async with sending(Careless(COUNCIL)) as sent:
        assert await sent.write(write(child(1)), write(child(2))) == [
            Unknown("200, but not one receipt a record")
        ] * 2  # fmt: skip


async def test_a_receipt_that_joins_date_and_time_in_another_way_still_ends_in_the_uuid():
    receipt = "2026-06-15T10:11:12.000001_7d8fe8a5-0b0f-4ae9-9b0c-2f1f0e0f1e0d"

    class Elsewhere(DfeCscSandbox):
        async def answer(self, request: Request) -> Response:
            answer = await super().answer(request)
            return answer if request.url.path.endswith("/token") else JSONResponse([receipt])

    async with sending(Elsewhere(COUNCIL)) as sent:
        assert await sent.write(write(child(1))) == [Confirmed("7d8fe8a5-0b0f-4ae9-9b0c-2f1f0e0f1e0d")]


async def test_after_a_lost_answer_the_rest_of_a_split_batch_is_not_sent():
    async with sending(DfeCscSandbox(DfeCscSandboxSettings(max_bytes=3000))) as sent:
        await sent.write(write(child(99)))
        sent.sandbox.faults.append(Fault(kind="cut", when="before", path="/children"))
        assert isinstance((await sent.write(write(child(1))))[0], Unknown)
        lost_in_the_first_half = [Fault(kind="status", status=413), Fault(kind="cut", when="after")]
        sent.sandbox.faults.extend(lost_in_the_first_half)
        outcomes = await sent.write(*(write(child(n)) for n in range(10)))
        assert [type(outcome) for outcome in outcomes] == [Unknown] * 5 + [NotDone] * 5
        assert outcomes[9] == NotDone("not sent: the answer before was lost")


async def test_a_token_that_expired_is_renewed_and_nobody_notices(sent: Sent):
    for n in range(3):
        assert isinstance((await sent.write(write(child(n))))[0], Confirmed)
        sent.sandbox.faults.append(Fault(kind="expired_token"))
    assert isinstance((await sent.write(write(child(3))))[0], Confirmed)
    assert sent.sandbox.statuses["401"] == 3


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"client_secret": "x"}, r"the token endpoint says 401: invalid_client.*DFE_CSC__CLIENT_SECRET"),
        ({"supplier_key": "x"}, r"does not allow us this \(403\).*DFE_CSC__SUPPLIER_KEY"),
        ({"la_code": 123}, r"does not allow us this \(403\).*la_code"),
    ],
)
async def test_what_only_a_person_can_mend_stops_everything_and_check_says_the_same(wrong: dict[str, Any], says: str):
    async with sending(**wrong) as sent:
        with pytest.raises(MisconfiguredError) as stopped:
            await sent.write(write(child(1)))
        rows = await sent.target.check()
    assert re.search(says, str(stopped.value))
    assert any(not row.well and re.search(says, row.fix) for row in rows)


async def test_an_address_with_no_api_behind_it_stops_everything(sent: Sent):
    sent.sandbox.faults.append(Fault(kind="status", status=404, path="/children"))
    with pytest.raises(MisconfiguredError, match="the address answers 404"):
        await sent.write(write(child(1)))


async def test_what_was_confirmed_before_a_credential_failed_is_not_forgotten(sent: Sent):
    half_way = [Fault(kind="status", status=413), Fault(kind="slow"), Fault(kind="status", status=403)]
    await sent.write(write(child(9)))
    sent.sandbox.faults.extend(half_way)
    outcomes = await sent.write(write(child(1)), write(child(2)))
    assert isinstance(outcomes[0], Confirmed)
    assert outcomes[1] == NotDone("not sent: does not allow us this (403)")


async def test_check_looks_at_token_and_address_and_changes_nothing(sent: Sent):
    assert await sent.target.check() == [Finding("a token can be had", True), Finding("the address takes our records", True)]
    assert sent.bodies == [[]]
    assert sent.held == {}


async def test_check_says_what_to_do_where_nobody_answers():
    async with client(Limits(), LocalBudget(100, 1.0)) as http:
        rows = await DfeCsc("dfe_csc", access("http://127.0.0.1:9"), http).check()
    assert rows == [
        Finding("a token can be had", False, "not sent: ClientConnectorError. Check token_url, and try again later"),
        Finding(
            "the address takes our records",
            False,
            "not sent: ClientConnectorError. Check api_endpoint, and try again later",
        ),
    ]


async def test_the_api_cannot_say_what_it_holds(sent: Sent):
    assert await sent.target.read_back([write(child(1)), write(child(2))]) == [
        Untold("the API only takes records, it shows none")
    ] * 2  # fmt: skip


# --- what a 400 says --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "indexes"),
    [
        ("Payload was malformed: [3] is not valid", [3]),
        ("errors at [0], [7] and [12]", [0, 7, 12]),
        ("invalid records at [ 1,4 ]", [1, 4]),
        ("$[2].child_details.sex", [2]),
        ("[5].social_care_episodes[0].referral_source: too long", [5]),
        ("[5]['social_care_episodes'][0]['referral_source']", [5]),
        ("'^[A-Za-z0-9]+$' [6]", [6]),
        ("[100] and [400]", []),
        ("malformed", []),
        ("", []),
    ],
)
def test_only_indexes_of_records_in_the_batch_name_somebody(text: str, indexes: list[int]):
    assert named(text, 100) == indexes


def test_a_reason_repeats_nothing_but_the_contract_s_own_words():
    text = "[3] surname 'Ångström-Smith' does not match the pattern; la_child_id 99887766 is too long"
    assert reason(text, 3, True) == (
        "the API refused the record (400): surname, la_child_id: too long and not of the right form"
    )
    assert reason("[3] Ångström-Smith", 3, True) == "the API refused the record (400): it does not say why"
    several = "invalid at [1] and [11]\n[1] sex: not one of F, M, U\n[11] worker_id: longer than 12"
    assert reason(several, 1, False) == "the API refused the record (400): sex: not on the code list"
    assert reason(several, 11, False) == "the API refused the record (400): worker_id: too long"
