"""
What must hold of any bytes at all: whatever reads them refuses in our own words or loses nothing.

The envelope's property stands here. A system brings its own in `tests/properties.py` of its folder: its `TARGETS`, by name.
Both fuzzers use them: Hypothesis in the tests, atheris in fuzz.py. What they find is kept in findings/, and tried again by every
run of the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from random import Random
from typing import Any, NamedTuple

from canonical import ENTITIES, Event
from canonical.errors import BadRecordError
from security.house import ROOT, systems


class Target(NamedTuple):
    """What a fuzzer tries: what must hold of any bytes, and the contents that it starts from, made from a seed."""

    holds: Callable[[bytes], None]
    corpus: Callable[[int], list[bytes]]


def targets() -> dict[str, Target]:
    """The envelope, and what the systems in the repository bring."""
    found = {"envelope": Target(envelope, events)}
    for system in systems():
        if (ROOT / system.replace(".", "/") / "tests" / "properties.py").is_file():
            found |= import_module(f"{system}.tests.properties").TARGETS
    return found


def envelope(data: bytes) -> None:
    """
    A record is refused, or it is an event that is written again as it was read, with a state that is too.

    The bytes are headers and their values in turn, parted by 0x1F; what follows 0x1E is the record's value.
    """
    head, parted, value = data.partition(b"\x1e")
    pieces = head.split(b"\x1f")
    headers: list[tuple[str, Any]] = [
        (n.decode(errors="replace"), v) for n, v in zip(pieces[::2], pieces[1::2], strict=False)
    ]
    decoded(headers, value if parted else None)


def decoded(headers: list[tuple[str, Any]], value: bytes | None) -> None:
    """The same for a record as a Kafka client gives it."""
    try:
        event = Event.from_kafka("canonical.person[0]@1", value, headers)
    except BadRecordError:
        return
    assert Event.from_kafka("x", event.data, event.headers()) == event
    kind = ENTITIES.get(event.entity)
    if kind is None or value is None:
        return
    try:
        state = kind.from_bytes(value)
    except BadRecordError:
        return
    assert kind.from_bytes(state.to_bytes()) == state


def events(seed: int) -> list[bytes]:
    return [event(Random(f"{seed}.{number}")) for number in range(24)]


def event(random: Random) -> bytes:
    """A record as `envelope` reads it."""
    kind, number = random.choice(sorted(ENTITIES)), random.randrange(10**6)
    key, at = f"legacy:{kind}:{number}", datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=random.randrange(10**7))
    made = Event(kind, "legacy", key, key, random.randrange(1, 99), at, None, random.choice(["", "people"]))
    head = b"\x1f".join(piece for name, value in made.headers() for piece in (name.encode(), value))
    return head + random.choice([b"", b'\x1e{"key":"%s"}' % key.encode()])
