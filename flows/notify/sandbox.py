"""A stand-in for GOV.UK Notify to try the target against: `python -m flows.notify.sandbox` prints its address."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from flows.kit.sandbox import Effect, Sandbox, SandboxSettings, digest_of, run

SERVICE = "26785a09-ab16-4eb0-8407-a37497a57506"
SECRET = "3d844edf-8d35-48ac-975b-e847b4f122b0"
API_KEY = f"sandbox-{SERVICE}-{SECRET}"
EMAIL = "9d751e0e-f929-4891-82a1-a3e1c3c18ee3"
SMS = "f33517ff-2a88-4f6e-b855-c550268ce08a"
LETTER = "64415853-cb86-4cc4-b597-2aaa94ef8c39"
_SKEW = 30  # seconds that a clock may be off
_PAGE = 250
_SIMULATED = frozenset({"07700900000", "07700900111", "07700900222", "simulate-delivered@notifications.service.gov.uk"})
_COMMON = {"template_id", "personalisation", "reference"}
_TAKES: Final[Mapping[str, set[str]]] = {
    "email": _COMMON | {"email_address", "email_reply_to_id", "one_click_unsubscribe_url", "sanitise_content_for"},
    "sms": _COMMON | {"phone_number", "sms_sender_id"},
    "letter": _COMMON,
}
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[a-zA-Z]{2,}")
_POSTCODE = re.compile(r"[A-Z]{1,2}[0-9][0-9A-Z]? ?[0-9][A-Z]{2}", re.IGNORECASE)
_FIELD = re.compile(r"\(\(([^()]+)\)\)")


@dataclass(frozen=True, kw_only=True)
class NotifyTemplate:
    """A template of the sandbox. Its fields are what stands in double brackets."""

    kind: str
    name: str
    body: str
    subject: str | None = None

    @property
    def fields(self) -> list[str]:
        return list(dict.fromkeys(_FIELD.findall(f"{self.subject or ''} {self.body}")))

    def filled(self, values: Mapping[str, Any]) -> str:
        """The body with its values; a list becomes one line each."""
        return _FIELD.sub(lambda found: _written(values[found[1]]), self.body)


def _written(value: Any) -> str:
    return "".join(f"\n* {each}" for each in value) if isinstance(value, list) else str(value)


@dataclass(frozen=True, kw_only=True)
class NotifySandboxSettings(SandboxSettings):
    """`daily` is the number of messages that a day takes; `templates` are by id."""

    daily: int = 250_000
    templates: Mapping[str, NotifyTemplate] = field(
        default_factory=lambda: {
            EMAIL: NotifyTemplate(
                kind="email",
                name="Remittance advice",
                subject="Payment ((payment number))",
                body="We paid you ((amount)) on ((payment date)) for:\n((documents))",
            ),
            SMS: NotifyTemplate(kind="sms", name="Bin day", body="Your bins go on ((day))"),
            LETTER: NotifyTemplate(kind="letter", name="A letter", subject="Your account", body="You owe ((amount))"),
        }
    )


class NotifyRefusalError(Exception):
    """The sandbox does not take a request, for this reason."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.answer = JSONResponse({"status_code": status, "errors": [{"error": error, "message": message}]}, status)


