"""The command line as people meet it: what it prints, what it exits with, what it says to do."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from canonical.errors import MisconfiguredError
from flows.engine.ledger import State
from ironbridge.cli import render
from ironbridge.cli.parts import plain
from ironbridge.cli.story import print_story
from ironbridge.demo import legacy
from ironbridge.demo.play import play
from ironbridge.operate import insight, stuck
from ironbridge.operate.insight import Story, Version
from ironbridge.program import app
from ironbridge.runtime.installed import ADAPTERS, TARGETS, found
from ironbridge.settings import Settings, load
from ironbridge.store.audit import AuditEntry
from ironbridge.store.standing import FlowStanding, StreamStanding, StuckRecord
from ironbridge.store.story import DocumentName, PublishedRecord, SubjectStory, Tried
from tests.zygote import Zygote

ROOT = Path(__file__).parent.parent
INVENTED = list(legacy.played(Path()))
"""The legacy systems of the demonstration, in its order."""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The settings file of a small demonstration that has been played to its end."""
    data = tmp_path_factory.mktemp("world") / "demo"
    out = Console(file=io.StringIO(), width=120)
    assert asyncio.run(play(out, data, sizes={"liquidlogic": 80, "payables": 80}, seed=3, traces=False)) == 0
    return data / "ironbridge.toml"


Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def ironbridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Runs a command in a process of its own, forked from one that has loaded the program, see tests/zygote.py."""
    zygote = Zygote.start(tmp_path_factory.mktemp("said"), os.environ | {"COLUMNS": "400"})
    zygote.ready()

    def run(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
        return zygote.run(*arguments, folder=cwd, environment=os.environ | environment)

    yield run
    zygote.stop()


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_every_command_explains_itself() -> None:
    status, text = invoke("--help")
    assert status == 0
    commands = ["init", "check", "run", "status", "plan", "explain", "broker", "demo", "parked", "contracts", "audit"]
    commands += ["migrate", "pause", "resume", "release", "replay", "backfill", "reconcile", "held"]
    for command in commands:
        assert command in text
        status, help_text = invoke(command, "--help")
        assert status == 0
        assert len(help_text) > 200, command


def test_the_readme_names_every_command_and_no_other() -> None:
    rows = [*re.findall(r"^\| `([a-z]+)[^|]*\|", (ROOT / "README.md").read_text(encoding="utf-8"), re.M), "resume"]
    commands = {c.name or (c.callback.__name__ if c.callback else "") for c in app.registered_commands}
    assert set(rows) == commands | {group.name for group in app.registered_groups}


def test_init_writes_a_file_that_loads_and_names_every_installed_system(ironbridge: Program, tmp_path: Path) -> None:
    file = tmp_path / "ironbridge.toml"
    assert invoke("init", "--file", str(file))[0] == 0
    text = file.read_text(encoding="utf-8")
    for name in [*found(ADAPTERS), *found(TARGETS)]:
        assert f".{name}]" in text
    done = ironbridge("check", "--file", str(file), cwd=tmp_path)
    assert done.returncode == 1
    assert "settings name no system" in done.stdout
    again = ironbridge("init", "--file", str(file))
    assert again.returncode == 2
    assert "is there already. To do" not in again.stdout
    assert "to do give --force" in again.stderr


def test_without_a_settings_file_a_command_says_how_to_write_one(ironbridge: Program, tmp_path: Path) -> None:
    done = ironbridge("status", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error ironbridge.toml: is not here",
        "to do write one with `ironbridge init`, or name one with --file",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "[kafka]\nbootstrap_server = 'x'",
            "`kafka.bootstrap_server` is not a setting, did you mean `bootstrap_servers`?",
        ),
        ("[kafka]\npartitions = 0", "kafka.partitions: Input should be greater than or equal to 1"),
        ("[adapters.liquidlogik]", "there is no system `liquidlogik`"),
        ("[adapters.liquidlogic]", "`url` is missing"),
        ("[kafka\n", "is not TOML"),
    ],
)
def test_a_mistake_in_the_settings_is_one_sentence_that_names_it(
    ironbridge: Program, tmp_path: Path, text: str, sentence: str
) -> None:
    file = tmp_path / "ironbridge.toml"
    file.write_text(text, encoding="utf-8")
    done = ironbridge("check", "--file", str(file))
    assert done.returncode == 2, done.stdout
    assert sentence in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_a_secret_comes_from_the_environment_and_is_never_printed(
    ironbridge: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRONBRIDGE_KAFKA__PASSWORD", "s3cr3t-word")
    monkeypatch.setenv("IRONBRIDGE_STATE__URL", "postgresql+asyncpg://u:s3cr3t-word@127.0.0.1:1/x")
    file = tmp_path / "ironbridge.toml"
    file.write_text("", encoding="utf-8")
    settings = load(file)
    assert settings.kafka.password is not None
    assert settings.kafka.password.get_secret_value() == "s3cr3t-word"
    assert "s3cr3t" not in repr(settings)
    done = ironbridge("check", "--file", str(file))
    assert done.returncode == 1
    assert "state: the database does not answer" in done.stdout
    assert "s3cr3t" not in done.stdout + done.stderr


def test_a_secret_comes_from_a_file_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a CSI driver mounts it. A setting whose own name ends so is still itself."""
    (tmp_path / "word").write_text("s3cr3t-word\n", encoding="utf-8")
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    file = tmp_path / "ironbridge.toml"
    file.write_text('[targets.cloud]\nsystem = "dfe_csc"', encoding="utf-8")
    monkeypatch.setenv("IRONBRIDGE_KAFKA__PASSWORD_FILE", str(tmp_path / "word"))
    monkeypatch.setenv("IRONBRIDGE_TARGETS__CLOUD__CLIENT_SECRET_FILE", str(tmp_path / "word"))
    monkeypatch.setenv("IRONBRIDGE_KAFKA__OAUTH_TOKEN_FILE", str(tmp_path / "word"))
    settings = load(file)
    assert settings.kafka.password is not None
    assert settings.kafka.password.get_secret_value() == "s3cr3t-word"
    assert settings.targets["cloud"]["client_secret"] == "s3cr3t-word"
    assert settings.kafka.oauth_token_file == str(tmp_path / "word")
    for name, path, said in (
        ("PASSWORD", "", "IRONBRIDGE_KAFKA__PASSWORD_FILE: IRONBRIDGE_KAFKA__PASSWORD is set as well"),
        ("PASSWORD_FILE", str(tmp_path / "none"), "the file that it names cannot be read (FileNotFoundError)"),
        ("PASSWORD_FILE", str(tmp_path / "empty"), "the file that it names is empty"),
    ):
        with monkeypatch.context() as more:
            more.setenv(f"IRONBRIDGE_KAFKA__{name}", path or "x")
            with pytest.raises(MisconfiguredError, match=re.escape(said)):
                load(file)


