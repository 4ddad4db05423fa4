"""Signatures of webhooks: who holds the secret has sent this body, and not long ago."""

from __future__ import annotations

import base64
import hmac
import re
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from canonical.connect.standard_webhooks import digest, key_of, signed_content, v1

_ID = re.compile(r"[!-~]{1,256}")


class SignatureSettings(BaseModel):
    """
    These settings say how a sender signs what it sends.

    `standard` is the scheme of Standard Webhooks (https://www.standardwebhooks.com): the headers `webhook-id`,
    `webhook-timestamp` and `webhook-signature`, a secret that begins with `whsec_`, and a timestamp no further from our clock
    than `tolerance`. `hmac` is a SHA-256 of the body in a `header`, in hexadecimal behind `prefix`, as GitHub has it, or in
    base64. Several `secrets` count all, so that one can be replaced by another. `none` is for senders that show a certificate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    scheme: Literal["standard", "hmac", "none"] = "standard"
    secrets: tuple[SecretStr, ...] = ()
    header: str = Field(default="X-Hub-Signature-256", pattern="^[A-Za-z0-9-]+$")
    prefix: str = "sha256="
    written: Literal["hex", "base64"] = "hex"
    tolerance: timedelta = Field(default=timedelta(minutes=5), gt=timedelta(0))

    @model_validator(mode="after")
    def _with_secrets(self) -> SignatureSettings:
        if (self.scheme == "none") is bool(self.secrets):
            raise ValueError("`secrets` are needed to look at signatures; scheme = \"none\" looks at none")
        if any(len(secret) < 16 for secret in self.keys()):
            raise ValueError("a secret is shorter than 16 bytes, or is not base64 behind whsec_")
        return self

    def keys(self) -> Sequence[bytes]:
        """The secrets as bytes; one that cannot be read is empty."""
        return [self._key(secret.get_secret_value()) for secret in self.secrets]

    def _key(self, secret: str) -> bytes:
        return key_of(secret) if self.scheme == "standard" else secret.encode()

    def fault(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Tell what is wrong with a signature; None if it is a good one. The names of the headers are in small letters."""
        if self.scheme == "none":
            return None
        if self.scheme == "hmac":
            return self._hmac_fault(headers.get(self.header.lower()), body)
        return self._standard_fault(headers, body)

    def _hmac_fault(self, said: str | None, body: bytes) -> str | None:
        if said is None:
            return f"there is no header {self.header}"
        signatures = {self.prefix + self._shown(digest(key, body)) for key in self.keys()}
        return None if _is_one_of(said.strip(), signatures) else "no signature is of a secret of ours"

    def _shown(self, signature: bytes) -> str:
        return signature.hex() if self.written == "hex" else base64.b64encode(signature).decode()

    def _standard_fault(self, headers: Mapping[str, str], body: bytes) -> str | None:
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        if lacking := [name for name in names if name not in headers]:
            return f"there is no header {lacking[0]}"
        number, sent, said = (headers[name] for name in names)
        if not _ID.fullmatch(number) or not re.fullmatch("[0-9]{1,12}", sent):
            return "webhook-id or webhook-timestamp is not as the standard has it"
        if abs(time.time() - int(sent)) > self.tolerance.total_seconds():
            return "webhook-timestamp is too far from our clock"
        content = signed_content(number, sent, body)
        signatures = {v1(key, content) for key in self.keys()}
        good = [_is_one_of(each, signatures) for each in said.split(" ")]
        return None if any(good) else "no signature is of a secret of ours"


def _is_one_of(said: str, signatures: set[str]) -> bool:
    """Compare in a time that tells nothing."""
    same = [hmac.compare_digest(said.encode("utf-8", "replace"), each.encode()) for each in signatures]
    return any(same)
