"""These settings say who receives webhooks, how they are signed, and which entities they tell of."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    IPvAnyNetwork,
    SecretStr,
    TypeAdapter,
    field_validator,
    model_validator,
)

from canonical import ENTITIES
from canonical.connect.standard_webhooks import secret_fault
from flows.port import Limits

_URL: TypeAdapter[HttpUrl] = TypeAdapter(HttpUrl)


class ReceiverSettings(BaseModel):
    """One receiver of webhooks. Its address is a secret, because services such as Power Automate put their key into it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[SecretStr, Field(description="where webhooks are posted to; https")]
    secrets: Annotated[
        tuple[SecretStr, ...],
        Field(min_length=1, max_length=4, description="whsec_… or whsk_…; each signs every webhook"),
    ]
    allow: Annotated[
        tuple[IPvAnyNetwork, ...], Field(description="networks that are not public and may be sent to, such as 10.20.0.0/16")
    ] = ()
    concurrency: Annotated[int, Field(ge=1, le=20, description="webhooks at once")] = 4
    requests: Annotated[int, Field(ge=1, description="webhooks in `window` seconds")] = 600
    window: Annotated[float, Field(gt=0, description="seconds")] = 60.0

    @field_validator("secrets")
    @classmethod
    def _good(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            if fault := secret_fault(secret.get_secret_value()):
                raise ValueError(fault)
        return secrets

    @model_validator(mode="after")
    def _encrypted(self) -> ReceiverSettings:
        url = _URL.validate_python(self.url.get_secret_value())
        if url.username or url.password:
            raise ValueError("url: holds a user or a password; a signature tells who sends")
        if url.scheme != "https" and not self._allows_loopback(url.host or ""):
            raise ValueError("url: is not https (http goes to an address of loopback only, and only if `allow` names it)")
        return self

    def _allows_loopback(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return False
        return address.is_loopback and any(address in network for network in self.allow)

    @property
    def limits(self) -> Limits:
        return Limits(batch=50, concurrency=self.concurrency, requests=self.requests, window=self.window)


class EntityEventsSettings(BaseModel):
    """The flow that ships with the target tells of each change of these entities."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    entities: Annotated[tuple[str, ...], Field(min_length=1, description="types of entities, such as supplier")]
    fields: Annotated[
        Mapping[str, tuple[str, ...]],
        Field(description="the fields that are sent of a type; all of them where it is not named. The key is always sent"),
    ] = {}

    @model_validator(mode="after")
    def _known(self) -> EntityEventsSettings:
        for name in self.entities:
            if name not in ENTITIES:
                raise ValueError(f"entities: there is no type {name}")
        for name, fields in self.fields.items():
            if name not in self.entities:
                raise ValueError(f"fields: {name} is not one of `entities`")
            if unknown := [field for field in fields if field not in ENTITIES[name].model_fields]:
                raise ValueError(f"fields: {name} has no field {unknown[0]}")
        return self

    def shown(self, name: str, entity: Mapping[str, Any]) -> dict[str, Any]:
        """The part of an entity that is sent."""
        wanted = self.fields.get(name)
        return {field: value for field, value in entity.items() if wanted is None or field in ("key", *wanted)}
