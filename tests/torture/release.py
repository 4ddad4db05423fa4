"""
A later release of both targets' mappings: it writes one field of each document differently. It has another edition, because
`NextFlow` is part of its code.

`witness.release_of` tells by that field which of the two releases wrote a document.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import flows.business_central
import flows.dfe_csc
from flows.port import Body, Document, Facts, Flow, Nothing
from flows.systems import FlowSystem
from tests.torture.witness import NEXT_LINE, NEXT_PHONE, NEXT_POSTCODE


def install() -> None:
    """From now on this process runs the later release."""
    for package in (flows.business_central, flows.dfe_csc):
        shipped = package.system.flow
        assert shipped is not None
        package.system = replace(package.system, flow=replace(shipped, build=_next(shipped)))  # type: ignore[misc]


def _next(shipped: FlowSystem) -> Callable[[str, Any, Any], Flow]:
    return lambda name, settings, there: NextFlow(shipped.build(name, settings, there))


class NextFlow:
    """The shipped flow, except for one field of each document. Everything else is passed on to the shipped one."""

    def __init__(self, shipped: Any) -> None:
        self._shipped = shipped

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shipped, name)

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        found: Document | Nothing | None = self._shipped.desired(subject, facts)
        return replace(found, body=_changed(found)) if isinstance(found, Document) else found


def _changed(document: Document) -> Body:
    body = dict(document.body)
    if document.kind == "vendor":
        return body | {"phoneNumber": NEXT_PHONE}
    if document.kind == "child":
        return body | {"child_details": body["child_details"] | {"postcode": NEXT_POSTCODE}}
    (lines,) = [name for name in body if name.endswith("Lines")]
    return body | {lines: [line | {"description": f"{line['description'][:90]}{NEXT_LINE}"} for line in body[lines]]}
