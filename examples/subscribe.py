"""
A service system that follows canonical events: a line for each, with all that is personal hidden.

    python examples/subscribe.py --bootstrap localhost:9092 person care-episode

Replace the body of `show` with the work of your system. It may be given an event twice (after a crash, or if its work failed
half-way), and it never misses one: keep `change.version` with your copy of a key, and leave out what is not newer.

An entity that moves to another owner leaves a tombstone in the old owner's partition: `change.moved_to` names the new owner.
"""

from __future__ import annotations

import argparse
import asyncio
import logging

from faststream import FastStream
from faststream.kafka import KafkaBroker

from canonical import ENTITIES, Entity
from ironbridge.subscribe import Change, events


async def show(entity: Entity | None, change: Change) -> None:
    """Print a change. An entity's own text shows what is plain in it and hides the rest."""
    gone = f"moved to {change.moved_to}, and lives on there" if change.moved_to else "deleted"
    state = gone if entity is None else repr(entity)
    print(f"{change.time:%Y-%m-%d %H:%M:%S} {change.key} version {change.version}: {state}", flush=True)


async def main() -> None:
    options = argparse.ArgumentParser(description="Follow canonical events; a masked line for each.")
    options.add_argument("entities", nargs="*", default=sorted(ENTITIES), help="entity types; all where none is named")
    options.add_argument("--bootstrap", default="localhost:9092", help="Kafka's address")
    options.add_argument("--prefix", default="canonical", help="what the topics begin with")
    options.add_argument("--group", default="example-service", help="the service's name")
    options.add_argument("--worker", default="one", help="this copy's name")
    given = options.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log = logging.getLogger("example")
    # Ironbridge makes the topics, with the settings that their order rests on.
    broker = KafkaBroker(given.bootstrap, allow_auto_create_topics=False, graceful_timeout=10, logger=log)
    wanted = [ENTITIES[name] for name in given.entities]
    events(broker, *wanted, group=given.group, worker=given.worker, prefix=given.prefix)(show)
    await FastStream(broker, logger=log).run()


if __name__ == "__main__":
    asyncio.run(main())
