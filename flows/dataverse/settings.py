"""These settings say how a Dataverse environment is reached, and which tables documents are written to."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from canonical.connect.address import Address
from flows.kit.odata import Column, ODataTable
from flows.port import Limits

WINDOW = 300.0
_LOOKUPS = {"incident": {"customerid_contact": "contact", "customerid_account": "account"}}
_SETS = {"contact": "contacts", "account": "accounts", "incident": "incidents"}


class DataverseSettings(BaseModel):
    """
    One environment. The application is registered in Entra ID and is an application user of the environment, with a security
    role that lets it create, read, write, append and delete the tables' rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: Address
    """The Web API's root: `https://ORG.crm11.dynamics.com/api/data/v9.2`."""
    token_url: Address
    client_id: str
    client_secret: SecretStr
    scope: str
    """The environment's address with `/.default` behind it: `https://ORG.crm11.dynamics.com/.default`."""

    key_column: Column
    """The text column that holds our key in contacts, accounts and cases; each of these tables has an alternate key of it."""
    tables: dict[str, ODataTable] = Field(default_factory=dict)
    """Other tables, by their logical names; one of a shipped table goes over it."""

    concurrency: Annotated[int, Field(ge=1, le=52)] = 4
    """
    Requests of one worker at once. With 4, the execution time stays below 20 minutes in 5 whatever the requests cost
    (4 × 300 s = 1,200 s). Dataverse takes 52 at once.
    """
    requests: Annotated[int, Field(ge=1, le=6000)] = 6000
    """Requests in 300 seconds. Dataverse counts them by user: give the application a user of its own."""

    @property
    def limits(self) -> Limits:
        """The target's limits. A write is one request; a batch keeps all connections busy and ends soon."""
        return Limits(batch=25 * self.concurrency, concurrency=self.concurrency, requests=self.requests, window=WINDOW)

    @property
    def every_table(self) -> dict[str, ODataTable]:
        """The shipped tables and the council's own, by logical name."""
        shipped = {
            kind: ODataTable(entity_set=name, key=(self.key_column,), lookups=_LOOKUPS.get(kind, {}))
            for kind, name in _SETS.items()
        }
        return shipped | self.tables
