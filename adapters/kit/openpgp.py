"""
OpenPGP messages (`.gpg`, `.pgp`, `.asc`): they are decrypted before a layout reads them.

    [adapters.estates.pgp]
    keys = ["/run/secrets/council.asc"]
    senders = ["/etc/ironbridge/supplier.asc"]

The library holds up every thread of its process while it works, and a message of one kilobyte may hold a gigabyte. So only a
process of its own may decrypt, into a temporary file without a name, which may grow only so large.
"""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b, scrypt
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from adapters.kit.layout_kinds import refused_file
from canonical.errors import BadRecordError, MisconfiguredError, UnavailableError

if TYPE_CHECKING:
    from pysequoia import Cert, PyDecryptor, Tsk

_ARMOR = b"-----BEGIN PGP MESSAGE-----"
_MARKER = b"\xca\x03PGP"  # a packet that says nothing, and may stand before the others
_SESSION_KEYS = {1: (3, 6), 3: (4, 5, 6)}  # the kinds of packet that hold a session key, and their versions
_ENCRYPTED = {9, 18, 20}  # the kinds of packet that hold what is encrypted
_SUFFIXES = frozenset({".gpg", ".pgp", ".asc"})
_SYSTEM = "(os error "
_TOO_LARGE = f"{_SYSTEM}{errno.EFBIG})"


