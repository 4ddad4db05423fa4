"""
Secrets by canary: a word that occurs nowhere else stands in every setting that holds a secret, everything that uses one is made
to fail, and all that the program says meanwhile is searched for it.
"""

import asyncio
import json
import os
import signal
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, SecretStr

from adapters.kit.files import FilesSettings
from adapters.kit.sql_session import SqlSettings
from canonical.errors import MisconfiguredError
from ironbridge.runtime import installed, systems
from ironbridge.settings import Settings, load, section
from tests.secure_kafka import Secure
from tests.servers import HOST, Postgres
from tests.test_http import answer, read_request, talking

CANARY = "zq7canary"
PLANTED = {
    "KAFKA__PASSWORD": f"{CANARY}-kafka",
    "STATE__URL": f"postgresql+asyncpg://ironbridge:{CANARY}-state@{HOST}:{{postgres}}/no_such_state",
    "CONSOLE__CLIENT_SECRET": f"{CANARY}-console",
    "CONSOLE__SESSION_SECRET": f"{CANARY}-session-of-thirty-two-characters",
    "ADAPTERS__LIQUIDLOGIC__URL": f"postgresql://ironbridge:{CANARY}-reader@{HOST}:{{postgres}}/no_such_warehouse",
    "ADAPTERS__HOSPITAL__URL": f"postgresql://ironbridge:{CANARY}-register@{HOST}:{{postgres}}/no_such_register",
    "ADAPTERS__SSDA903__SFTP__PASSWORD": f"{CANARY}-sftp",
    "ADAPTERS__SSDA903__PGP__PASSPHRASE": f"{CANARY}-pgp",
    "ADAPTERS__CLD__STORE__OPTIONS": f'{{{{"aws_secret_access_key": "{CANARY}-drop", "aws_endpoint_url": "http://{HOST}:1"}}}}',
    "TARGETS__DFE_CSC__CLIENT_SECRET": f"{CANARY}-dfe",
    "TARGETS__DFE_CSC__SUPPLIER_KEY": f"{CANARY}-key",
    "TARGETS__BUSINESS_CENTRAL__CLIENT_SECRET": f"{CANARY}-central",
    "TARGETS__DATAVERSE__CLIENT_SECRET": f"{CANARY}-dataverse",
    "TARGETS__FHIR__CLIENT_SECRET": f"{CANARY}-fhir",
    "TARGETS__NOTIFY__API_KEY": f"{CANARY}-26785a09-ab16-4eb0-8407-a37497a57506-3d844edf-8d35-48ac-975b-e847b4f122b0",
    "TARGETS__WEBHOOK__URL": f"https://{HOST}:1/{CANARY}-hook",
    "TARGETS__WEBHOOK__SECRETS": f'["whsec_{b64encode(CANARY.encode() * 3).decode()}"]',
    "TABLES__STORAGE": f'{{{{"aws_secret_access_key": "{CANARY}-store"}}}}',
}
"""By variable. `{postgres}` is the port of a PostgreSQL that has no such database."""

FILE = """
data = "{data}"
[kafka]
broker = "none"
bootstrap_servers = "{kafka}"
security_protocol = "SASL_SSL"
sasl_mechanism = "SCRAM-SHA-512"
username = "ironbridge"
ssl_cafile = "{ca}"
[telemetry]
console = true
[adapters.liquidlogic]
every = 1
[adapters.hospital]
port = 0
[adapters.ssda903.sftp]
host = "127.0.0.1"
port = 1
user = "us"
known_hosts = "/dev/null"
[adapters.cld.store]
url = "s3://council/cld"
[targets.dfe_csc]
la_code = 893
api_endpoint = "{cloud}/dfe"
token_url = "{cloud}/granted/token"
client_id = "us"
[targets.business_central]
base_url = "{cloud}/central"
company = "6b9c2f5e-2f55-4f0c-9d0e-1f7a3c1e5a10"
token_url = "{cloud}/refused/token"
client_id = "us"
default_account = "8000"
[targets.dataverse]
base_url = "{cloud}/dataverse"
token_url = "{cloud}/refused/token"
scope = "{cloud}/.default"
client_id = "us"
key_column = "cr1_key"
[targets.fhir]
base_url = "{cloud}/fhir"
token_url = "{cloud}/granted/token"
client_id = "us"
record_system = "https://www.example.gov.uk/id/care-record"
organisation = "E99"
[targets.notify]
base_url = "{cloud}/notify"
template = "9d751e0e-f929-4891-82a1-a3e1c3c18ee3"
since = 2026-12-01
[targets.webhook]
entities = ["supplier"]
allow = ["127.0.0.1/32"]
[tables]
path = "{data}/tables"
"""


async def tells_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A cloud that refuses, and repeats all that it was sent in its refusal."""
    while True:
        line, headers, body = await read_request(reader)
        granted = "/granted" in line
        said = {"access_token": f"{CANARY}-token"} if granted else {"error": f"{line} {headers} {body!r}"}
        writer.write(
            answer(
                "200 OK" if granted else "403 No", json.dumps(said).encode(), f"X-Said: {headers.get('supplierkey')}"
            )
        )
        await writer.drain()


def secrets_of(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Every setting of a model that holds a secret, as its variable ends."""
    for name, field in model.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        if SecretStr in kinds:
            yield path + (field.alias or name).upper()
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from secrets_of(kind, f"{path}{name.upper()}__")


