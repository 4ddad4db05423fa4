"""
Stores which fields of an entity hold something, and how long its lists are, in a few bytes. So a lost field, or a list that
has become shorter, is noticed without the old content.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from canonical import Entity
from canonical.entity import classified, plain_lists

_HOLDS = rb'":(?:"(?!")|[^"\[{]|\[(?!\])|\{(?!\}))'  # a quarter faster than a ban on the three empty values
_NAMES = re.compile(rb'"(\w++)' + _HOLDS)
"""The names in canonical JSON that hold something; inside a text every quotation mark has a backslash before it."""

_PLAIN_NAMES = re.compile(rb'"([a-z_0-9]++)' + _HOLDS)
"""The same where all names are of small letters: half the time, because most texts are passed over at their capital."""

_PLAIN = re.compile("[a-z_0-9]+")
_LIST = re.compile(rb'(?:"(?:[^"\\]++|\\.)*+"|[^]["{}])++')
_ITEM = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[^",]++')
"""A list of plain values behind its bracket, and one of the values."""

_LONGEST = 255  # items of a list that are counted

_LAYOUT = 3
TAG = 6
"""
Bytes before the fields' bits: three for the type's fields, three for the mapping's edition. Behind the bits stands one byte for
each list; records that were last published by an older release have none.
"""

_MOST = 4096  # combinations of fields that are remembered for a type


class Contents:
    """
    Bits for fields: one for each name that occurs in an entity or in its parts. Bytes for lists: the number of items.

    `edition` names the mapping's code. A name that occurs in two parts has one bit, which is set if either holds something,
    and one number, which counts the items of both.
    """

    def __init__(self, edition: bytes) -> None:
        self._edition = blake2b(edition, digest_size=TAG - _LAYOUT).digest()
        self._layouts: dict[type[Entity], _Layout] = {}

    def of(self, entity: type[Entity], data: bytes) -> bytes:
        """The fields of an entity's canonical JSON that hold something, and the lengths of its lists."""
        layout = self._layouts.get(entity)
        if layout is None:
            layout = self._layouts[entity] = _Layout(entity, self._edition)
        return layout.filled(data)

    def emptied(self, had: bytes, has: bytes) -> list[str]:
        """The fields that held something in `had` and hold nothing in `has`; none if these are of different types."""
        layout = self._common(had, has)
        if layout is None:
            return []
        lost = layout.bits(had) & ~layout.bits(has)
        return layout.outermost(layout.names(lost)) if lost else []

    def shortened(self, had: bytes, has: bytes) -> list[str]:
        """The lists that hold fewer items in `has` than in `had`, but not none."""
        layout = self._common(had, has)
        if layout is None or len(had) != len(has):
            return []
        before, now = layout.lengths(had), layout.lengths(has)
        return layout.outermost([name for name, length in before.items() if 0 < now[name] < length])

    def names(self, filled: bytes) -> list[str]:
        """The fields that hold something."""
        layout = self._layout(filled)
        return layout.names(layout.bits(filled)) if layout else []

    def long(self, filled: bytes) -> list[str]:
        """The lists that could become shorter without being empty."""
        layout = self._layout(filled)
        return [name for name, length in layout.lengths(filled).items() if length > 1] if layout else []

    def _common(self, had: bytes, has: bytes) -> _Layout | None:
        return None if had == has or had[:_LAYOUT] != has[:_LAYOUT] else self._layout(has)

    def _layout(self, filled: bytes) -> _Layout | None:
        return next((each for each in self._layouts.values() if filled[:_LAYOUT] == each.tag[:_LAYOUT]), None)


class _Layout:
    """One type's names, each with its bit and the names of the fields that contain it, and its lists."""

    def __init__(self, entity: type[Entity], edition: bytes) -> None:
        self._around: dict[str, set[str | None]] = {}
        self._within: dict[bytes, set[bytes]] = {}
        for path, _ in classified(entity):
            self._walk(path.replace("[]", "").split("."))
        self._names = sorted(self._around)
        self._bits = {name.encode(): 1 << n for n, name in enumerate(self._names)}
        layout = blake2b(" ".join([entity.type_name, *self._names]).encode(), digest_size=_LAYOUT).digest()
        self.tag = layout + edition
        self._counts = TAG + (len(self._names) + 7) // 8
        self._find = (_PLAIN_NAMES if all(map(_PLAIN.fullmatch, self._names)) else _NAMES).findall
        self._met: dict[Any, tuple[bytes, bytes]] = {}
        self._parts = sorted({at.rpartition(".")[2] for path, _ in classified(entity) for at in path.split("[]")[:-1]})
        self._plain = sorted({path.rpartition(".")[2] for path in plain_lists(entity)})
        self._begins = [b'"%b":[' % name.encode() for name in self._plain]

    def _walk(self, path: Sequence[str]) -> None:
        around: str | None = None
        for name in path:
            self._around.setdefault(name, set()).add(around)
            if around is not None:
                self._within.setdefault(around.encode(), set()).add(name.encode())
            around = name

    def filled(self, data: bytes) -> bytes:
        met = tuple(self._find(data))
        found = self._met.get(met)
        if found is None:
            bits = 0
            for name in met:
                bits |= self._bits.get(name, 0)
            found = self.tag + bits.to_bytes(self._counts - TAG), self._many(met)
            if len(self._met) < _MOST:
                self._met[met] = found
        return b"".join((*found, self._items(data)) if self._plain else found)

    def _many(self, met: Sequence[bytes]) -> bytes:
        """The number of parts in each list of parts: so often does the most frequent name occur in one."""
        inside: list[bytes] = []
        times: Counter[tuple[bytes, bytes]] = Counter()
        for name in met:
            while inside and name not in self._within[inside[-1]]:
                inside.pop()
            if inside:
                times[inside[-1], name] += 1
            if name in self._within:
                inside.append(name)
        most = {part.encode(): 0 for part in self._parts}
        for (part, _), number in times.items():
            most[part] = max(most.get(part, 0), number)
        return bytes(min(most[part.encode()], _LONGEST) for part in self._parts)

    def _items(self, data: bytes) -> bytes:
        """The number of items in each list of plain values."""
        return bytes([_number(data, begin) for begin in self._begins])

    def bits(self, filled: bytes) -> int:
        return int.from_bytes(filled[TAG : self._counts])

    def lengths(self, filled: bytes) -> dict[str, int]:
        """The lengths of the lists; none if they were not counted."""
        counts = filled[self._counts :]
        lists = [*self._parts, *self._plain]
        return dict(zip(lists, counts, strict=True)) if len(counts) == len(lists) else {}

    def names(self, bits: int) -> list[str]:
        return [name for n, name in enumerate(self._names) if bits >> n & 1]

    def outermost(self, names: list[str]) -> list[str]:
        """Leave out the names whose surrounding field is among them, too."""
        return [name for name in names if self._around[name].isdisjoint(names)]


def _number(data: bytes, begin: bytes) -> int:
    """The number of items in the lists that begin so."""
    number, at = 0, data.find(begin)  # several times as fast as one expression for all lists
    while at >= 0:
        at += len(begin)
        if found := _LIST.match(data, at):
            number += len(_ITEM.findall(found[0]))
        at = data.find(begin, at)
    return min(number, _LONGEST)
