"""A prefix of an object store (Amazon S3 and what speaks its protocol, Azure Blob Storage) as a place where files lie."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from adapters.kit.mirror import PATIENCE, FileLook
from canonical.errors import MisconfiguredError, UnavailableError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_PIECE = 1_000_000  # bytes that are written together
_TRIES = 2  # of one request, after the first; the next look is another try


class ObjectStoreSettings(BaseModel):
    """
    These settings say which objects are files of ours: those directly below `url`, `s3://bucket/prefix` or
    `abfss://container@account.dfs.core.windows.net/prefix`. `options` are what reaches the store, by the names that the open
    tables have too: `aws_region`, `aws_endpoint_url`, `aws_access_key_id`, `azure_storage_account_key`. Without keys the identity
    of the machine or of the pod is used. Secrets belong in the environment:
    IRONBRIDGE_ADAPTERS__NAME__STORE__OPTIONS__AWS_SECRET_ACCESS_KEY
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = Field(pattern=r"^(s3|az|abfss?)://[^@/?#\s]+(@[^@/?#\s]+)?(/[^?#\s]*)?$")
    options: dict[str, SecretStr] = {}


@dataclass(frozen=True, slots=True)
class _OpenPrefix:
    """The prefix, with what it takes to ask for its objects."""

    store: ObjectStore

    async def listed(self) -> dict[str, FileLook]:
        import obstore

        found = await obstore.list_with_delimiter_async(self.store)
        looks = {meta["path"].rpartition("/")[2]: _seen(meta) for meta in found["objects"]}
        return {name: look for name, look in looks.items() if name and not name.startswith(".")}

    async def fetch(self, name: str, to: Path) -> None:
        import obstore

        answer = await obstore.get_async(self.store, name)
        with to.open("wb") as file:
            async for piece in answer.stream(min_chunk_size=_PIECE):
                file.write(piece)

    async def look(self, name: str) -> FileLook:
        import obstore

        return _seen(await obstore.head_async(self.store, name))


def _seen(meta: Any) -> FileLook:
    return FileLook(meta["size"], int(meta["last_modified"].timestamp()), meta["e_tag"] or "")


@dataclass(frozen=True, slots=True)
class ObjectPrefix:
    """The objects below a prefix. `source` is whose files they are."""

    source: str
    settings: ObjectStoreSettings

    @property
    def where(self) -> str:
        return self.settings.url

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[_OpenPrefix]:
        try:
            from obstore import exceptions  # an extra of ours
        except ImportError:
            fix = "pip install 'ironbridge[store]'"
            raise MisconfiguredError(self.source, "reads from an object store, and obstore is not installed", fix=fix) from None
        try:
            yield _OpenPrefix(self._store())
        except (exceptions.UnknownConfigurationKeyError, exceptions.NotSupportedError, ValueError) as error:
            what = f"cannot be asked with these `options` ({type(error).__name__})"
            fix = "name them as docs/open-tables.md does for its `storage`"
            raise MisconfiguredError(self.source, f"{self.where} {what}", fix=fix) from None
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            fix = "check the keys in `options`, and that they may list the prefix and read its objects"
            raise MisconfiguredError(self.source, f"{self.where} may not be read ({type(error).__name__})", fix=fix) from None
        except (exceptions.BaseError, OSError, TimeoutError) as error:
            what, fix = f"cannot be read ({type(error).__name__})", "see whether the store is well and the bucket is there"
            raise UnavailableError(self.source, f"{self.where} {what}", fix=fix) from None

    def _store(self) -> ObjectStore:
        from obstore.store import from_url

        patience = timedelta(seconds=PATIENCE)
        given: Any = {name: value.get_secret_value() for name, value in self.settings.options.items()}
        plain = [given.pop(name) for name in [*given] if name.lower().endswith("allow_http")]  # no word of the store's own here
        client: Any = {"timeout": patience, "connect_timeout": patience / 6, "allow_http": "true" in plain}
        try:
            return from_url(
                self.settings.url, config=given, client_options=client,
                retry_config={"max_retries": _TRIES, "retry_timeout": patience},
            )  # fmt: skip
        except BaseException as error:  # some options that it does not know are no `Exception` for it
            if type(error).__name__ == "PanicException":
                raise ValueError from None
            raise
