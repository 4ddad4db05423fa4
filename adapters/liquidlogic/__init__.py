"""
Liquidlogic children's social care (System C's LCS), read from its SQL Server warehouse HDM.

See README.md in this folder for what it reads, which rights it needs and the quirks that it knows.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from adapters.liquidlogic.adapter import LiquidlogicAdapter
from adapters.liquidlogic.settings import LiquidlogicSettings

__all__ = ["LiquidlogicAdapter", "LiquidlogicSettings", "system"]


class _Liquidlogic:
    settings = LiquidlogicSettings

    @property
    def sample(self) -> str:
        return files(__package__).joinpath("settings.sample.toml").read_text("utf-8")

    def build(self, name: str, settings: Any) -> LiquidlogicAdapter:
        return LiquidlogicAdapter(name, settings)


system = _Liquidlogic()
