"""Rights in Kafka, on a broker with ACLs: the documented ones suffice, and `ironbridge check` finds each one that is missing."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from canonical import Event, Invoice, Person
from canonical.errors import IronbridgeError
from canonical.finding import Finding
from flows.engine.trail import Sent
from ironbridge.kafka.claims import KafkaClaims
from ironbridge.kafka.client import client_options
from ironbridge.kafka.inbox import KafkaInbox
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.kafka.rights import KafkaOperation, KafkaRight, told
from ironbridge.kafka.topics import ensure_topics
from ironbridge.kafka.trail import KafkaTrail
from ironbridge.operate.kafka_checks import needs, of_kafka
from ironbridge.settings import KafkaSettings, Settings, StateSettings
from ironbridge.store import open_store
from ironbridge.store.installation import Installation, installation
from tests.acls import Acls, acls_of
from tests.secure_kafka import COUNCIL, PASSWORD, Secure
from tests.test_kafka_tls import Nothing

DEPLOY = Path(__file__).parent.parent / "docs/deploy.md"
ENTITIES = [Person]
ADAPTER, FLOW = {"liquidlogic": ENTITIES}, {"dfe_csc": ENTITIES}
PATIENCE = 15.0  # seconds for a change of the ACLs to reach the broker


@pytest.fixture
async def acls(secure_kafka: Secure) -> AsyncIterator[Acls]:
    async with acls_of(secure_kafka.broker.settings()) as found:
        yield found


@pytest.fixture
def kafka(secure_kafka: Secure) -> KafkaSettings:
    """Topics of our own, and a user who may do nothing with them yet."""
    return secure_kafka.broker.settings(username=COUNCIL, topic_prefix=f"t{uuid4().hex[:8]}")


def everything(kafka: KafkaSettings) -> KafkaSettings:
    """The same topics for a user who may do anything."""
    return kafka.model_copy(update={"username": "ironbridge"})


def at(kafka: KafkaSettings, folder: Path) -> Settings:
    state = StateSettings.model_validate({"url": f"sqlite+aiosqlite:///{folder / 'state.sqlite3'}"})
    return Settings(data=folder, kafka=kafka, state=state)


@pytest.fixture
async def mine(kafka: KafkaSettings, tmp_path: Path) -> Installation:
    """The installation of our state."""
    store = await open_store(at(kafka, tmp_path).state_url)
    try:
        return await installation(store)
    finally:
        await store.close()


async def unwell(settings: Settings, adapters: object = ADAPTER, flows: object = FLOW) -> list[Finding]:
    return [each async for each in of_kafka(settings, adapters, flows) if not each.well]  # type: ignore[arg-type]


async def until(ask: Callable[[], Awaitable[object]], wanted: object) -> None:
    deadline = time.monotonic() + PATIENCE
    while (answer := await ask()) != wanted:
        assert time.monotonic() < deadline, f"{answer}\nis not\n{wanted}"
        await asyncio.sleep(0.1)


# -- what `run` does with these rights ---------------------------------------------------------------------------------


async def works_as_an_adapter(kafka: KafkaSettings, mine: Installation) -> None:
    await ensure_topics(kafka, ENTITIES)
    claims, journal = KafkaClaims(kafka, mine, "host"), KafkaJournal(kafka, "liquidlogic", ENTITIES)
    key, now = "liquidlogic:person:1", datetime.now(UTC)
    try:
        await claims.hold("adapter/liquidlogic")
        await journal.open()
        event = Event("person", "liquidlogic", key, key, 1, now, b'{"key":"liquidlogic:person:1"}', "person")
        (place,) = await journal.publish([event], ("person", {"after": 1}))
        back = [each async for each in journal.history({(place.topic, place.partition): place.offset})]
        assert [event.key for each in back for event, _ in each] == [key]
    finally:
        await journal.close()
        await claims.close()


async def works_as_a_flow(kafka: KafkaSettings, mine: Installation) -> None:
    await ensure_topics(kafka, ENTITIES)
    claims, trail = KafkaClaims(kafka, mine, "host"), KafkaTrail(kafka, "dfe_csc", ENTITIES)

    async def works() -> None:
        async with KafkaInbox(kafka, "dfe_csc", ENTITIES, Nothing(), "w1") as inbox:
            while not (await inbox.poll()).events:
                pass
        offset = await trail.append(Sent("hand", 1, ("subject",)))
        assert (await trail.reach()).end == offset + 1
        assert [s.subjects async for records in trail.read(offset, offset + 1) for s in records] == [("subject",)]
        assert sum((await trail.ends()).values())

    try:
        await claims.while_held("flow/dfe_csc", works)
    finally:
        await trail.close()
        await claims.close()


# -- what the documentation says ---------------------------------------------------------------------------------------


def documented(kafka: KafkaSettings) -> list[str]:
    """The commands of docs/deploy.md, for our user and our topics."""
    block = DEPLOY.read_text("utf-8").split('$ acls="')[1].split("```")[0].replace("\\\n", "")
    acls, *lines = block.splitlines()
    commands = [line.removeprefix("$ ").replace("$acls", acls.rstrip('"')) for line in lines]
    ours = [each.replace("canonical.", f"{kafka.topic_prefix}.") for each in commands]
    return [each.replace("User:ironbridge", f"User:{COUNCIL}").replace("$KAFKA", "kafka") for each in ours]


def each_right(command: str) -> list[str]:
    """The command once for each operation that it grants."""
    operations = re.findall(r" --operation \w+", command)
    rest = re.sub(r" --operation \w+", "", command)
    return [rest + operation for operation in operations]


async def test_the_documented_rights_suffice_for_one_user_and_each_one_that_is_missing_is_found(
    kafka: KafkaSettings, acls: Acls, mine: Installation, tmp_path: Path
) -> None:
    settings = at(kafka, tmp_path)
    names = [f"{kafka.topic_prefix}.{name}" for name in ("claims", "cursors", "person", "trail")]
    for command in documented(kafka):
        await acls.run(command)

    async def whats() -> list[str]:
        return [finding.what for finding in await unwell(settings)]

    await until(whats, [])
    rights = [right for command in documented(kafka) for right in each_right(command)]
    single = {right.split()[-1] + right.split("--add")[1].split()[2]: right for right in rights}
    assert sorted(single) == [
        "Create--topic", "DescribeConfigs--topic", "Read--group", "Read--topic", "Write--topic", "Write--transactional-id",
    ]  # fmt: skip

    async def without(which: str, found: list[str]) -> None:
        await acls.run(single[which].replace("--add", "--remove"))
        await until(whats, found)
        await acls.run(single[which])
        await until(whats, [])

    lacks = "kafka: our user lacks the right"
    await without("Create--topic", [
        f"kafka: the topic is missing, and our user lacks the right Create on topic {name}" for name in names
    ])  # fmt: skip
    await works_as_an_adapter(kafka, mine)
    await works_as_a_flow(kafka, mine)
    by = {"claims": "liquidlogic, dfe_csc", "cursors": "liquidlogic", "person": "liquidlogic, dfe_csc", "trail": "dfe_csc"}
    prefix = kafka.topic_prefix
    read = [f"{lacks} Read on topic {prefix}.{name}, needed by {by[name]}" for name in ("claims", "person", "trail")]
    await without("Read--topic", read)
    by["person"] = "liquidlogic"
    await without("Write--topic", [f"{lacks} Write on topic {prefix}.{name}, needed by {by[name]}" for name in by])
    await without(
        "DescribeConfigs--topic", [f"{lacks} DescribeConfigs on topic {n}, needed by liquidlogic, dfe_csc" for n in names]
    )
    await without("Read--group", [f"{lacks} Read on group ironbridge.{prefix}.dfe_csc, needed by dfe_csc"])
    which = f"{lacks} Write on transactional-id ironbridge.{prefix}.liquidlogic, needed by liquidlogic"
    await without("Write--transactional-id", [which])


def test_the_table_of_rights_is_the_one_that_check_goes_by() -> None:
    rows = re.findall(r"^\| (adapter|flow|adapter, flow) \| (.+) \| (.+) \|$", DEPLOY.read_text("utf-8"), re.MULTILINE)
    kafka, entities = KafkaSettings(), [Person, Invoice]
    topics = ["canonical.person", "canonical.invoice", "canonical.claims", "canonical.cursors", "canonical.trail"]
    for who, adapters, flows in (("adapter", {"payables": entities}, {}), ("flow", {}, {"cloud": entities})):
        stated = set[KafkaRight]()
        for whose, resource, operations in rows:
            kind, name = ("topic", "") if resource.startswith("each") else resource.split("`")[:2]
            name = name.replace("<adapter>", "payables").replace("<flow>", "cloud")
            named = topics if not name else topics[:2] if "<entity>" in name else [name]
            stated |= {
                KafkaRight(kind.strip(), each, KafkaOperation[operation])
                for each in named for operation in operations.split(", ") if who in whose
            }  # fmt: skip
        seen = {right.name for right in stated if right.operation in (KafkaOperation.Read, KafkaOperation.Write)}
        stated = {right for right in stated if right.operation is not KafkaOperation.Describe or right.name not in seen}
        assert stated == set(needs(kafka, adapters, flows))


@pytest.mark.parametrize("part", ["adapter", "flow"])
async def test_a_part_runs_with_the_rights_of_the_table_and_with_none_less(
    part: str, kafka: KafkaSettings, acls: Acls, mine: Installation, tmp_path: Path
) -> None:
    await works_as_an_adapter(everything(kafka), mine)  # who makes the topics, and an event
    adapters, flows, works = (ADAPTER, {}, works_as_an_adapter) if part == "adapter" else ({}, FLOW, works_as_a_flow)
    settings, needed = at(kafka, tmp_path), needs(kafka, adapters, flows)

    async def fixes() -> list[str]:
        return sorted(finding.fix for finding in await unwell(settings, adapters, flows))

    grants = sorted(right.granting(kafka) for right in needed)
    assert await fixes() == grants, "a user without any right hears of all of them at once"
    for grant in grants:
        await acls.run(grant)
    await until(fixes, [])
    await works(kafka, mine)
    for right in needed:
        await acls.run(right.granting(kafka).replace("--add", "--remove"))
        await until(fixes, [right.granting(kafka)])
        if right.operation is not KafkaOperation.DescribeConfigs:  # then it runs, and cannot see what is wrong with a topic
            with pytest.raises(IronbridgeError, match=r"Kafka refused us|lacks the right"):
                await works(kafka, Installation("new") if right.name.endswith(".claims") else mine)  # a claim is made once
        await acls.run(right.granting(kafka))
        await until(fixes, [])


async def test_a_question_about_rights_disturbs_nobody_who_is_at_work(kafka: KafkaSettings) -> None:
    kafka, rights = everything(kafka), needs(kafka, ADAPTER, FLOW)
    await ensure_topics(kafka, ENTITIES)
    journal = KafkaJournal(kafka, "liquidlogic", ENTITIES)
    await journal.open()
    try:
        async with KafkaInbox(kafka, "dfe_csc", ENTITIES, Nothing(), "w1") as inbox:
            assert journal._producer is not None
            await journal._producer.begin_transaction()
            await journal._producer.send_and_wait(f"{kafka.topic_prefix}.person", b"1", key=b"1", partition=0)
            asked = await told(kafka, rights)
            await journal._producer.commit_transaction()
            assert asked.lacking == []
            async with asyncio.timeout(PATIENCE):
                while not (await inbox.poll()).rejects:  # it is still a member of its group
                    pass
    finally:
        await journal.close()
    admin = AIOKafkaAdminClient(**client_options(kafka))
    await admin.start()
    try:
        await told(kafka, needs(kafka, {"nobody": ENTITIES}, {"no_flow": ENTITIES}))
        groups = {name for name, _ in await admin.list_consumer_groups()}
        assert f"ironbridge.{kafka.topic_prefix}.no_flow" not in groups
    finally:
        await admin.close()


def test_the_command_that_grants_a_right_names_our_user_if_we_know_it() -> None:
    right = KafkaRight("topic", "canonical.person", KafkaOperation.Read)
    known = KafkaSettings(security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-512", username="a council", password=PASSWORD)
    assert right.granting(known) == (
        "kafka-acls.sh --add --allow-principal 'User:a council' --operation Read --topic canonical.person"
    )
    assert "User:NAME " in right.granting(KafkaSettings())
