"""
Checks that `canonical`, `adapters` and `flows` are the packages that came with `ironbridge`.

These are everyday words. A council's own folder of that name, in the folder where the program is started or in PYTHONPATH,
would be imported instead, and every error after that would lead astray. Nothing of them is imported here.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("canonical", "adapters", "flows")


def check() -> None:
    """
    :raises SystemExit: another folder or file stands before one of the packages; says on stderr which, and what to do.
    """
    for name in PACKAGES:
        if fault := _fault(name, Path(__file__).resolve().parent.parent):
            sys.stderr.write(f"ironbridge: {fault}\n")
            sys.exit(2)  # as for a wrong setting, see ironbridge.cli


def _fault(name: str, home: Path) -> str:
    spec = find_spec(name)
    if spec is None:
        return f"the package `{name}` is not there, it belongs beside {home / 'ironbridge'}. To do: install ironbridge again"
    # A folder without an __init__.py has no origin, and stands in front only if ours is missing.
    found = Path(spec.origin) if spec.origin else Path(next(iter(spec.submodule_search_locations or [""])))
    found = found.parent if found.name == "__init__.py" else found
    if found.resolve() == home / name:
        return ""
    return (
        f"{found} is imported as `{name}` instead of Ironbridge's own package {home / name}. To do: rename it, or start "
        f"ironbridge from another folder and without {found.parent} in PYTHONPATH"
    )
