"""
A service's operations as streams: SOAP, as its WSDL describes it.

An adapter declares its rows (`row_of`), maps each in one function, names both with an operation as a `SoapStream`, and is a
`SoapAdapter`. What an operation gives is read whole, page by page, as a list of a REST service is; every difference is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from adapters.kit.rest import CursorField, Links, Numbered, Offset, RestAdapter, RestStream
from adapters.kit.rest_paging import Paging
from adapters.kit.rows import fields_of
from adapters.kit.soap_client import ITEMS, SoapCall, SoapClient, SoapSettings
from adapters.kit.streams import Map, types_of

__all__ = ["CursorField", "Numbered", "Offset", "SoapAdapter", "SoapSettings", "SoapStream"]


@dataclass(frozen=True, slots=True)
class SoapStream:
    """
    A stream of the items that one operation gives.

    `map` is a function of a module, `def person(source: str, row: Tenant) -> Person`, as in `adapters.kit.sql.SqlStream`.
    `items` is the way to the repeated element within the operation's answer, `GetTenantsResult.Tenant`. `given` are the
    parameters of each call; a name with dots is one within a structure, `request.Status`. `paging` names the parameters by
    which a long list is given in pages; without it one call gives all. `prefix` is the one of `KeysOf`.
    """

    name: str
    map: Map
    operation: str
    items: str
    given: Mapping[str, str] = field(default_factory=dict)
    paging: Paging = field(default=Links())
    prefix: str = ""

    def call(self) -> SoapCall:
        row, _ = types_of(self.name, self.map)
        return SoapCall(self.operation, self.items, tuple(each.column for each in fields_of(row)))

    def listed(self) -> RestStream:
        path = str(httpx.URL(self.name, params=dict(self.given)))
        return RestStream(self.name, self.map, path, self.paging, ITEMS, omits_empty=True, prefix=self.prefix)


class SoapAdapter(RestAdapter):
    """A service whose operations are read as its streams declare. `name` is the source in every key."""

    def __init__(self, name: str, settings: SoapSettings, streams: Sequence[SoapStream]) -> None:
        client = SoapClient(name, settings, {each.name: each.call() for each in streams})
        super().__init__(name, settings, [each.listed() for each in streams], client)
