"""
A service system that follows canonical events: a line for each, with all that is personal hidden.

    python examples/subscribe.py --bootstrap localhost:9092 person care-episode

Replace `show` with what your system does. It may meet an event twice (after a crash, or when a later one of its batch
failed), never miss one: keep `event.version` with what you store of a key, and leave out what is not newer.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker

from canonical import ENTITIES, Event
from canonical.errors import BadRecordError
from canonical.event import topic_of


async def show(event: Event) -> None:
    """Print an event. An entity's own text shows what is plain in it and hides the rest."""
    state = "deleted" if event.data is None else repr(ENTITIES[event.entity].from_bytes(event.data))
    print(f"{event.time:%Y-%m-%d %H:%M:%S} {event.key} version {event.version}: {state}", flush=True)


def follow(
    broker: KafkaBroker,
    topics: Iterable[str],
    group: str,
    worker: str,
    act: Callable[[Event], Awaitable[None]] = show,
) -> None:
    """
    Call `act` for every event of these topics from the first one on, each key's in order.

    When `act` raises, its whole batch comes again a second later: raise what may pass, park what never will. What is
    no event is reported and left out. `group` is the service's name, `worker` one copy of it.
    """

    @broker.subscriber(
        *topics,
        group_id=group,
        group_instance_id=worker,  # a copy that is restarted goes on at once
        batch=True,
        max_records=500,
        auto_offset_reset="earliest",  # a new group wants the whole state, not what happens to come next
        isolation_level="read_committed",  # what an adapter took back was never said
        # FastStream's own choice acknowledges on receipt: a crash would lose the batch.
        ack_policy=AckPolicy.NACK_ON_ERROR,
        no_reply=True,
        parser=_readable,
        decoder=_records,
    )
    async def changed(records: list[Any]) -> None:
        for record in records:
            place = f"{record.topic}[{record.partition}]@{record.offset}"
            try:
                await act(Event.from_kafka(place, record.value, record.headers))
            except BadRecordError as error:
                print(f"left out: {error}", file=sys.stderr, flush=True)
            except Exception:
                await asyncio.sleep(1)  # it comes again at once: without a pause it would come again all the time
                raise


async def _readable(records: tuple[Any, ...], parse: Callable[[Any], Awaitable[Any]]) -> Any:
    # FastStream decodes every header, and loses the whole batch over one that is not text.
    return await parse(tuple(replace(r, headers=tuple((n, v) for n, v in r.headers if _is_text(v))) for r in records))


async def _records(message: Any) -> list[Any]:
    return list(message.raw_message)  # as they are: a deletion has no value, and the entity reads its own bytes


def _is_text(value: bytes | None) -> bool:
    try:
        return value is not None and value.decode() is not None
    except UnicodeDecodeError:
        return False


async def main() -> None:
    options = argparse.ArgumentParser(description="Follow canonical events; a masked line for each.")
    options.add_argument("entities", nargs="*", default=sorted(ENTITIES), help="entity types; all where none is named")
    options.add_argument("--bootstrap", default="localhost:9092", help="Kafka's address")
    options.add_argument("--prefix", default="canonical", help="what the topics begin with")
    options.add_argument("--group", default="example-service", help="the service's name")
    options.add_argument("--worker", default="one", help="this copy's name")
    given = options.parse_args()
    logging.basicConfig(level=logging.ERROR)  # FastStream's own logger writes to where our lines go
    log = logging.getLogger("faststream.example")
    # Ironbridge makes the topics, with the settings that their order rests on.
    broker = KafkaBroker(given.bootstrap, allow_auto_create_topics=False, graceful_timeout=10, logger=log)
    follow(broker, [topic_of(entity, given.prefix) for entity in given.entities], given.group, given.worker)
    await FastStream(broker, logger=log).run()


if __name__ == "__main__":
    asyncio.run(main())