def test_settings_given_by_a_program_take_nothing_from_where_it_happens_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ironbridge.toml").write_text("worker = 'by day'\n[targets.live]\nsystem = 'dfe_csc'\n", encoding="utf-8")
    monkeypatch.setenv("IRONBRIDGE_TARGETS__OTHER__SYSTEM", "dfe_csc")
    assert set(load().targets) == {"live", "other"}
    given = Settings(targets={"dfe_csc": {}})
    assert (given.worker, set(given.targets)) == (None, {"dfe_csc"})


def test_status_shows_every_stream_and_flow(played: Path) -> None:
    status, shown = invoke("status", "--file", str(played))
    assert status == 1, "the invented councils have records that a person is to look at"
    status, text = invoke("status", "--file", str(played), "--json")
    told = json.loads(text)
    assert {row["adapter"] for row in told["streams"]} == set(INVENTED)
    assert all(row["error"] is None for row in told["streams"] + told["flows"])
    assert all(row["dirty"] == row["sending"] == 0 for row in told["flows"])
    assert all(row["seconds_waiting"] is None for row in told["flows"])
    assert all(f"{row['events']:,}" in shown for row in told["streams"])
    assert shown.index("business_central") < shown.index("liquidlogic.person")
    assert told["absent"] == [], "the demonstration has ended: nothing of it should run"


