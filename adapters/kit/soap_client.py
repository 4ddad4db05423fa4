"""
Calls the operations of a SOAP service: writes requests as its WSDL says, and reads answers and faults.

zeep reads the WSDL and writes the requests. We read the answers, because zeep gives nothing for a value that it cannot read, and
writes the value to the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx
from lxml import etree

from adapters.kit.rest_client import RestClient, RestSettings
from canonical.errors import IronbridgeError, MisconfiguredError, UnavailableError

ITEMS = "items of the answer"
"""Under this name an answer's body has the items of its list."""

_CALLS = httpx.URL("call:/")
_STALE = 3600.0  # seconds after which the WSDL is read again
_MOST_DOCUMENTS = 100  # of a WSDL, with all that it imports
_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_CREDENTIALS = {"FailedAuthentication", "FailedCheck", "InvalidSecurity", "InvalidSecurityToken", "Authentication"}
_OURS = {"Client", "Sender", "MustUnderstand", "VersionMismatch", "DataEncodingUnknown"}
_THEIRS = {"Server", "Receiver"}
_SAFELY: dict[str, Any] = {
    "resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False, "recover": False,
    "remove_comments": True, "remove_pis": True,
}  # fmt: skip


class SignedBy(StrEnum):
    """The way in which a service learns `username` and `password`."""

    BASIC = "basic"
    """A header of HTTP."""

    TEXT = "text"
    """A username token of WS-Security with the password as it is: only over TLS."""

    DIGEST = "digest"
    """A username token of WS-Security with a digest of the password, a nonce and the time."""


class SoapSettings(RestSettings):
    """
    These settings say where a SOAP service is, how we sign in, and how often its operations are called.

    `url` is the address that calls go to, whatever the WSDL says. The WSDL is at `url`?wsdl, or in `wsdl_file`.
    `signed_by` says how `username` and `password` are sent: `basic`, or as a username token of WS-Security, `text` or
    `digest`. `port` is the name of the WSDL's port, if it has several. All else is as for a REST service.
    """

    wsdl_file: Path | None = None
    signed_by: SignedBy = SignedBy.BASIC
    port: str | None = None

    @property
    def basic(self) -> bool:
        return self.signed_by is SignedBy.BASIC


@dataclass(frozen=True, slots=True)
class SoapCall:
    """An operation, the way to the items in its answer, and the columns that they must have."""

    operation: str
    items: str
    columns: tuple[str, ...]