class PgpSettings(BaseModel):
    """
    These settings say how OpenPGP messages are opened. `keys` are files with one secret key each, binary or in letters; the
    `passphrase` opens the keys that have one, and messages that were encrypted with a passphrase alone. With `senders`, files
    with certificates, every file must be a message that one of them has signed; the library can check that if the message is not
    compressed (`gpg --compress-algo none`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    keys: tuple[Path, ...] = Field(default=(), description="Files with a secret key each: any of them may open a file.")
    passphrase: SecretStr | None = Field(default=None, description="It opens the keys; one for all of them.")
    senders: tuple[Path, ...] = Field(default=(), description="Files with certificates: one of them must have signed each file.")

    @model_validator(mode="after")
    def _something_to_open_with(self) -> Self:
        if not self.keys and self.passphrase is None:
            raise ValueError("give keys, or a passphrase, or both")
        return self

    def loaded(self, source: str) -> PgpKeys:
        """
        Read the files.

        :raises MisconfiguredError: a file cannot be read or holds no such key, or the library is not installed.
        """
        if find_spec("pysequoia") is None:
            fix = "pip install 'ironbridge[pgp]'"
            raise MisconfiguredError(source, "decrypts files, and pysequoia is not installed", fix=fix)
        keys = tuple(_content(source, path) for path in self.keys)
        senders = tuple(_content(source, path) for path in self.senders)
        for path, key in zip(self.keys, keys, strict=True):
            if not _key(key):
                raise MisconfiguredError(source, f"{path} is no OpenPGP secret key", fix="export it with its secret part")
        for path, sender in zip(self.senders, senders, strict=True):
            if not _certificates(sender):
                raise MisconfiguredError(source, f"{path} is no OpenPGP certificate", fix="export the sender's public key")
        return PgpKeys(keys, senders, self.passphrase)


def _content(source: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        what = f"the key file {path} cannot be read ({type(error).__name__})"
        raise MisconfiguredError(source, what, fix="put it there, or correct `pgp` in the settings") from None


def _key(data: bytes) -> Tsk | None:
    from pysequoia import Tsk

    try:
        return Tsk.from_bytes(data) if b"PRIVATE KEY" in data or data[:1] in b"\x94\x95\xc5" else None
    except RuntimeError:
        return None


def _certificates(data: bytes) -> list[Cert]:
    from pysequoia import Cert

    try:
        return Cert.split_bytes(data)
    except RuntimeError:
        return []


@dataclass(frozen=True, slots=True)
class PgpKeys:
    """The keys that open messages, and the certificates of their senders, as their files hold them. It is picklable."""

    keys: tuple[bytes, ...] = field(repr=False)
    senders: tuple[bytes, ...] = field(repr=False)
    passphrase: SecretStr | None

    @property
    def mark(self) -> str:
        """A text that changes with the keys: a file that they did not open is read again. It does not tell the passphrase."""
        return _mark(self.keys, self.senders, self._passphrase)

    def decrypted(self, file: BinaryIO, into: BinaryIO, largest: int) -> None:
        """
        Decrypt a message into another file. Both are files of the system.

        :raises BadRecordError: no key opens it, it is damaged or too large, or no sender has signed it.
        """
        opening, locked = self._opening()
        for decryptor in opening:
            if self._opened_by(decryptor, file, into, largest):
                return
        if locked:
            rule, fix = "is not opened: the passphrase is not the one of the key", "correct pgp.passphrase in the settings"
        else:
            rule, fix = "is encrypted for none of our keys", "send the sender our public key, or add the key to pgp.keys"
        raise refused_file(rule, "an OpenPGP message", fix)

    def _opening(self) -> tuple[list[PyDecryptor | None], int]:
        """Give the keys and the passphrase that may open a message, and count the keys that the passphrase does not unlock."""
        parts = [part for key in self.keys if (tsk := _key(key)) is not None for part in _of_each_subkey(tsk)]
        opened = [_decryptor(part, self._passphrase) for part in parts]
        alone: list[PyDecryptor | None] = [None] if self._passphrase else []
        return [*(each for each in opened if each is not None), *alone], opened.count(None)

    def _opened_by(self, decryptor: PyDecryptor | None, file: BinaryIO, into: BinaryIO, largest: int) -> bool:
        """Tell whether this key is one of the message's. Raises as `decrypted` does."""
        from pysequoia import decrypt_file

        asked: list[str] = []
        certificates = [each for sender in self.senders for each in _certificates(sender)]

        def known(ids: Sequence[str]) -> list[Cert]:
            asked.extend(ids)
            return certificates

        try:
            with _no_larger(largest):
                decrypt_file(
                    _path(file), _path(into), decryptor=decryptor, store=known if self.senders else None,
                    passwords=[self._passphrase] if decryptor is None else [],
                )  # fmt: skip
        except (RuntimeError, OSError) as error:
            said = str(error).partition("\n")[0]
            if said.startswith("No key"):
                return False
            raise self._refused(said, asked, largest) from None
        except BaseException as error:  # a panic of the library is no `Exception` for it
            if type(error).__name__ != "PanicException":
                raise
            raise self._refused("", asked, largest) from None
        return True

    def _refused(self, said: str, asked: Sequence[str], largest: int) -> BadRecordError | UnavailableError:
        if _TOO_LARGE in said:
            rule, fix = f"holds more than {largest // 1_000_000} MB", "split it, or raise max_megabytes in the settings"
        elif _SYSTEM in said:
            fix = "see whether there is room for temporary files (TMPDIR), and whether the share is well"
            return UnavailableError("a file", f"cannot be decrypted now (error {said.partition(_SYSTEM)[2]}", fix=fix)
        elif said.startswith("Unexpected message structure") and not asked:
            rule, fix = "is not signed", "ask the sender to sign it: only signed files are taken"
        elif said.startswith("Unexpected message structure"):
            rule = "is compressed by OpenPGP, and its signature cannot be checked"
            fix = "ask the sender for `gpg --compress-algo none`"
        elif said.startswith("Signature verification failed"):
            rule, fix = ("is signed by none of the senders", "ask who sent it") if asked else ("is not signed", "have it signed")
        else:
            rule, fix = "is damaged, or made in a way that is not secure", "ask for the file again"
        return refused_file(rule, "an OpenPGP message", fix)

    @property
    def _passphrase(self) -> str:
        return self.passphrase.get_secret_value() if self.passphrase else ""


def _of_each_subkey(tsk: Tsk) -> Iterator[Tsk]:
    """The key with each of its subkeys: the library tries the first one alone that encrypts."""
    from pysequoia import Tsk
    from pysequoia.packet import PacketPile, Tag

    packets = list(PacketPile.from_bytes(bytes(tsk)))
    starts = [at for at, packet in enumerate(packets) if packet.tag == Tag.SecretSubkey]
    if len(starts) < 2:
        yield tsk
        return
    for begin, end in zip(starts, [*starts[1:], len(packets)], strict=True):
        yield Tsk.from_packets(packets[: starts[0]] + packets[begin:end])


