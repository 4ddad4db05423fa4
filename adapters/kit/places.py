"""
The watched folders: which files are ready, what each is an extract of, and its digest.

A file that is still being written waits. A corrected file has the name of the one that it corrects. Nothing is written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from time import monotonic, time
from typing import BinaryIO

from adapters.kit.openpgp import opened_name
from canonical.errors import BadRecordError, MisconfiguredError, UnavailableError

_CORRECTED = re.compile(
    r"(?i)(?:[ _.-]+v(?P<v>[0-9]{1,3})"
    r"|[ _.-]+(?:corrected|correction|revised|amended|copy)(?:[ _-]*\(?(?P<c>[0-9]{1,3})\)?)?"
    r"|[ _]*\((?P<n>[0-9]{1,2})\))$"
)
_PIECE = 1_000_000  # bytes that are read together


def extract_name(stem: str) -> tuple[str, int]:
    """
    Tell from a file's name which extract it is, and which correction of it.

    The extract is the stem without `-v2`, `_corrected`, ` (1)` or ` - copy`.

    >>> extract_name("2024-08_corrected (2)"), extract_name("2024-08")
    (('2024-08', 2), ('2024-08', 0))
    """
    rank = 0
    while (found := _CORRECTED.search(stem)) and found.start() > 0:
        rank += int(found["v"] or found["c"] or found["n"] or 1)
        stem = stem[: found.start()]
    return stem, rank


def any_case(glob: str) -> str:
    """
    The glob for names in capitals, too: an old finance system writes `APRIL.CSV`.

    >>> any_case("*.cs[vt]")
    '*.[cC][sS][vt]'
    """
    return re.sub(r"\[[^]]*\]|[A-Za-z]", lambda m: f"[{m[0].lower()}{m[0].upper()}]" if len(m[0]) == 1 else m[0], glob)


@dataclass(frozen=True, slots=True)
class Found:
    """
    A file as it was last seen. `size` is in bytes, `changed` in nanoseconds since 1970; `outside` says that it is a link
    out of its folder, which is not followed: whoever may write to the folder could have us read any file of ours.
    """

    name: str
    path: Path
    rank: int
    size: int
    changed: int
    outside: bool = False

    @property
    def look(self) -> tuple[int, int]:
        return self.size, self.changed

    def insist_inside(self, source: str) -> str:
        """Name the file. :raises BadRecordError: it is a link out of its folder."""
        where = f"{source} file {printable(self.path.name)}"
        if self.outside:
            raise BadRecordError(
                where, field="file", rule="is a link to a place outside the watched folder", shape="link",
                fix="put the file itself there, or name its own folder in the settings",
            )  # fmt: skip
        return where


def newest_of_each(found: Iterable[Found]) -> list[Found]:
    """Of several files of one name only the newest, which replaces the others; the oldest first."""
    by_name = sorted(found, key=lambda f: (f.name, f.changed, f.rank, f.path))
    newest = [list(files)[-1] for _, files in groupby(by_name, key=lambda f: f.name)]
    return sorted(newest, key=lambda f: (f.changed, f.name))


@dataclass(slots=True)
class Folder:
    """
    The files of some folders. `settle` is in seconds; `done` is the suffix of the file that says that one is complete.

    A file is ready once it has not changed for `settle` seconds, by its own time and under our eyes; with `done`, once
    the marker `FILE<done>` lies beside it.
    """

    source: str
    folders: Sequence[Path]
    globs: Sequence[str]
    settle: float
    done: str
    salt: bytes
    _looks: dict[Path, tuple[tuple[int, int], float]] = field(default_factory=dict)
    _digests: dict[Path, tuple[tuple[int, int], str]] = field(default_factory=dict)

    def ready(self) -> list[Found]:
        """
        The files to read now, oldest first; of several files of one name only the newest, which replaces the others.

        :raises UnavailableError: a folder is not there, as when a share is not mounted.
        :raises MisconfiguredError: we may not read a folder.
        """
        return newest_of_each(self.settled())

    def settled(self) -> list[Found]:
        """All files that are complete. Raises as `ready` does."""
        here = self._look()
        self._looks = {path: look for path, look in self._looks.items() if path in {f.path for f in here}}
        self._digests = {path: had for path, had in self._digests.items() if path in self._looks}
        return [f for f in here if self._settled(f)]

    def waiting(self) -> int:
        """Tell how many of the files were there at the last look and not yet settled."""
        return sum(1 for found in self._look() if not self._settled(found))

    def others(self) -> int:
        """Count the files in the folders themselves that no glob names."""
        ours = {path for folder in self.folders for path in self._listed(folder)}
        listed = (path for folder in self.folders for path in folder.iterdir())
        return sum(1 for p in listed if p.is_file() and p not in ours and not (p.name.startswith((".", "~$")) or self._marks(p)))

    def digest(self, found: Found, largest: int) -> str:
        """
        The digest of the file's content and of the rules for reading it, remembered while size and time stay the same.

        New rules make a new digest: a file that no layout fitted is read again once there is one. A file over `largest`
        bytes or outside its folder will be refused unread, so its size and time stand for its content.
        """
        if (had := self._digests.get(found.path)) is None or had[0] != found.look:
            digest = blake2b(key=self.salt, digest_size=16)
            if found.size > largest or found.outside:
                digest.update(repr(found.look).encode())
            else:
                for piece in _pieces(self.source, found, largest):
                    digest.update(piece)
            had = self._digests[found.path] = (found.look, digest.hexdigest())
        return had[1]

    def _look(self) -> list[Found]:
        found = []
        for folder in self.folders:
            for path in self._listed(folder):
                try:
                    stat = path.stat()
                except FileNotFoundError:
                    continue  # moved away since we listed it
                except OSError as error:
                    raise _unavailable(self.source, path.name, error) from error
                name, rank = self._name(folder, path)
                outside = not path.resolve().is_relative_to(folder.resolve())
                found.append(Found(name, path, rank, stat.st_size, stat.st_mtime_ns, outside))
        for each in found:
            had = self._looks.get(each.path)
            if had is None or had[0] != each.look:
                self._looks[each.path] = (each.look, monotonic())
        return found

    def _listed(self, folder: Path) -> Iterator[Path]:
        try:
            os.listdir(folder)  # glob says nothing of a folder that is not there
            paths = {path for glob in self.globs for path in folder.glob(any_case(glob))}
        except FileNotFoundError as error:
            raise UnavailableError(
                self.source, f"the folder {folder} is not there", fix="mount it, or correct `folders` in the settings"
            ) from error
        except (PermissionError, NotADirectoryError) as error:
            raise MisconfiguredError(
                self.source, f"the folder {folder} cannot be listed ({type(error).__name__})",
                fix="give the account that runs Ironbridge the right to read it",
            ) from error  # fmt: skip
        except OSError as error:
            raise _unavailable(self.source, str(folder), error) from error
        # Excel's lock files begin with ~$; a dot hides what an SFTP server is still receiving.
        return (p for p in sorted(paths) if not p.name.startswith(("~$", ".")) and p.is_file() and not self._marks(p))

    def _marks(self, path: Path) -> bool:
        return bool(self.done) and path.name.endswith(self.done)

    def _name(self, folder: Path, path: Path) -> tuple[str, int]:
        stem, rank = extract_name(opened_name(path).stem)
        inside = path.relative_to(folder).parent / stem
        return printable((inside if len(self.folders) == 1 else Path(folder.name) / inside).as_posix()), rank

    def _settled(self, found: Found) -> bool:
        if self.done:
            return found.path.with_name(found.path.name + self.done).exists()
        watched = monotonic() - self._looks[found.path][1]
        age = time() - found.changed / 1e9
        # A time ahead of ours is a file server's clock: then only our own watch counts.
        return self.settle == 0 or (watched >= self.settle and (age >= self.settle or age < 0))


def content(source: str, found: Found, largest: int) -> bytes:
    """
    The file's bytes, as they were when the file was found. `largest` is the largest size that is read, in bytes.

    :raises UnavailableError: it cannot be read now, or somebody writes to it: half of a file would delete the other half.
    :raises BadRecordError: it is too large, or has grown too large since it was found.
    """
    if found.size > largest:
        raise _too_large(source, found, largest)
    data = b"".join(_pieces(source, found, largest))
    if len(data) > largest:
        raise _too_large(source, found, largest)
    return data


@contextmanager
def opened_file(source: str, found: Found, largest: int) -> Iterator[BinaryIO]:
    """
    The file, open for reading. `largest` is the largest size that is read, in bytes. A change to the file while it is open is
    noticed at the end, and goes before whatever was found wrong with it.

    :raises UnavailableError: it cannot be read now, or somebody writes to it.
    :raises BadRecordError: it is too large.
    """
    if found.size > largest:
        raise _too_large(source, found, largest)
    try:
        with found.path.open("rb") as file:
            _insist_unchanged(source, found, file)
            try:
                yield file
            finally:
                _insist_unchanged(source, found, file)
    except OSError as error:
        raise _unavailable(source, printable(found.path.name), error) from error


def _insist_unchanged(source: str, found: Found, file: BinaryIO) -> None:
    looks = {(each.st_size, each.st_mtime_ns) for each in (os.fstat(file.fileno()), found.path.stat())}
    if looks != {found.look}:
        raise UnavailableError(source, f"{printable(found.path.name)} was changed while it was read")


def _too_large(source: str, found: Found, largest: int) -> BadRecordError:
    return BadRecordError(
        f"{source} file {printable(found.path.name)}", field="file", rule=f"is larger than {largest // 1_000_000} MB",
        shape=f"{found.size} bytes", fix="split it, or raise max_megabytes in the settings",
    )  # fmt: skip


def _pieces(source: str, found: Found, largest: int) -> Iterator[bytes]:
    """The content, a piece at a time. A change to the file during the reading is noticed at the end."""
    size = 0
    try:
        with found.path.open("rb") as file:
            while piece := file.read(min(_PIECE, largest + 1 - size)):
                size += len(piece)
                yield piece
            if size <= largest:
                _insist_unchanged(source, found, file)
    except OSError as error:
        raise _unavailable(source, printable(found.path.name), error) from error


def printable(name: str) -> str:
    """
    A file's name as it may be logged and kept: one with control characters, or that is no text at all, gets question
    marks in their place and a digest of what it was, so that it stays apart from others.
    """
    if name.isprintable():
        return name
    digest = blake2b(os.fsencode(name), digest_size=4).hexdigest()
    return "".join(c if c.isprintable() else "?" for c in name) + f"-{digest}"


def _unavailable(source: str, what: str, error: OSError) -> UnavailableError:
    return UnavailableError(
        source, f"{what} cannot be read now ({type(error).__name__})", fix="see whether the share is well"
    )
