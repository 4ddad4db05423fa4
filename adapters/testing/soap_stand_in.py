"""A small SOAP service with one operation, shipped for the tests of an adapter: `GetItems(Page, Size)` gives its items."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from lxml import etree

_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_ITEMS = "urn:items"
_TEXT = '<x:element name="{}" type="x:string" minOccurs="0" nillable="true"/>'
_WSDL = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/"
 xmlns:x="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:items" targetNamespace="urn:items">
<types><x:schema targetNamespace="urn:items" elementFormDefault="qualified">
<x:element name="GetItems"><x:complexType><x:sequence>
<x:element name="Page" type="x:int"/><x:element name="Size" type="x:int"/></x:sequence></x:complexType></x:element>
<x:element name="GetItemsResponse"><x:complexType><x:sequence>
<x:element name="Item" minOccurs="0" maxOccurs="unbounded"><x:complexType><x:sequence>{fields}</x:sequence></x:complexType>
</x:element></x:sequence></x:complexType></x:element></x:schema></types>
<message name="Asked"><part name="asked" element="t:GetItems"/></message>
<message name="Told"><part name="told" element="t:GetItemsResponse"/></message>
<portType name="Items"><operation name="GetItems"><input message="t:Asked"/><output message="t:Told"/></operation></portType>
<binding name="ItemsBinding" type="t:Items"><s:binding transport="http://schemas.xmlsoap.org/soap/http" style="document"/>
<operation name="GetItems"><s:operation soapAction=""/>
<input><s:body use="literal"/></input><output><s:body use="literal"/></output>
</operation></binding>
<service name="ItemsService"><port name="ItemsPort" binding="t:ItemsBinding"><s:address location="{where}"/></port></service>
</definitions>"""


class SoapStandIn:
    """Items by number, each with some of these fields as text. `url` is where it listens."""

    def __init__(self, fields: Sequence[str]) -> None:
        self.fields = fields
        self.items: dict[int, dict[str, str]] = {}
        self.url = ""

    def put(self, number: int, **said: str) -> None:
        self.items[number] = said

    def take(self, number: int) -> None:
        del self.items[number]

    @contextmanager
    def running(self) -> Iterator[SoapStandIn]:
        """Serve on a free port of this machine."""
        with make_server("127.0.0.1", 0, self._answer, handler_class=_Quiet) as server:
            self.url = f"http://127.0.0.1:{server.server_port}/items"
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        start("200 OK", [("Content-Type", "text/xml; charset=utf-8")])
        if environ["REQUEST_METHOD"] == "GET":
            fields = "".join(_TEXT.format(name) for name in self.fields)
            return [_WSDL.format(fields=fields, where=self.url).encode()]
        asked = etree.fromstring(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        page, size = (int(asked.findtext(f".//{{{_ITEMS}}}{name}")) for name in ("Page", "Size"))
        return [self._told([self.items[number] for number in sorted(self.items)][(page - 1) * size : page * size])]

    def _told(self, items: Iterable[dict[str, str]]) -> bytes:
        envelope = etree.Element(f"{{{_SOAP}}}Envelope")
        told = etree.SubElement(etree.SubElement(envelope, f"{{{_SOAP}}}Body"), f"{{{_ITEMS}}}GetItemsResponse")
        for each in items:
            item = etree.SubElement(told, f"{{{_ITEMS}}}Item")
            for name in self.fields:
                if name in each:
                    etree.SubElement(item, f"{{{_ITEMS}}}{name}").text = each[name]
        return bytes(etree.tostring(envelope))


class _Quiet(WSGIRequestHandler):
    """Writes no line for each request."""

    def log_message(self, *_: Any) -> None: ...
