"""Files that are OpenPGP messages: GnuPG's own program writes them."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pytest

from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.kit.layout_packed import Packed
from adapters.kit.openpgp import PgpKeys, PgpSettings, decrypted, is_message
from adapters.testing import Bench
from canonical.errors import BadRecordError, MisconfiguredError
from tests.fixtures import needed
from tests.gnupg import GnuPG, running_gnupg
from tests.openssh import running_openssh
from tests.servers import bucket_client
from tests.test_files_kit import HEAD, NAMES, TENANTS, TWO, tenant

PASSPHRASE = "coalbrookdale"


@pytest.fixture(scope="module")
def gpg() -> Iterator[GnuPG]:
    """The council has a key with a passphrase, the supplier and a stranger have one without."""
    with needed(), running_gnupg() as gnupg:
        gnupg.person("council", PASSPHRASE)
        gnupg.person("supplier")
        gnupg.person("stranger")
        yield gnupg


class Drop:
    """A folder in which the supplier leaves files, with the council's key and the supplier's certificate beside it."""

    def __init__(self, gpg: GnuPG, folder: Path) -> None:
        self.gpg, self.folder = gpg, folder / "drop"
        self.folder.mkdir()
        self.key, self.supplier = folder / "council.asc", folder / "supplier.pgp"
        self.key.write_bytes(gpg.secret("council", PASSPHRASE))
        self.supplier.write_bytes(gpg.public("supplier"))

    def put(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)

    def adapter(self, *, signed: bool = False, pgp: Any = None, **place: Any) -> FilesAdapter:
        ours = {"keys": [self.key], "passphrase": PASSPHRASE, "senders": [self.supplier] if signed else []}
        where = place or {"folders": [self.folder]}
        given = {**where, "settle": 0, "pgp": ours if pgp is None else {**ours, **pgp}}
        return FilesAdapter("estates", FilesSettings.model_validate(given), [stream()])

    def keys(self, *, signed: bool = False, passphrase: str | None = PASSPHRASE) -> PgpKeys:
        given = {"keys": [self.key], "passphrase": passphrase, "senders": [self.supplier] if signed else []}
        return PgpSettings.model_validate(given).loaded("estates")

    async def told(self, estates: FilesAdapter) -> dict[str, str]:
        """What is said of each file, without its stream."""
        _, *looked = await estates.check()
        return {finding.what.partition(":")[0]: finding.what for finding in looked}


def stream() -> FileStream:
    return FileStream("tenants", tenant, Packed(TENANTS), NAMES)


@pytest.fixture
def drop(gpg: GnuPG, tmp_path: Path) -> Drop:
    return Drop(gpg, tmp_path)


def zipped(name: str, data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return packed.getvalue()


async def test_a_message_is_read_as_what_it_holds_and_a_bad_one_costs_itself(drop: Drop, gpg: GnuPG) -> None:
    row = HEAD + b"%d,Darby,17/03/1711\n"
    drop.put("tenants_2022.csv.PGP", gpg.encrypted(zipped("may.csv", row % 22)))
    drop.put("tenants_2025.csv.gpg", gpg.encrypted(row % 25, to="stranger"))
    drop.put("tenants_2026.csv", row % 26)
    bench = Bench(estates := drop.adapter())
    assert sorted(event.key for event in await bench.read()) == [f"estates:person:{year}:1711-03-17" for year in (22, 26)]
    assert "is encrypted for none of our keys" in (await drop.told(estates))["tenants_2025.csv.gpg"]
    drop.put("tenants_2022_corrected.csv.gpg", gpg.encrypted(row % 27))
    assert [event.key for event in await bench.read()] == ["estates:person:27:1711-03-17"]
    await estates.close()


def opened(keys: PgpKeys | None, data: bytes, name: str = "may.csv.gpg", most: int = 1_000_000) -> bytes | str:
    """The content of a file, or the rule by which it is refused."""
    with TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        try:
            with decrypted(file, Path(name), keys, most) as plain:
                return plain.read()
        except BadRecordError as refused:
            return refused.rule


def test_a_message_is_known_by_its_content(drop: Drop, gpg: GnuPG) -> None:
    keys = drop.keys()
    assert opened(keys, gpg.encrypted(TWO, "--armor"), "may.csv") == TWO
    assert opened(keys, gpg.encrypted(TWO, "--hidden-recipient", "council", to="stranger")) == TWO
    assert opened(keys, gpg.run("--symmetric", data=TWO, passphrase=PASSPHRASE)) == TWO
    assert opened(keys, TWO, "may.csv") == TWO


def test_each_refusal_names_its_reason(drop: Drop, gpg: GnuPG) -> None:
    keys, good = drop.keys(), gpg.encrypted(TWO)
    assert opened(keys, gpg.encrypted(TWO, to="stranger")) == "is encrypted for none of our keys"
    assert opened(drop.keys(passphrase="buildwas"), good) == "is not opened: the passphrase is not the one of the key"
    assert opened(drop.keys(passphrase=None), good) == "is not opened: the passphrase is not the one of the key"
    assert opened(None, good, "may.csv") == "is encrypted, and the settings name no key"
    damaged = "is damaged, or made in a way that is not secure"
    assert opened(keys, good[:-20]) == damaged
    assert opened(keys, good[:150] + bytes([good[150] ^ 1]) + good[151:]) == damaged
    assert opened(keys, gpg.encrypted(TWO, "--armor")[:200]) == damaged
    bomb = gpg.encrypted(bytes(2_000_000))
    assert len(bomb) < 10_000
    assert opened(keys, bomb) == "holds more than 1 MB"
    signed_alone = gpg.run("--sign", "--local-user", "supplier", data=TWO)
    assert opened(keys, signed_alone) == "is called as an encrypted message, and is none"
    with pytest.raises(BadRecordError, match="holds something encrypted, which is not opened there"):
        list(Packed(TENANTS).rows(io.BytesIO(zipped("may.csv.gpg", good))))


async def test_a_new_passphrase_makes_a_file_new_and_does_not_stand_in_its_digest(drop: Drop, gpg: GnuPG) -> None:
    drop.put("tenants_2024.csv.gpg", gpg.encrypted(TWO))
    wrong, right = drop.adapter(pgp={"passphrase": "buildwas"}), drop.adapter()
    digests = [[each.digest async for each in its.streams()[0].reading.extracts()] for its in (wrong, right, right)]
    assert digests[0] != digests[1] == digests[2]


def test_a_key_with_several_subkeys_opens_what_any_of_them_was_meant_for(drop: Drop, gpg: GnuPG) -> None:
    gpg.more("supplier")
    drop.key.write_bytes(gpg.secret("supplier"))
    assert [opened(drop.keys(), gpg.encrypted(TWO, to=f"{each}!")) for each in gpg.subkeys("supplier")] == [TWO, TWO]


def test_with_senders_only_a_file_that_one_of_them_has_signed_is_taken(drop: Drop, gpg: GnuPG) -> None:
    keys, loose = drop.keys(signed=True), ("--compress-algo", "none")
    signed = ("--sign", "--local-user", "supplier")
    assert opened(keys, gpg.encrypted(TWO, *loose, *signed)) == TWO
    assert opened(keys, gpg.encrypted(TWO)) == "is not signed"
    assert opened(keys, gpg.encrypted(TWO, *loose)) == "is not signed"
    by_another = gpg.encrypted(TWO, *loose, "--sign", "--local-user", "stranger")
    assert opened(keys, by_another) == "is signed by none of the senders"
    assert opened(keys, TWO, "may.csv") == "is not signed, as it is no OpenPGP message"
    assert opened(keys, gpg.encrypted(TWO, *signed)) == "is compressed by OpenPGP, and its signature cannot be checked"


async def test_a_message_is_read_from_an_sftp_server_and_from_an_object_store(
    drop: Drop, gpg: GnuPG, s3: dict[str, str], tmp_path: Path
) -> None:
    message = gpg.encrypted(zipped("may.csv", TWO))
    bucket_client(s3).put_object(Bucket="council", Key="sealed/tenants_2024.csv.gpg", Body=message)
    store = drop.adapter(store={"url": "s3://council/sealed", "options": s3})
    assert len(await Bench(store).read()) == 2
    await store.close()
    with running_openssh(PASSPHRASE) as server:
        folder = server.folder()
        (folder / "tenants_2024.csv.gpg").write_bytes(message)
        (tmp_path / "known").write_bytes(f"[127.0.0.1]:{server.port} ".encode() + server.host_key)
        where = {"host": "127.0.0.1", "port": server.port, "user": "darby", "folder": str(folder), "key": server.key}
        remote = drop.adapter(sftp={**where, "known_hosts": tmp_path / "known"})
        assert len(await Bench(remote).read()) == 2
        await remote.close()


async def test_a_key_file_that_is_none_is_for_a_person_to_mend(drop: Drop) -> None:
    for broken, what in (({"keys": ["/nowhere"]}, "cannot be read"), ({"keys": [drop.supplier]}, "is no OpenPGP secret key")):
        (finding,) = await drop.adapter(pgp=broken).check()
        assert (finding.well, what in finding.what) == (False, True)
    drop.supplier.write_bytes(TWO)
    with pytest.raises(MisconfiguredError, match="is no OpenPGP certificate"):
        await Bench(drop.adapter(signed=True)).read()


def test_what_is_no_message_is_not_taken_for_one(gpg: GnuPG) -> None:
    message = gpg.encrypted(TWO)
    assert is_message(message)
    others = [b"", TWO, zipped("a", TWO), gzip.compress(TWO), gpg.public("supplier"), "Größe;£".encode("cp1252")]
    ebcdic = [text.encode("cp037") for text in ("AAAAAAAAAA", "KING JOHN  000001", "CDIRK      00042", "A\x03\x03KING")]
    assert not any(is_message(other) for other in [*others, *ebcdic, message[1:], message[:20]])