@pytest.mark.parametrize(
    ("stream", "flow", "needed"),
    [
        ({}, {}, False),
        ({"incomplete": 1, "paused": True}, {"dirty": 5, "waiting": 1, "dropped": 1}, False),
        ({"quarantined": 1}, {}, True),
        ({"held": 1}, {}, True),
        ({"error": "it does not answer"}, {}, True),
        ({}, {"parked": 1}, True),
        ({}, {"rejected": 1}, True),
        ({}, {"error": "it does not answer"}, True),
    ],
)
def test_status_says_whether_a_person_is_needed(
    stream: dict[str, Any], flow: dict[str, Any], needed: bool
) -> None:
    streams, flows = [StreamStanding("a", "s", **stream)], [FlowStanding("f", **flow)]
    assert render.Status(streams, flows).needs_a_person is needed


def test_the_keys_of_the_json_are_the_ones_that_scripts_know() -> None:
    """A change of a view's field, which is a change for whoever reads the JSON, is seen here."""
    told = json.loads(render.Status([STREAM], [FLOW]).as_json())
    assert set(told["streams"][0]) == {
        "adapter", "stream", "sweep", "read", "held", "error", "paused", "events", "records", "quarantined", "incomplete",
        "seconds_since_read", "reading",
    }  # fmt: skip
    assert set(told["flows"][0]) == {
        "flow", "paused", "error", "todo", "reopening", "standby", "rereading", "seconds_waiting", "seconds_silent", "held",
        "rejected", *State,
    }  # fmt: skip
    assert told["flows"][0]["held"] == FLOW.holds
    vendor, tries = DocumentName("vendor", "1"), [Tried(5.0, "o", None, "t")]
    subject = SubjectStory("f", "k", "agreed", None, 1, 1, "r", 5.0, holds=True, document=vendor, tries=tries)
    (told,) = json.loads(json.dumps([Story("k", subjects=[subject])], default=plain))
    assert set(told) == {"key", "published", "facts", "versions", "subjects", "owns", "stuck"}
    assert told["subjects"] == [
        {
            "flow": "f", "subject": "k", "state": "agreed", "reason": None, "changes": 1, "attempts": 1, "ref": "r",
            "confirmed": 5.0, "held": True, "document": {"kind": "vendor", "number": "1"},
            "tries": [{"at": 5.0, "outcome": "o", "detail": None, "trace": "t"}],
        }
    ]  # fmt: skip


STREAM = StreamStanding(
    "liquidlogic", "looked-after-episode", sweep=1, read=1, records=999_999, events=9_999_999, quarantined=17,
    seconds_since_read=12.3 * 86400,
)  # fmt: skip
FLOW = FlowStanding(
    "business_central", holds=1_999_999, todo=1_234, dirty=1_200, sending=34, waiting=5, parked=6, agreed=1_999_999,
    seconds_waiting=3599.0,
)  # fmt: skip


def test_status_shows_what_was_published_and_how_long_the_oldest_has_waited_in_eighty_columns() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(render.Status([replace(STREAM, paused=True)], [FLOW, replace(FLOW, flow="dfe_csc", dropped=3)]))
    assert isinstance(console.file, io.StringIO)
    assert [line.rstrip() for line in console.file.getvalue().splitlines()] == [
        "Cloud systems",
        "flow                  holds     agreed  to do    oldest  waiting  parked",
        "────────────────────────────────────────────────────────────────────────",
        "business_central  1,999,999  1,999,999  1,234  60.0 min        5       6",
        "dfe_csc           1,999,999  1,999,999  1,234  60.0 min        5       6",
        "dfe_csc 3 given up",
        "",
        "Legacy systems",
        "stream                            records  published  quarantined   last read",
        "─────────────────────────────────────────────────────────────────────────────",
        "liquidlogic.looked-after-episode  999,999  9,999,999           17  12.3 d ago",
        "liquidlogic.looked-after-episode paused",
        "",
    ]


def test_status_fits_a_screen_of_24_lines_where_all_systems_are_read() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(render.Status([replace(STREAM, stream=f"stream-{n}") for n in range(13)], [FLOW, FLOW]))
    assert isinstance(console.file, io.StringIO)
    assert len(console.file.getvalue().splitlines()) < 24


