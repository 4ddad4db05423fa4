"""Reads a file apart from the event loop: a small one in a thread, a large one in a process of its own (`adapters.kit.aside`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing
from functools import partial
from typing import Any

from adapters.kit.aside import FileWork, in_a_process, in_a_thread
from adapters.kit.places import Found, content
from adapters.payables import reading
from adapters.payables.reading import Reckoning, Rules
from adapters.port import Record

_MEMORY = 20  # bytes of memory allowed for each byte of the file's limit, and
_AT_LEAST = 512_000_000  # at least so many
_SMALL, _SMALL_BOOK = 256_000, 64_000  # bytes: a smaller file is read in less time than a process needs to start


async def portions(
    found: Found, rules: Rules, most: int, say: Callable[[Reckoning], None]
) -> AsyncGenerator[list[Record], None]:
    """
    A file's records, so many at a time; before the first of them, the account of its rows is given.

    :raises BadRecordError: nothing of the file is to be published. It comes before the first portion, and only then.
    :raises UnavailableError: the file cannot be read now.
    """
    work = FileWork(rules.source, partial(_read, found, rules, most), _AT_LEAST + _MEMORY * rules.largest)
    small = _SMALL_BOOK if found.path.suffix.lower().startswith(".xls") else _SMALL
    here, given = not small < found.size <= rules.largest, 0
    async with aclosing(in_a_thread(work) if here else in_a_process(work)) as values:
        say(Reckoning(**await anext(values)))
        async for rows in values:
            yield reading.unpacked(rows, given)
            given += len(rows)


def _read(found: Found, rules: Rules, most: int) -> Generator[Any, None, None]:
    data = content(rules.source, found, rules.largest)
    with reading.opened(found.name, data, rules) as opened:
        del data
        yield opened.reckoning.as_dict()
        yield from opened.packed(most)
