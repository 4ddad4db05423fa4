"""Files on an SFTP server: asyncssh's own server, over a real connection."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.port import Extract, Files
from adapters.testing import Bench
from canonical.errors import MisconfiguredError, UnavailableError
from tests.test_files_kit import HEAD, NAMES, TENANTS, TWO, tenant

PASSWORD = "coalbrookdale"


class Council(asyncssh.SSHServer):
    """Takes one user with one password."""

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("darby", PASSWORD)


class SftpSite:
    """A server over a folder, and adapters that read from it."""

    def __init__(self, folder: Path, port: int, known_hosts: Path) -> None:
        self.folder, self.port, self.known_hosts = folder, port, known_hosts

    def adapter(self, settle: float = 0, done: str = "", most: int = 1, **login: Any) -> FilesAdapter:
        sftp = {"host": "127.0.0.1", "port": self.port, "user": "darby", "folder": "/out", "known_hosts": self.known_hosts,
                "password": PASSWORD, **login}  # fmt: skip
        given = {"sftp": sftp, "settle": settle, "done": done, "max_megabytes": most}
        streams = [FileStream("tenants", tenant, TENANTS, NAMES)]
        return FilesAdapter("estates", FilesSettings.model_validate(given), streams)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[SftpSite]:
    root = tmp_path / "served"
    (root / "out").mkdir(parents=True)
    key = asyncssh.generate_private_key("ssh-ed25519")

    def served(channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=str(root).encode())

    server = await asyncssh.create_server(
        Council, "127.0.0.1", 0, server_host_keys=[key], sftp_factory=served, allow_scp=False
    )
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_bytes(f"[127.0.0.1]:{server.get_port()} ".encode() + key.export_public_key())
    yield SftpSite(root / "out", server.get_port(), known_hosts)
    server.close()
    await server.wait_closed()


async def look(estates: FilesAdapter) -> list[Extract]:
    (stream,) = estates.streams()
    assert isinstance(stream.reading, Files)
    return [extract async for extract in stream.reading.extracts()]


async def test_a_file_on_the_server_is_published_and_a_newer_one_replaces_it(site: SftpSite) -> None:
    path = site.folder / "tenants_2024.csv"
    path.write_bytes(TWO)
    estates = site.adapter()
    bench = Bench(estates)
    assert len(await bench.read()) == 2
    assert await bench.read() == []
    path.write_bytes(HEAD + b"7,Darby the Younger,17/03/1711\n")
    assert [(event.key, event.data is not None) for event in await bench.read()] == [
        ("estates:person:7:1711-03-17", True), ("estates:person:8:1750-02-01", False),
    ]  # fmt: skip
    await estates.close()


async def test_it_reads_the_same_after_it_was_closed_and_opened_again(site: SftpSite) -> None:
    (site.folder / "tenants_2024.csv").write_bytes(TWO)
    bench = Bench(estates := site.adapter())
    assert len(await bench.read()) == 2
    await estates.close()
    await estates.open()
    assert await bench.read() == []
    await estates.close()


async def test_a_file_that_is_still_being_received_waits_for_its_marker_or_its_time(site: SftpSite) -> None:
    path = site.folder / "tenants_2024.csv"
    path.write_bytes(TWO)
    (site.folder / ".tenants_2025.csv").write_bytes(TWO)
    (site.folder / "tenants_2026.csv").symlink_to(path)
    marked, patient = site.adapter(done=".done"), site.adapter(settle=3600)
    assert await look(marked) == [] == await look(patient)
    in_all, *_ = await patient.check()
    assert in_all.what.endswith("/out: no extract yet, 1 files still settling")
    (site.folder / "tenants_2024.csv.done").touch()
    assert [extract.name for extract in await look(marked)] == ["2024"]
    path.unlink()
    assert await look(marked) == []
    await marked.close()
    await patient.close()


async def test_a_file_that_is_too_large_is_not_fetched_and_is_refused(site: SftpSite) -> None:
    (site.folder / "tenants_2024.csv").write_bytes(TWO + b"\n" * 1_000_001)
    estates = site.adapter()
    _, refused = await estates.check()
    assert (refused.well, "is larger than 1 MB" in refused.what) == (False, True)
    await estates.close()


async def test_a_wrong_password_and_another_servers_key_are_for_a_person_to_mend(site: SftpSite, tmp_path: Path) -> None:
    with pytest.raises(MisconfiguredError, match=r"/out is not opened \(PermissionDenied\)") as told:
        await site.adapter(password="buildwas").open()
    assert "buildwas" not in repr(told.value)
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key()
    (tmp_path / "other").write_bytes(f"[127.0.0.1]:{site.port} ".encode() + other)
    with pytest.raises(MisconfiguredError, match=r"/out is not opened \(HostKeyNotVerifiable\)"):
        await site.adapter(known_hosts=tmp_path / "other").open()


async def test_a_folder_or_a_server_that_is_not_there_is_tried_again(site: SftpSite) -> None:
    with pytest.raises(UnavailableError, match=r"/elsewhere cannot be read \(SFTPNoSuchFile\)"):
        await site.adapter(folder="/elsewhere").open()
    with pytest.raises(UnavailableError, match="cannot be read"):
        await site.adapter(port=1, known_hosts=os.devnull).open()
