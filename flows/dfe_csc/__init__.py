"""Children's records to the Department for Education's children's social care data API."""

from __future__ import annotations

from typing import Any

import httpx
from pydantic import BaseModel

from flows.dfe_csc.records import ChildRecords
from flows.dfe_csc.settings import SAMPLE, DfeCscSettings
from flows.dfe_csc.target import DfeCsc
from flows.port import Flow, Limits, Target

__all__ = ["ChildRecords", "DfeCsc", "DfeCscSettings", "system"]


class DfeCscSystem:
    """The entry point `dfe_csc`."""

    settings: type[BaseModel] = DfeCscSettings
    sample = SAMPLE

    def limits(self, settings: Any) -> Limits:
        return DfeCscSettings.model_validate(settings).limits

    def build(self, name: str, settings: Any, http: httpx.AsyncClient) -> tuple[Flow, Target]:
        checked = DfeCscSettings.model_validate(settings)
        return ChildRecords(name, checked.ids), DfeCsc(name, checked, http)


system = DfeCscSystem()