@lru_cache(maxsize=8)
def _mark(keys: tuple[bytes, ...], senders: tuple[bytes, ...], passphrase: str) -> str:
    files = blake2b(repr((keys, senders)).encode(), digest_size=16).digest()
    return scrypt(passphrase.encode(), salt=files, n=2**14, r=8, p=1, dklen=16).hex()


def _decryptor(tsk: Tsk, passphrase: str) -> PyDecryptor | None:
    """None if the passphrase does not open the key. A key without one may not be asked with one."""
    for password in (None, passphrase):
        try:
            return tsk.decryptor(password)
        except RuntimeError:
            continue
    return None


def _path(file: BinaryIO) -> str:
    """A path of an open file, which has no name itself."""
    return f"/proc/self/fd/{file.fileno()}"


@contextmanager
def _no_larger(most: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# -- which files are messages --------------------------------------------------------------------------------------


def opened_name(path: Path) -> Path:
    """
    The name of a file once it is decrypted.

    >>> [opened_name(Path(name)).name for name in ("may.csv.GPG", "may.csv", "may.asc")]
    ['may.csv', 'may.csv', 'may.asc']
    """
    inner = path.with_suffix("")
    return inner if path.suffix.lower() in _SUFFIXES and inner.suffix else path


def is_message(begin: bytes) -> bool:
    """Tell by the first bytes of a file whether it is an encrypted OpenPGP message; a few kilobytes are enough."""
    if begin.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(_ARMOR):
        return True
    at = len(_MARKER) if begin.startswith(_MARKER) else 0
    keys = 0
    while (packet := _packet(begin, at)) is not None:
        kind, body, end = packet
        if kind in _ENCRYPTED:
            return keys > 0
        if kind not in _SESSION_KEYS or not begin[body : body + 1] or begin[body] not in _SESSION_KEYS[kind]:
            return False
        keys, at = keys + 1, end
    return False


def _packet(begin: bytes, at: int) -> tuple[int, int, int] | None:
    """The kind of a packet, and where its body begins and ends; None if there is no packet. A body in parts has no end here."""
    head = begin[at : at + 6]
    if len(head) < 6 or not head[0] & 0x80:
        return None
    if head[0] & 0x40:
        width, size = _new_size(head[1:])
        return head[0] & 0x3F, at + 1 + width, at + 1 + width + size
    width = (1, 2, 4, 0)[head[0] & 3]
    body = at + 1 + width
    return head[0] >> 2 & 0x0F, body, body + int.from_bytes(begin[at + 1 : body], "big")


def _new_size(size: bytes) -> tuple[int, int]:
    """How many bytes a packet's length takes, and the length: RFC 9580, 4.2.1."""
    match size[0]:
        case short if short < 192:
            return 1, short
        case longer if longer < 224:
            return 2, ((longer - 192) << 8) + size[1] + 192
        case 255:
            return 5, int.from_bytes(size[1:5], "big")
    return 1, 0


@contextmanager
def decrypted(file: BinaryIO, name: Path, keys: PgpKeys | None, largest: int) -> Iterator[BinaryIO]:
    """
    Give the file, or its content if it is a message; `largest` is what that may have in bytes.

    :raises BadRecordError: it cannot be decrypted, or is none of a sender's.
    """
    begin = file.read(8192)
    file.seek(0)
    if not is_message(begin):
        _insist_on_none(name, keys)
        yield file
        return
    if keys is None:
        fix = "name the key in the settings (`pgp`), or ask for it as it is"
        raise refused_file("is encrypted, and the settings name no key", "an OpenPGP message", fix)
    with TemporaryFile() as plain:
        keys.decrypted(file, cast("BinaryIO", plain), largest)
        plain.seek(0)
        yield cast("BinaryIO", plain)


def _insist_on_none(name: Path, keys: PgpKeys | None) -> None:
    """:raises BadRecordError: a file that is no message should be one."""
    if opened_name(name) != name:
        fix = "ask for it again, encrypted for us; a message that is only signed is not read"
        raise refused_file("is called as an encrypted message, and is none", "bytes", fix)
    if keys is not None and keys.senders:
        fix = "ask the sender to encrypt and sign it"
        raise refused_file("is not signed, as it is no OpenPGP message", "bytes", fix)