def test_plan_says_that_the_target_agrees_and_writes_nothing(played: Path) -> None:
    status, text = invoke("plan", "dfe_csc", "--file", str(played))
    assert (status, text.strip()) == (0, "Nothing to write: the target agrees. Nothing was written.")


def test_a_plan_of_a_flow_that_has_taken_nothing_in_does_not_say_that_the_target_agrees() -> None:
    console = Console(file=io.StringIO(), width=200)
    render.plan(console, [], as_json=False, reveal=False, most=0, known=False)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().startswith("The flow has taken nothing in yet: let `ironbridge run` read the legacy systems.")


def test_a_plan_ends_with_two_sentences() -> None:
    console = Console(file=io.StringIO(), width=80)
    changes = [insight.Change(f"k{n}", "update", []) for n in range(2)] + [insight.Change("k3", "refuse", [], "no")]
    render.plan(console, changes, as_json=False, reveal=False, most=0)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines()[-1] == "2 to update, 1 to refuse. Nothing was written."


def test_explain_tells_a_story_with_personal_fields_masked_until_they_are_asked_for(
    ironbridge: Program, played: Path
) -> None:
    _, text = invoke("status", "--file", str(played), "--json")
    status, text = invoke("explain", "liquidlogic:person:1001", "--file", str(played), "--json")
    assert status == 0
    (story,) = json.loads(text)
    names = story["facts"][0]["fields"]["names"]
    assert set(names[0].values()) == {"•••"}
    assert story["subjects"][0]["tries"][0]["outcome"] in ("confirmed", "unchanged")
    reveal = ("explain", "liquidlogic:person:1001", "--file", str(played), "--json", "--reveal")
    done = ironbridge(*reveal)
    assert done.returncode == 2
    assert "reveal: no reason is given" in done.stderr
    assert "names" not in done.stdout
    _, text = invoke(*reveal, "--why", "a complaint, reference 12")
    assert "•••" not in text
    _, text = invoke("audit", "--file", str(played), "--json")
    newest = json.loads(text)[0]
    assert (newest["action"], newest["what"]) == ("reveal", "liquidlogic:person:1001")
    assert (newest["why"], newest["through"]) == ("a complaint, reference 12", "command line")
    status, text = invoke("explain", "nobody", "--file", str(played))
    assert status == 1


def test_explain_says_who_did_what_to_a_record_and_shows_its_fields_line_by_line(played: Path) -> None:
    file = ("--file", str(played))
    key = "liquidlogic:person:1001"
    assert invoke("explain", key, "--reveal", "--why", "a complaint, reference 13", *file)[0] == 0
    text = invoke("explain", key, *file)[1]
    assert re.search(r"^audit   .* reveal by .*, command line: a complaint, reference 13$", text, re.M)
    assert "names: given •••; family •••\n" in text
    assert "restricted: no\n" in text
    assert "[{" not in text
    assert "[]" not in text
    (story,) = json.loads(invoke("explain", key, "--json", *file)[1])
    assert story["audit"][0]["action"] == "reveal"
    assert re.search(r"^legacy  liquidlogic.person: a person, version \d+, published to \S+ at \d+$", text, re.M)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({}, "an invoice, version 2, published to canonical.invoice[0] at 7; it belongs to payables:supplier:1"),
        ({"deleted": True, "owner": "k"}, "an invoice, version 2, deleted, published to canonical.invoice[0] at 7"),
        ({"version": 0, "topic": "", "owner": ""}, "read as an invoice; it has never been published"),
        ({"version": 0, "topic": "", "entity": "person"}, "read as a person; it has never been published"),
    ],
)
def test_a_story_begins_with_a_plain_sentence(row: dict[str, Any], said: str) -> None:
    whole = PublishedRecord(
        "payables", "payables", "invoice", "payables:supplier:1", version=2, deleted=False,
        topic="canonical.invoice", partition=0, offset=7,
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=160)
    lines = [{"number": 1, "net": "•••", "dimensions": [{"dimension": "D", "value": "V"}]}, {"number": 2, "tax": None}]
    facts = [Version("invoice", None, 2, 0.0, None, fields) for fields in ({"lines": lines, "notes": []}, None)]
    print_story(console, Story("k", published=[replace(whole, **row)], facts=facts))
    assert isinstance(console.file, io.StringIO)
    assert [line.strip() for line in console.file.getvalue().splitlines()[1:]] == [
        f"legacy  payables.payables: {said}",
        "now",
        "lines: number 1; net •••; dimensions (dimension D; value V)",
        "lines: number 2; tax —",
        "notes: none",
        "now     it is deleted",
    ]


