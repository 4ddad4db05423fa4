"""
Opens the place where a table lies with Arrow's own means, to read from it. delta-rs has means too, but those hold Python's lock
while they wait for threads that want it: a query of DuckDB's over them may never end.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from canonical.errors import MisconfiguredError, UnavailableError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_PROBE = "ironbridge-check"


def filesystem(uri: str, storage: Mapping[str, str]) -> FileSystem:
    """
    The folder at this address, as a file system of its own.

    :raises MisconfiguredError: it is at no kind of place that can be read.
    """
    from pyarrow import fs

    at = urlsplit(uri)
    if not at.scheme or at.scheme == "file":
        return fs.SubTreeFileSystem(at.path, fs.LocalFileSystem())
    if at.scheme in ("s3", "s3a"):
        return fs.SubTreeFileSystem(at.netloc + at.path, _s3(storage))
    if at.scheme in ("abfs", "abfss", "az"):
        container, _, account = at.netloc.partition("@")
        return fs.SubTreeFileSystem(container + at.path, _azure(account.partition(".")[0], storage))
    raise MisconfiguredError("tables.path", f"`{at.scheme}` is no kind of place that tables are read from",
                             fix="a folder, s3://bucket/path or abfss://container@account.dfs.core.windows.net/path")  # fmt: skip


def _s3(storage: Mapping[str, str]) -> FileSystem:
    from pyarrow import fs

    endpoint = urlsplit(storage.get("aws_endpoint_url", ""))
    return fs.S3FileSystem(
        access_key=storage.get("aws_access_key_id"),
        secret_key=storage.get("aws_secret_access_key"),
        session_token=storage.get("aws_session_token"),
        region=storage.get("aws_region"),
        endpoint_override=endpoint.netloc or None,
        scheme=endpoint.scheme or "https",
    )


def _azure(account: str, storage: Mapping[str, str]) -> FileSystem:
    from pyarrow import fs

    name = account or storage.get("azure_storage_account_name", "")
    return fs.AzureFileSystem(account_name=name, account_key=storage.get("azure_storage_account_key"))


def writable(uri: str, storage: Mapping[str, str]) -> None:
    """
    Write a file there and delete it again.

    :raises UnavailableError: the place is not reached, or does not let us write.
    """
    at = urlsplit(uri)
    if not at.scheme:
        Path(uri).mkdir(parents=True, exist_ok=True)
    try:
        place = filesystem(uri, storage)
        with place.open_output_stream(_PROBE) as file:
            file.write(b"may be deleted")
        place.delete_file(_PROBE)
    except OSError as error:
        raise UnavailableError(
            "tables", f"it is not reached, or we may not write there ({type(error).__name__})",
            fix="check `tables.path`, `tables.storage`, and who may write there",
        ) from error  # fmt: skip
