"""The guides for authors show code, settings and commands: the code runs, the settings are TOML, and the commands are ours."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NamedTuple

import click
import httpx
import pytest
import typer
from pydantic import BaseModel

from adapters.kit.codes import CodeMap, CodesFromSettings
from adapters.kit.debezium import DebeziumAdapter, DebeziumSettings, DebeziumStream
from adapters.kit.delimited import Delimited
from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.kit.rest import Numbered, RestAdapter, RestSettings, RestStream
from adapters.kit.rows import Between, DayWritten, Joined, Soft, Spelt, row_of
from adapters.kit.soap import SoapAdapter, SoapSettings, SoapStream
from adapters.kit.webhook import WebhookAdapter, WebhookSettings, WebhookStream
from adapters.testing import Bench
from canonical import Person, Tenancy
from canonical.entity import Entity
from canonical.finding import Finding
from canonical.key import key_of, read_key
from flows.kit.plain import plain
from flows.kit.records import RecordAccess, RecordPlace, RecordTarget
from flows.kit.requests import LocalBudget
from flows.kit.resources import Resources
from flows.kit.sandbox_records import RecordSandbox
from flows.port import Confirmed, Document, Fact, Facts, Grouping, Limits, Nothing, Urgency, Write
from ironbridge.program import app

DOCS = Path(__file__).parents[1] / "docs"
GUIDES = ("add-an-adapter.md", "add-a-target.md")
PAGES = (*GUIDES, "flows-in-toml.md")
"""Their commands and settings are looked at here; the flows of the last one run in tests/test_docs_flows_in_toml.py."""
KNOWN: dict[str, Any] = {
    each.__name__: each
    for each in (
        *(Any, BaseModel, Between, CodeMap, CodesFromSettings, Decimal, Document, Entity, Facts, Finding, Grouping),
        *(DebeziumStream, Numbered, RestStream, SoapStream, WebhookStream),
        *(Delimited, FilesAdapter, FilesSettings, FileStream, Person, DayWritten),
        *(Mapping, NamedTuple, Nothing, RecordPlace, RecordTarget, Sequence, Spelt, Tenancy, Urgency),
        *(date, datetime, key_of, plain, read_key, row_of),
    )
} | {"Annotated": Annotated, "Joined": Joined, "Soft": Soft}
"""What an author has imported."""


class NoSettings(BaseModel):
    """The section of a flow that has no settings."""


def blocks(kind: str) -> list[tuple[str, str]]:
    marked = re.compile(rf"```{kind}\n(.*?)```", re.DOTALL)
    found = [(guide, block) for guide in PAGES for block in marked.findall((DOCS / guide).read_text("utf-8"))]
    assert found
    return found


def shown(guide: str) -> dict[str, Any]:
    """All that the code of a guide defines, in a module of its own: mappings are found by their module."""
    module = ModuleType(Path(guide).stem)
    module.__dict__.update(KNOWN)
    sys.modules[module.__name__] = module
    for at, block in blocks("python"):
        if at == guide:
            exec(compile(block, guide, "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


def commands() -> list[tuple[str, str]]:
    return [*_commands()]


def _commands() -> Iterator[tuple[str, str]]:
    for guide, block in blocks("console"):
        for line in block.splitlines():
            words = line.removeprefix("$ ").partition("#")[0].strip()
            if line.startswith("$ ironbridge "):
                yield guide, words


@pytest.mark.parametrize(("guide", "line"), commands())
def test_a_command_that_a_guide_shows_is_one_of_ours(guide: str, line: str) -> None:
    command: click.Command = typer.main.get_command(app)
    words, name = shlex.split(line)[1:], "ironbridge"
    context = click.Context(command)
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(context, words)  # type: ignore[assignment]
        context = click.Context(command, parent=context, info_name=name)
    command.parse_args(context, words)


@pytest.mark.parametrize(("guide", "block"), blocks("toml"))
def test_settings_that_a_guide_shows_are_toml(guide: str, block: str) -> None:
    assert tomllib.loads(block)


@pytest.mark.parametrize("guide", GUIDES)
def test_the_code_that_a_guide_shows_runs(guide: str) -> None:
    assert shown(guide).keys() > KNOWN.keys()


async def test_the_files_of_the_guide_are_read(tmp_path: Path) -> None:
    (tmp_path / "permits_2026-01.csv").write_text("Permit_no,Holder,Date of issue\nP1,7,05/01/2026\n")
    settings = FilesSettings(folders=(tmp_path,), settle=timedelta(0))
    bench = Bench(shown("add-an-adapter.md")["build"]("parking", settings))
    assert [event.key for event in await bench.read()] == ["parking:person:P1"]
    assert bench.problems() == {}


async def test_the_services_of_the_guide_are_adapters() -> None:
    guide = shown("add-an-adapter.md")
    debezium = DebeziumAdapter("parking", DebeziumSettings(bootstrap_servers="none"), guide["TOPICS"])
    lists = RestAdapter("parking", RestSettings.model_validate({"url": "https://parking.example/"}), guide["LISTS"])
    calls = SoapAdapter("parking", SoapSettings.model_validate({"url": "https://parking.example/permits"}), guide["CALLS"])
    signed = {"port": 0, "signature": {"secrets": ["whsec_" + "YWJj" * 8]}}
    hooks = WebhookAdapter("parking", WebhookSettings.model_validate(signed), guide["HOOKS"])
    for adapter in (debezium, lists, calls, hooks):
        assert [(stream.name, stream.entities) for stream in adapter.streams()] == [("permits", (Person,))]


def test_the_flow_of_the_guide_gives_a_document_until_the_tenancy_ends() -> None:
    flow = shown("add-a-target.md")["LetHomes"]("homes", NoSettings(), None)
    home = Tenancy(key="housing:tenancy:7", number="7", start_date=date(2026, 1, 5), end_date=date(2026, 4, 1), tenure="SOC")
    fact = Fact(home.type_name, home.key, home.owner, 1, home.to_bytes())
    before = Facts([fact], date(2026, 3, 31))
    assert flow.desired(home.key, before) == Document("homes", "7", {"since": "2026-01-05", "tenure": "SOC"})
    assert before.recheck == date(2026, 4, 1)
    assert flow.desired(home.key, Facts([fact], date(2026, 4, 1))) == Nothing("the tenancy has ended")
    assert flow.desired(home.key, Facts([], date(2026, 4, 1))) is None


async def test_the_target_of_the_guide_writes_to_a_cloud_system() -> None:
    limits = Limits()
    async with RecordSandbox() as sandbox, Resources("parks", LocalBudget.of) as resources:
        token = (await _token(sandbox.url))["access_token"]
        http = resources.http(limits)
        http.headers["Authorization"] = f"Bearer {token}"
        target = shown("add-a-target.md")["Parks"]("parks", limits, RecordAccess(http))
        target.url = sandbox.url
        (outcome,) = await target.write([Write("housing:tenancy:7", Document("homes", "7", {"tenure": "SOC"}))])
        assert isinstance(outcome, Confirmed)
        assert sandbox.documents("homes") == {"7": {"tenure": "SOC"}}
        assert [finding.well for finding in await target.check()] == [True]


async def _token(url: str) -> dict[str, Any]:
    async with httpx.AsyncClient(trust_env=False) as http:
        form = {"grant_type": "client_credentials", "client_id": "ironbridge", "client_secret": "sandbox-secret"}
        said: dict[str, Any] = (await http.post(f"{url}/token", data=form)).json()
        return said