def test_the_audit_trail_breaks_no_word_in_eighty_columns() -> None:
    act = AuditEntry(
        1, 0.0, "wilhelmina.featherstonehaugh@council.gov.uk", "console", "retry", "liquidlogic:looked-after-episode:1234567",
        "the target was mended, and so was the mapping of it",
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=80)
    render.trail(console, [act, replace(act, why="")])
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert all(len(line.rstrip()) <= 80 for line in printed.splitlines())
    words = " ".join(printed.split())
    assert words.count("retry liquidlogic:looked-after-episode:1234567") == 2
    assert f"{act.who}, console: {act.why}" in words


def groups_of(printed: list[dict[str, Any]]) -> list[stuck.Group]:
    """The groups of rows that `parked --json` has printed."""
    return stuck.grouped([StuckRecord(**{k: v for k, v in row.items() if k not in ("group", "next")}) for row in printed])


def test_parked_lists_shows_retries_and_drops(played: Path) -> None:
    file = ("--file", str(played))
    status, text = invoke("parked", "list", *file, "--json")
    rows = json.loads(text)
    assert status == 0
    assert {row["state"] for row in rows} == {"quarantined"}
    key = rows[0]["key"]
    status, text = invoke("parked", "show", key, *file)
    assert status == 0
    assert "quarantined since" in text
    assert invoke("parked", "retry", key, *file) == (0, "1 will be looked at again.\n")
    assert invoke("parked", "drop", key, "--why", "gone for good", *file)[0] == 0
    status, text = invoke("parked", "list", *file, "--json")
    assert key not in {row["key"] for row in json.loads(text)}
    assert invoke("parked", "show", key, *file)[0] == 1


def test_parked_alone_lists_as_parked_list_does(ironbridge: Program, played: Path) -> None:
    file = ("--file", str(played))
    for options in (file, (*file, "--json")):
        assert invoke("parked", *options) == invoke("parked", "list", *options)
    done = ironbridge("parked", *file, "list")
    assert done.returncode == 2
    assert "to do put them behind `parked list`" in done.stderr


def test_parked_shows_the_next_step_and_the_group_that_the_console_shows(played: Path) -> None:
    file = ("--file", str(played))
    rows = json.loads(invoke("parked", *file, "--json")[1])
    groups = {each.id: each for each in groups_of(rows)}
    assert {(row["group"], row["next"]) for row in rows} == {(each.id, each.next) for each in groups.values()}
    text = invoke("parked", *file)[1]
    assert all(f"{len(each.rows)} {each.state} in {each.part}, group {each.id}" in text for each in groups.values())
    assert all(f"To do: {each.next[:40]}" in text for each in groups.values())
    text = invoke("parked", "show", rows[0]["key"], *file)[1]
    assert f"To do: {rows[0]['next'][:40]}" in text
    assert rows[0]["group"] in text


def test_parked_shows_so_many_groups_and_says_how_many_more_there_are(played: Path) -> None:
    file = ("--file", str(played))
    groups = groups_of(json.loads(invoke("parked", *file, "--json")[1]))
    assert len(groups) > 1
    text = invoke("parked", *file, "--limit", "1")[1]
    assert text.count("For example") == 1
    assert f"{len(groups) - 1} more groups (--limit shows more, --all shows all)" in text
    assert invoke("parked", "list", *file, "--all")[1].count("For example") == len(groups)


