"""
Known vulnerabilities of what the image is made of: `make audit`.

Exit status: 0 none is known, 1 some are, 3 nobody could be asked. A green without advisories is a lie, so first of all a release
that is known to be vulnerable is asked about: where that comes out clean, the advisories are not there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LOCKS = sorted((Path(__file__).parent.parent / "deploy" / "image").glob("*.lock"))
KNOWN_BAD = "jinja2==2.10"  # CVE-2019-10906 and others
SERVICES = ("pypi", "osv")
CLEAN, FOUND, NO_DATA = 0, 1, 3


def asked(requirements: Path, service: str) -> list[dict[str, Any]] | None:
    """What a service says of each requirement; None where it could not say it of every one."""
    command = [
        sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--disable-pip", "--no-deps", "--format", "json",
        "--vulnerability-service", service, "--progress-spinner", "off", "--timeout", "20",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        said: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return None
    return None if not said or any("skip_reason" in each for each in said) else said


def working(service: str) -> bool:
    """Whether a service knows of what everybody knows."""
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder) / "known.txt"
        known.write_text(KNOWN_BAD + "\n", encoding="utf-8")
        said = asked(known, service)
    return bool(said and said[0].get("vulns"))


def audit(service: str, locks: list[Path]) -> int:
    """Say what a service knows of everything that is locked."""
    known: set[str] = set()
    for lock in locks:
        said = asked(lock, service)
        if said is None:
            return NO_DATA
        for each in said:
            for vuln in each["vulns"]:
                mended = ", ".join(vuln.get("fix_versions", ())) or "no release"
                known.add(f"{each['name']} {each['version']}: {vuln['id']}, mended in {mended}")
        print(f"{lock.name}: {len(said)} packages asked of {service}")
    print("\n".join(sorted(known)) or "No known vulnerability.")
    return FOUND if known else CLEAN


def main() -> int:
    for service in SERVICES:
        if working(service) and (status := audit(service, LOCKS)) != NO_DATA:
            return status
    print(
        "AUDIT NOT DONE: no advisories could be had of "
        + " or ".join(SERVICES)
        + ", so NOTHING IS KNOWN of the dependencies. "
        "Run `make audit` where they can be reached.",
        file=sys.stderr,
    )
    return NO_DATA


if __name__ == "__main__":
    sys.exit(main())
