"""GnuPG's own `gpg`: the one of the system, or Debian's, unpacked once into the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.debian import library_path, unpacked


@dataclass(frozen=True)
class GnuPG:
    """
    The people whose keys lie in a folder. A key signs with Ed25519 and encrypts with Curve25519, and may have a passphrase.
    """

    home: Path
    program: str
    agent: str
    environment: dict[str, str]

    def run(self, *words: str, data: bytes = b"", passphrase: str = "") -> bytes:
        command = [
            self.program, "--homedir", str(self.home), "--agent-program", self.agent,
            "--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", passphrase,
            "--trust-model", "always", "--no-auto-check-trustdb", *words,
        ]  # fmt: skip
        done = subprocess.run(command, input=data, capture_output=True, env=self.environment, timeout=120, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def person(self, name: str, passphrase: str = "") -> None:
        self.run("--quick-gen-key", name, "ed25519", "sign", passphrase=passphrase)
        self.more(name, passphrase)

    def more(self, name: str, passphrase: str = "") -> str:
        """Give a person one more key to encrypt for. Gives its number."""
        self.run("--quick-add-key", self._numbers(name, "fpr")[0], "cv25519", "encr", passphrase=passphrase)
        return self.subkeys(name)[-1]

    def subkeys(self, name: str) -> list[str]:
        """The numbers of the keys to encrypt for, the oldest first."""
        return self._numbers(name, "fpr")[1:]

    def secret(self, name: str, passphrase: str = "") -> bytes:
        return self.run("--armor", "--export-secret-keys", name, passphrase=passphrase)

    def public(self, name: str) -> bytes:
        return self.run("--export", name)

    def encrypted(self, data: bytes, *words: str, to: str = "council", passphrase: str = "") -> bytes:
        return self.run("--encrypt", "--recipient", to, *words, data=data, passphrase=passphrase)

    def _numbers(self, name: str, kind: str) -> list[str]:
        listed = self.run("--with-colons", "--list-keys", name).decode().splitlines()
        return [line.split(":")[9] for line in listed if line.startswith(kind)]


@contextmanager
def running_gnupg() -> Iterator[GnuPG]:
    """A folder without keys. The agent that `gpg` starts ends with it."""
    program, agent, environment = _programs()
    # A short path: the agent's socket lies in it. With a command of its own the agent lives as long as that does.
    with tempfile.TemporaryDirectory(prefix="gpg-") as home:
        Path(home, "gpg-agent.conf").write_text("s2k-count 65536\n")  # else it measures for seconds how many are slow enough
        command = [agent, "--homedir", home, "--daemon", "--allow-loopback-pinentry", "--quiet", "cat"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        ) as process:
            try:
                _wait_for(Path(home, "S.gpg-agent"))
                yield GnuPG(Path(home), program, agent, environment)
            finally:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(20)


def _wait_for(socket: Path) -> None:
    deadline = time.monotonic() + 30
    while not socket.exists():
        assert time.monotonic() < deadline, "gpg-agent does not start"
        time.sleep(0.02)


def _programs() -> tuple[str, str, dict[str, str]]:
    gpg, agent = shutil.which("gpg"), shutil.which("gpg-agent")
    if gpg and agent:
        return gpg, agent, dict(os.environ)
    roots = unpacked("gpg"), unpacked("gpg-agent")
    found = {**os.environ, "LD_LIBRARY_PATH": library_path(*roots)}
    return str(roots[0] / "usr/bin/gpg"), str(roots[1] / "usr/bin/gpg-agent"), found
