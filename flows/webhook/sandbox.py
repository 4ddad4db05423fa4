"""A receiver of webhooks to try the target against: `python -m flows.webhook.sandbox` prints its address."""

from __future__ import annotations

import base64
import hmac
import json
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from flows.kit.sandbox import Effect, Operation, Sandbox, SandboxSettings, digest_of, run

SECRET = "whsec_" + base64.b64encode(b"sandbox-secret-of-webhooks").decode()
_TOLERANCE = 300  # seconds


@dataclass(frozen=True, kw_only=True)
class WebhookSandboxSettings(SandboxSettings):
    """`secret` is the one that webhooks must be signed with; a receiver that is `gone` answers 410 to everything."""

    secret: str = SECRET
    gone: bool = False


class WebhookSandbox(Sandbox):
    """
    Takes webhooks at `/hook` and keeps the newest of each record. It does what Standard Webhooks asks of a receiver: it refuses
    one that is signed otherwise or was sent too long ago, and does nothing for an id that it has seen. An older version than it
    holds is answered with 200 and dropped.
    """

    settings: WebhookSandboxSettings

    def __init__(self, settings: WebhookSandboxSettings | None = None) -> None:
        super().__init__(settings or WebhookSandboxSettings())
        self.seen: dict[str, int] = {}

    async def answer(self, request: Request) -> Response:
        if self.settings.gone:
            return Response(status_code=410)
        if request.url.path != "/hook" or request.method != "POST":
            return Response(status_code=404)
        if (wait := self.throttle.wait()) > 0:
            return PlainTextResponse("too many requests", 429, {"Retry-After": str(int(wait) + 1)})
        body = await request.body()
        if not self._signed(request, body):
            return PlainTextResponse("the signature is not ours", 401)
        number = request.headers["webhook-id"]
        self.seen[number] = self.seen.get(number, 0) + 1
        return Response(status_code=204) if self.seen[number] > 1 else self._taken(number, body)

    def _signed(self, request: Request, body: bytes) -> bool:
        number, sent = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
        if not sent.isdigit() or abs(time.time() - int(sent)) > _TOLERANCE:
            return False
        key = base64.b64decode(self.settings.secret.removeprefix("whsec_"))
        right = base64.b64encode(hmac.digest(key, f"{number}.{sent}.".encode() + body, sha256)).decode()
        shown = request.headers.get("webhook-signature", "").split(" ")
        return any(hmac.compare_digest(f"v1,{right}", each) for each in shown)

    def _taken(self, number: str, body: bytes) -> Response:
        said = json.loads(body)
        data: dict[str, Any] = said["data"]
        key = data["key"]
        if key in self.refused_keys():
            del self.seen[number]
            return PlainTextResponse("the sandbox was told to refuse it", 422)
        text = self.held.get("webhook", [key]).get(key)
        held = json.loads(text)["data"]["version"] if text else -1
        deleted = said["type"].endswith(".deleted")
        if held > data["version"] or (deleted and text is None):
            return Response(status_code=204)
        now = None if deleted else json.dumps(said)
        operation: Operation = "purge" if deleted else "create" if text is None else "update"
        self.held.keep(number, [Effect("webhook", key, key, operation, now, digest_of(now or ""), int(now != text))])
        return Response(status_code=204)


if __name__ == "__main__":
    run(WebhookSandbox())
