"""These settings hold what the DfE's API needs to know of a council, and the council of it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from canonical.connect.address import Address
from flows.dfe_csc.ids import Ids
from flows.port import Limits


def _numbered(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


class DfeCscSettings(BaseModel):
    """
    One council's access to the children's social care data API, and how children are called there.

    `la_code` is the council's three-digit DfE code; the endpoint, the client, its scope and the supplier key come from
    the DfE when a council is let in. The DfE publishes no rate limit: the default is careful, and a 429 is honoured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    la_code: Annotated[int, BeforeValidator(_numbered), Field(ge=100, le=999)]
    api_endpoint: Address
    """Without `/children_social_care_data/…`, e.g. https://find-and-use-an-api.education.gov.uk/api"""
    token_url: Address
    client_id: Annotated[str, Field(min_length=1)]
    client_secret: SecretStr
    scope: str = ""
    supplier_key: SecretStr

    la_child_ids_of: Annotated[str, Field(min_length=1)] = "liquidlogic"
    """
    The adapter whose identifiers of children are the council's own and are sent as they are. Those of every other adapter
    get a mark, see `flows.dfe_csc.ids`. Choose it once: under another choice children have other ids at the DfE.
    """

    batch: Annotated[int, Field(ge=1, le=100)] = 100
    """Children a request; the API takes 100."""
    concurrency: Annotated[int, Field(ge=1, le=20)] = 4
    requests: Annotated[int, Field(ge=1)] = 600
    """Requests in `window` seconds."""
    window: Annotated[float, Field(gt=0)] = 60.0

    @property
    def children(self) -> str:
        """The one address that records are sent to."""
        return f"{str(self.api_endpoint).rstrip('/')}/children_social_care_data/{self.la_code}/children"

    @property
    def ids(self) -> Ids:
        return Ids(self.la_child_ids_of)

    @property
    def limits(self) -> Limits:
        return Limits(self.batch, self.concurrency, self.requests, self.window)


class ChildRecordsSettings(BaseModel):
    """
    The flow that ships with the target has no settings of its own. Which children the DfE is sent is the
    specification's affair.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