def test_a_group_is_retried_and_given_up_whole(ironbridge: Program, played: Path) -> None:
    file = ("--file", str(played))
    groups = groups_of(json.loads(invoke("parked", *file, "--json")[1]))
    group = max(groups, key=lambda each: len(each.rows))
    count = len(group.rows)
    assert invoke("parked", "retry", "--group", group.id, *file) == (0, f"{count} will be looked at again.\n")
    assert invoke("parked", "drop", "--group", group.id, "--why", "a test", *file) == (0, f"{count} given up.\n")
    lines = json.loads(invoke("audit", *file, "--json")[1])[: 2 * count]
    assert {(line["action"], line["what"]) for line in lines} == {(a, k) for a in ("retry", "drop") for k in group.keys}
    left = groups_of(json.loads(invoke("parked", *file, "--json")[1]))
    assert {each.id for each in left} == {each.id for each in groups} - {group.id}
    done = ironbridge("parked", "retry", "--group", group.id, *file)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"There is no group {group.id}: its records were written, or were given up.")
    done = ironbridge("parked", "retry", "liquidlogic:person:1", "--all", *file)
    assert done.returncode == 2
    assert "error parked retry: it takes one of: keys, or --group, or --all" in done.stderr


def test_nothing_is_on_record_where_no_such_record_is_parked(ironbridge: Program, played: Path) -> None:
    file = ("--file", str(played))
    before = invoke("audit", *file, "--json")
    for words in (["retry", "nokey"], ["drop", "nokey", "--why", "x"], ["show", "nokey"], ["retry", "9434765919"]):
        done = ironbridge("parked", *words, *file)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "No such record is parked. See `ironbridge parked list`.\n"  # never somebody's number
    assert invoke("audit", *file, "--json") == before


def test_the_end_of_a_key_is_enough_where_it_means_one_parked_record(played: Path) -> None:
    file = ("--file", str(played))
    key = json.loads(invoke("parked", *file, "--json")[1])[0]["key"]
    end = key.rsplit(":", 1)[1]
    assert invoke("parked", "show", end, *file) == invoke("parked", "show", key, *file)
    assert invoke("parked", "retry", end, *file) == (0, "1 will be looked at again.\n")
    assert json.loads(invoke("audit", *file, "--json")[1])[0]["what"] == key


def test_a_paused_flow_takes_nothing_in_hand_until_it_is_resumed(played: Path) -> None:
    file = ("--file", str(played))

    def paused() -> dict[str, bool]:
        told = json.loads(invoke("status", *file, "--json")[1])
        streams = {f"{row['adapter']}.{row['stream']}": row["paused"] for row in told["streams"]}
        return streams | {row["flow"]: row["paused"] for row in told["flows"]}

    assert not any(paused().values())
    flow, stream = "dfe_csc", "liquidlogic.person"
    assert invoke("pause", flow, *file) == (0, "dfe_csc is paused: it still takes events in, and writes nothing.\n")
    assert invoke("pause", stream, *file) == (0, "liquidlogic.person is paused: it is not read.\n")
    assert {name for name, held in paused().items() if held} == {"dfe_csc", "liquidlogic.person"}
    assert invoke("resume", flow, *file) == (0, "dfe_csc goes on: all that waited is written.\n")
    assert invoke("resume", stream, *file) == (0, "liquidlogic.person goes on: it is read again.\n")
    assert not any(paused().values())


def test_silence_that_no_target_asked_for_is_not_lifted_and_nothing_is_on_record(played: Path) -> None:
    file = ("--file", str(played))
    before = invoke("audit", *file, "--json")
    assert invoke("release", "dfe_csc", *file, "--why", "x") == (1, "dfe_csc asked for no silence.\n")
    assert invoke("audit", *file, "--json") == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("pause dfe", "error pause: dfe is no flow and no stream\nto do there are: business_central, dfe_csc, "),
        ("resume dfe", "error resume: dfe is no flow and no stream\nto do there are: business_central, dfe_csc, "),
        ("plan liquidlogic", "error plan: liquidlogic is no flow\nto do there are: business_central, dfe_csc\n"),
        ("release dfe", "error release: dfe is no flow and no target\nto do there are: business_central, dfe_csc\n"),
        ("replay dfe", "error replay: dfe is no flow\nto do there are: business_central, dfe_csc\n"),
        ("reconcile dfe", "error reconcile: dfe is no flow\nto do there are: business_central, dfe_csc\n"),
        ("backfill payables x", "error backfill: payables.x is no stream\nto do there are: payables.payables\n"),
        ("backfill x person", "error backfill: x.person is no stream\nto do there are: " + f"{INVENTED[0]}."),
    ],
)
def test_a_name_that_is_not_there_is_said_by_its_command_with_what_there_is(
    ironbridge: Program, played: Path, arguments: str, said: str
) -> None:
    done = ironbridge(*arguments.split(), "--file", str(played))
    assert done.returncode == 2
    assert done.stderr.startswith(said), done.stderr


