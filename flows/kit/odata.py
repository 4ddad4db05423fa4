"""
OData for all targets that speak it: exact numbers in JSON, addresses by key, and one record a document (`ODataTarget`).

Source of the rules: OData 4.01, part 1 (protocol) and part 2 (URL conventions).
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, Field

from canonical.errors import MisconfiguredError
from flows.kit.records import RecordPlace, RecordTarget
from flows.port import (
    Absent,
    Body,
    Document,
    Held,
    NotDone,
    Outcome,
    ReadBack,
    Refused,
    Unavailable,
    Unknown,
    Waiting,
    Write,
)


def encoded(value: Any) -> str:
    """JSON in which a Decimal is a number with exactly its digits; `json` itself would make it a float."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(k))}:{encoded(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(encoded, value)) + "]"
    return json.dumps(value)


def decoded(text: str | bytes) -> Any:
    """
    Read JSON; a number with a point becomes a Decimal with exactly its digits.

    :raises ValueError: it is none, or nested too deep.
    """
    try:
        return json.loads(text, parse_float=Decimal)
    except RecursionError:
        raise ValueError("nested too deep") from None


def literal(value: str) -> str:
    """A string in an OData filter: quoted, with its own quotes doubled."""
    doubled = value.replace("'", "''")
    return f"'{doubled}'"


_PLAIN = "(),$='*"


def query(path: str, **options: str) -> str:
    """A path with system query options: `query("vendors", filter="…")` gives `vendors?$filter=…`."""
    asked = "&".join(f"${name}={quote(value, safe=_PLAIN)}" for name, value in options.items() if value)
    return f"{path}?{asked}" if asked else path


