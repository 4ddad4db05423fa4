"""The DfE's side of the demonstration: the sandbox of the API, and one invented council's access to it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.dfe_csc.sandbox import DfeCscSandbox, DfeCscSandboxSettings
from flows.port import Document
from flows.systems import Chart, CloudWorld

LA_CODE = 893


def _opened(file: Path, _: Chart) -> DfeCscSandbox:
    return DfeCscSandbox(DfeCscSandboxSettings(data=file))


def _section(sandbox: DfeCscSandbox, _: Chart) -> dict[str, Any]:
    return {
        "la_code": LA_CODE,
        "api_endpoint": sandbox.url,
        "token_url": f"{sandbox.url}/token",
        "client_id": sandbox.settings.client_id,
        "client_secret": sandbox.settings.client_secret,
        "supplier_key": sandbox.settings.supplier_key,
    }


def _counts(sandbox: DfeCscSandbox) -> Mapping[str, int]:
    return {"child": sandbox.held.counts[str(LA_CODE)]}


def _exact(sandbox: DfeCscSandbox, documents: Iterable[Document]) -> Iterator[Document]:
    return (each for each in documents if _unordered(_held(sandbox, each.number)) == _unordered(each.body))


def _held(sandbox: DfeCscSandbox, number: str) -> Any:
    text = sandbox.held.get(str(LA_CODE), [number]).get(number)
    return None if text is None else json.loads(text)


def _unordered(value: Any) -> Any:
    """A document without the order of its lists: the DfE keeps blocks by their ids, in the order in which they came."""
    if isinstance(value, dict):
        return {name: _unordered(each) for name, each in value.items()}
    return sorted((_unordered(each) for each in value), key=repr) if isinstance(value, list) else value


WORLD = CloudWorld(_opened, _section, _counts, _exact)
