"""`ironbridge check` asks Kafka: which rights our user lacks, what is wrong with the topics, and who else runs our parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping

from canonical import Entity
from canonical.errors import IronbridgeError, ours
from canonical.event import topic_of
from canonical.finding import Finding
from ironbridge.kafka.claims import claimed, refused, spoken
from ironbridge.kafka.claims_log import Book, InstallationClaim
from ironbridge.kafka.inbox import group_of
from ironbridge.kafka.journal import transactional_id
from ironbridge.kafka.rights import KafkaOperation, KafkaRight, Told, told
from ironbridge.kafka.topics import claims_topic, cursors_topic, faults, topics, trail_topic
from ironbridge.settings import KafkaSettings, Settings
from ironbridge.store import Upkeep, open_store
from ironbridge.store.installation import Installation, known_installation
from ironbridge.store.schema import SchemaState

Entities = Mapping[str, Collection[type[Entity]]]
"""By the name of an adapter or a flow, the entities that it publishes or follows."""


async def of_kafka(settings: Settings, adapters: Entities, flows: Entities) -> AsyncIterator[Finding]:
    """Look at all that a start would be refused for. A question that fails does not keep the next one from being asked."""
    kafka = settings.kafka
    if kafka.broker != "none":
        yield Finding(f"kafka: the {kafka.broker} broker starts with `ironbridge run`", True)
        return
    at, needed = f"kafka at {kafka.bootstrap_servers}", needs(kafka, adapters, flows)
    try:
        found = await told(kafka, needed)
    except Exception as error:
        yield _failed(at, error)
        return
    yield Finding(f"{at} answers", True)
    for finding in _rights(kafka, found, needed):
        yield finding
    entities = {entity for each in (*adapters.values(), *flows.values()) for entity in each}
    try:
        for fault in await faults(kafka, sorted(entities, key=lambda each: each.type_name), found.hidden):
            yield Finding(f"kafka: {fault.what}", False, fault.fix)
        if claims_topic(kafka) in found.there and _read(claims_topic(kafka)) not in found.lacking:
            for finding in await _claims(settings, [f"adapter/{n}" for n in adapters] + [f"flow/{n}" for n in flows]):
                yield finding
    except Exception as error:
        yield _failed(at, error)


def _failed(what: str, error: Exception) -> Finding:
    met = ours(what, error)
    return Finding(f"{what}: {met.what}", False, met.fix)


# -- rights ------------------------------------------------------------------------------------------------------------


def needs(kafka: KafkaSettings, adapters: Entities, flows: Entities) -> dict[KafkaRight, list[str]]:
    """The rights without which a part does not run, each with the parts that need it. docs/deploy.md has them as a table."""
    needed: dict[KafkaRight, list[str]] = {}
    for name, entities in adapters.items():
        for right in _of_adapter(kafka, name, entities):
            needed.setdefault(right, []).append(name)
    for name, entities in flows.items():
        for right in _of_flow(kafka, name, entities):
            needed.setdefault(right, []).append(name)
    seen = {right.name for right in needed if right.operation in (KafkaOperation.Read, KafkaOperation.Write)}
    return {r: parts for r, parts in needed.items() if r.operation is not KafkaOperation.Describe or r.name not in seen}


def _of_adapter(kafka: KafkaSettings, name: str, entities: Collection[type[Entity]]) -> Iterator[KafkaRight]:
    yield KafkaRight("transactional-id", transactional_id(kafka, name), KafkaOperation.Write)
    for entity in entities:
        yield from _both(topic_of(entity, kafka.topic_prefix))
    yield KafkaRight("topic", cursors_topic(kafka), KafkaOperation.Write)
    yield from _of_each(kafka, entities)


def _of_flow(kafka: KafkaSettings, name: str, entities: Collection[type[Entity]]) -> Iterator[KafkaRight]:
    yield KafkaRight("group", group_of(kafka, name), KafkaOperation.Read)
    for entity in entities:
        yield _read(topic_of(entity, kafka.topic_prefix))
    yield from _both(trail_topic(kafka))
    yield from _of_each(kafka, entities)


def _of_each(kafka: KafkaSettings, entities: Collection[type[Entity]]) -> Iterator[KafkaRight]:
    """The rights that adapters and flows need for the claims, and for the look at all topics when they start."""
    yield from _both(claims_topic(kafka))
    for name in topics(kafka, entities):
        yield KafkaRight("topic", name, KafkaOperation.Describe)
        yield KafkaRight("topic", name, KafkaOperation.DescribeConfigs)


def _read(topic: str) -> KafkaRight:
    return KafkaRight("topic", topic, KafkaOperation.Read)


def _both(topic: str) -> tuple[KafkaRight, KafkaRight]:
    return _read(topic), KafkaRight("topic", topic, KafkaOperation.Write)


def _rights(kafka: KafkaSettings, found: Told, needed: Mapping[KafkaRight, Collection[str]]) -> Iterator[Finding]:
    if found.silent:
        yield Finding("kafka: this broker does not tell which rights our user has on topics", True)
    for right in sorted(found.lacking):
        yield Finding(f"kafka: our user lacks {right}, needed by {', '.join(needed[right])}", False, right.granting(kafka))


# -- who else runs our parts -------------------------------------------------------------------------------------------


async def _claims(settings: Settings, parts: Collection[str]) -> list[Finding]:
    try:
        mine = await _installation(settings)
    except IronbridgeError:
        return []  # the finding about the state says so
    book = await claimed(settings.kafka)
    return [finding for part in parts for finding in _claim(book, part, mine)]


async def _installation(settings: Settings) -> Installation:
    """The installation that the state belongs to; one without a name if it has never run."""
    store = await open_store(settings.state_url, tables=Upkeep.LEAVE)
    try:
        empty = await store.stands() is SchemaState.EMPTY
        return (None if empty else await known_installation(store)) or Installation("")
    finally:
        await store.close()


def _claim(book: Book, part: str, mine: Installation) -> Iterator[Finding]:
    ours, held, begun = InstallationClaim(part, mine.id, mine.place, "", 0.0), book.holder(part), book.begun.get(part)
    if held and not held[1].same(ours):
        claim = spoken(held[1])
        yield Finding(
            f"{part}: another installation has claimed it ({claim}): while that one lives, `run` is refused", False,
            f"{refused(part, held[1]).fix}. If its state is lost, only start `run`: it takes over if nobody answers",
        )  # fmt: skip
    elif begun and begun.same(ours):
        yield Finding(
            f"{part}: worker {begun.host} runs it since {begun.when}, or was killed. A second one takes over, and that one stops",
            True,
        )
