"""
Packed files as a layout: a gzip file, or the members of a zip file, which another layout reads. The first bytes of a file say
what it is; one that is not packed is read as it is.

    FileStream("payment", payment, Packed(Delimited(Payment)), r"payments_.*\\.csv(?:\\.gz)?")
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, BinaryIO, Self, cast
from zipfile import BadZipFile, ZipFile

from adapters.kit.layout_kinds import refused_file
from adapters.kit.layouts import HowWritten, Layout, Passed, told_how
from adapters.kit.openpgp import is_message
from adapters.port import Row

OTHER_MEMBERS = Passed("other members of the archive")
_PIECE = 1_000_000
_DAMAGED = (BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError, struct.error)
"""All that gzip and zipfile raise of files that are none. `test_layout_harm` looks for more."""


@dataclass(frozen=True, slots=True)
class Packed:
    """
    Unpacks a file and gives it to another layout. All is unpacked once before the first row is given, so that a damaged archive
    is refused, and so is one that holds more than `most` megabytes: nobody knows before how large a bomb is.

    `members` is a regular expression for the names of a zip file's members that are read, in the archive's order; other ones are
    counted. A file or a member with a password is refused, and so is one that is an OpenPGP message.
    """

    layout: Layout
    members: str = ".*"
    most: int = 4000

    def written(self, how: HowWritten) -> Self:
        return replace(self, layout=told_how(self.layout, how))

    def rows(self, file: BinaryIO) -> Iterator[Row | Passed]:
        """
        Give the rows of the other layout.

        :raises BadRecordError: the archive is damaged, is too large, has a password, or holds no member to read.
        """
        begin = file.read(4)
        file.seek(0)
        if begin.startswith(b"\x1f\x8b"):
            yield from self._gzipped(file)
        elif begin.startswith(b"PK"):
            yield from self._zipped(file)
        else:
            yield from self.layout.rows(file)

    def _gzipped(self, file: BinaryIO) -> Iterator[Row | Passed]:
        with _as_refused():
            self._insist(cast("BinaryIO", gzip.GzipFile(fileobj=file)), self.most * 1_000_000)
        file.seek(0)
        yield from self.layout.rows(cast("BinaryIO", gzip.GzipFile(fileobj=file)))

    def _zipped(self, file: BinaryIO) -> Iterator[Row | Passed]:
        with _as_refused():
            archive = ZipFile(file)
            files = [member for member in archive.infolist() if not member.is_dir()]
            ours = [member for member in files if re.fullmatch(self.members, member.filename, re.I)]
            if any(member.flag_bits & 1 for member in ours):
                fix = "ask for it without one, and let nobody else read the folder"
                raise refused_file("has a password", "an archive", fix)
            left = self.most * 1_000_000
            for member in ours:
                with archive.open(member) as opened:
                    left = self._insist(opened, left)
        if not ours:
            raise refused_file("is an archive without a member that is read", "an archive")
        for member in ours:
            with archive.open(member) as opened:
                yield from self.layout.rows(cast("BinaryIO", opened))
        yield from (OTHER_MEMBERS for _ in range(len(files) - len(ours)))

    def _insist(self, opened: IO[bytes], left: int) -> int:
        """Unpack all of it once; say how many bytes may still come."""
        begin = True
        while piece := opened.read(_PIECE):
            if begin and is_message(piece):
                fix = "ask for an archive that is encrypted as a whole"
                raise refused_file("holds something encrypted, which is not opened there", "an archive", fix)
            begin, left = False, left - len(piece)
            if left < 0:
                raise refused_file(f"holds more than {self.most} megabytes", "an archive", "ask for smaller files")
        return left


@contextmanager
def _as_refused() -> Iterator[None]:
    try:
        yield
    except _DAMAGED:
        raise refused_file("is a damaged archive", "an archive") from None
