"""A folder on an SFTP server, as a place where files lie."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from adapters.kit.mirror import PATIENCE, FileLook
from canonical.errors import MisconfiguredError, UnavailableError

if TYPE_CHECKING:
    from asyncssh import SFTPAttrs, SFTPClient

_PIECE = 1_000_000  # bytes that are asked for together


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


@dataclass(frozen=True, slots=True)
class _OpenFolder:
    """The folder while we are connected to its server."""

    sftp: SFTPClient
    folder: str

    async def listed(self) -> dict[str, FileLook]:
        found = {}
        async for entry in self.sftp.scandir(self.folder):
            name, attrs = str(entry.filename), entry.attrs
            # A dot hides what is still being received; a name with a slash would be a place outside the folder.
            if not name.startswith(".") and "/" not in name and attrs.permissions and stat.S_ISREG(attrs.permissions):
                found[name] = _seen(attrs)
        return found

    async def fetch(self, name: str, to: Path) -> None:
        await self.sftp.get(self._path(name), str(to), block_size=_PIECE)

    async def look(self, name: str) -> FileLook:
        return _seen(await self.sftp.stat(self._path(name)))

    def _path(self, name: str) -> str:
        return str(PurePosixPath(self.folder) / name)


def _seen(attrs: SFTPAttrs) -> FileLook:
    return FileLook(attrs.size or 0, int(attrs.mtime or 0))


@dataclass(frozen=True, slots=True)
class SftpFolder:
    """A folder on an SFTP server. `source` is whose files they are."""

    source: str
    settings: SftpSettings

    @property
    def where(self) -> str:
        return self.settings.where

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[_OpenFolder]:
        try:
            import asyncssh  # an extra of ours
        except ImportError:
            fix = "pip install 'ironbridge[sftp]'"
            raise MisconfiguredError(self.source, "reads from an SFTP server, and asyncssh is not installed", fix=fix) from None
        try:
            async with asyncio.timeout(PATIENCE):
                connection = await asyncssh.connect(**self._login(), connect_timeout=PATIENCE)
            async with connection, connection.start_sftp_client() as sftp:
                yield _OpenFolder(sftp, self.settings.folder)
        except (asyncssh.PermissionDenied, asyncssh.HostKeyNotVerifiable, asyncssh.KeyImportError) as error:
            what, fix = f"is not opened ({type(error).__name__})", "check user, key or password, and known_hosts in the settings"
            raise MisconfiguredError(self.source, f"{self.where} {what}", fix=fix) from error
        except asyncssh.SFTPPermissionDenied as error:
            fix = "give the user the right to list the folder and read its files"
            raise MisconfiguredError(self.source, f"{self.where} may not be read", fix=fix) from error
        except (asyncssh.Error, OSError, TimeoutError) as error:
            what, fix = f"cannot be read ({type(error).__name__})", "see whether the server is well and the folder is there"
            raise UnavailableError(self.source, f"{self.where} {what}", fix=fix) from error

    def _login(self) -> dict[str, Any]:
        """How to connect: nothing of the account that runs us (its keys, its agent, its configuration) is used."""
        s = self.settings
        known: dict[str, Any] = {"host": s.host, "port": s.port, "username": s.user, "known_hosts": str(s.known_hosts)}
        ours = {"client_keys": [str(s.key)]} if s.key else {"client_keys": None, "password": self._password()}
        return {**known, **ours, "agent_path": None, "config": None}

    def _password(self) -> str:
        return self.settings.password.get_secret_value() if self.settings.password else ""
