"""The stand-in for the DfE API: judged against the published contract, and held to what it promises its callers."""

import asyncio
import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft7Validator, FormatChecker

from flows.dfe_csc.sandbox import CHILDREN, DfeCscSandbox, DfeCscSandboxSettings, LeftOut
from flows.kit.sandbox import Rate
from flows.kit.sandbox_faults import Fault

CHILDREN_PATH = "/children_social_care_data/941/children"
CREDENTIALS = {"grant_type": "client_credentials", "client_id": "ironbridge", "client_secret": "sandbox-secret"}
Json = dict[str, Any]

# What the payload guidance allows where the contract only says how long a value may be.
CODES = {
    "unique_pupil_number_unknown_reason": ["UN1", "UN10"],
    "sex": ["F", "M", "U"],
    "activity": ["F1", "G6"],
    "accommodation": ["B", "V"],
}


@asynccontextmanager
async def signed_in(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=10) as client:
        token = (await client.post("/token", data=CREDENTIALS)).json()["access_token"]
        client.headers.update({"Authorization": f"Bearer {token}", "SupplierKey": "sandbox-supplier"})
        yield client


@asynccontextmanager
async def cloud(**settings: Any) -> AsyncIterator[tuple[DfeCscSandbox, httpx.AsyncClient]]:
    async with DfeCscSandbox(DfeCscSandboxSettings(**settings)) as sandbox, signed_in(sandbox.url) as client:
        yield sandbox, client


async def sent(client: httpx.AsyncClient, *children: Json) -> httpx.Response:
    return await client.post(CHILDREN_PATH, json=list(children))


def child(number: int = 1, **blocks: Any) -> Json:
    return {"la_child_id": f"C{number}", "mis_child_id": f"M-{number}", **blocks}


@pytest.fixture(scope="module")
def contract(shared: Path) -> Json:
    spec = json.loads((shared / "specs/dfe-csc/openapi.json").read_text())
    schema: Json = spec["components"]["schemas"]["CSC"]
    return schema


def pairs(theirs: Json, ours: Json, defs: Json, path: str = "") -> Iterator[tuple[str, Json, Json]]:
    """Every node of the contract beside ours."""
    ours = defs[ours["$ref"].rpartition("/")[2]] if "$ref" in ours else ours
    yield path, theirs, ours
    for name, inner in theirs.get("properties", {}).items():
        yield from pairs(inner, ours["properties"].get(name, {}), defs, f"{path}/{name}")
    if "items" in theirs:
        yield from pairs(theirs["items"], ours["items"], defs, f"{path}[]")


def test_every_property_rule_and_requirement_of_the_contract_is_enforced_alike(contract: Json) -> None:
    ours = CHILDREN.json_schema()
    seen = 0
    for path, theirs, mine in pairs(contract, ours, ours["$defs"]):
        seen += 1
        if theirs["type"] == "object":
            assert set(theirs["properties"]) == set(mine["properties"]), path
            assert sorted(theirs.get("required", [])) == sorted(mine.get("required", [])), path
            assert theirs["additionalProperties"] is mine["additionalProperties"] is False, path
        elif theirs.get("format") != "date":
            assert mine["type"] == theirs["type"], path
        if "maxLength" in theirs and "enum" in mine:
            assert max(map(len, mine["enum"])) <= theirs["maxLength"], path
        elif "maxLength" in theirs:
            assert mine["maxLength"] == theirs["maxLength"], path
        for rule in ("pattern", "minLength", "maxItems"):
            if rule in theirs:
                assert mine[rule] == theirs[rule], (path, rule)
    assert seen > 80


def valid(schema: Json, luck: random.Random, name: str = "") -> Any:
    """A random value that the contract and the guidance take."""
    match schema["type"]:
        case "object":
            required = schema.get("required", [])
            chosen = [n for n in schema["properties"] if n in required or luck.random() < 0.6]
            return {n: valid(schema["properties"][n], luck, n) for n in chosen}
        case "array" if name in ("disabilities", "factors"):
            return sorted(
                luck.sample(["AUT", "HAND", "MOB", "VIS"], luck.randrange(4)) if name == "disabilities" else {"1A"}
            )
        case "array":
            return [valid(schema["items"], luck) for _ in range(luck.randrange(3))]
        case "boolean":
            return luck.random() < 0.5
        case "integer":
            return luck.randrange(-5, 41)
    if schema.get("format") == "date":
        return f"20{luck.randrange(100):02}-{luck.randrange(1, 13):02}-{luck.randrange(1, 29):02}"
    if name in CODES:
        return luck.choice(CODES[name])
    size = luck.randint(schema.get("minLength", 1), min(schema.get("maxLength", 12), 36))
    return "".join(luck.choice("ABCxyz019") for _ in range(size))


