"""
Documents as Business Central's API has them, and the operations that bring it from what it holds to what it should.

Two editions of the same entities: `openapi`, the shapes of Microsoft's OpenAPI file (a nested address, a line's key is
its document's id and its sequence, dimension lines name their parent), and `v2.0`, the shapes of the resource pages
(https://learn.microsoft.com/dynamics365/business-central/dev-itpro/api-reference/v2.0/). Purchase credit memos are in
the pages only (…/resources/dynamics_purchasecreditmemo and …_purchasecreditmemoline): theirs are the same in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal

from flows.business_central.company import Company
from flows.business_central.documents import (
    CREDIT_MEMO,
    DATE_OF,
    FIELDS_OF,
    INVOICE,
    LINES_OF,
    NUMBER_OF,
    VENDOR,
    money,
)
from flows.business_central.odata import NOT_ITS_FORM, Json, Operation
from flows.kit.odata import literal, query
from flows.port import Body, Document, Holding

Edition = Literal["openapi", "v2.0"]
Flat = dict[str, str]
"""A document's own fields without its lines; an address's parts as `address.city`."""

SET_OF = {VENDOR: "vendors", INVOICE: "purchaseInvoices", CREDIT_MEMO: "purchaseCreditMemos"}
DIMENSIONS_OF: dict[Edition, str] = {"openapi": "dimensionLines", "v2.0": "dimensionSetLines"}
_V2_ADDRESS = {"address.street": "addressLine1", "address.city": "city", "address.postalCode": "postalCode"}
_DATES = {*DATE_OF.values(), "dueDate"}
_NO_DATE = "0001-01-01"  # how Business Central writes an empty date
_LINE_FIELDS = ("lineType", "description", "taxCode")


@dataclass(frozen=True, slots=True)
class HeldRecord:
    """A held record is the one that Business Central holds for a subject; `lines` by sequence, each as the API shows it."""

    ref: str
    tag: str | None
    fields: Flat
    vendor: str | None = None
    lines: Mapping[int, Json] = field(default_factory=dict)
    address: Mapping[str, str] = field(default_factory=dict)
    """The whole address with the parts that are not ours: a PATCH replaces it whole."""


@dataclass(frozen=True, slots=True)
class Plan:
    """
    A plan lists the requests to send now. `follows` are the sequences of the lines that these requests create and whose
    dimensions need the lines' ids. `final`: nothing follows, and the answers show all that was changed. An answer to a
    dimension shows nothing of the line, so the document is looked at afterwards.
    """

    operations: Sequence[Operation]
    final: bool = True
    follows: frozenset[int] = frozenset()


def flat(body: Body) -> Flat:
    """A body's own fields, nested ones by their path; lines left out."""
    found: Flat = {}
    for name, value in body.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{part}": str(inner) for part, inner in value.items()}
        elif isinstance(value, str):
            found[name] = value
    return found


def lines_of(document: Document | None) -> list[Body]:
    return list(document.body.get(LINES_OF.get(document.kind, ""), ())) if document else []


