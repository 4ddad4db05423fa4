"""A small SOAP service with one operation, for tests. spyne, which is not ours, describes and speaks it."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it is old, and names modules that Python 3.12 does without
    from spyne import (
        Application,
        Array,
        Boolean,
        ComplexModel,
        Date,
        DateTime,
        Fault,
        Integer,
        ServiceBase,
        Unicode,
        rpc,
    )
    from spyne import Decimal as Number
    from spyne.protocol.soap import Soap11, Soap12
    from spyne.server.wsgi import WsgiApplication

# Its copy of six would be asked for each module that is imported from now on, in a way that ends in a warning.
sys.meta_path[:] = [each for each in sys.meta_path if type(each).__module__ != "spyne.util.six"]

KINDS = {int: Integer, str: Unicode, date: Date, datetime: DateTime, Decimal: Number, bool: Boolean}
Told = dict[str, Any]
Start = Callable[..., Any]


class SoapService:
    """
    Items of some fields by number, given by the operation `GetItems(page, size)` below `GetItemsResult.Item`.

    `fields` has the types of an item's fields. `fault` is a code and a sentence with which it answers. `spoil` changes the bytes
    of each answer. `lets_in` decides by a request's headers and body; `asked` counts the calls, `where` is its address.
    """

    def __init__(self, fields: Mapping[str, type], version: str = "1.1") -> None:
        self.fields = dict(fields)
        self.items: dict[int, Told] = {}
        self.fault: tuple[str, str] | None = None
        self.spoil: Callable[[bytes], bytes] = bytes
        self.lets_in: Callable[[Mapping[str, Any], bytes], bool] = lambda _, __: True
        self.asked = 0
        self.where = ""
        self._version = version
        self._app: Callable[..., Iterable[bytes]] | None = None

    def put(self, number: int, **said: Any) -> None:
        self.items[number] = {"id": number, **said}

    def describe(self) -> None:
        """Describe it anew, after `fields` were changed."""
        item = type(ComplexModel)("Item", (ComplexModel,), {name: KINDS[kind] for name, kind in self.fields.items()})

        def GetItems(_: Any, page: int | None, size: int | None) -> list[Any]:  # noqa: N802 (the operation's name)
            self.asked += 1
            if self.fault is not None:
                raise Fault(*self.fault)
            begin, many = ((page or 1) - 1) * (size or 0), size or len(self.items)
            told = [self.items[number] for number in sorted(self.items)][begin : begin + many]
            return [item(**{name: each.get(name) for name in self.fields}) for each in told]

        listed = rpc(Integer, Integer, _returns=Array(item))(GetItems)
        service = type(ServiceBase)("Items", (ServiceBase,), {"GetItems": listed})
        soap = {"1.1": Soap11, "1.2": Soap12}[self._version]
        self._app = WsgiApplication(Application([service], "urn:items", in_protocol=soap(validator="soft"), out_protocol=soap()))

    @contextmanager
    def running(self) -> Iterator[SoapService]:
        """Serve on a free port of this machine."""
        self.describe()
        with make_server("127.0.0.1", 0, self._answered, handler_class=_Silent) as server:
            self.where = f"http://127.0.0.1:{server.server_port}/items"
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()

    def _answered(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        assert self._app is not None
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if not self.lets_in(environ, body):
            start("401 Unauthorized", [("Content-Type", "text/plain")])
            return [b""]
        told: list[Any] = []
        asked = {**environ, "wsgi.input": BytesIO(body)}
        pieces = b"".join(self._app(asked, lambda *given: told.extend(given)))
        pieces = self.spoil(pieces)
        start(told[0], [(name, value) for name, value in told[1] if name.lower() != "content-length"])
        return [pieces]


class _Silent(WSGIRequestHandler):
    """Writes no line for each request."""

    def log_message(self, *_: Any) -> None: ...
