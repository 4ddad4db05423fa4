"""Harmed files: whatever bytes a layout is given, it gives rows or refuses the file in words, and quotes nothing of it."""

from __future__ import annotations

import gzip
from io import BytesIO
from random import Random

import pytest

from adapters.kit.layout_packed import Packed
from adapters.kit.layouts import Layout
from canonical.errors import BadRecordError
from tests import test_layout_ebcdic, test_layout_fixed, test_layout_packed, test_layout_xml

SECRET = "Zyxwvutsrq"
WHOLE = {
    "xml": (test_layout_xml.PETS, test_layout_xml.HOUSEHOLD.replace(b"Rex", SECRET.encode())),
    "fixed": (test_layout_fixed.TOTALLED, test_layout_fixed.FILE.replace(b"Ash & Co  ", SECRET.encode())),
    "ebcdic": (test_layout_ebcdic.LAYOUT, test_layout_ebcdic.entry() * 3),
    "gzip": (Packed(test_layout_fixed.TOTALLED), gzip.compress(test_layout_fixed.FILE * 20, mtime=0)),
    "zip": (Packed(test_layout_fixed.PLAIN), test_layout_packed.zipped(a_txt=test_layout_packed.ONE * 20)),
}


def harmed(data: bytes, rng: Random) -> bytes:
    """Cut, double, or change a few bytes."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at, size = rng.randrange(len(found) + 1), rng.choice((0, 1, 1, 2, 8, 200))
        piece = rng.choice((b"", rng.randbytes(size), bytes(found[at : at + size]) * 2))
        found[at : at + size] = piece
    return bytes(found)


@pytest.mark.parametrize("kind", WHOLE)
def test_a_harmed_file_is_read_or_refused_in_words(kind: str) -> None:
    layout: Layout = WHOLE[kind][0]
    told = [told for seed in range(600) if (told := refusal(layout, harmed(WHOLE[kind][1], Random(seed))))]
    assert told, "the harm is too small to prove anything"
    assert [each for each in told if SECRET.casefold() in each.casefold()] == []


def refusal(layout: Layout, data: bytes) -> str:
    """Say why a file is refused; nothing if it is read."""
    try:
        assert all(isinstance(row, tuple) for row in layout.rows(BytesIO(data)))
    except BadRecordError as error:
        return str(error)
    return ""
