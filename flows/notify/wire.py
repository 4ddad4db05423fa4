"""Notify's requests and answers: the token of a request, a message's body, and what a refusal says without its values."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import httpx
from joserfc import jwt
from joserfc.jwk import OctKey

from flows.kit.http import json_of
from flows.port import LONGEST_SILENCE, Body, Document, Unknown

RECIPIENT: Final = "recipient"
"""A document of this kind is no message: it says where messages about its subject go."""
ADDRESSED: Final = {"email": "email_address", "sms": "phone_number"}
"""The field that a message of a kind is addressed with; a letter's address is among its personalisation."""
KINDS: Final = frozenset({*ADDRESSED, "letter"})
_AGES: Final = 20.0  # seconds; a token counts for 30 seconds, and a request may wait for its turn that long

_RULES: Final = {
    "not a valid email address": "email_address: is not a valid e-mail address",
    "too many digits": "phone_number: has too many digits",
    "not enough digits": "phone_number: has not enough digits",
    "not a uk mobile number": "phone_number: is not a UK mobile number",
    "must not contain letters or symbols": "phone_number: has letters or symbols",
    "not a valid country prefix": "phone_number: has no valid country prefix",
    "cannot send to international mobile numbers": "phone_number: is abroad, and the service may not send there",
    "missing personalisation": "personalisation: a field of the template is missing",
    "real uk postcode": "address: the last line is no UK postcode or country",
    "must be a real address": "address: is no real address",
    "at least 3 lines": "address: has fewer than 3 lines",
    "no more than 7 lines": "address: has more than 7 lines",
    "address lines must not start": "address: a line starts with a character that Notify refuses",
    "bfpo address must not": "address: a BFPO address ends with a country",
    "emails cannot be longer": "the message is longer than Notify takes",
    "trial mode": "the service is in trial mode and may not send to this recipient",
    "team-only api key": "the key sends to the service's team only",
}
"""The rules that Notify names about one message, and our words for each: Notify's own may quote a value."""


class NotifyToken(httpx.Auth):
    """Signs a token for each request: HS256, issued by the service, now. One that grew old before its request left is renewed."""

    def __init__(self, service: str, secret: str) -> None:
        self._service = service
        self._key = OctKey.import_key(secret)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        made = time.monotonic()
        self._sign(request)
        response = yield request
        if response.status_code == 403 and time.monotonic() - made > _AGES:
            self._sign(request)
            yield request

    def _sign(self, request: httpx.Request) -> None:
        claims = {"iss": self._service, "iat": int(time.time())}
        token = jwt.encode({"alg": "HS256", "typ": "JWT"}, claims, self._key)
        request.headers["Authorization"] = f"Bearer {token}"


def reference(service: str, document: Document) -> str:
    """
    Notify's handle of a message: a digest of the fact's version that it tells, so that it holds no personal data.

    It does not depend on the message's text: a fact that was told in other words was told.
    """
    text = f"{document.kind}\n{document.number}\n{document.body['version']}"
    return f"ironbridge-{blake2b(text.encode(), key=service.encode(), digest_size=20).hexdigest()}"


_LONG: Final = {"email": (5, 250), "sms": (7, 15)}


def length_fault(kind: str, to: str) -> str:
    """Say what is wrong with the length of a recipient's address, which Notify's contract bounds; empty if nothing is."""
    least, most = _LONG.get(kind, (0, 0))
    fits = kind not in _LONG or least <= len(to) <= most
    return "" if fits else f"{ADDRESSED[kind]}: is not {least} to {most} characters long"


def message(document: Document, to: str, handle: str) -> Body:
    """The body of the request that sends a message."""
    addressed = {ADDRESSED[document.kind]: to} if document.kind in ADDRESSED else {}
    return {
        **addressed,
        "template_id": document.body["template"],
        "personalisation": document.body["personalisation"],
        "reference": handle,
        **document.body.get("options", {}),
    }


class Refusal(NamedTuple):
    """A refusal says which sort of error Notify names, and the rule if it is one that is known to be about the message."""

    sort: str
    rule: str

    @property
    def reason(self) -> str:
        return self.rule or f"Notify refuses the message ({self.sort}); its words may hold values and are not shown"


def refusal(answer: httpx.Response) -> Refusal:
    """Read a refusal. Nothing of its text is passed on."""
    first = _first_error(answer)
    said = str(first.get("message", "")).lower()
    error = str(first.get("error", ""))
    known = error if error in _ERRORS else "unknown error"
    return Refusal(f"{answer.status_code} {known}", next((ours for words, ours in _RULES.items() if words in said), ""))


_ERRORS: Final = frozenset(
    {"ValidationError", "BadRequestError", "NoResultFound", "AuthError", "RateLimitError", "TooManyRequestsError"}
)


def patience(answer: httpx.Response, now: datetime | None = None) -> timedelta | None:
    """The time for which a 429 asks for silence without saying so: a minute, or until midnight (UTC) if a day's messages went."""
    now = now or datetime.now(UTC)
    match _first_error(answer).get("error"):
        case "RateLimitError":
            return timedelta(minutes=1)
        case "TooManyRequestsError":
            midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
            return min(midnight - now, LONGEST_SILENCE)
        case _:
            return None


def _first_error(answer: httpx.Response) -> Mapping[str, Any]:
    said = json_of(answer)
    errors = said.get("errors") if isinstance(said, dict) and not isinstance(said, Unknown) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    return first if isinstance(first, dict) else {}
