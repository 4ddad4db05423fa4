"""
OpenSSH's own server: the one of the system, or Debian's, unpacked once into the user's cache.

It runs as we do, or as `nobody` if we are root. Such a server may not ask the system for a user's password, and its accounts may
be locked. So Debian's nss_wrapper gives it an account of its own: the user `darby`, who is the server's own user.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncssh

from ironbridge.kafka.process import HOST, free_port
from tests.debian import library_path, unpacked
from tests.servers import _SBIN, _data_dir, _listens, _running

_SETTINGS = """
ListenAddress {host}:{port}
HostKey {work}/host_key
AuthorizedKeysFile {work}/authorized_keys
PidFile none
UsePAM no
PasswordAuthentication yes
KbdInteractiveAuthentication no
StrictModes no
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True)
class OpenSSH:
    """
    An OpenSSH server, which takes the user `darby` by the key in a file, or by the password. `owner` is whose its files are.
    """

    port: int
    owner: int
    key: Path
    host_key: bytes
    work: Path

    def folder(self) -> Path:
        """A fresh folder that the server's user may write to."""
        made = self.work / uuid4().hex[:8] / "out"
        made.mkdir(parents=True)
        os.chown(made, self.owner, -1)
        return made


@contextmanager
def running_openssh(password: str) -> Iterator[OpenSSH]:
    with _data_dir("openssh") as (work, user):
        owner, port = work.stat().st_uid, free_port()
        for name in ("host_key", "key"):
            made = asyncssh.generate_private_key("ssh-ed25519")
            made.write_private_key(str(work / name))
            (work / name).chmod(0o600)
            made.write_public_key(str(work / f"{name}.pub"))
        os.chown(work / "host_key", owner, -1)
        command = [*_program(work, _accounts(work, owner, password)), "-D", "-e", "-f", str(work / "sshd_config")]
        (work / "authorized_keys").write_bytes((work / "key.pub").read_bytes())
        (work / "sshd_config").write_text(_SETTINGS.format(host=HOST, port=port, work=work))
        with _running("OpenSSH", command, work, user, signal.SIGTERM) as wait_until:
            wait_until(lambda: _listens(port))
            yield OpenSSH(port, owner, work / "key", (work / "host_key.pub").read_bytes(), work)


def _accounts(work: Path, owner: int, password: str) -> dict[str, str]:
    """Files with one account, and what points nss_wrapper to them."""
    files = {
        "passwd": f"darby:x:{owner}:{os.getgid()}::{work}:/bin/sh",
        "group": f"darby:x:{os.getgid()}:",
        "shadow": f"darby:{_hashed(password)}:19000:0:99999:7:::",
    }
    for name, line in files.items():
        (work / name).write_text(line + "\n")
    return {f"NSS_WRAPPER_{name.upper()}": str(work / name) for name in files}


def _hashed(password: str) -> str:
    """As the system's own `crypt` does it; Python has none from 3.13 on."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    hashed: bytes = crypt(password.encode(), b"$6$coalbrookdale$")
    return hashed.decode()


def _program(work: Path, accounts: dict[str, str]) -> list[str]:
    """Give the command that starts the server. Debian's server is copied to a folder that its user may read."""
    roots = [unpacked("libnss-wrapper")]
    if (there := shutil.which("sshd", path=_SBIN)) is None:
        roots.append(unpacked("openssh-server"))
    for root in roots:
        shutil.copytree(root, work / "debian", symlinks=True, dirs_exist_ok=True)
    (wrapper,) = (work / "debian").glob("usr/lib/*/libnss_wrapper.so")
    given = {**accounts, "LD_LIBRARY_PATH": library_path(work / "debian"), "LD_PRELOAD": str(wrapper)}
    return ["env", *(f"{name}={value}" for name, value in given.items()), there or str(work / "debian/usr/sbin/sshd")]
