"""
Coverage-guided fuzzing by atheris: `make fuzz`, or `python -m security.fuzz --seconds 60 --seed 1 [--target file_reader]`.

The corpus is made anew from the seed: extracts as finance systems write them, the cases of the payables adapter, events. What is
found is kept in security/findings and tried again by every run of the tests. Exit status: 0 nothing was found, 1 something was.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

HERE = Path(__file__).parent
FINDINGS = HERE / "findings"
_PACKAGES = ["canonical", "adapters.payables"]


def corpus(target: str, folder: Path, seed: int) -> None:
    """Write what a target's fuzzer starts from."""
    if target == "file_reader":
        from adapters.payables import world

        files = [*world.write(folder / "whole", seed=seed, suppliers=5, invoices=8)]
        files += sorted(
            file for file in (HERE.parent / "adapters/payables/cases").glob("*/input.*") if file.suffix != ".xlsx"
        )
        contents = [file.read_bytes()[:4096] for file in files]
    else:
        contents = [event(Random(f"{seed}.{number}")) for number in range(24)]
    for number, content in enumerate(contents):
        (folder / f"{number:03}").write_bytes(content)


def event(random: Random) -> bytes:
    """A record as `properties.envelope` reads it."""
    from canonical import ENTITIES, Event

    kind, number = random.choice(sorted(ENTITIES)), random.randrange(10**6)
    key, at = f"legacy:{kind}:{number}", datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=random.randrange(10**7))
    made = Event(kind, "legacy", key, key, random.randrange(1, 99), at, None, random.choice(["", "people"]))
    head = b"\x1f".join(piece for name, value in made.headers() for piece in (name.encode(), value))
    return head + random.choice([b"", b'\x1e{"key":"%s"}' % key.encode()])


def fuzz(target: str, seconds: int, seed: int) -> None:
    """Fuzz one target in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=_PACKAGES):
        from security import properties
    FINDINGS.mkdir(exist_ok=True)  # git keeps no empty folder, and libFuzzer makes none
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        corpus(target, folder, seed)
        options = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=2048"]
        options += [f"-artifact_prefix={FINDINGS / target}-", "-print_final_stats=1", "-verbosity=0", str(folder)]
        atheris.Setup([sys.argv[0], *options], properties.TARGETS[target])
        atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the file reader and the envelope's decoder.")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=["file_reader", "envelope"])
    asked = parser.parse_args()
    if asked.target:
        fuzz(asked.target, asked.seconds, asked.seed)
    status = 0
    for target in ("file_reader", "envelope"):
        print(f"fuzzing {target} for {asked.seconds} s, seed {asked.seed}", flush=True)
        command = [sys.executable, "-m", "security.fuzz", "--target", target, "--seconds", str(asked.seconds)]
        done = subprocess.run([*command, "--seed", str(asked.seed)], cwd=HERE.parent, check=False)
        status = status or int(done.returncode != 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
