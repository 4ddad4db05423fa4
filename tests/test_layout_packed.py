"""Packed files as a layout of the files kit: what is unpacked, and which archives are refused."""

from __future__ import annotations

import gzip
import pickle
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from adapters.kit.layout_fixed import FixedLayout
from adapters.kit.layout_packed import OTHER_MEMBERS, Packed
from adapters.kit.layouts import HowWritten, Passed
from adapters.port import Row
from canonical.errors import BadRecordError, DoubtfulError
from tests.test_layout_fixed import FixedCharge

ONE, TWO = b"D0007Ash       00150\n", b"D0008Birch     00200\n"
PACKED = Packed(FixedLayout({"": FixedCharge}), members=r".*\.txt")


def zipped(**members: bytes) -> bytes:
    file = BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return file.getvalue()


def read(data: bytes, layout: Packed = PACKED) -> list[Row | Passed]:
    return list(layout.rows(BytesIO(data)))


def refusal(data: bytes, layout: Packed = PACKED) -> str:
    with pytest.raises(BadRecordError) as caught:
        read(data, layout)
    assert caught.value.field == "file"
    return caught.value.rule


def test_a_gzip_file_and_the_members_of_a_zip_file_are_read_as_they_would_be_unpacked() -> None:
    rows = read(ONE + TWO)
    assert rows == [("0007", "Ash", "00150"), ("0008", "Birch", "00200")]
    assert read(gzip.compress(ONE + TWO)) == rows
    assert read(gzip.compress(ONE) + gzip.compress(TWO)) == rows
    assert read(zipped(a_txt=ONE, b_txt=TWO)) == rows
    assert read(gzip.compress(ONE + TWO), pickle.loads(pickle.dumps(PACKED))) == rows


def test_other_members_are_counted_and_an_archive_without_ours_is_refused() -> None:
    assert read(zipped(a_txt=ONE, b_pdf=b"%PDF")) == [("0007", "Ash", "00150"), OTHER_MEMBERS]
    assert refusal(zipped(b_pdf=b"%PDF")) == "is an archive without a member that is read"


def test_a_damaged_archive_is_refused_before_its_first_row() -> None:
    for whole in (gzip.compress(ONE * 1000), zipped(a_txt=ONE * 1000)):
        assert refusal(whole[:-4]) == "is a damaged archive"
        half = len(whole) // 2
        assert refusal(whole[:half] + bytes([whole[half] ^ 0xFF]) + whole[half + 1 :]) == "is a damaged archive"


def test_a_bomb_is_refused() -> None:
    small = Packed(PACKED.layout, members=".*", most=1)
    bomb = b"\0" * 3_000_000
    assert len(gzip.compress(bomb)) < 10_000
    assert refusal(gzip.compress(bomb), small) == "holds more than 1 megabytes"
    assert refusal(zipped(a=bomb[:600_000], b=bomb[:600_000]), small) == "holds more than 1 megabytes"


def test_a_password_is_refused() -> None:
    data = bytearray(zipped(a_txt=ONE))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    assert refusal(bytes(data)) == "has a password"


def test_how_texts_are_written_is_handed_on() -> None:
    torn = gzip.compress(ONE + TWO.rstrip())
    with pytest.raises(DoubtfulError):
        read(torn)
    assert len(read(torn, PACKED.written(HowWritten(accepted=frozenset({"end"}))))) == 2