def places(value: Any, schema: Json) -> Iterator[tuple[Any, Any, Json]]:
    """Every (container, key, schema) of a record that may be spoilt."""
    if schema["type"] == "object":
        for name in value:
            yield value, name, schema["properties"][name]
            yield from places(value[name], schema["properties"][name])
    elif schema["type"] == "array":
        for at, item in enumerate(value):
            yield value, at, schema["items"]
            yield from places(item, schema["items"])


def spoil(record: Json, schema: Json, luck: random.Random) -> None:
    """Break one rule of the contract somewhere."""
    container, key, rule = luck.choice([*places(record, schema)])
    wrong: list[Any] = [None, {"unknown": 1}, [[]]]
    if rule["type"] == "string":
        wrong += [7, True, "x" * (rule["maxLength"] + 1)] if "maxLength" in rule else [7, 1.5]
        wrong += ["not allowed!", ""][: 2 if "+" in rule.get("pattern", "") else 1] if "pattern" in rule else []
    if rule.get("format") == "date":
        wrong += ["2024-02-30", "2024-1-1", "1577836800", "2024-01-01T00:00:00Z", "01/02/2024", 1577836800, ""]
    if rule["type"] == "object":
        wrong += [dict(container[key], surprise=1)]
        wrong += [{k: v for k, v in container[key].items() if k not in rule["required"]}] if "required" in rule else []
    if rule["type"] == "array" and "maxItems" in rule:
        wrong += [[f"A{n:02}" for n in range(rule["maxItems"] + 1)], ["AUT", "AUT"]]
    if rule["type"] in ("boolean", "integer"):
        wrong += ["true", "1", 1.5]
    container[key] = luck.choice(wrong)


async def test_random_bodies_are_judged_as_the_contract_judges_them(contract: Json) -> None:
    luck = random.Random(20)
    judge = Draft7Validator(contract["items"], format_checker=FormatChecker(["date"]))
    refused = 0
    async with cloud() as (_, client):
        for _ in range(120):
            records = [dict(valid(contract["items"], luck), mis_child_id="M") for _ in range(luck.randint(1, 12))]
            for record in records:
                if luck.random() < 0.15:
                    spoil(record, contract["items"], luck)
            failing = [n for n, record in enumerate(records) if not judge.is_valid(record)]
            answer = await sent(client, *records)
            if failing:
                refused += 1
                assert answer.status_code == 400, (failing, records)
                assert f"invalid records at {failing}\n" in answer.text
            else:
                assert answer.status_code == 200, (answer.text, records)
    assert 40 < refused < 110  # or the test says nothing


async def test_only_a_real_date_written_as_the_contract_writes_it_is_a_date(contract: Json) -> None:
    judge = Draft7Validator(contract["items"], format_checker=FormatChecker(["date"]))
    wrong = [
        "2024-02-30",
        "2024-1-1",
        "1577836800",
        "2024-01-01T00:00:00",
        "20240101",
        "01/02/2024",
        "",
        1577836800,
        None,
    ]
    async with cloud() as (_, client):
        for value in ["2024-02-29", *wrong]:
            record = child(child_details={"date_of_birth": value})
            assert judge.is_valid(record) is (value == "2024-02-29")
            assert (await sent(client, record)).status_code == (400 if value in wrong else 200), value


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ({"unique_pupil_number": "A12345678901 "}, "unique_pupil_number"),
        ({"unique_pupil_number_unknown_reason": "UN11"}, "unique_pupil_number_unknown_reason"),
        ({"sex": "X"}, "sex"),
        ({"disabilities": ["VIS", "AUT"]}, "disabilities"),
        ({"disabilities": ["vis"]}, "disabilities"),
    ],
)
async def test_the_guidance_is_enforced_where_it_says_more_than_the_contract(block: Json, field: str) -> None:
    async with cloud() as (sandbox, client):
        answer = await sent(client, child(1), child(2, child_details=block))
        assert answer.status_code == 400
        assert re.match(
            rf"Payload was malformed: invalid records at \[1\]\nrecord 1: child_details\.{field}", answer.text
        )
        assert sandbox.documents("941") == {}


