"""A page of the console declares this: its addresses, what its forms do, and its entry in the navigation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.routing import BaseRoute, Route

from ironbridge.console import access
from ironbridge.console.access import Action, Endpoint, Right


@dataclass(frozen=True, slots=True)
class Entry:
    """A page's entry in the navigation. Entries stand in the order of their `place`, which is any number."""

    place: int
    path: str
    name: str


@dataclass(frozen=True, slots=True)
class Form:
    """A form has the address that it is sent to, the right that this takes, and the function that receives it."""

    path: str
    right: Right
    receive: Action


@dataclass(frozen=True, slots=True)
class ConsolePage:
    """
    One page, with all that belongs to it. `looks` are the addresses that are looked at, which takes the right to look; the
    first one that fits a request answers it. `forms` come from the page's own templates.
    """

    looks: Mapping[str, Endpoint]
    forms: Sequence[Form] = ()
    entry: Entry | None = None

    def routes(self) -> list[BaseRoute]:
        """Its addresses, each guarded by a right."""
        looks = [Route(path, access.page(Right.LOOK, look), methods=["GET"]) for path, look in self.looks.items()]
        forms = [Route(form.path, access.action(form.right, form.receive), methods=["POST"]) for form in self.forms]
        return [*looks, *forms]