def test_a_canary_is_planted_in_every_setting_that_holds_a_secret() -> None:
    found = set(secrets_of(Settings))
    for group, heading in ((installed.ADAPTERS, "ADAPTERS"), (installed.TARGETS, "TARGETS"), (installed.FLOWS, "FLOWS")):
        for name, point in installed.found(group).items():
            settings = point.load().settings
            # The URL of any SQL database is one setting of the kit: Liquidlogic's stands for all of them, as SSDA903's for files.
            kits = {"liquidlogic": SqlSettings, "ssda903": FilesSettings}
            others = [kit for first, kit in kits.items() if issubclass(settings, kit) and name != first]
            shared = {each for kit in others for each in secrets_of(kit)}
            found |= {f"{heading}__{name.upper()}__{each}" for each in set(secrets_of(settings)) - shared}
    # One adapter's files lie in one place: CLD's stands for all object stores.
    found = {name.replace("SSDA903__STORE", "CLD__STORE") for name in found}
    assert found == set(PLANTED)


def variables(postgres: Postgres) -> dict[str, str]:
    return {f"IRONBRIDGE_{name}": value.format(postgres=postgres.port) for name, value in PLANTED.items()}


def test_settings_show_no_secret_however_they_are_printed_or_dumped(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables(postgres).items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "ironbridge.toml"
    file.write_text(FILE.format(data=tmp_path, kafka="x:1", ca="", cloud=f"http://{HOST}:1"), encoding="utf-8")
    settings = load(file)
    models: list[BaseModel] = [settings, settings.kafka, settings.state]
    plans = [*systems.adapters(settings).values(), *systems.flows(settings).values()]
    for name, given in settings.adapters.items():
        models.append(section(name, installed.found(installed.ADAPTERS)[name].load().settings, given))
    models += [plan.settings for plan in systems.targets(settings).values()]
    models += [plan.settings for plan in systems.flows(settings).values()]
    for model in models:
        told = f"{model!r} {model} {model.model_dump()} {model.model_dump_json()} {model.model_dump(mode='json')}"
        assert CANARY not in told
    assert CANARY not in repr(plans)


@pytest.mark.parametrize("variable", PLANTED)
def test_a_mistake_beside_a_secret_does_not_repeat_it(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *path, _ = variable.split("__")
    monkeypatch.setenv(f"IRONBRIDGE_{variable}", f'{{"{CANARY}": [')
    monkeypatch.setenv(f"IRONBRIDGE_{'__'.join(path)}__NO_SUCH", CANARY)
    file = tmp_path / "ironbridge.toml"
    file.write_text(f'worker = ["{CANARY}"]\n', encoding="utf-8")
    with pytest.raises(MisconfiguredError) as raised:
        load(file)
    assert CANARY not in str(raised.value)
    assert raised.value.__suppress_context__


async def said_by(file: Path, variables: dict[str, str], *arguments: str, until: str = "") -> str:
    """What a command says; one that runs on is stopped once it has said a word."""
    command = [sys.executable, "-m", "ironbridge", *arguments, "--file", str(file)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env=os.environ | variables | {"COLUMNS": "300", "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    said = b""
    async with asyncio.timeout(120):
        while line := await process.stdout.readline():
            said += line
            if until and until in line.decode():
                process.send_signal(signal.SIGTERM)
        await process.wait()
    return said.decode()


def assert_silent(said: str, *expected: str) -> None:
    for words in expected:
        assert words in said, said
    assert [line for line in said.splitlines() if CANARY in line] == []


async def test_no_command_says_a_secret_while_everything_that_uses_one_fails(
    tmp_path: Path, postgres: Postgres, secure_kafka: Secure
) -> None:
    async with talking(tells_all) as cloud:
        file = tmp_path / "ironbridge.toml"
        broker = secure_kafka.broker
        where = {"kafka": f"{HOST}:{broker.sasl_port}", "ca": broker.tls.ca, "cloud": cloud}
        file.write_text(FILE.format(data=tmp_path / "data", **where), encoding="utf-8")
        given = variables(postgres)
        refused = ["the database refused us", "does not know our user or its password"]
        assert_silent(await said_by(file, given, "status"), refused[0])
        # With a state of its own, it gets as far as everything else.
        given["IRONBRIDGE_STATE__URL"] = f"sqlite+aiosqlite:///{tmp_path}/state.sqlite3"
        walls = ["there is no such database", "the token endpoint says 403", "does not allow us this (403)"]
        assert_silent(await said_by(file, given, "check"), refused[1], *walls)
        assert_silent(await said_by(file, given, "run", "--verbose"), refused[1])
        # And with a Kafka that lets it in, the adapter and the flows run into their own walls.
        working = given | {"IRONBRIDGE_KAFKA__PASSWORD": "a-password-nobody-has", "IRONBRIDGE_KAFKA__PARTITIONS": "1"}
        said = await said_by(file, working, "run", "--verbose", "liquidlogic", until="there is no such database")
        assert_silent(said, "there is no such database")


def test_a_secret_is_wanted_as_text_and_never_shown() -> None:
    kafka: Any = Settings(kafka={"password": CANARY}).kafka  # type: ignore[arg-type]
    assert str(kafka.password) == "**********"