async def test_a_care_leavers_activity_and_accommodation_are_of_the_published_codes() -> None:
    async with cloud() as (_, client):
        for field, good, bad in (("activity", "F2", "F3"), ("accommodation", "D", "A")):
            for code, status in ((good, 200), (bad, 400)):
                episode = {"social_care_episode_id": "E1", "care_leavers": {field: code}}
                assert (await sent(client, child(social_care_episodes=[episode]))).status_code == status


async def test_a_batch_gets_a_receipt_for_each_record_in_the_order_sent() -> None:
    async with cloud() as (sandbox, client):
        answer = await sent(client, *(child(n) for n in range(100)))
        receipt = r"\d{4}-\d\d-\d\d_\d\d:\d\d:\d\d\.\d{6}_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
        assert answer.status_code == 200
        assert len(set(answer.json())) == 100
        assert all(re.fullmatch(receipt, text) for text in answer.json())
        assert [entry["subject"] for entry in sandbox.log()] == [f"C{n}" for n in range(100)]


async def test_answers_follow_the_contract_for_what_is_no_batch_of_children() -> None:
    async with cloud(max_bytes=2000) as (sandbox, client):
        assert (await sent(client)).status_code == 204
        assert (await sent(client, *(child(n) for n in range(101)))).status_code == 413
        assert (await client.post(CHILDREN_PATH, content=b"[" + b" " * 2000 + b"]")).status_code == 413
        for body in (b"", b"{", b"{}", b'"x"'):
            answer = await client.post(CHILDREN_PATH, content=body)
            assert (answer.status_code, "[" in answer.text) == (400, False)
        assert (await client.post("/children_social_care_data/1234/children", json=[])).status_code == 404
        assert sandbox.summary()["effects"] == {}


async def test_one_bad_record_refuses_the_whole_batch_and_is_named_by_its_index() -> None:
    async with cloud() as (sandbox, client):
        answer = await sent(client, {"la_child_id": "no!"}, child(1), {"mis_child_id": "x"})
        assert answer.status_code == 400
        assert answer.text.splitlines()[0] == "Payload was malformed: invalid records at [0, 2]"
        assert sandbox.documents("941") == {}


async def test_only_the_right_client_supplier_and_council_are_let_in() -> None:
    async with cloud(la_codes=frozenset({"941"})) as (_, client):
        assert (await client.post("/token", data=CREDENTIALS | {"client_secret": "guess"})).status_code == 401
        for headers, status in (
            ({"Authorization": ""}, 401),
            ({"Authorization": "Bearer 1.2.3"}, 401),
            ({"Authorization": "Bearer é"}, 401),
            ({"SupplierKey": "another"}, 403),
            ({}, 200),
        ):
            raw = {name.encode(): value.encode() for name, value in headers.items()}
            assert (await client.post(CHILDREN_PATH, json=[child()], headers=raw)).status_code == status
        assert (await client.post(CHILDREN_PATH.replace("941", "330"), json=[child()])).status_code == 403


async def test_a_token_expires_after_its_time() -> None:
    async with cloud(token_seconds=1) as (_, client):
        assert (await sent(client, child())).status_code == 200
        await asyncio.sleep(1.1)
        assert (await sent(client, child())).status_code == 401


async def test_too_many_requests_are_told_when_to_come_back() -> None:
    async with cloud(rate=Rate(requests=2, seconds=1)) as (_, client):
        assert [(await sent(client, child())).status_code for _ in range(3)] == [200, 200, 429]
        assert (await sent(client, child())).headers["Retry-After"] == "1"
        await asyncio.sleep(1)
        assert (await sent(client, child())).status_code == 200


EPISODE = {
    "social_care_episode_id": "E1",
    "referral_date": "2025-01-01",
    "closure_date": "2025-06-01",
    "child_in_need_plans": [{"child_in_need_plan_id": "P1", "start_date": "2025-02-01"}],
    "care_worker_details": [{"worker_id": "W1"}, {"worker_id": "W2"}],
    "adoption": {"matched_date": "2025-03-01"},
}


async def held_after(*updates: Json, left_out: LeftOut = LeftOut.CLEARED) -> Any:
    async with cloud(left_out=left_out) as (sandbox, client):
        for update in updates:
            assert (await sent(client, update)).status_code == 200
        return sandbox.documents("941").get("C1")


async def test_a_partial_update_merges_blocks_by_their_ids_and_replaces_those_without() -> None:
    update = {
        "social_care_episode_id": "E1",
        "child_in_need_plans": [
            {"child_in_need_plan_id": "P0", "start_date": "2025-01-15"},
            {"child_in_need_plan_id": "P1", "end_date": "2025-05-01"},
        ],
        "care_worker_details": [{"worker_id": "W3"}],
    }
    other = {"social_care_episode_id": "E0", "referral_date": "2024-01-01"}
    after = await held_after(child(social_care_episodes=[EPISODE]), child(social_care_episodes=[update, other]))
    assert after["social_care_episodes"] == [other, EPISODE | update]


