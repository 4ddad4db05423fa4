"""
No secret in the repository: detect-secrets over every file that git keeps. `python -m security.secrets [--accept]`.

What it has found and somebody has looked at stands in secrets.baseline, as digests; anything else fails. `--accept` writes the
baseline anew: read its difference before you commit it. What is merely called a password is left to ruff (S105 to S107).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BASELINE = Path(__file__).with_name("secrets.baseline")
GENERATED = (
    r"\.(lock|baseline|svg|png|xlsx|woff2|min\.js|min\.css)$|package-lock\.json$"  # hashes, pictures, others' code
)

Found = dict[str, list[str]]


def found(root: Path = ROOT) -> tuple[Found, Found]:
    """By file, the kind and digest of everything that looks like a secret; and the same with the lines where it stands."""
    command = ["-m", "detect_secrets", "scan", "--disable-plugin", "KeywordDetector", "--exclude-files", GENERATED]
    done = subprocess.run([sys.executable, *command], cwd=root, capture_output=True, text=True, check=True)
    results = json.loads(done.stdout)["results"]
    known = {
        file: sorted({f"{each['type']} {each['hashed_secret']}" for each in some}) for file, some in results.items()
    }
    lines = {file: [f"{file}:{each['line_number']}: {each['type']}" for each in some] for file, some in results.items()}
    return known, lines


def main() -> int:
    known, lines = found()
    if "--accept" in sys.argv:
        BASELINE.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return 0
    looked_at: Found = json.loads(BASELINE.read_text(encoding="utf-8"))
    new = {file: some for file, some in known.items() if set(some) - set(looked_at.get(file, ()))}
    for file in sorted(new):
        print("\n".join(lines[file]), file=sys.stderr)
    if new:
        print(
            "One of these is not in security/secrets.baseline. A secret: take it out, and change it where it is used. "
            "None: say so with `python -m security.secrets --accept`, and look at the difference.",
            file=sys.stderr,
        )
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
