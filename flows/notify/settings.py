"""These settings hold the service's key at GOV.UK Notify, and say which payments suppliers are told of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, field_validator

from canonical.connect.address import Address
from flows.port import Limits

_UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_KEY = re.compile(f".+-({_UUID})-({_UUID})")

PaymentValue = Literal["amount", "currency", "payment_date", "number", "payee", "documents"]


class NotifySettings(BaseModel):
    """One service at GOV.UK Notify. It counts 3,000 requests a minute for each type of key; the default leaves some to others."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    api_key: Annotated[SecretStr, Field(description="as Notify shows it once: name, service id and secret, joined by hyphens")]
    base_url: Annotated[Address, Field(description="where Notify's API is")] = HttpUrl(
        "https://api.notifications.service.gov.uk"
    )
    outage_after: Annotated[
        int, Field(ge=2, le=100, description="so many subjects in a row refused for one unknown reason are an outage")
    ] = 5
    concurrency: Annotated[int, Field(ge=1, le=20, description="requests at once")] = 4
    requests: Annotated[int, Field(ge=1, description="requests in `window` seconds; a message takes two")] = 2400
    window: Annotated[float, Field(gt=0, description="seconds")] = 60.0

    @field_validator("api_key")
    @classmethod
    def _whole(cls, key: SecretStr) -> SecretStr:
        if not _KEY.fullmatch(key.get_secret_value()):
            raise ValueError("is not name, service id and secret: two UUIDs end it")
        return key

    def _parts(self) -> tuple[str, str]:
        found = _KEY.fullmatch(self.api_key.get_secret_value())
        return (found[1], found[2]) if found else ("", "")

    @property
    def service(self) -> str:
        """The service's id, which is the issuer of tokens."""
        return self._parts()[0]

    @property
    def secret(self) -> str:
        """The secret that tokens are signed with."""
        return self._parts()[1]

    @property
    def limits(self) -> Limits:
        # Notify makes a message and then answers: it is asked about a lost answer only after two minutes.
        settles = timedelta(minutes=2)
        return Limits(50, self.concurrency, self.requests, self.window, settles)


class RemittanceSettings(BaseModel):
    """The flow that ships with the target: a supplier is told by e-mail of each payment."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    template: Annotated[UUID, Field(description="the id of the e-mail template")]
    since: Annotated[date, Field(description="payments of an earlier day are not told")]
    days: Annotated[
        int, Field(ge=1, le=90, description="a payment is told for so many days; no more than Notify keeps messages")
    ] = 7
    fields: Annotated[
        Mapping[str, PaymentValue], Field(min_length=1, description="the template's fields, and what each shows")
    ] = {
        "amount": "amount",
        "payment date": "payment_date",
        "payment number": "number",
        "documents": "documents",
    }
    reply_to: Annotated[UUID | None, Field(description="the id of the reply-to address at Notify")] = None