async def test_a_block_sent_again_clears_what_it_leaves_out_unless_told_to_keep_it() -> None:
    reopened = {"social_care_episode_id": "E1", "referral_date": "2025-01-01"}
    updates = [child(social_care_episodes=[EPISODE]), child(social_care_episodes=[reopened])]
    [episode] = (await held_after(*updates))["social_care_episodes"]
    assert "closure_date" not in episode
    assert episode["adoption"] == EPISODE["adoption"]
    [episode] = (await held_after(*updates, left_out=LeftOut.KEPT))["social_care_episodes"]
    assert episode == EPISODE


async def test_purge_removes_a_block_an_episode_or_the_whole_child() -> None:
    full = child(child_details={"sex": "F"}, social_care_episodes=[EPISODE])
    gone = {
        "social_care_episode_id": "E1",
        "child_in_need_plans": [{"child_in_need_plan_id": "P1", "purge": True}],
        "adoption": {"purge": True},
    }
    after = await held_after(full, child(child_details={"purge": True}, social_care_episodes=[gone]))
    kept = {name: EPISODE[name] for name in EPISODE if name not in gone or name == "social_care_episode_id"}
    assert after == child(social_care_episodes=[kept])
    assert await held_after(full, child(social_care_episodes=[dict(gone, purge=True)])) == child(
        child_details={"sex": "F"}
    )
    assert await held_after(full, child(purge=True)) is None


async def test_the_log_tells_creates_updates_purges_and_repeats_apart() -> None:
    async with cloud() as (sandbox, client):
        first = child(child_details={"sex": "F", "surname": "A", "purge": False})
        again = {"mis_child_id": "M-1", "child_details": {"surname": "A", "sex": "F"}, "la_child_id": "C1"}
        for record in (first, again, child(child_details={"sex": "M"}), child(purge=True), child(purge=True)):
            await client.post(CHILDREN_PATH, json=[record], headers={"X-Request-ID": "abc"})
        log = (await client.get("/_sandbox/log", params={"after": 0, "limit": 10})).json()
        assert [entry["sequence"] for entry in log] == [1, 2, 3, 4, 5]
        assert [entry["operation"] for entry in log] == ["create", "update", "update", "purge", "purge"]
        assert [entry["changed"] for entry in log] == [1, 0, 1, 1, 0]
        assert {entry["request"] for entry in log} == {"abc"}
        assert log[0]["digest"] == log[1]["digest"] != log[2]["digest"]
        assert abs(log[-1]["at"] - time.time()) < 5
        summary = (await client.get("/_sandbox/summary")).json()
        assert summary == sandbox.summary()
        assert summary["documents"] == {"941": 0}
        assert summary["effects"] == {"create": 1, "update": 2, "purge": 2}
        assert summary["repeats"] == 2
        assert summary["requests"] == 6


async def test_documents_are_shown_a_page_at_a_time() -> None:
    async with cloud() as (_, client):
        await sent(client, child(1), child(2), child(3))
        page: dict[str, str | int] = {"kind": "941", "limit": 2}
        first = (await client.get("/_sandbox/documents", params=page)).json()["941"]
        rest = (await client.get("/_sandbox/documents", params=page | {"after": max(first)})).json()["941"]
        assert first | rest == {f"C{n}": child(n) for n in (1, 2, 3)}


async def test_a_lost_answer_is_of_work_that_was_done_and_a_lost_request_is_not() -> None:
    async with cloud() as (sandbox, client):
        for number, when, kept in ((1, "before", []), (2, "after", ["C2"])):
            sandbox.faults.append(Fault(kind="cut", when=when))
            with pytest.raises(httpx.TransportError):
                await sent(client, child(number))
            assert list(sandbox.documents("941")) == kept
        assert (await sent(client, child(3))).status_code == 200
        assert sandbox.statuses["cut"] == 2


