"""Stores which fields of an entity hold something, in a few bytes. So a lost field is noticed without the old content."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any

from canonical import Entity
from canonical.entity import classified

_HOLDS = rb'":(?:"(?!")|[^"\[{]|\[(?!\])|\{(?!\}))'  # a quarter faster than a ban on the three empty values
_NAMES = re.compile(rb'"(\w++)' + _HOLDS)
"""The names in canonical JSON that hold something; inside a text every quotation mark has a backslash before it."""

_PLAIN_NAMES = re.compile(rb'"([a-z_0-9]++)' + _HOLDS)
"""The same where all names are of small letters: half the time, because most texts are passed over at their capital."""

_PLAIN = re.compile("[a-z_0-9]+")

_LAYOUT = 3
TAG = 6
"""Bytes before the fields' bits: three for the type's fields, three for the mapping's edition."""

_MOST = 4096  # combinations of fields that are remembered for a type


class Contents:
    """
    Bits for fields: one for each name that occurs in an entity or in its parts.

    `edition` names the mapping's code. A name that occurs in two parts has one bit, which is set if either holds something.
    """

    def __init__(self, edition: bytes) -> None:
        self._edition = blake2b(edition, digest_size=TAG - _LAYOUT).digest()
        self._layouts: dict[type[Entity], _Layout] = {}

    def of(self, entity: type[Entity], data: bytes) -> bytes:
        """The fields of an entity's canonical JSON that hold something."""
        layout = self._layouts.get(entity)
        if layout is None:
            layout = self._layouts[entity] = _Layout(entity, self._edition)
        return layout.filled(data)

    def emptied(self, had: bytes, has: bytes) -> list[str]:
        """The fields that held something in `had` and hold nothing in `has`; none if these are of different types."""
        if had == has:
            return []
        layout = self._layout(has)
        if layout is None or had[:_LAYOUT] != has[:_LAYOUT]:
            return []
        lost = int.from_bytes(had[TAG:]) & ~int.from_bytes(has[TAG:])
        return layout.outermost(layout.names(lost)) if lost else []

    def names(self, filled: bytes) -> list[str]:
        """The fields that hold something."""
        layout = self._layout(filled)
        return layout.names(int.from_bytes(filled[TAG:])) if layout else []

    def _layout(self, filled: bytes) -> _Layout | None:
        return next((each for each in self._layouts.values() if filled[:_LAYOUT] == each.tag[:_LAYOUT]), None)


class _Layout:
    """One type's names, each with its bit and the names of the fields that contain it."""

    def __init__(self, entity: type[Entity], edition: bytes) -> None:
        self._around: dict[str, set[str | None]] = {}
        for path, _ in classified(entity):
            around: str | None = None
            for name in path.replace("[]", "").split("."):
                self._around.setdefault(name, set()).add(around)
                around = name
        self._names = sorted(self._around)
        self._bits = {name.encode(): 1 << n for n, name in enumerate(self._names)}
        self._size = (len(self._names) + 7) // 8
        layout = blake2b(" ".join([entity.type_name, *self._names]).encode(), digest_size=_LAYOUT).digest()
        self.tag = layout + edition
        self._find = (_PLAIN_NAMES if all(map(_PLAIN.fullmatch, self._names)) else _NAMES).findall
        self._met: dict[Any, bytes] = {}

    def filled(self, data: bytes) -> bytes:
        met = tuple(self._find(data))
        filled = self._met.get(met)
        if filled is None:
            bits = 0
            for name in met:
                bits |= self._bits.get(name, 0)
            filled = self.tag + bits.to_bytes(self._size)
            if len(self._met) < _MOST:
                self._met[met] = filled
        return filled

    def names(self, bits: int) -> list[str]:
        return [name for n, name in enumerate(self._names) if bits >> n & 1]

    def outermost(self, names: list[str]) -> list[str]:
        """Leave out the names whose surrounding field is empty, too."""
        return [name for name in names if self._around[name].isdisjoint(names)]
