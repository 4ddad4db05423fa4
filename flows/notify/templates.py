"""Notify's templates: which fields each wants, asked once in ten minutes."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, NamedTuple

import httpx

from canonical.errors import MisconfiguredError
from flows.kit.http import json_of
from flows.port import NotDone, Refused, Unavailable, Unknown

_KEPT = 600.0  # seconds; people change templates while we run
Ask = Callable[[str, str], Awaitable[httpx.Response | NotDone | Unavailable | Unknown]]


class Template(NamedTuple):
    """A template of Notify: its kind, and the fields that a message must give."""

    kind: str
    wants: Mapping[str, str]
    """The fields as people wrote them, by the form in which Notify compares them."""

    def fault(self, kind: str, given: Collection[str]) -> str:
        """Say what is wrong with a message of this kind that gives these fields; empty if nothing is."""
        if self.kind != kind:
            return f"the template is for {self.kind}, and the message is {kind}"
        has = {_compared(name) for name in given}
        missing = sorted(written for name, written in self.wants.items() if name not in has)
        return f"personalisation: the template wants `{missing[0]}`, which is not given" if missing else ""


class Templates:
    """Asks for templates with the function that it is given, and keeps them for a while."""

    def __init__(self, where: str, ask: Ask) -> None:
        self._where = where
        self._ask = ask
        self._known: dict[str, tuple[float, Template]] = {}

    async def fault(self, number: str, kind: str, given: Collection[str]) -> Refused | NotDone | None:
        """
        Say whether a message fits its template: None if it does.

        :raises MisconfiguredError: the service has no such template.
        """
        template = await self.get(number)
        if isinstance(template, NotDone):
            return template
        fault = template.fault(kind, given)
        return Refused(fault) if fault else None

    async def get(self, number: str) -> Template | NotDone:
        asked, template = self._known.get(number, (0.0, None))
        if template and time.monotonic() - asked < _KEPT:
            return template
        answer = await self._ask(f"/v2/template/{number}", "/v2/template/{id}")
        if not isinstance(answer, httpx.Response):
            return NotDone(f"not sent: the template was not shown ({answer.reason})", getattr(answer, "after", None))
        said = json_of(answer)
        if answer.status_code == 404 and isinstance(said, dict):
            raise MisconfiguredError(
                self._where, "the service has no such template", fix="check `template`, and whose service the key is of"
            )
        if not answer.is_success or not isinstance(said, dict):
            return NotDone(f"not sent: the template was not shown ({answer.status_code})")
        template = _template(said)
        self._known[number] = time.monotonic(), template
        return template


def _template(said: Mapping[str, Any]) -> Template:
    fields = said.get("personalisation") or {}
    wants = {_compared(name): name for name, about in fields.items() if about.get("required", True)}
    return Template(str(said.get("type", "")), wants)


def _compared(name: str) -> str:
    """Notify takes no notice of a field's case, spaces, hyphens and underscores."""
    return re.sub(r"[\s_-]", "", name).lower()
