"""
A folder that a system imports files from, such as a share of the council's network: a file there is whole or as it was.

An error becomes an outcome, as in `flows.kit.http`. `NotDone` is said only where the change was certainly not made:
the file is written beside its place first, and only the move there can be in doubt.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from secrets import token_hex
from typing import Final, TypeVar

from canonical.errors import IronbridgeError, MisconfiguredError, RefusedError, UnavailableError
from canonical.finding import Finding
from flows.engine.claims import seconds_left
from flows.kit.requests import OutOfHandError, Requests
from flows.port import NotDone, Refused, Unknown, Untold

T = TypeVar("T")
PATIENCE: Final = 60.0
"""Seconds after which a step is given up. A share whose server is away may hold it for minutes, or for good."""

# A file of that name can lie on every share: Windows forbids most of these. Ours begin with a dot until they are whole.
_NAME = re.compile(r'[^\x00-\x1f<>:"/\\|?*. ](?:[^\x00-\x1f<>:"/\\|?*]*[^\x00-\x1f<>:"/\\|?*. ])?')
_LONGEST = 200  # bytes; file systems take 255, and the name gets longer until the file is whole
_PART = ".part"
_FORGOTTEN = 3600.0  # seconds after which an unfinished file is one that a killed worker left
_BUSY = {errno.EACCES, errno.EPERM, errno.EBUSY, errno.ETXTBSY}
"""A share answers so if a file is moved onto one that somebody has open. The move was not done."""
_TAKEN = {errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST}


class Disk:
    """The steps by which files are changed and read, each in a thread. A test puts one in its place that fails."""

    def write(self, path: Path, content: bytes) -> None:
        """Write a file that is not there yet, to the disk itself."""
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def move(self, path: Path, to: Path) -> None:
        """Put a file into its place, in one step."""
        path.replace(to)
        self._keep(to.parent)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._keep(path.parent)

    def read(self, path: Path) -> bytes:
        # A link is not followed: whoever may write to the folder could have us read any file of ours.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return file.read()

    def names(self, path: Path) -> list[str]:
        with os.scandir(path) as found:
            return sorted(each.name for each in found if each.is_file(follow_symlinks=False))

    def _keep(self, folder: Path) -> None:
        """Make a change of the folder last through a power cut, where the file system can."""
        with suppress(OSError):
            at = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(at)
            finally:
                os.close(at)


class SharedFolder:
    """
    The files of one folder, as one target may see them. `resources.folder(limits, path)` makes it.

    Each call is a request: it spends the target's budget, checks the worker's claim before it changes something, and opens a
    span. `limits.concurrency` of them work at once, in threads of their own, so that a share that hangs holds up nothing else.

    :raises MisconfiguredError: the folder is not there, or we may not use it.
    """

    def __init__(self, where: str, path: Path, requests: Requests, concurrency: int, *, patience: float = PATIENCE) -> None:
        self.where = where
        self.path = path
        self.disk = Disk()
        self._requests = requests
        self._patience = patience
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix=where)
        self._tidied = False

    async def put(self, name: str, content: bytes) -> NotDone | Refused | Unknown | None:
        """Write a file, or replace it. None means that it lies there, whole and for good."""
        return await self._changed("PUT file", name, lambda: self._put(name, content))

    async def remove(self, name: str) -> NotDone | Refused | Unknown | None:
        """Remove a file. None means that there is none of that name."""
        return await self._changed("DELETE file", name, lambda: self._remove(self.path / name))

    async def get(self, name: str) -> bytes | Untold | None:
        """A file's content; None if there is no such file."""
        if not _may_be_called(name):
            return None
        try:
            return await self._step("GET file", lambda: self._get(self.path / name))
        except UnavailableError as error:
            return Untold(error.what)

    async def names(self) -> Sequence[str]:
        """
        The names of all files that lie there whole, in order.

        :raises UnavailableError: the folder cannot be read now.
        """
        found = await self._step("LIST files", lambda: self._asked(lambda: self.disk.names(self.path)))
        return [name for name in found if not name.startswith(".")]

    async def check(self) -> Sequence[Finding]:
        """Look whether the folder is there and may be read and written, changing nothing."""
        try:
            await self._step("LIST files", lambda: self._asked(lambda: self.disk.names(self.path)))
        except IronbridgeError as error:
            return [Finding(f"{self.where}: the folder {self.path}", False, error.fix or error.what)]
        may = os.access(self.path, os.R_OK | os.W_OK | os.X_OK)
        return [Finding(f"{self.where}: the folder {self.path}", may, "" if may else _FIX)]

    def close(self) -> None:
        """End the threads. A step that hangs is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _changed(self, what: str, name: str, work: Callable[[], None]) -> NotDone | Refused | Unknown | None:
        if not _may_be_called(name):
            return Refused("its file's name: has a sign that a share forbids, or is too long")
        try:
            await self._step(what, work, changes=True)
        except UnavailableError as error:
            return NotDone(error.what)
        except RefusedError as error:
            return Refused(error.what)
        except OSError as error:
            return Unknown(f"not known to be done: {_said(error)}")
        return None

    async def _step(self, what: str, work: Callable[[], T], *, changes: bool = False) -> T:
        async with self._requests.request(what, changes=changes):
            running = asyncio.get_running_loop().run_in_executor(self._pool, copy_context().run, work)
            try:
                async with asyncio.timeout(self._patience):
                    return await running
            except TimeoutError as error:
                if changes or error.errno is not None:
                    raise
                raise UnavailableError(self.where, f"the folder did not answer in {self._patience:g} s") from None

    def _put(self, name: str, content: bytes) -> None:
        part = self.path / f".{name}.{token_hex(4)}{_PART}"
        try:
            self._tidy()
            self.disk.write(part, content)
            self._still_ours()
        except OSError as error:
            self._discard(part)
            raise _not_done(self.where, error) from error
        except OutOfHandError:
            self._discard(part)
            raise
        self._in_one_step(lambda: self.disk.move(part, self.path / name), part)

    def _remove(self, path: Path) -> None:
        self._still_ours()
        self._asked(self.path.stat)  # else nothing would seem to lie in a share that is gone
        self._in_one_step(lambda: self.disk.remove(path))

    def _in_one_step(self, work: Callable[[], None], part: Path | None = None) -> None:
        """Do the one thing that others see. Where it surely failed, say that it was not done."""
        try:
            work()
        except OSError as error:
            if error.errno not in _BUSY | _TAKEN:
                raise
            if part:
                self._discard(part)
            if error.errno in _TAKEN:
                raise RefusedError(self.where, "its file's name: a folder of that name lies there") from error
            raise UnavailableError(self.where, f"not done: the file is in use there ({_said(error)})") from error

    def _get(self, path: Path) -> bytes | None:
        try:
            return self.disk.read(path)
        except FileNotFoundError:
            self._asked(self.path.stat)  # the same
            return None
        except OSError as error:
            raise UnavailableError(self.where, f"the file cannot be read: {_said(error)}") from error

    def _asked(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except OSError as error:
            raise _not_done(self.where, error) from error

    def _still_ours(self) -> None:
        """Look at the claim once more, right before the change: writing to a slow share may have taken longer than it lasts."""
        if seconds_left() <= 0:
            raise OutOfHandError(self.where, "not done: this worker's claim on its subjects ran out")

    def _tidy(self) -> None:
        """Remove, once in a process, the unfinished files of workers that were killed."""
        if self._tidied:
            return
        for name in self.disk.names(self.path):
            if name.startswith(".") and name.endswith(_PART) and _age(self.path / name) > _FORGOTTEN:
                self._discard(self.path / name)
        self._tidied = True

    def _discard(self, part: Path) -> None:
        with suppress(OSError):
            self.disk.remove(part)


_FIX = "let this account read, write and delete files there"


def _age(path: Path) -> float:
    """Seconds since a file was written; 0 if it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _may_be_called(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and len(os.fsencode(name)) <= _LONGEST


def _not_done(where: str, error: OSError) -> IronbridgeError:
    """Say what an error means that came before anything was changed."""
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return MisconfiguredError(where, "the folder is not there", fix="make the folder, mount its share, or mend its path")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return MisconfiguredError(where, f"we may not use the folder ({_said(error)})", fix=_FIX)
        case errno.ENAMETOOLONG | errno.EILSEQ | errno.EINVAL:
            return RefusedError(where, f"its file's name: the folder does not take it ({_said(error)})")
    return UnavailableError(where, f"not done: {_said(error)}")


def _said(error: OSError) -> str:
    """The error's own short name. Its text could hold a file's name, and with it the number of a record."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