async def test_it_misbehaves_as_it_is_told_to_over_http_and_then_no_more() -> None:
    async with cloud() as (sandbox, client):
        told = [
            {"kind": "status", "status": 500, "times": 2},
            {"kind": "status", "status": 429, "retry_after": 3},
            {"kind": "garbage"},
            {"kind": "status", "status": 504, "when": "after"},
        ]
        assert (await client.post("/_sandbox/faults", json=told)).status_code == 200
        answers = [await sent(client, child(n)) for n in range(6)]
        assert [answer.status_code for answer in answers] == [500, 500, 429, 200, 504, 200]
        assert answers[2].headers["Retry-After"] == "3"
        assert answers[3].text.startswith("<html>")
        assert sorted(sandbox.documents("941")) == ["C4", "C5"]
        assert (await client.post("/_sandbox/faults", json={"kind": "mischief"})).status_code == 400
        assert (await client.post("/_sandbox/faults", json={"kind": "status", "times": None})).status_code == 200
        assert {(await sent(client, child())).status_code for _ in range(3)} == {503}
        assert (await client.delete("/_sandbox/faults")).json() == []
        assert (await sent(client, child())).status_code == 200


async def test_a_slow_answer_takes_its_time_and_an_expired_token_is_mended_by_a_new_one() -> None:
    async with cloud() as (sandbox, client):
        sandbox.faults.append(Fault(kind="slow", seconds=0.3))
        begun = time.monotonic()
        assert (await sent(client, child())).status_code == 200
        assert time.monotonic() - begun > 0.29
        sandbox.faults.append(Fault(kind="expired_token"))
        assert [(await sent(client, child())).status_code for _ in range(2)] == [401, 401]
        async with signed_in(sandbox.url) as renewed:
            assert (await sent(renewed, child())).status_code == 200
        sandbox.faults.append(Fault(kind="status", path="/token"))
        assert (await client.post("/token", data=CREDENTIALS)).status_code == 503


async def test_records_with_a_given_key_are_refused_until_forgiven() -> None:
    async with cloud() as (sandbox, client):
        sandbox.faults.append(Fault(kind="refuse", keys=frozenset({"C2", "C9"})))
        for _ in range(2):
            answer = await sent(client, child(1), child(2))
            assert (answer.status_code, answer.text) == (400, "Payload was malformed: invalid records at [1]")
        assert (await sent(client, child(1))).status_code == 200
        sandbox.faults.clear()
        assert (await sent(client, child(2))).status_code == 200


@asynccontextmanager
async def as_a_program(data: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    command = [sys.executable, "-m", "flows.dfe_csc.sandbox", "--port", "0", "--data", str(data)]
    program = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert program.stdout
    try:
        yield program, (await program.stdout.readline()).decode().strip()
    finally:
        if program.returncode is None:
            program.send_signal(signal.SIGTERM)
        await program.wait()


async def test_what_was_answered_survives_a_kill_of_the_program_and_so_does_the_token(tmp_path: Path) -> None:
    data = tmp_path / "cloud.sqlite3"
    async with as_a_program(data) as (program, url), signed_in(url) as client:
        headers = client.headers
        assert (await sent(client, child(1), child(2))).status_code == 200
        os.kill(program.pid, signal.SIGKILL)
    async with as_a_program(data) as (program, url), httpx.AsyncClient(base_url=url, headers=headers) as client:
        assert (await sent(client, child(2), child(3))).status_code == 200
        log = (await client.get("/_sandbox/log")).json()
        assert [(entry["sequence"], entry["subject"], entry["operation"]) for entry in log] == [
            (1, "C1", "create"),
            (2, "C2", "create"),
            (3, "C2", "update"),
            (4, "C3", "create"),
        ]
        assert (await client.get("/_sandbox/summary")).json()["documents"] == {"941": 3}
        program.send_signal(signal.SIGTERM)
        assert await program.wait() in (0, -signal.SIGTERM)


async def test_a_hundred_children_cost_little_enough_for_thousands_a_second(tmp_path: Path) -> None:
    episode = EPISODE | {"care_worker_details": [{"worker_id": "W1", "start_date": "2025-01-01"}]}
    details = {"first_name": "A", "surname": "B", "date_of_birth": "2015-01-01", "sex": "F", "disabilities": ["AUT"]}
    bodies = [
        json.dumps([child(batch * 100 + n, child_details=details, social_care_episodes=[episode]) for n in range(100)])
        for batch in range(10)
    ]
    async with cloud(data=tmp_path / "cloud.sqlite3") as (sandbox, client):
        took = []
        for body in bodies:
            begun = time.process_time()
            assert (await client.post(CHILDREN_PATH, content=body)).status_code == 200
            took.append(time.process_time() - begun)
        assert sandbox.summary()["documents"] == {"941": 1000}
        assert sorted(took)[5] < 0.02  # client and server together; about 4 ms where this was written
