"""The shared record's side of the demonstration: the sandbox of a FHIR server, and an invented council's access to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.fhir.record import KIND
from flows.fhir.sandbox import FhirSandbox, FhirSandboxSettings
from flows.systems import Chart, CloudWorld


def _opened(file: Path, _: Chart) -> FhirSandbox:
    return FhirSandbox(FhirSandboxSettings(data=file))


def _section(sandbox: FhirSandbox, _: Chart) -> dict[str, Any]:
    return {
        "base_url": f"{sandbox.url}/fhir",
        "token_url": f"{sandbox.url}/token",
        "client_id": sandbox.settings.client_id,
        "client_secret": sandbox.settings.client_secret,
        "record_system": "https://council.example/id/care-record",
        "organisation": "E99",
    }


def _counts(sandbox: FhirSandbox) -> Mapping[str, int]:
    return {KIND: sandbox.held.counts["Patient"]}


WORLD = CloudWorld(_opened, _section, _counts, in_demonstration=False)
