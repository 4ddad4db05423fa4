"""Files on an SFTP server, which is OpenSSH's. We log in by a key and by a password."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.port import Extract, Files
from adapters.testing import Bench
from canonical.errors import MisconfiguredError, UnavailableError
from tests.fixtures import needed
from tests.openssh import OpenSSH, running_openssh
from tests.test_files_kit import HEAD, NAMES, TENANTS, TWO, tenant

PASSWORD = "coalbrookdale"


@dataclass(frozen=True)
class SftpSite:
    """A folder on a server, who may read it, and adapters that do."""

    folder: Path
    port: int
    known_hosts: Path
    login: dict[str, Any]

    def adapter(self, settle: float = 0, done: str = "", most: int = 1, **login: Any) -> FilesAdapter:
        where = {"host": "127.0.0.1", "port": self.port, "user": "darby", "folder": str(self.folder)}
        sftp = {**where, "known_hosts": self.known_hosts}
        given = {"sftp": {**sftp, **self.login, **login}, "settle": settle, "done": done, "max_megabytes": most}
        streams = [FileStream("tenants", tenant, TENANTS, NAMES)]
        return FilesAdapter("estates", FilesSettings.model_validate(given), streams)

    @asynccontextmanager
    async def sender(self) -> AsyncIterator[asyncssh.SFTPClient]:
        """The system that leaves its files there."""
        keys = [str(self.login["key"])] if "key" in self.login else None
        async with (
            asyncssh.connect(
                "127.0.0.1", self.port, username="darby", password=self.login.get("password"), client_keys=keys,
                known_hosts=str(self.known_hosts), config=None, agent_path=None,
            ) as connection,
            connection.start_sftp_client() as sftp,
        ):  # fmt: skip
            yield sftp


@pytest.fixture(scope="module")
def openssh() -> Iterator[OpenSSH]:
    with needed(), running_openssh(PASSWORD) as server:
        yield server


def known(folder: Path, port: int, key: bytes) -> Path:
    file = folder / f"known_hosts_{port}"
    file.write_bytes(f"[127.0.0.1]:{port} ".encode() + key)
    return file


@pytest.fixture(params=["key", "password"])
def site(request: pytest.FixtureRequest, openssh: OpenSSH, tmp_path: Path) -> SftpSite:
    login = {"key": openssh.key} if request.param == "key" else {"password": PASSWORD}
    return SftpSite(openssh.folder(), openssh.port, known(tmp_path, openssh.port, openssh.host_key), login)


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
        await site.adapter(password="buildwas", key=None).open()
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


async def test_a_key_that_the_server_does_not_know_opens_nothing(site: SftpSite, tmp_path: Path) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(tmp_path / "stranger"))
    with pytest.raises(MisconfiguredError, match=r"/out is not opened \(PermissionDenied\)"):
        await site.adapter(key=tmp_path / "stranger", password=None).open()


async def test_a_slow_upload_is_left_alone_until_it_is_whole(site: SftpSite) -> None:
    estates = site.adapter(settle=0.2)
    async with site.sender() as sftp, sftp.open(f"{site.folder}/tenants_2024.csv", "wb") as file:
        await file.write(HEAD)
        assert await look(estates) == []
        await file.write(TWO.removeprefix(HEAD))
        await asyncio.sleep(0.25)
        assert await look(estates) == []  # it has changed since the look before
    await asyncio.sleep(0.25)
    assert len(await Bench(estates).read()) == 2
    await estates.close()


async def test_a_file_that_is_renamed_into_place_is_seen_under_its_own_name_alone(site: SftpSite) -> None:
    bench = Bench(estates := site.adapter())
    async with site.sender() as sftp:
        async with sftp.open(f"{site.folder}/.tenants_2024.csv.part", "wb") as file:
            await file.write(TWO)
        assert await bench.read() == []
        await sftp.posix_rename(f"{site.folder}/.tenants_2024.csv.part", f"{site.folder}/tenants_2024.csv")
        assert len(await bench.read()) == 2
        async with sftp.open(f"{site.folder}/.next", "wb") as file:
            await file.write(HEAD + b"7,Darby,17/03/1711\n")
        await sftp.posix_rename(f"{site.folder}/.next", f"{site.folder}/tenants_2024.csv")
    assert [event.key for event in await bench.read()] == ["estates:person:8:1750-02-01"]
    await estates.close()


async def test_a_connection_that_breaks_in_the_middle_of_a_file_loses_nothing(site: SftpSite, tmp_path: Path) -> None:
    (site.folder / "tenants_2024.csv").write_bytes(TWO + b"\n" * 150_000)
    async with cut_line(site.port, after=60_000) as port:
        whose = site.known_hosts.read_bytes().partition(b" ")[2]
        estates = site.adapter(port=port, known_hosts=known(tmp_path, port, whose))
        with pytest.raises(UnavailableError, match=r"/out cannot be read \(\w+\)"):
            await look(estates)
        assert len(await Bench(estates).read()) == 2  # the line holds now
        await estates.close()


@asynccontextmanager
async def cut_line(port: int, after: int) -> AsyncIterator[int]:
    """A line to a server, whose first connection breaks once the server has sent so many bytes. Gives its port."""
    first = True

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal first
        left, first = (after, False) if first else (1 << 30, False)
        there, back = await asyncio.open_connection("127.0.0.1", port)
        asking = asyncio.ensure_future(passed_on(reader, back, 1 << 30))
        await passed_on(there, writer, left)
        asking.cancel()
        for each in (writer, back):
            each.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def passed_on(source: asyncio.StreamReader, to: asyncio.StreamWriter, left: int) -> None:
    while left > 0 and (data := await source.read(65536)):
        to.write(data)
        left -= len(data)
