"""
HR: a personnel system's export of employees, posts and assignments, as CSV files.

See README.md in this folder for the columns, and how a council names its own.
"""

from __future__ import annotations

from adapters.hr.adapter import HrAdapter, HrSettings
from adapters.port import AdapterSystem, World

__all__ = ["HrAdapter", "HrSettings", "system"]


def _world() -> World[HrSettings]:
    from adapters.hr.world import HR  # a bridge has no use for it

    return HR.world()


system = AdapterSystem(HrSettings, HrAdapter, __name__, _world)
