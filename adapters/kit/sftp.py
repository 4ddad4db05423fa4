"""
Files that lie on an SFTP server: they are fetched into a folder of ours once they have settled, and are read there.

Nothing is written to the server. The folder is ours alone and goes with the process; after a start the files are fetched again,
which publishes nothing.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from canonical.errors import MisconfiguredError, UnavailableError

if TYPE_CHECKING:
    from asyncssh import SFTPClient

_PATIENCE = 60.0  # seconds for the server to answer
_PIECE = 1_000_000  # bytes that are asked for together
Look = tuple[int, int]
"""The size of a file in bytes, and its time in seconds since 1970."""


class SftpSettings(BaseModel):
    """
    These settings say how a folder on an SFTP server is reached. The server is known by its key: `known_hosts` is a file as ssh
    has it. We are known by a private key without a passphrase in the file `key`, or by the `password`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = Field(min_length=1)
    port: int = Field(default=22, ge=1, le=65535)
    user: str = Field(min_length=1)
    folder: str = "."
    known_hosts: Path
    key: Path | None = None
    password: SecretStr | None = None

    @model_validator(mode="after")
    def _known_to_it(self) -> SftpSettings:
        if (self.key is None) == (self.password is None):
            raise ValueError("give a key or a password")
        return self

    @property
    def where(self) -> str:
        return f"sftp://{self.host}:{self.port}/{self.folder.lstrip('/')}"


@dataclass(slots=True)
class Sftp:
    """
    Mirrors the files of a folder on an SFTP server, not those of the folders in it. A file is fetched once its size and time have
    not changed for `settle` seconds, or once its marker (`done`) lies beside it; one that is taken away there goes here, too.
    While a file is written anew its last content stays. Of a file over `largest` bytes nothing is fetched: an empty one of its
    size stands for it, and is refused by that.
    """

    source: str
    settings: SftpSettings
    settle: float
    done: str
    largest: int
    _scratch: TemporaryDirectory[str] | None = None
    _looks: dict[str, tuple[Look, float]] = field(default_factory=dict)
    _fetched: dict[str, Look] = field(default_factory=dict)
    waiting: int = 0
    """How many files had not settled at the last look."""

    @property
    def folder(self) -> Path:
        """The folder of ours. It is made when it is asked for first."""
        if self._scratch is None:
            self._scratch = TemporaryDirectory(prefix="ironbridge-sftp-")
        return Path(self._scratch.name)

    async def refresh(self) -> None:
        """
        Look at the server, and fetch what has settled.

        :raises UnavailableError: the server or the folder is not there now.
        :raises MisconfiguredError: the server does not take us, or is another one than `known_hosts` says.
        """
        async with self._connected() as sftp:
            there = await self._listed(sftp)
            self._looks = {name: had for name, had in self._looks.items() if name in there}
            for name in self._fetched.keys() - there.keys():
                await asyncio.to_thread((self.folder / name).unlink, missing_ok=True)
                del self._fetched[name]
            self.waiting = 0
            for name, look in there.items():
                if self.done and name.endswith(self.done):
                    continue
                settled = self._settled(name, look, there)
                self.waiting += not settled
                if settled and self._fetched.get(name) != look:
                    await self._fetch(sftp, name, look)

    def _settled(self, name: str, look: Look, there: dict[str, Look]) -> bool:
        had = self._looks.get(name)
        if had is None or had[0] != look:
            had = self._looks[name] = (look, monotonic())
        return name + self.done in there if self.done else monotonic() - had[1] >= self.settle

    async def _listed(self, sftp: SFTPClient) -> dict[str, Look]:
        found = {}
        async for entry in sftp.scandir(self.settings.folder):
            name, attrs = str(entry.filename), entry.attrs
            # A dot hides what is still being received; a name with a slash would be a place outside the folder.
            if not name.startswith(".") and "/" not in name and attrs.permissions and stat.S_ISREG(attrs.permissions):
                found[name] = (attrs.size or 0, int(attrs.mtime or 0))
        return found

    async def _fetch(self, sftp: SFTPClient, name: str, look: Look) -> None:
        """Fetch a file beside its last content, and put it in its place if it is still the one that was seen."""
        half, whole = self.folder / f".{name}", PurePosixPath(self.settings.folder) / name
        size, changed = look
        if size > self.largest:
            await asyncio.to_thread(_stand_in, half, size)
        else:
            await sftp.get(str(whole), str(half), block_size=_PIECE)
        now = await sftp.stat(str(whole))
        if (now.size, int(now.mtime or 0)) != look or half.stat().st_size != size:
            half.unlink()
            self._looks.pop(name, None)  # it is written to: let it settle again
            return
        os.utime(half, (changed, changed))
        os.replace(half, self.folder / name)
        self._fetched[name] = look

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[SFTPClient]:
        try:
            import asyncssh  # an extra of ours
        except ImportError:
            fix = "pip install 'ironbridge[sftp]'"
            raise MisconfiguredError(self.source, "reads from an SFTP server, and asyncssh is not installed", fix=fix) from None
        try:
            async with asyncio.timeout(_PATIENCE):
                connection = await asyncssh.connect(**self._login(), connect_timeout=_PATIENCE)
            async with connection, connection.start_sftp_client() as sftp:
                yield sftp
        except (asyncssh.PermissionDenied, asyncssh.HostKeyNotVerifiable, asyncssh.KeyImportError) as error:
            what, fix = f"is not opened ({type(error).__name__})", "check user, key or password, and known_hosts in the settings"
            raise MisconfiguredError(self.source, f"{self.settings.where} {what}", fix=fix) from error
        except asyncssh.SFTPPermissionDenied as error:
            fix = "give the user the right to list the folder and read its files"
            raise MisconfiguredError(self.source, f"{self.settings.where} may not be read", fix=fix) from error
        except (asyncssh.Error, OSError, TimeoutError) as error:
            what, fix = f"cannot be read ({type(error).__name__})", "see whether the server is well and the folder is there"
            raise UnavailableError(self.source, f"{self.settings.where} {what}", fix=fix) from error

    def _login(self) -> dict[str, Any]:
        """How to connect: nothing of the account that runs us (its keys, its agent, its configuration) is used."""
        s = self.settings
        known: dict[str, Any] = {"host": s.host, "port": s.port, "username": s.user, "known_hosts": str(s.known_hosts)}
        ours = {"client_keys": [str(s.key)]} if s.key else {"client_keys": None, "password": self._password()}
        return {**known, **ours, "agent_path": None, "config": None}

    def _password(self) -> str:
        return self.settings.password.get_secret_value() if self.settings.password else ""

    def close(self) -> None:
        """Forget what was fetched."""
        if self._scratch is not None:
            with suppress(OSError):
                self._scratch.cleanup()
        self._scratch = None
        self._fetched.clear()


def _stand_in(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)