class NotifySandbox(Sandbox):
    """
    Takes messages, and shows them by id and by reference. It makes a new message for each request: two requests with one
    reference are two messages. Messages to Notify's own test recipients are answered and not kept.
    """

    settings: NotifySandboxSettings

    def __init__(self, settings: NotifySandboxSettings | None = None) -> None:
        super().__init__(settings or NotifySandboxSettings())

    async def answer(self, request: Request) -> Response:
        try:
            self._admitted(request.headers.get("authorization", ""))
            if self.throttle.wait() > 0:
                raise NotifyRefusalError(
                    429, "RateLimitError", "Exceeded rate limit for key type LIVE of 3000 requests per 60 seconds"
                )
            return JSONResponse(*await self._said(request))
        except NotifyRefusalError as fault:
            return fault.answer

    def _admitted(self, authorization: str) -> None:
        if not authorization.startswith("Bearer "):
            raise NotifyRefusalError(401, "AuthError", "Unauthorized: authentication token must be provided")
        try:
            token = jwt.decode(authorization.removeprefix("Bearer "), OctKey.import_key(SECRET), algorithms=["HS256"])
        except (JoseError, ValueError):
            raise NotifyRefusalError(403, "AuthError", "Invalid token: API key not found") from None
        if token.claims.get("iss") != SERVICE:
            raise NotifyRefusalError(403, "AuthError", "Invalid token: service not found")
        if abs(time.time() - token.claims.get("iat", 0)) > _SKEW:
            raise NotifyRefusalError(403, "AuthError", "Error: Your system clock must be accurate to within 30 seconds")

    async def _said(self, request: Request) -> tuple[Any, int]:
        match request.method, request.url.path.strip("/").split("/"):
            case "POST", ["v2", "notifications", ("email" | "sms" | "letter") as kind]:
                return self._sent(kind, await request.body()), 201
            case "GET", ["v2", "notifications"]:
                return self._listed(request), 200
            case "GET", ["v2", "notifications", number]:
                return _found(self.documents("message").get(number)), 200
            case "GET", ["v2", "template", number]:
                return _template(number, _found(self.settings.templates.get(number))), 200
            case "GET", ["v2", "templates"]:
                return {"templates": [_template(*each) for each in self.settings.templates.items()]}, 200
        raise NotifyRefusalError(404, "NoResultFound", "No result found")

    def _sent(self, kind: str, body: bytes) -> dict[str, Any]:
        try:
            said = json.loads(body)
        except ValueError:
            raise NotifyRefusalError(400, "BadRequestError", "Invalid JSON supplied in POST data") from None
        _checked(kind, said)
        template = self.settings.templates.get(said["template_id"])
        _fits(kind, template, said)
        assert template is not None  # noqa: S101 - `_fits` has seen to it
        if self.held.counts["message"] >= self.settings.daily:
            spent = f"Exceeded send limits ({kind}: {self.settings.daily}) for today"
            raise NotifyRefusalError(429, "TooManyRequestsError", spent)
        message = _message(kind, said, template, self.url)
        if not _SIMULATED & {said.get("email_address"), said.get("phone_number")}:
            text = json.dumps(message)
            kept = Effect("message", message["id"], said.get("reference", ""), "create", text, digest_of(text), 1)
            self.held.keep(message["id"], [kept])
        return _answered(message, self.url)

    def _listed(self, request: Request) -> dict[str, Any]:
        query = request.query_params
        newest = sorted(self.documents("message").values(), key=lambda each: each["created_at"], reverse=True)
        for name, shown in (("reference", "reference"), ("template_type", "type"), ("status", "status")):
            if name in query:
                newest = [each for each in newest if each[shown] == query[name]]
        if "older_than" in query:
            places = [place for place, each in enumerate(newest) if each["id"] == query["older_than"]]
            newest = newest[places[0] + 1 :] if places else []
        page = newest[:_PAGE]
        links = {"current": str(request.url)}
        if len(newest) > _PAGE:
            links["next"] = str(request.url.include_query_params(older_than=page[-1]["id"]))
        return {"notifications": page, "links": links}

    def ends(self, number: str, status: str) -> None:
        """A message came to this end, by and by: `delivered`, `permanent-failure`."""
        message = {**self.documents("message")[number], "status": status}
        text = json.dumps(message)
        self.held.keep(number, [Effect("message", number, message["reference"] or "", "update", text, digest_of(text), 1)])


def _found(what: Any) -> Any:
    if what is None:
        raise NotifyRefusalError(404, "NoResultFound", "No result found")
    return what


