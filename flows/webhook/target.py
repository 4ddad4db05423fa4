"""
Webhooks as Standard Webhooks has them: signed, with an id that stays the same however often one version of a record is sent.

The receiver knows a repeated webhook by its id, so what is in doubt is sent again and nothing is ever read back.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final, NamedTuple

import httpx
from pydantic_core import to_json

from canonical.connect.address import ForbiddenAddressError, pinned
from canonical.connect.standard_webhooks import signature, signed_content
from canonical.errors import MisconfiguredError
from canonical.finding import Finding
from flows.kit.http import TEMPLATE, exchange, trouble
from flows.kit.side_by_side import SideBySide
from flows.port import Body, Confirmed, Document, NotDone, Outcome, ReadBack, Refused, Untold, Write
from flows.webhook.settings import ReceiverSettings

TIMEOUT: Final = 20.0
"""Seconds that a receiver has to answer in; the standard says 15 to 30."""
_MISADDRESSED = (404, 405)
_STOPPED: Final = "the receiver has ended this address (410 Gone): give it a new one, restart, and retry what is parked"


@dataclass(frozen=True, slots=True)
class _Webhook:
    """One webhook: the id that all its attempts have, and what it says."""

    id: str
    body: Body


class _Way(NamedTuple):
    """The address that is connected to, and the name that is asked for there."""

    url: httpx.URL
    host: str
    extensions: dict[str, str]


class WebhookTarget:
    """
    Tells a receiver of changes and deletions. Any 2xx is a success, whatever the answer says besides.

    A name is looked up for each webhook, and the address that was checked is the one that is connected to. A redirect is never
    followed. After a 410 nothing more is sent until the process starts again.
    """

    def __init__(self, name: str, settings: ReceiverSettings, http: httpx.AsyncClient) -> None:
        self.name = name
        self.limits = settings.limits
        self._settings = settings
        self._url = httpx.URL(settings.url.get_secret_value())
        self._http = http
        self._side_by_side = SideBySide(settings.limits)
        self._stopped = False

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        return await self._side_by_side.written(self._tell, batch)

    async def read_back(self, batch: Sequence[Write]) -> Sequence[ReadBack]:
        return [Untold("a receiver shows nothing: the webhook goes again, under the same id")] * len(batch)

    async def check(self) -> Sequence[Finding]:
        """Look the address up. Nothing is sent, because every webhook tells of something."""
        what = "the receiver's name stands for an address that may be sent to"
        try:
            way = await self._way()
        except MisconfiguredError as error:
            return [Finding(what, False, f"{error.what}. {error.fix}")]
        lost = isinstance(way, NotDone)
        return [Finding(what, not lost, "check `url`, and this machine's name servers" if lost else "")]

    async def _tell(self, write: Write) -> Outcome:
        webhook = _webhook(write)
        if webhook is None:
            return Confirmed(write.ref or "")
        if self._stopped:
            return Refused(_STOPPED)
        way = await self._way()
        if isinstance(way, NotDone):
            return way
        answer = await exchange(self._http, self._request(webhook, way), where=self.name)
        return self._judged(answer, webhook) if isinstance(answer, httpx.Response) else answer

    def _request(self, webhook: _Webhook, way: _Way) -> httpx.Request:
        content, sent = to_json(webhook.body), int(time.time())
        signed = signed_content(webhook.id, sent, content)
        signatures = [signature(secret.get_secret_value(), signed) for secret in self._settings.secrets]
        headers = {
            "Host": way.host,
            "Content-Type": "application/json",
            "webhook-id": webhook.id,
            "webhook-timestamp": str(sent),
            "webhook-signature": " ".join(signatures),
        }
        extensions = {TEMPLATE: "/", **way.extensions}
        return self._http.build_request("POST", way.url, content=content, headers=headers, extensions=extensions)

    def _judged(self, answer: httpx.Response, webhook: _Webhook) -> Outcome:
        code = answer.status_code
        if code == 410:
            self._stopped = True
            return Refused(_STOPPED)
        fix = f"check `url` and `secrets` of {self.name} with the receiver's owner"
        if fault := trouble(answer, self.name, fix):
            return fault
        if code in _MISADDRESSED:
            raise MisconfiguredError(self.name, f"the receiver takes no webhooks at this address ({code})", fix=fix)
        return Confirmed(webhook.id) if answer.is_success else Refused(f"the receiver refuses the webhook ({code})")

    async def _way(self) -> _Way | NotDone:
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        try:
            address = await pinned(self._url.host, port, self._settings.allow)
        except ForbiddenAddressError as error:
            raise MisconfiguredError(
                self.name,
                f"the receiver's name stands for an address that is not sent to ({error})",
                fix="check `url`; name its network in `allow` if the receiver is one of the council's own",
            ) from None
        except socket.gaierror:
            return NotDone("not sent: the receiver's name stands for no address")
        sni = {"sni_hostname": self._url.host} if self._url.scheme == "https" else {}
        return _Way(self._url.copy_with(host=address), self._url.netloc.decode(), sni)


def _webhook(write: Write) -> _Webhook | None:
    """The webhook that a write asks for; None if the receiver knows already, or was never told of the subject."""
    known = [*([write.confirmed] if write.confirmed else []), *write.doubtful]
    if write.document is None:
        return _deletion(known) if known else None
    if known == [write.confirmed] and _content(known[0]) == _content(write.document):
        return None
    body = write.document.body
    return _Webhook(_id(body["type"], body["data"]), body)


def _deletion(known: Sequence[Document]) -> _Webhook:
    last = max(known, key=lambda document: document.body["data"]["version"])
    data = {name: last.body["data"][name] for name in ("key", "owner", "version")}
    kind = f"{last.body['type'].rpartition('.')[0]}.deleted"
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return _Webhook(_id(kind, data), {"type": kind, "timestamp": now, "data": data})


def _content(document: Document) -> object:
    """All of a document but the version and its time."""
    data = {name: value for name, value in document.body["data"].items() if name != "version"}
    return document.body["type"], data


def _id(kind: str, data: Body) -> str:
    return f"msg_{blake2b(to_json([kind, data]), digest_size=16).hexdigest()}"
