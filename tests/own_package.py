"""A package of a council's own, as `pip install` would leave it beside Ironbridge."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COUNCIL_HOUSING = ROOT / "examples" / "council_housing"


def installed(project: Path, site: Path) -> list[str]:
    """Write the entry points of a project's pyproject.toml below `site`; the folders that go into PYTHONPATH then."""
    about = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    info = site / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n", "utf-8")
    points = about["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{name} = {what}\n" for name, what in named.items()) for group, named in points]
    (info / "entry_points.txt").write_text("\n".join(lines), "utf-8")
    return [str(site), str(project)]
