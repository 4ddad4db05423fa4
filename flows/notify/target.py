"""
Messages by GOV.UK Notify. A message tells of one version of a fact, and cannot be taken back.

Notify has no key against sending twice, and its `reference` is not unique. So a message is looked for by its reference before it
is sent, and after a lost answer. Once a version was told it is never told again, whatever the settings, the template or the
address have become. The removal of a fact sends nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

import httpx

from canonical.errors import MisconfiguredError
from canonical.finding import Finding
from flows.kit.http import TEMPLATE, exchange, json_of, trouble
from flows.kit.side_by_side import SideBySide
from flows.kit.silence import HOLD
from flows.notify.outage import Outage
from flows.notify.settings import NotifySettings
from flows.notify.templates import Templates
from flows.notify.wire import (
    ADDRESSED,
    KINDS,
    RECIPIENT,
    NotifyToken,
    length_fault,
    message,
    patience,
    reference,
    refusal,
)
from flows.port import (
    Absent,
    Confirmed,
    Document,
    Held,
    NotDone,
    Outcome,
    ReadBack,
    Refused,
    Unavailable,
    Unknown,
    Untold,
    Waiting,
    Write,
)

_Answer = httpx.Response | NotDone | Unavailable | Unknown
_FAILED: Final = frozenset(
    {"permanent-failure", "temporary-failure", "technical-failure", "virus-scan-failed", "validation-failed", "cancelled"}
)
_MESSAGES: Final = "/v2/notifications"


class NotifyTarget:
    """
    Sends messages, and remembers nothing itself: what was told stands in the ledger, and for some days at Notify.

    A document of the kind `recipient` sends nothing: its address becomes the subject's `ref`, which messages refer to as `to`.
    """

    def __init__(self, name: str, settings: NotifySettings, http: httpx.AsyncClient) -> None:
        self.name = name
        self.limits = settings.limits
        self._settings = settings
        self._http = http
        self._auth = NotifyToken(settings.service, settings.secret)
        self._side_by_side = SideBySide(settings.limits)
        self._templates = Templates(name, self._asked)
        self._outage = Outage(settings.outage_after)

    # -- sending ---------------------------------------------------------------------------------------------------

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        outcomes = await self._side_by_side.written(self._tell, batch)
        return [self._or_outage(write, outcome) for write, outcome in zip(batch, outcomes, strict=True)]

    def _or_outage(self, write: Write, outcome: Outcome) -> Outcome:
        sort = self._outage.of(write.subject)
        if not sort or not isinstance(outcome, Refused):
            return outcome
        return Unavailable(f"Notify refuses everybody just now ({sort}): that is taken for an outage")

    async def _tell(self, write: Write) -> Outcome:
        document = write.document
        if document is None or _told(write, document):
            return Confirmed(write.ref or "")
        if document.kind == RECIPIENT:
            return Confirmed(document.body["to"])
        if document.kind not in KINDS:
            return Refused("the kind of the message is not one of email, sms, letter")
        to = write.refs.get("to") or document.body.get("to", "")
        if document.kind in ADDRESSED and not to:
            return Waiting(document.refers["to"]) if "to" in document.refers else Refused("to: is empty")
        if fault_of_length := length_fault(document.kind, to):
            return Refused(fault_of_length)
        fault = await self._templates.fault(document.body["template"], document.kind, document.body["personalisation"])
        return fault or await self._once(write.subject, document, to)

    async def _once(self, subject: str, document: Document, to: str) -> Outcome:
        """Send the message unless Notify has it."""
        found = await self._by_reference(document)
        match found:
            case Held(_, ref):
                return Confirmed(ref)
            case Untold(reason):
                return NotDone(f"not sent: it was not shown whether the message went before ({reason})")
            case NotDone():
                return found
        body = message(document, to, reference(self._settings.service, document))
        return await self._judged(await self._sent("POST", f"{_MESSAGES}/{document.kind}", json=body), subject)

    async def _judged(self, answer: _Answer, subject: str) -> Outcome:
        if not isinstance(answer, httpx.Response):
            return answer
        if answer.is_success:
            said = json_of(answer)
            if isinstance(said, dict) and isinstance(said.get("id"), str):
                self._outage.over()
                return Confirmed(said["id"])
            return said if isinstance(said, Unknown) else Unknown(f"{answer.status_code}, but the answer names no message")
        found = refusal(answer)
        if not found.rule:
            self._outage.met(found.sort, subject)
        return Refused(found.reason)

    # -- reading back ----------------------------------------------------------------------------------------------

    async def read_back(self, batch: Sequence[Write]) -> Sequence[ReadBack]:
        return await self._side_by_side.read_back(self._held, batch)

    async def _held(self, write: Write) -> ReadBack:
        document = write.document
        if document is None:
            return Absent()  # nothing of a message can be taken back
        if document.kind == RECIPIENT:
            return Held(document.body, document.body["to"])
        if write.ref and not write.doubtful:
            return await self._delivered(document, write.ref)
        if _told(write, document):
            return Held(document.body, write.ref or "")
        found = await self._by_reference(document)
        return Untold(found.reason) if isinstance(found, NotDone) else found

    async def _by_reference(self, document: Document) -> Held | Absent | Untold | NotDone:
        """The message that tells of this version, if Notify has it: whether it arrived is another question."""
        handle = reference(self._settings.service, document)
        answer = await self._asked(f"{_MESSAGES}?reference={handle}", f"{_MESSAGES}?reference={{reference}}")
        if not isinstance(answer, httpx.Response):
            return NotDone(f"not sent: {answer.reason}", getattr(answer, "after", None))
        said = json_of(answer)
        listed = said.get("notifications") if answer.is_success and isinstance(said, dict) else None
        if not isinstance(listed, list):
            return Untold(f"the answer lists no messages ({answer.status_code})")
        numbers = [each["id"] for each in listed if each.get("reference") == handle]
        return Held(document.body, numbers[0]) if numbers else Absent()

    async def _delivered(self, document: Document, ref: str) -> ReadBack:
        """A message that was sent, with a word on it if it did not arrive."""
        answer = await self._asked(f"{_MESSAGES}/{ref}", f"{_MESSAGES}/{{id}}")
        if not isinstance(answer, httpx.Response):
            return Untold(answer.reason)
        said = json_of(answer)
        if not answer.is_success or not isinstance(said, dict):
            return Untold(f"Notify shows the message no more, or not now ({answer.status_code})")
        failed = {"delivery": said["status"]} if said.get("status") in _FAILED else {}
        return Held({**document.body, **failed}, ref)

    # -- checks ----------------------------------------------------------------------------------------------------

    async def check(self) -> Sequence[Finding]:
        """Ask for the templates: the key is right if they are shown."""
        what = "the key is taken, and templates are shown"
        try:
            answer = await self._asked("/v2/templates", "/v2/templates")
        except MisconfiguredError as error:
            return [Finding(f"{what}: {error.what}", False, error.fix)]
        if not isinstance(answer, httpx.Response):
            return [Finding(f"{what}: {answer.reason}", False, "try again later")]
        return [Finding(what, answer.is_success, "" if answer.is_success else f"it answers {answer.status_code}")]

    async def fits(self, kind: str, template: str, given: Collection[str]) -> Finding:
        """Tell whether messages of a kind that give these fields fit a template."""
        what = "the template has the fields that it is given"
        try:
            fault = await self._templates.fault(template, kind, given)
        except MisconfiguredError as error:
            return Finding(f"{what}: {error.what}", False, error.fix)
        return Finding(what, fault is None, fault.reason if fault else "")

    # -- the wire --------------------------------------------------------------------------------------------------

    async def _asked(self, path: str, template: str) -> _Answer:
        return await self._sent("GET", path, template)

    async def _sent(self, method: str, path: str, template: str = "", *, json: object = None) -> _Answer:
        url = f"{str(self._settings.base_url).rstrip('/')}{path}"
        request = self._http.build_request(method, url, json=json, extensions={TEMPLATE: template or path})
        answer = await exchange(self._http, request, self._auth, where=self.name)
        if not isinstance(answer, httpx.Response):
            return answer
        fault = trouble(answer, self.name, "check `api_key`, and this machine's clock: Notify allows it 30 seconds")
        if answer.status_code == 429 and isinstance(fault, Unavailable) and fault.after is None:
            return await self._waited(answer, fault)
        return fault or answer

    async def _waited(self, answer: httpx.Response, fault: Unavailable) -> Unavailable:
        after = patience(answer)
        hold = answer.extensions.get(HOLD)
        if after and hold is not None:
            await hold(after)
        return replace(fault, after=after)


def _told(write: Write, document: Document) -> bool:
    """Tell whether the ledger knows that this was told: this version, or one before it in the same words and no others since."""
    known = write.confirmed
    if known is None or document.kind == RECIPIENT or known.kind == RECIPIENT:
        return False
    if known.body["version"] == document.body["version"]:
        return True
    return all(_words(each) == _words(document) for each in (known, *write.doubtful))


def _words(document: Document) -> object:
    return document.kind, document.body["personalisation"], document.body.get("to")