def _checked(kind: str, said: Any) -> None:
    """Check a request's shape, and the recipient."""
    invalid: Callable[[str], NotifyRefusalError] = lambda message: NotifyRefusalError(400, "ValidationError", message)  # noqa: E731
    if not isinstance(said, dict):
        raise invalid("body is not of type object")
    if unknown := sorted(said.keys() - _TAKES[kind]):
        raise invalid(f"Additional properties are not allowed ({unknown[0]} was unexpected)")
    needed = {"email": ["email_address", "template_id"], "sms": ["phone_number", "template_id"]}
    for name in needed.get(kind, ["template_id", "personalisation"]):
        if name not in said:
            raise invalid(f"{name} is a required property")
    if kind == "email" and not _EMAIL.fullmatch(said["email_address"]):
        raise invalid(f"email_address Not a valid email address: {said['email_address']}")
    if kind == "sms" and (fault := _number_fault(said["phone_number"])):
        raise invalid(f"phone_number {fault}")
    if kind == "letter" and (fault := _address_fault(said["personalisation"])):
        raise invalid(fault)


def _number_fault(number: str) -> str:
    digits = re.sub(r"[\s()+-]", "", number)
    if not digits.isdigit():
        return "Must not contain letters or symbols"
    digits = digits.removeprefix("44").removeprefix("0")
    if len(digits) != 10:
        return "Not enough digits" if len(digits) < 10 else "Too many digits"
    return "" if digits.startswith("7") else "Not a UK mobile number"


def _address_fault(values: Mapping[str, Any]) -> str:
    lines = [str(values[name]) for name in (f"address_line_{n}" for n in range(1, 8)) if values.get(name)]
    if "address_line_1" not in values:
        return "personalisation address_line_1 is a required property"
    if len(lines) < 3:
        return "Address must be at least 3 lines"
    return "" if _POSTCODE.fullmatch(lines[-1]) else "Last line of address must be a real UK postcode or another country"


def _fits(kind: str, template: NotifyTemplate | None, said: Mapping[str, Any]) -> None:
    if template is None:
        raise NotifyRefusalError(400, "BadRequestError", "Template not found")
    if template.kind != kind:
        raise NotifyRefusalError(400, "BadRequestError", f"{template.kind} template is not suitable for {kind} notification")
    if missing := [name for name in template.fields if name not in said.get("personalisation", {})]:
        raise NotifyRefusalError(400, "BadRequestError", f"Missing personalisation: {', '.join(missing)}")


def _message(kind: str, said: Mapping[str, Any], template: NotifyTemplate, url: str) -> dict[str, Any]:
    """A message as Notify shows it."""
    values = said.get("personalisation", {})
    address = {f"line_{n}": values.get(f"address_line_{n}") for n in range(1, 7)} if kind == "letter" else {}
    return {
        "id": str(uuid4()),
        "reference": said.get("reference"),
        "email_address": said.get("email_address"),
        "phone_number": said.get("phone_number"),
        **address,
        "type": kind,
        "status": "accepted" if kind == "letter" else "created",
        "template": {"id": said["template_id"], "version": 1, "uri": f"{url}/v2/template/{said['template_id']}"},
        "body": template.filled(values),
        "subject": template.subject,
        "created_at": datetime.now(UTC).isoformat(),
        "scheduled_for": None,
    }


def _answered(message: Mapping[str, Any], url: str) -> dict[str, Any]:
    """The answer to a request that sends a message."""
    content = {"body": message["body"]} | ({} if message["type"] == "sms" else {"subject": message["subject"]})
    shown = {name: message[name] for name in ("id", "reference", "template", "scheduled_for")}
    return {**shown, "content": content, "uri": f"{url}/v2/notifications/{message['id']}"}


def _template(number: str, template: NotifyTemplate) -> dict[str, Any]:
    return {
        "id": number,
        "name": template.name,
        "type": template.kind,
        "created_at": "2026-01-05T09:00:00.000000Z",
        "updated_at": None,
        "created_by": "sandbox@example.gov.uk",
        "version": 1,
        "body": template.body,
        "subject": template.subject,
        "postage": "second" if template.kind == "letter" else None,
        "letter_contact_block": None,
        "personalisation": {name: {"required": True} for name in template.fields},
    }


if __name__ == "__main__":
    run(NotifySandbox())
