"""These settings say how a FHIR server is reached, and which codes and numbers of the council its records carry."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from canonical.connect.address import Address
from flows.port import Limits

Verification = Literal["01", "02", "03", "04", "05", "06", "07", "08"]
"""UKCore-NHSNumberVerificationStatusEngland, e.g. 01: number present and verified; 02: number present but not traced."""


class FhirSettings(BaseModel):
    """
    One FHIR R4 server. FHIR knows no rate limit: the default is careful, and a 429 is honoured.

    The client needs to read, write and delete Patient, RelatedPerson and EpisodeOfCare (SMART scopes `system/*.cruds`, say).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: Address
    """The service's base, in front of `/Patient` and `/metadata`."""
    token_url: Address
    client_id: Annotated[str, Field(min_length=1)]
    client_secret: SecretStr
    scope: str = ""

    batch: Annotated[int, Field(ge=1, le=500)] = 50
    """Persons a write. Each is a transaction of its own."""
    concurrency: Annotated[int, Field(ge=1, le=20)] = 4
    requests: Annotated[int, Field(ge=1)] = 300
    """Requests in `window` seconds."""
    window: Annotated[float, Field(gt=0)] = 60.0

    @property
    def base(self) -> str:
        return str(self.base_url).rstrip("/")

    @property
    def limits(self) -> Limits:
        return Limits(self.batch, self.concurrency, self.requests, self.window)


class CareRecordSettings(BaseModel):
    """The flow that ships with the target has these settings: by which numbers and codes the shared record knows the council."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    record_system: Annotated[str, StringConstraints(pattern=r"^(https?://|urn:)\S+$", max_length=200)]
    """The URI of the council's own identifiers in the shared record; their values are Ironbridge's keys."""
    organisation: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{3,10}$")]
    """The council's ODS code, e.g. of `https://fhir.nhs.uk/Id/ods-organization-code`."""
    verification: dict[str, Verification] = Field(default_factory=dict)
    """The verification status of NHS numbers, by the adapter that they come from. An adapter that is not named: not known."""