class Wire:
    """Paths, bodies and differences, in one edition of one company's API."""

    def __init__(self, edition: Edition, company: Company) -> None:
        self._edition = edition
        self._company = company
        self._dimensions = DIMENSIONS_OF[edition]

    def fields(self, kind: str) -> set[str]:
        """The fields that a document of this kind may have in this edition."""
        nested = {name for name in FIELDS_OF[kind] if "." in name}
        return FIELDS_OF[kind] - (nested - _V2_ADDRESS.keys() if self._edition == "v2.0" else set())

    # -- looking ---------------------------------------------------------------------------------------------------

    def by_ref(self, kind: str, ref: str) -> Operation:
        return Operation("GET", query(f"{SET_OF[kind]}({ref})", expand=self._expand(kind)))

    def by_number(self, kind: str, numbers: Iterable[str], whose: str | None) -> Operation:
        """Find what has one of these numbers; for a purchase document, from the vendor that `whose` asks for."""
        either = " or ".join(f"{NUMBER_OF[kind]} eq {literal(number)}" for number in sorted(set(numbers)))
        asked = f"({either}) and {whose}" if whose else either
        return Operation("GET", query(SET_OF[kind], filter=asked, expand=self._expand(kind)))

    def listing(self, kind: str) -> str:
        """The path of everything of a kind; the answer's `@odata.nextLink` leads to the next page."""
        return query(SET_OF[kind], expand=self._expand(kind))

    def holding(self, kind: str, shown: Json) -> Holding:
        record = self.record(kind, shown)
        refers = {"vendorId": record.vendor} if record.vendor else {}
        return Holding(kind, record.fields.get(NUMBER_OF[kind], ""), record.ref, refers, record)

    def _expand(self, kind: str) -> str:
        return f"{LINES_OF[kind]}($expand={self._dimensions})" if kind in LINES_OF else ""

    def record(self, kind: str, shown: Json) -> HeldRecord:
        """
        A record as the API shows it.

        :raises ValueError, KeyError, TypeError, AttributeError, ArithmeticError: it does not show one.
        """
        own = dict(shown)
        if kind == VENDOR and self._edition == "v2.0":
            own["address"] = {name.partition(".")[2]: own.pop(v2, "") for name, v2 in _V2_ADDRESS.items()}
        fields = {name: _plain(name, value) for name, value in flat(own).items()}
        lines = {int(line["sequence"]): line for line in shown.get(LINES_OF.get(kind, ""), ())}
        for line in lines.values():  # what is wrong with one is to come out here, not when it is compared
            self._line_body(line, {}, {})
            self._line_place(kind, "", line)
            for held in self._held_dimensions(line).values():
                self._dimension_place(kind, line, held)
        vendor = shown.get("vendorId")
        return HeldRecord(
            ref=str(shown["id"]),
            tag=shown.get("@odata.etag"),
            fields=fields,
            vendor=str(vendor).lower() if vendor else None,
            lines=lines,
            address=own.get("address") or {},
        )

    def body(self, record: HeldRecord, document: Document, earlier: Sequence[Document], vendor: str | None) -> Body:
        """
        Return what is held, cut down to the fields that the document speaks of.

        A field that an earlier document had and this one has no more is spoken of as long as it is not empty there.
        """
        cut: Body = {}
        for name in self._spoken(record, document, earlier):
            outer, _, part = name.partition(".")
            if part:
                cut.setdefault(outer, {})[part] = record.fields.get(name, "")
            else:
                cut[outer] = record.fields.get(name, "")
        if vendor and record.vendor != vendor.lower():
            cut["vendorId"] = record.vendor
        if (lines := LINES_OF.get(document.kind)) is not None:
            wanted, before = _by_sequence([document]), _by_sequence(earlier)
            cut[lines] = [
                self._line_body(line, wanted.get(sequence, {}), before.get(sequence, {}))
                for sequence, line in sorted(record.lines.items())
            ]
        return cut

    def answered(self, shown: Json, document: Document, vendor: str | None) -> Body | None:
        """Return what an answer shows of a document. Lines that it does not show are taken for what was sent."""
        lines = {} if self.shows_lines(shown, document.kind) else _own_lines(document)
        try:
            return self.seen(self.record(document.kind, shown), document, vendor) | lines
        except NOT_ITS_FORM:
            return None

    def shown(
        self, place: str, answers: Iterable[tuple[Operation, Json]], document: Document, vendor: str | None
    ) -> Body | None:
        """
        Return what the answers to changes of a document and of its lines show. What they do not show is taken for what was
        sent.
        """
        wanted, lines, body = _by_sequence([document]), dict[int, Body](), dict(document.body)
        try:
            for operation, there in answers:
                if operation.path == place:
                    body |= self.seen(self.record(document.kind, there), document, vendor) | _own_lines(document)
                elif "sequence" in there and self._of_a_line(operation, document.kind):
                    sent = wanted.get(int(there["sequence"]), {})
                    dimensions = {name: sent[name] for name in ("dimensions",) if name in sent}
                    lines[int(there["sequence"])] = self._line_body(there, sent, {}) | dimensions
        except NOT_ITS_FORM:
            return None
        if lines:
            body[LINES_OF[document.kind]] = [lines.get(line["sequence"], line) for line in lines_of(document)]
        return body

    def shows_lines(self, shown: Json, kind: str) -> bool:
        """Tell whether an answer shows a document whole. Business Central leaves out the lines, OData 4.01 asks for them."""
        return kind not in LINES_OF or bool(shown.get(LINES_OF[kind]))

    def _of_a_line(self, operation: Operation, kind: str) -> bool:
        return LINES_OF.get(kind, "/") in operation.path and self._dimensions not in operation.path

    def seen(
        self, record: HeldRecord, document: Document, vendor: str | None, earlier: Sequence[Document] = ()
    ) -> Body:
        """Return what is held of a document that was just written, with a due date that the company made up."""
        body, due = self.body(record, document, earlier, vendor), record.fields.get("dueDate")
        return body | {"dueDate": due} if due and "dueDate" not in body else body

    def _spoken(self, record: HeldRecord, document: Document, earlier: Sequence[Document]) -> Iterator[str]:
        wanted = flat(document.body)
        yield from wanted
        once = {name for each in earlier for name in flat(each.body)}
        yield from sorted(name for name in once - wanted.keys() if record.fields.get(name))

    def _line_body(self, line: Json, wanted: Body, before: Body) -> Body:
        shown = {
            "sequence": int(line["sequence"]),
            "lineType": str(line.get("lineType", "")),
            "account": self._company.account_number(line.get("accountId")),
            "description": str(line.get("description") or ""),
            "quantity": _whole(line.get("quantity")),
            "unitCost": _amount(line.get("unitCost")),
        }
        if "taxCode" in wanted or ("taxCode" in before and line.get("taxCode")):
            shown["taxCode"] = str(line.get("taxCode") or "")
        held = {code: str(each.get("valueCode", "")).upper() for code, each in self._held_dimensions(line).items()}
        ours = wanted.get("dimensions", {}).keys() | before.get("dimensions", {}).keys()
        if spoken := {code: value for code, value in sorted(held.items()) if code in ours}:
            shown["dimensions"] = spoken
        return shown

    def _held_dimensions(self, line: Json) -> dict[str, Json]:
        return {str(each["code"]).upper(): each for each in line.get(self._dimensions, ())}

    # -- bringing into agreement -----------------------------------------------------------------------------------

    def creation(self, document: Document, vendor: str | None) -> Plan:
        """One POST with the lines in it: Business Central keeps all of it or nothing."""
        body = self._sent(document.kind, flat(document.body), {})
        if vendor:
            body["vendorId"] = vendor
        lines = lines_of(document)
        if lines:
            body[LINES_OF[document.kind]] = [self._new_line(line) for line in lines]
        return _plan([Operation("POST", SET_OF[document.kind], body)], lines)

    def changes(self, record: HeldRecord, document: Document, earlier: Sequence[Document], vendor: str | None) -> Plan:
        """The operations for all that differs; none where nothing does."""
        kind, wanted = document.kind, flat(document.body)
        changed = {
            name: wanted.get(name, _NO_DATE if name in _DATES else "")
            for name in self._spoken(record, document, earlier)
            if wanted.get(name, "") != record.fields.get(name, "")
        }
        header = self._sent(kind, changed, record.address)
        if vendor and record.vendor != vendor.lower():
            header["vendorId"] = vendor
        place = f"{SET_OF[kind]}({record.ref})"
        operations = [Operation("PATCH", place, header, record.tag or "*")] if header else []
        if kind not in LINES_OF:
            return Plan(operations)
        lines = self._line_changes(kind, record, document, earlier)
        dimensions = list(self._dimension_changes(kind, record, document, earlier))
        new = [line for line in lines_of(document) if line["sequence"] not in record.lines]
        return _plan([*operations, *lines, *dimensions], new, told=not dimensions)

    def following(self, record: HeldRecord, document: Document, lines: frozenset[int]) -> Plan:
        """The dimensions of these lines, which were just created; nothing else, whatever the company made of the rest."""
        there = replace(record, lines={sequence: record.lines[sequence] for sequence in lines & record.lines.keys()})
        return Plan(list(self._dimension_changes(document.kind, there, document, ())), final=False)

    def removal(self, kind: str, ref: str, tag: str | None) -> Plan:
        return Plan([Operation("DELETE", f"{SET_OF[kind]}({ref})", etag=tag or "*")])

    def _line_changes(
        self, kind: str, record: HeldRecord, document: Document, earlier: Sequence[Document]
    ) -> Iterator[Operation]:
        wanted, before = _by_sequence([document]), _by_sequence(earlier)
        for sequence, line in record.lines.items():
            if sequence not in wanted:
                yield Operation("DELETE", self._line_place(kind, record.ref, line), etag=line.get("@odata.etag", "*"))
        for sequence, body in wanted.items():
            held_line = record.lines.get(sequence)
            if held_line is None:
                yield Operation("POST", f"{SET_OF[kind]}({record.ref})/{LINES_OF[kind]}", self._new_line(body))
                continue
            held = self._line_body(held_line, body, before.get(sequence, {}))
            differing = {
                name: body.get(name, "")
                for name in held.keys() - {"sequence", "dimensions"}
                if body.get(name, "") != held[name]
            }
            if differing:
                place, tag = self._line_place(kind, record.ref, held_line), held_line.get("@odata.etag", "*")
                yield Operation("PATCH", place, self._line_sent(differing), tag)

    def _line_place(self, kind: str, ref: str, line: Json) -> str:
        if kind == INVOICE and self._edition == "openapi":
            return f"{SET_OF[kind]}({ref})/{LINES_OF[kind]}({ref},{line['sequence']})"
        return f"{LINES_OF[kind]}({line['id']})"

    def _dimension_changes(
        self, kind: str, record: HeldRecord, document: Document, earlier: Sequence[Document]
    ) -> Iterator[Operation]:
        before = _by_sequence(earlier)
        for sequence, body in _by_sequence([document]).items():
            line = record.lines.get(sequence)
            if line is None:
                continue
            wanted, held = body.get("dimensions", {}), self._held_dimensions(line)
            for code, value in wanted.items():
                if code not in held:
                    yield self._new_dimension(kind, line, code, value)
                elif str(held[code].get("valueCode", "")).upper() != value:
                    place = self._dimension_place(kind, line, held[code])
                    yield Operation("PATCH", place, {"valueCode": value}, held[code].get("@odata.etag", "*"))
            for code in sorted(before.get(sequence, {}).get("dimensions", {}).keys() & held.keys() - wanted.keys()):
                place = self._dimension_place(kind, line, held[code])
                yield Operation("DELETE", place, etag=held[code].get("@odata.etag", "*"))

    def _new_dimension(self, kind: str, line: Json, code: str, value: str) -> Operation:
        if self._edition == "v2.0":
            path = f"{LINES_OF[kind]}({line['id']})/{self._dimensions}"
            return Operation("POST", path, {"code": code, "valueCode": value})
        return Operation("POST", self._dimensions, {"parentId": line["id"], "code": code, "valueCode": value})

    def _dimension_place(self, kind: str, line: Json, held: Json) -> str:
        if self._edition == "v2.0":
            return f"{LINES_OF[kind]}({line['id']})/{self._dimensions}({held['id']})"
        return f"{self._dimensions}({line['id']},{held['id']})"

    def _sent(self, kind: str, fields: Flat, address: Mapping[str, str]) -> Json:
        """Fields as the API takes them."""
        sent: Json = {}
        for name, value in fields.items():
            outer, _, part = name.partition(".")
            if not part:
                sent[name] = value
            elif self._edition == "v2.0":
                sent[_V2_ADDRESS[name]] = value
            else:
                sent.setdefault(outer, dict(address))[part] = value
        return sent

    def _new_line(self, line: Body) -> Json:
        return {"sequence": line["sequence"]} | self._line_sent({n: v for n, v in line.items() if n != "sequence"})

    def _line_sent(self, line: Body) -> Json:
        sent: Json = {name: line[name] for name in _LINE_FIELDS if name in line}
        if "account" in line:
            sent["accountId"] = self._company.account_id(line["account"])
        return sent | {name: Decimal(line[name]) for name in ("quantity", "unitCost") if name in line}


