"""
Maps rows elsewhere: in a process with another clock, time zone, locale and order of sets than this one.

A mapping is a function of its row alone. One that asks for the day, formats a time in the machine's zone, or walks through a
set says something else there. A copy of the process may run on any machine, and rows are mapped again with each edition.
"""

from __future__ import annotations

import json
import locale
import os
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from adapters.engine.mapping import mapped_or_bad
from adapters.port import Page, Position, Record, Stream, Sweep
from canonical.errors import BadRecordError

_ENVIRONMENT = {"TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "4711"}  # it is tomorrow there
_LOCALES = ("tr_TR.UTF-8", "de_DE.UTF-8", "fr_FR.UTF-8")
_NUMBERS = {"decimal_point": ",", "thousands_sep": ".", "grouping": [3, 3, 0], "currency_symbol": "EUR"}
_LATER = timedelta(days=500)


Asked = Sequence[tuple[Stream, Sequence[Record]]]
"""Streams, each with records of it."""


def said_here(asked: Asked) -> list[bytes]:
    """Map the records in this process: each one's entity as canonical JSON in a line, or why there is none."""
    return [_said(stream, record) for stream, records in asked for record in records]


def said_elsewhere(asked: Asked) -> list[bytes]:
    """
    Map the records in another process, the last one first; the answers are in the records' order.

    :raises AssertionError: a mapping, or a row, cannot be sent there.
    """
    command = [sys.executable, "-c", f"import {__name__} as here; here.main()"]
    sent = b"".join([json.dumps([sys.path, len(asked)]).encode(), b"\n", *(_sent(*each) for each in asked)])
    environment = os.environ | _ENVIRONMENT
    done = subprocess.run(command, input=sent, capture_output=True, env=environment, check=False)  # noqa: S603 (this module)
    if done.returncode:
        raise AssertionError(f"a stream cannot be mapped in another process: {done.stderr.decode()[-2000:]}")
    return done.stdout.splitlines()


def _sent(stream: Stream, records: Sequence[Record]) -> bytes:
    try:
        return pickle.dumps((stream.name, stream.entities, stream.map, stream.softly, list(records)))
    except Exception as error:
        raise AssertionError(
            f"stream `{stream.name}`: its mapping or a row cannot be sent to another process ({type(error).__name__}): "
            "make `map` a function of a module, bind settings to it with `partial`, and put plain values into rows"
        ) from None


def _received() -> tuple[Stream, Sequence[Record]]:
    name, entities, maps, softly, records = pickle.load(sys.stdin.buffer)  # noqa: S301  # nosec B301
    return Stream(name, entities, maps, Sweep(_no_pages), softly=softly), records[::-1]


def _said(stream: Stream, record: Record) -> bytes:
    try:
        return mapped_or_bad(record.key, stream, record).data
    except BadRecordError as error:
        return str(error).encode()  # it is one line, too


async def _no_pages(_: Position | None) -> AsyncIterator[Page]:
    none: list[Page] = []
    for page in none:
        yield page


def main() -> None:
    """Answer one question, from stdin to stdout."""
    import time_machine  # whoever only imports the suite needs none

    for each in _LOCALES:
        with suppress(locale.Error):  # few of them are installed
            locale.setlocale(locale.LC_ALL, each)
            break
    else:
        locale._override_localeconv = _NUMBERS  # type: ignore[attr-defined]  # Python's own means for tests of locales
    with time_machine.travel((datetime.now(UTC) + _LATER).timestamp()):
        sys.path[:], count = json.loads(sys.stdin.buffer.readline())
        said = said_here([_received() for _ in range(count)][::-1])[::-1]
    sys.stdout.buffer.write(b"\n".join(said))