def test_reconcile_compares_the_ends_and_writes_a_certificate(ironbridge: Program, played: Path, tmp_path: Path) -> None:
    file = ("--file", str(played), "--patience", "0")
    status, text = invoke("reconcile", "dfe_csc", *file, "--out", str(tmp_path))
    assert "they do not agree" not in text.lower() or "quarantined" in text
    assert {f.suffix for f in tmp_path.iterdir()} == {".html", ".csv", ".json"}
    told = json.loads(next(tmp_path.glob("*.json")).read_text(encoding="utf-8"))
    assert status == (0 if told["agreed"] else 1)
    assert {part["what"] for part in told["parts"]} == {"liquidlogic", "dfe_csc"}
    assert all("quarantined" in each["why"] for each in told["differences"]), told["differences"]
    assert told["by"].endswith("(command line)")
    done = ironbridge("reconcile", "nobody", "--file", str(played))
    assert done.returncode == 2
    assert "nobody is no flow" in done.stderr


def test_nothing_is_let_through_where_nothing_is_held_back_and_a_reason_is_asked_for(played: Path) -> None:
    file = ["--file", str(played)]
    assert invoke("held", *file) == (0, "Nothing is held back.\n")
    status, text = invoke("held", "allow", "liquidlogic.person", *file, "--why", "they moved away")
    assert (status, text) == (1, "No such change is held back, or it was let through already. See `ironbridge held`.\n")
    with pytest.raises(MisconfiguredError, match=r"liquidlogic\.nobody is no stream"):
        invoke("held", "allow", "liquidlogic.nobody", *file, "--why", "x")


def test_replay_and_backfill_say_what_they_will_do_and_are_on_record(played: Path) -> None:
    file = ("--file", str(played))
    status, text = invoke("replay", "dfe_csc", *file, "--json", "--why", "a mapping was mended")
    assert status == 0
    assert json.loads(text)["subjects"] > 50
    assert invoke("replay", "dfe_csc", "--since", "2999-01-01", *file)[1].startswith("0 will be looked at")
    status, text = invoke("backfill", "liquidlogic", "person", *file, "--json", "--why", "after a restore")
    assert json.loads(text)["stream"] == "person"
    rows = json.loads(invoke("audit", *file, "--json")[1])
    told = [(row["action"], row["what"], row["why"]) for row in rows]
    assert ("backfill", "liquidlogic.person", "after a restore") in told
    assert ("replay", "dfe_csc (all)", "a mapping was mended") in told


def test_status_can_be_watched(played: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "ironbridge",
        "status",
        "--watch",
        "--every",
        "0.2",
        "--json",
        "--file",
        str(played),
    ]
    # Whoever is started in a shell's background is born deaf to Ctrl-C, and so are its children.
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=hears)
    assert process.stdout is not None
    looks = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert all({"streams", "flows"} <= look.keys() for look in looks)


def test_run_stops_gracefully_when_it_is_told_to(tmp_path: Path, played: Path) -> None:
    text = played.read_text(encoding="utf-8").split("[targets.dfe_csc]")[0]  # its clouds are gone
    file = tmp_path / "ironbridge.toml"
    file.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "ironbridge", "run", "--file", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    assert "embedded broker" in process.stdout.readline()  # the first that it says
    time.sleep(8)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert "Traceback" not in out


def test_running_a_name_that_is_not_there_says_which_there_are(ironbridge: Program, played: Path) -> None:
    done = ironbridge("run", "liquidlogik", "--file", str(played))
    assert done.returncode == 2
    assert "there is no liquidlogik in the settings" in done.stderr
    assert f"there are: {', '.join(INVENTED)}, business_central, dfe_csc" in done.stderr.replace("\n", " ")