def _plan(operations: Sequence[Operation], new: Iterable[Body], *, told: bool = True) -> Plan:
    """The plan of these operations, which create some new lines. `told`: their answers show all that they change."""
    follows = frozenset(line["sequence"] for line in new if line.get("dimensions"))
    return Plan(operations, final=told and not follows, follows=follows)


def _own_lines(document: Document) -> Body:
    return {name: document.body[name] for name in (LINES_OF.get(document.kind, ""),) if name in document.body}


def _by_sequence(documents: Sequence[Document]) -> dict[int, Body]:
    """Lines by sequence; of several documents, what any of them says of a line."""
    found: dict[int, Body] = {}
    for document in documents:
        for line in lines_of(document):
            had = found.get(line["sequence"], {})
            both = had.get("dimensions", {}) | line.get("dimensions", {})
            found[line["sequence"]] = had | line | ({"dimensions": both} if both else {})
    return found


def _plain(name: str, value: str) -> str:
    if name not in _DATES:
        return value
    day = value[:10]  # the OpenAPI file says date-time where the entity has a date
    return "" if day == _NO_DATE else day


def _amount(value: object) -> str:
    """An amount as it stands in a body; one with parts of a penny keeps them, and so differs from any of ours."""
    exact = _number(value)
    return money(exact) if exact == exact.quantize(Decimal("0.01")) else format(exact, "f")


def _whole(value: object) -> int | str:
    exact = _number(value)
    return int(exact) if exact == exact.to_integral_value() else format(exact, "f")


def _number(value: object) -> Decimal:
    exact = Decimal(str(value or 0))
    if not exact.is_finite() or not -20 <= exact.adjusted() <= 20:  # written out, 1E+999999999 would fill the memory
        raise ValueError("is no quantity and no amount")
    return exact
