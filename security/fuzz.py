"""
Coverage-guided fuzzing by atheris: `make fuzz`, or `python -m security.fuzz --seconds 60 --seed 1 [--target file_reader]`.

What is fuzzed, and from which corpus, `properties.targets` says; the corpus is made anew from the seed. What is found is kept in
security/findings and tried again by every run of the tests. Exit status: 0 nothing was found, 1 something was.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from security.house import systems

HERE = Path(__file__).parent
FINDINGS = HERE / "findings"


def fuzz(name: str, seconds: int, seed: int) -> None:
    """Fuzz one target in this process, which libFuzzer ends. Only what is imported here is guided by its coverage."""
    import atheris

    with atheris.instrument_imports(include=["canonical", *systems()]):
        from security.properties import targets

        target = targets()[name]
    FINDINGS.mkdir(exist_ok=True)  # git keeps no empty folder, and libFuzzer makes none
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        for number, content in enumerate(target.corpus(seed)):
            (folder / f"{number:03}").write_bytes(content)
        options = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=2048"]
        options += [f"-artifact_prefix={FINDINGS / name}-", "-print_final_stats=1", "-verbosity=0", str(folder)]
        atheris.Setup([sys.argv[0], *options], target.holds)
        atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the envelope's decoder, and what the systems name.")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", help="one of them alone")
    asked = parser.parse_args()
    if asked.target:
        fuzz(asked.target, asked.seconds, asked.seed)
    from security.properties import targets

    status = 0
    for target in targets():
        print(f"fuzzing {target} for {asked.seconds} s, seed {asked.seed}", flush=True)
        command = [sys.executable, "-m", "security.fuzz", "--target", target, "--seconds", str(asked.seconds)]
        done = subprocess.run([*command, "--seed", str(asked.seed)], cwd=HERE.parent, check=False)
        status = status or int(done.returncode != 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