class SoapClient(RestClient):
    """
    Calls operations. `calls` has them by name; the address `NAME?parameter=value` stands for one call, so that lists are paged
    as those of other services are.
    """

    def __init__(self, where: str, settings: SoapSettings, calls: Mapping[str, SoapCall]) -> None:
        super().__init__(where, settings)
        self._soap = settings
        self._calls = calls
        self._wsdl: _Wsdl | None = None
        self._read_at = 0.0

    async def open(self) -> None:
        self._wsdl = None
        await super().open()

    def url(self, path: str, page: httpx.URL | None = None) -> httpx.URL:
        return _CALLS.join(path)

    async def get(self, url: httpx.URL, headers: dict[str, str] | None = None) -> httpx.Response:
        """
        Call an operation; the answer's items and the rest of it are `json`.

        :raises UnavailableError: there is no answer now, or the service says that the fault is its own.
        :raises MisconfiguredError: it does not let us in, or its WSDL and the adapter do not fit.
        """
        call = self._calls[url.path.strip("/")]
        wsdl = await self._described()
        wsdl.insist_on(call)
        envelope, sent = wsdl.request(call.operation, _nested(url.params))
        sent |= {"Accept": "text/xml, application/soap+xml"}
        answer = await self.ask("POST", httpx.URL(str(self._soap.url)), sent, etree.tostring(envelope, encoding="utf-8"))
        if "xml" not in answer.headers.get("content-type", ""):
            self.judged(answer)
            raise UnavailableError(self.where, f"answers {answer.status_code}, but not with XML", fix="check `url`")
        body = await asyncio.to_thread(self._body, answer, call)
        return httpx.Response(200, extensions={"body": body})

    def json(self, response: httpx.Response) -> Any:
        return response.extensions["body"]

    def _body(self, answer: httpx.Response, call: SoapCall) -> dict[str, Any]:
        content = _first(self._root(answer), "Body")
        said = content[0] if content is not None and len(content) else None
        if said is not None and _name(said) == "Fault":
            self._wsdl = None  # it may be another one since
            raise self._fault(said, call)
        self.judged(answer)
        if said is None:
            raise UnavailableError(self.where, f"{call.operation} answers with an empty envelope")
        items = _taken(said, call.items)
        rest = _value(said)
        return {**(rest if isinstance(rest, dict) else {}), ITEMS: items}

    def _root(self, answer: httpx.Response) -> Any:
        """:raises UnavailableError: the answer is no XML, or has a document type, which may hide or fetch anything."""
        try:
            root = etree.fromstring(answer.content, etree.XMLParser(**_SAFELY))
        except etree.XMLSyntaxError as error:
            what = f"answers {answer.status_code} with broken XML (line {error.lineno or 0})"
            raise UnavailableError(self.where, what) from None
        if root.getroottree().docinfo.doctype:
            raise UnavailableError(self.where, "answers with a document type, which SOAP forbids; it is not read")
        return root

    def _fault(self, fault: Any, call: SoapCall) -> IronbridgeError:
        """Tell what a fault means by its codes. Its sentences may name people, and are not repeated."""
        told = [e.text or "" for e in fault.iter() if isinstance(e.tag, str) and _name(e) in ("faultcode", "Value")]
        codes = {word for text in told for word in text.strip().rpartition(":")[2].split(".")}
        known = " ".join(sorted(codes & (_CREDENTIALS | _OURS | _THEIRS))) or "of an unknown code"
        what = f"{call.operation} answers with a fault ({known})"
        if codes & _CREDENTIALS:
            fix = f"check `username`, `password` and `signed_by`; then run `ironbridge check {self.where}`"
            return MisconfiguredError(self.where, what, fix=fix)
        if codes & _OURS:
            return MisconfiguredError(self.where, what, fix="check the stream's `given` and `paging` against the WSDL")
        return UnavailableError(self.where, what, fix="look into the service's own log, which has the fault's sentence")

    async def _described(self) -> _Wsdl:
        """The service's WSDL with all that it imports."""
        if self._wsdl is None or time.monotonic() - self._read_at > _STALE:
            self._wsdl, self._read_at = await self._loaded(), time.monotonic()
        return self._wsdl

    async def _loaded(self) -> _Wsdl:
        location = httpx.URL(str(self._soap.url)).copy_with(query=b"wsdl")
        documents: dict[str, bytes] = {}
        if self._soap.wsdl_file is not None:
            documents[str(location)] = await asyncio.to_thread(self._file, self._soap.wsdl_file)
        while len(documents) < _MOST_DOCUMENTS:
            try:
                return await asyncio.to_thread(_Wsdl, self.where, str(location), documents, self._soap)
            except _LackingError as lacking:
                documents[lacking.url] = await self._document(lacking.url)
        raise MisconfiguredError(self.where, f"its WSDL imports more than {_MOST_DOCUMENTS} documents", fix="use `wsdl_file`")

    def _file(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            what = f"its WSDL cannot be read ({type(error).__name__})"
            raise MisconfiguredError(self.where, what, fix="check `wsdl_file`") from None

    async def _document(self, url: str) -> bytes:
        answer = self.judged(await self.ask("GET", super().url(url)))
        if answer.status_code != 200:
            fix = "check `url`, or name a copy of the WSDL in `wsdl_file`"
            raise MisconfiguredError(self.where, f"gives no WSDL ({answer.status_code})", fix=fix)
        return answer.content


class _LackingError(Exception):
    """A document of the WSDL was not fetched yet."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class _Documents:
    """Gives zeep the documents that were fetched, and nothing else: it connects to nothing."""

    def __init__(self, documents: Mapping[str, bytes]) -> None:
        self._documents = documents

    def load(self, url: str) -> bytes:
        if url not in self._documents:
            raise _LackingError(url)
        return self._documents[url]


class _Wsdl:
    """
    A service's WSDL.

    :raises MisconfiguredError: it is none, or has a document type.
    """

    def __init__(self, where: str, location: str, documents: Mapping[str, bytes], settings: SoapSettings) -> None:
        import zeep
        from zeep.exceptions import Error
        from zeep.wsse.username import UsernameToken

        self._where = where
        self._errors = (Error, ValueError, TypeError, AttributeError, KeyError)
        signed: Any = UsernameToken
        connected: Any = zeep.Client
        token = None
        if not settings.basic and settings.username and settings.password:
            digest = settings.signed_by is SignedBy.DIGEST
            token = signed(settings.username, settings.password.get_secret_value(), use_digest=digest)
        careful = zeep.Settings(strict=True, forbid_dtd=True, forbid_entities=True, xml_huge_tree=False)
        try:
            self._client = connected(location, token, _Documents(documents), port_name=settings.port, settings=careful)
            self._binding = self._client.service._binding
        except (*self._errors, etree.LxmlError) as error:
            what = f"its WSDL cannot be read ({type(error).__name__})"
            raise MisconfiguredError(where, what, fix="look at it in a browser; name a mended copy in `wsdl_file`") from None

    def insist_on(self, call: SoapCall) -> None:
        """:raises MisconfiguredError: the WSDL lacks the operation, or its answer lacks the items or a column of them."""
        operations = self._binding._operations
        if call.operation not in operations:
            raise self._unfit(f"has no operation {call.operation}", operations)
        body = operations[call.operation].output.body
        here = getattr(body, "type", None)
        if here is None:
            return  # an answer in the manner of RPC does not say it in one element
        for name in call.items.split("."):
            found = dict(getattr(here, "elements", ()))
            if name not in found:
                raise self._unfit(f"{call.operation} gives no {call.items}: there is no {name}", found)
            here = found[name].type
        has = {name.casefold() for name, _ in getattr(here, "elements", ())}
        lacking = [each for each in call.columns if each.split(".")[0].casefold() not in has]
        if has and lacking:
            raise self._unfit(f"the items of {call.operation} have no {', '.join(lacking)}", has)

    def request(self, operation: str, given: Mapping[str, Any]) -> tuple[Any, dict[str, str]]:
        """
        The envelope and the headers of a call.

        :raises MisconfiguredError: the operation has no such parameters.
        """
        try:
            envelope, headers = self._binding._create(operation, (), given, client=self._client)
        except self._errors as error:
            what = f"{operation} cannot be called with {', '.join(given) or 'no parameter'} ({type(error).__name__})"
            fix = "name its parameters in `given` and `paging` as the WSDL does"
            raise MisconfiguredError(self._where, what, fix=fix) from None
        return envelope, dict(headers)

    def _unfit(self, what: str, there: Any) -> MisconfiguredError:
        fix = f"compare the adapter with the WSDL, which may have changed; it has: {', '.join(sorted(there)) or 'nothing'}"
        return MisconfiguredError(self._where, what, fix=fix)


def _nested(params: httpx.QueryParams) -> dict[str, Any]:
    """Parameters by name, those with dots within structures."""
    given: dict[str, Any] = {}
    for name, value in params.items():
        *way, last = name.split(".")
        here = given
        for part in way:
            here = here.setdefault(part, {})
        here[last] = value
    return given


def _name(element: Any) -> str:
    return str(etree.QName(element).localname)


def _first(element: Any, name: str) -> Any:
    return next((each for each in element if _name(each) == name), None)


def _taken(element: Any, path: str) -> list[Any]:
    """Take the items at the end of a way out of an answer; none if a part of the way is left out, as an empty list is."""
    *way, last = path.split(".")
    for name in way:
        element = _first(element, name)
        if element is None:
            return []
    found = [each for each in element if _name(each) == last]
    for each in found:
        element.remove(each)
    return [value if isinstance(value := _value(each), dict) else {} for each in found]


def _value(element: Any) -> Any:
    """An element's text, or its own elements by name; several of one name are a list."""
    if element.get(_NIL) in ("true", "1"):
        return None
    if not len(element):
        return element.text or ""
    inside: dict[str, Any] = {}
    for each in element:
        name, value = _name(each), _value(each)
        had = inside.get(name)
        inside[name] = value if name not in inside else [*had, value] if isinstance(had, list) else [had, value]
    return inside