def code_of(answer: httpx.Response) -> str:
    """
    The code of an answer's error; empty if it has none. The message beside it may quote the record and is never repeated.
    """
    try:
        said = json.loads(answer.content)["error"]["code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return said if isinstance(said, str) and re.fullmatch(r"\w{1,80}", said) else ""


Column = Annotated[str, Field(pattern=r"^[A-Za-z_]\w{0,127}$")]
"""A column's name, which stands in addresses as it is."""


class ODataTable(BaseModel):
    """
    A table that documents of one kind are written to: where it lies, and by which key a record of it is found.

    A document's number is the value of the key; the values of a key with several columns are joined by colons.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    entity_set: Column
    """The table's name in addresses, e.g. `contacts`."""
    key: Annotated[tuple[Column, ...], Field(min_length=1)]
    """The columns of the key."""
    whole: frozenset[Column] = frozenset()
    """The columns of the key that hold whole numbers."""
    lookups: dict[Column, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    """Navigation properties with one value, each with the kind of document that it refers to."""
    amounts: frozenset[Column] = frozenset()
    """Columns whose values are texts in documents (`12.30`) and exact numbers there."""

    def record(self, number: str) -> str:
        """
        The address of a record, relative to the service: `contacts(key='A1')`.

        :raises ValueError: the number is no value of the key.
        """
        values = number.split(":")
        if len(values) != len(self.key):
            raise ValueError("has not as many parts as the key has columns")
        parts = ",".join(f"{column}={self._value(column, value)}" for column, value in zip(self.key, values, strict=True))
        return f"{self.entity_set}({parts})"

    def _value(self, column: str, value: str) -> str:
        if column not in self.whole:
            return quote(literal(value), safe="'")
        if not re.fullmatch(r"-?[0-9]{1,18}", value):
            raise ValueError(f"{column}: is no whole number")
        return value

    def columns(self, names: Iterable[str], lookups: Iterable[str], of: Mapping[str, ODataTable]) -> str:
        """The query that asks a record for these columns, and for the keys of the records that it refers to."""
        expand = ",".join(f"{name}($select={','.join(of[self.lookups[name]].key)})" for name in sorted(lookups))
        return query("", select=",".join(sorted(names)) or self.key[0], expand=expand)

    def number(self, record: Mapping[str, Any]) -> str:
        """The number of a record of this table that is shown with its key."""
        return ":".join(str(record.get(column)) for column in self.key)


class ODataTarget(RecordTarget):
    """
    A target whose API is OData, with upserts (`PATCH` of a record by its key).

    The key stands in the address only, never in the body. A change of a record whose tag is known sends only the columns that
    differ, with `If-Match`; everything else sends all of them. A column that an earlier document had and this one has no more
    is emptied. What a document refers to is bound by its key (`@odata.bind`); if the target turns the document down and does
    not hold the other record, the document waits for it. Reading back compares the references, too.
    """

    method = "PATCH"
    root: str
    """The service's root, without a slash at its end."""
    tables: Mapping[str, ODataTable]
    """The tables by the kind of document that is written to them."""
    headers: Mapping[str, str] = {"Accept": "application/json", "OData-Version": "4.0", "OData-MaxVersion": "4.0"}
    """Every request has these headers."""

    @abstractmethod
    def unfit(self, number: str) -> str:
        """Tell why the service cannot be asked for a record of this number; empty if it can."""

    def table(self, kind: str) -> ODataTable:
        """
        The table of a kind of document.

        :raises MisconfiguredError: the settings name none.
        """
        if kind not in self.tables:
            raise MisconfiguredError(self.name, f"no table is named for documents of the kind {kind}", fix="name it in `tables`")
        return self.tables[kind]

    def place(self, kind: str, number: str) -> RecordPlace:
        table = self.table(kind)
        try:
            return RecordPlace(f"{self.root}/{table.record(number)}", f"/{table.entity_set}({{key}})")
        except ValueError as error:
            raise MisconfiguredError(self.name, f"a document of the kind {kind}: its number {error}", fix=_KEY) from None

    # -- writing ---------------------------------------------------------------------------------------------------

    async def _agree(self, write: Write) -> Outcome:
        if write.document is not None and (why := self._wrong(write.document)):
            return Refused(why)
        return await super()._agree(write)

    def _wrong(self, document: Document) -> str:
        """Say what no request can be made of; empty if all is well."""
        table = self.table(document.kind)
        if twice := sorted(set(table.key) & document.body.keys()):
            return f"{twice[0]}: is a column of the key, which stands in the address alone"
        if unknown := sorted(document.refers.keys() - table.lookups.keys()):
            return f"{unknown[0]}: the table has no such lookup in the settings"
        try:
            table.record(document.number)
            exact = {name: _exact(document.body[name]) for name in table.amounts & document.body.keys()}
        except ValueError as error:
            return f"the number or an amount of the document: {error}"
        return self.unfit(document.number) or ("an amount: is no number" if None in exact.values() else "")

    def sent(self, write: Write, document: Document) -> Body:
        table = self.table(document.kind)
        empty = dict.fromkeys(name for old in _earlier(write, document) for name in old.body if name not in document.body)
        body = empty | _changed(write, document) or dict(document.body)
        amounts = {name: _exact(body[name]) for name in table.amounts & body.keys() if body[name] is not None}
        gone = {name for old in _earlier(write, document) for name in old.refers} - document.refers.keys()
        return body | amounts | {f"{name}@odata.bind": None for name in gone} | self._bound(table, write)

    def _bound(self, table: ODataTable, write: Write) -> Body:
        return {f"{nav}@odata.bind": self.table(table.lookups[nav]).record(ref) for nav, ref in write.refs.items()}

    async def turned_down(self, write: Write, document: Document, answer: httpx.Response) -> Outcome:
        if answer.status_code in self.crossed:
            return self._refused(answer)
        for name, subject in document.refers.items():
            if isinstance(await self._there(document.kind, name, write), Absent):
                return Waiting(on=subject)
        if answer.status_code == 404 and write.tag:
            return Unknown("somebody deleted the record there since it was read (404)")
        if answer.status_code == 404:
            raise MisconfiguredError(self.name, f"there is no table {self.table(document.kind).entity_set} (404)", fix=_KEY)
        return Refused(self.reason(document, answer))

    async def _there(self, kind: str, lookup: str, write: Write) -> ReadBack:
        referred = self.table(kind).lookups[lookup]
        return await self._told(Document(referred, write.refs.get(lookup, ""), {}))

    def reason(self, document: Document, answer: httpx.Response) -> str:
        """
        Tell people why a document was refused: the status, the code, and those of our own columns that the message names.
        """
        named = [name for name in (*document.body, *document.refers) if re.search(rf"\b{re.escape(name)}\b", answer.text)]
        fields = f"{', '.join(named)}: " if named else ""
        return f"{fields}{self.refusal(answer)}"

    # -- reading back ----------------------------------------------------------------------------------------------

    async def _found(self, write: Write) -> ReadBack:
        wanted = write.document
        if wanted is None or self._wrong(wanted):
            return await super()._found(replace(write, document=None) if wanted else write)
        earlier = _earlier(write, wanted)
        body = {name: None for old in earlier for name in old.body} | wanted.body
        refers = {name: subject for old in earlier for name, subject in old.refers.items()} | dict(wanted.refers)
        told = await super()._found(replace(write, document=Document(wanted.kind, wanted.number, body, refers)))
        if not isinstance(told, Held):
            return told
        bound = {name: write.refs.get(name) for name in refers}
        spoken = {
            name: value
            for name, value in told.body.items()
            if (value != bound[name] if name in bound else value is not None or name in wanted.body)
        }
        return replace(told, body=spoken)

    def shown(self, answer: Body, document: Document) -> Body:
        table = self.table(document.kind)
        body = super().shown(answer, document)
        amounts = {name: _as_written(body[name], document.body[name]) for name in table.amounts & body.keys()}
        held = {name: answer[name] for name in document.refers if name in answer}
        refs = {name: self.table(table.lookups[name]).number(other) if other else None for name, other in held.items()}
        return body | amounts | refs

    def tag(self, answer: httpx.Response, record: Body | None) -> str | None:
        tag = (record or {}).get("@odata.etag")
        return tag if isinstance(tag, str) else super().tag(answer, record)

    # -- the wire --------------------------------------------------------------------------------------------------

    async def _sent(
        self, method: str, document: Document, *, json: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response | NotDone | Unavailable | Unknown:
        url, template = self.place(document.kind, document.number)
        lookups = document.refers if method == "GET" else ()
        asked = self.table(document.kind).columns(document.body, lookups, self.tables) if method != "DELETE" else ""
        return await self._exchanged(method, url + asked, template, json=json, headers=headers)

    async def _exchanged(
        self, method: str, url: str, template: str, **content: Any
    ) -> httpx.Response | NotDone | Unavailable | Unknown:
        headers = {**self.headers, **(content.pop("headers", None) or {})}
        body = content.pop("json", None)
        if body is None:
            return await super()._exchanged(method, url, template, headers=headers)
        headers |= {"Content-Type": "application/json", "Prefer": "return=representation"}  # no GET may prefer that
        return await super()._exchanged(method, url, template, headers=headers, content=encoded(body).encode())


_KEY = "check the table's name and its key in `tables`, then run `ironbridge check`"


def _earlier(write: Write, document: Document) -> list[Document]:
    """The documents that the record may hold by now, besides the one that is wanted."""
    known = [each for each in (write.confirmed, *write.doubtful) if each]
    return [each for each in known if (each.kind, each.number) == (document.kind, document.number)]


def _changed(write: Write, document: Document) -> Body:
    """The columns that differ from what was confirmed; all of them if it is not certain what the record holds."""
    had = write.confirmed
    if not write.tag or write.doubtful or had is None or (had.kind, had.number) != (document.kind, document.number):
        return dict(document.body)
    return {name: value for name, value in document.body.items() if had.body.get(name) != value}


def _exact(value: Any) -> Decimal | None:
    """An amount's text as a number; None if it is none."""
    try:
        exact = Decimal(str(value))
    except InvalidOperation:
        return None
    return exact if exact.is_finite() and -20 <= exact.adjusted() <= 20 else None


def _as_written(shown: Any, wanted: Any) -> Any:
    """An amount as the document writes it, if it is the same amount."""
    exact = _exact(shown) if isinstance(shown, Decimal | int | float | str) else None
    return wanted if exact is not None and exact == _exact(wanted) else shown
