"""
The company behind the Business Central sandbox keeps its records here, by the rules of its pages.

Vendors and purchase documents are whole rows, with their lines and dimension lines within; an operation works on a copy
and puts the copy in its place, in memory and in the file, or raises `ODataError` and leaves no trace.
"""

import copy
import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from flows.business_central.sandbox_wire import LINES_OF, Json, ODataError, priced, taken
from flows.kit.sandbox import Effect, Holdings, Operation, Rate, SandboxSettings, digest_of
from flows.kit.sandbox_faults import Alteration

OWNER_OF = {lines: owner for owner, lines in LINES_OF.items()}
NESTED = {*OWNER_OF, "dimensionLines"}
ROOTS = ("vendors", *LINES_OF)
PARENT = {"dimensionLines": "parentId"} | dict.fromkeys(OWNER_OF, "documentId")
EXTERNAL = {"purchaseInvoices": "vendorInvoiceNumber", "purchaseCreditMemos": "vendorCreditMemoNumber"}
INDEXED = ("id", "number", "code", "vendorId", "vendorInvoiceNumber", "vendorCreditMemoNumber")
_TRIMMED = 10  # characters that are left of a text that the company cuts short by itself
VOLATILE = {"id", "documentId", "parentId", "@odata.etag", "lastModifiedDateTime"}


@dataclass(frozen=True, kw_only=True)
class BusinessCentralSandboxSettings(SandboxSettings):
    """
    `concurrent` requests are worked on at once and `queued` more may wait (operational limits of Business Central
    online); `tax_rates` are percentages by tax code, "" for a line without one.

    `stale_status`: an outdated If-Match is Request_EntityChanged, whose HTTP status is 412 by OData and has been seen
    as 409. `duplicate_status`: a taken number is Internal_EntityWithSameKeyExists, reported live as 400, elsewhere 409.
    `shows_lines`: the answer to a new document with lines shows them, as OData 4.01 asks (part 1, 11.4.2.2); Business Central
    has been seen to leave them out.
    """

    rate: Rate | None = field(default_factory=lambda: Rate(requests=6000, seconds=300))
    concurrent: int = 5
    queued: int = 95
    page_size: int = 20_000
    stale_status: Literal[409, 412] = 412
    duplicate_status: Literal[400, 409] = 400
    shows_lines: bool = False
    company: str = "6b9c2f5e-2f55-4f0c-9d0e-1f7a3c1e5a10"
    tax_rates: Mapping[str, float] = field(default_factory=lambda: {"": 0.0, "VAT20": 20.0, "VAT5": 5.0, "VAT0": 0.0})


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def tag(row: Json) -> str:
    """A weak ETag of everything in a row, its time of change included."""
    return f'W/"{digest_of(json.dumps(row, sort_keys=True))}"'


def content(row: Any) -> Any:
    """A row without what the server makes up anew each time: equal content, equal digest."""
    if isinstance(row, list):
        return [content(item) for item in row]
    if isinstance(row, dict):
        return {name: content(value) for name, value in row.items() if name not in VOLATILE}
    return row


def refused(message: str) -> ODataError:
    return ODataError("Application_DialogException", message)


class SandboxCompany:
    def __init__(
        self,
        held: Holdings,
        settings: BusinessCentralSandboxSettings,
        refused_keys: Callable[[], frozenset[str]],
        alters: Callable[[Alteration], bool],
    ) -> None:
        self._held = held
        self._settings = settings
        self._refused_keys = refused_keys
        self._alters = alters
        self._sets: dict[str, dict[str, Json]] = defaultdict(dict)
        self._index: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        self._document_of: dict[str, tuple[str, str]] = {}  # a line's id: the kind and id of the document that has it
        for kind, rows in held.all().items():
            for row in rows.values():
                self._remember(kind, row)

    def seed(self, accounts: Mapping[str, str], dimensions: Mapping[str, Mapping[str, str]] | None = None) -> None:
        """The company's chart: G/L account number to name, dimension code to its values' codes and names."""
        space = uuid.UUID(self._settings.company)
        for number, name in accounts.items():
            row = {"number": number, "displayName": name, "category": "Expense", "subCategory": "", "blocked": False}
            self._place("accounts", uuid.uuid5(space, f"account/{number}"), row)
        for code, values in (dimensions or {}).items():
            dimension = uuid.uuid5(space, f"dimension/{code}")
            self._place("dimensions", dimension, {"code": code, "displayName": code})
            for value, name in values.items():
                row = {"code": value, "displayName": name, "dimensionId": str(dimension)}
                self._place("dimensionValues", uuid.uuid5(dimension, value), row)

    def _place(self, kind: str, key: uuid.UUID, row: Json) -> None:
        if str(key) not in self._sets[kind]:
            row = {"id": str(key)} | row | {"lastModifiedDateTime": now()}
            row["@odata.etag"] = tag(row)
            self._held.place(kind, str(key), json.dumps(row))
            self._remember(kind, row)

    # Reading

    def rows(self, entity_set: str, parent: Json | None = None) -> Iterable[Json]:
        if entity_set == "dimensionValues" and parent:
            return [row for row in self._sets[entity_set].values() if row["dimensionId"] == parent["id"]]
        if entity_set not in NESTED:
            return self._sets[entity_set].values()
        holders = [parent] if parent else [row for kind in ROOTS for row in self._sets[kind].values()]
        if entity_set == "dimensionLines" and not parent:
            holders += [line for row in holders for lines in OWNER_OF for line in row.get(lines, ())]
        return [line for row in holders for line in row.get(entity_set, ())]

    def row(self, entity_set: str, key: str, parent: Json | None = None) -> Json:
        """The row of a key: an id, `documentId,sequence` for a line, `parentId,id` for a dimension line."""
        key = key.lower()
        if entity_set not in NESTED and key in self._sets[entity_set]:
            return self._sets[entity_set][key]
        if entity_set in NESTED:
            last = "id" if entity_set == "dimensionLines" else "sequence"
            for line in self.rows(
                entity_set, parent or self._sets[OWNER_OF.get(entity_set, "")].get(key.split(",")[0])
            ):
                if key in (line["id"], f"{line[PARENT[entity_set]]},{line[last]}"):
                    return line
        raise ODataError("BadRequest_NotFound", f"There is no row in {entity_set} with this key.", 404)

    def found(self, entity_set: str, name: str, value: str) -> set[str] | None:
        """The keys of the rows whose field is that, whatever the case; None: the field is not indexed."""
        if entity_set in NESTED or name not in INDEXED:
            return None
        return self._index.get((entity_set, name, value.upper()), set())

    # Writing: each gives the row as it is afterwards

    def create(self, request: str, entity_set: str, body: Any, parent: Json | None) -> Json:
        if entity_set in NESTED:
            sent = taken(entity_set, body)
            return self._within(request, parent["id"] if parent else sent.get(PARENT[entity_set], ""), entity_set, sent)
        own, lines_name = dict(body) if isinstance(body, dict) else body, LINES_OF.get(entity_set, "")
        lines = own.pop(lines_name, []) if isinstance(own, dict) else []
        sent = taken(entity_set, own)
        row: Json = {"id": str(uuid.uuid4()), "number": f"S{self._held.sequence + 1:06}"}
        if entity_set == "vendors":
            row |= {"blocked": " ", "taxLiable": False, "balance": 0.0}
        else:
            row |= {"status": "Draft", "currencyCode": "GBP", "pricesIncludeTax": False, lines_name: []}
        row |= sent
        self._settle(entity_set, row, sent)
        for line in lines:
            self._line(row, lines_name, taken(lines_name, line))
        if lines and self._alters("add a line"):
            rental = {"description": "Line rental", "quantity": 1.0, "unitCost": 25.0}
            self._line(row, lines_name, rental | {"accountId": min(self._sets["accounts"])})
        self._put(request, entity_set, row)
        return row

    def change(self, request: str, entity_set: str, row: Json, body: Any) -> Json:
        sent = taken(entity_set, body)
        if entity_set in NESTED:
            kept = {name: row[name] for name in ("id", PARENT[entity_set])}
            old = {name: value for name, value in row.items() if name != "valueId" or "valueCode" not in sent}
            return self._within(request, row[PARENT[entity_set]], entity_set, old | sent | kept, row["id"])
        row = copy.deepcopy(row) | sent
        self._draft(row)
        self._settle(entity_set, row, sent)
        self._put(request, entity_set, row)
        return row

    def delete(self, request: str, entity_set: str, row: Json) -> None:
        if entity_set in NESTED:
            self._within(request, row[PARENT[entity_set]], entity_set, None, row["id"])
            return
        self._draft(row)
        if entity_set == "vendors" and any(self.found(kind, "vendorId", row["id"]) for kind in LINES_OF):
            raise refused("You cannot delete this vendor: there is at least one outstanding purchase document for it.")
        self._put(request, entity_set, row, gone=True)

    def post(self, request: str, entity_set: str, key: str) -> None:
        """The bound action Microsoft.NAV.post: the document becomes an entry in the ledgers and is changed no more."""
        row = copy.deepcopy(self.row(entity_set, key))
        self._draft(row)
        external = EXTERNAL[entity_set]
        if not row.get(external):
            raise ODataError("Application_FieldValidationException", f"{external} must have a value in the document.")
        if not row[LINES_OF[entity_set]]:
            raise refused("There is nothing to post.")
        for other in self.found(entity_set, external, row[external]) or ():
            held = self._sets[entity_set][other]
            if held["vendorId"] == row["vendorId"] and held["status"] == "Open":
                raise refused("A document with this number already exists for this vendor.")
        row["status"] = "Open"
        self._put(request, entity_set, row)

    def _draft(self, row: Json) -> None:
        if row.get("status", "Draft") != "Draft":
            raise refused("The document is posted and cannot be changed.")

    def _settle(self, entity_set: str, row: Json, sent: Json) -> None:
        """Find the vendor by id or number, and refuse what cannot be kept."""
        if {row["number"], row.get(EXTERNAL.get(entity_set, "")), row.get("vendorNumber")} & self._refused_keys():
            raise refused("The sandbox was told to refuse this record.")
        if (self.found(entity_set, "number", row["number"]) or set()) - {row["id"]}:
            self._duplicate(entity_set)
        if entity_set == "vendors":
            return
        named = [name for name in ("vendorId", "vendorNumber") if name in sent]
        if not named and "vendorId" not in row:
            raise refused("A vendorNumber or a vendorID must be provided.")
        for name in named:
            if not (found := self.found("vendors", name[6:].lower(), sent[name])):
                raise refused(f'The "{name}" does not match to a Vendor.')
            row["vendorId"] = min(found)
        vendor = self._sets["vendors"][row["vendorId"].lower()]
        if named and vendor["blocked"] == "All":
            raise refused("You cannot create this type of document: the vendor is blocked with type All.")
        row |= {"vendorId": vendor["id"], "vendorNumber": vendor["number"], "vendorName": vendor.get("displayName", "")}

    def _duplicate(self, entity_set: str) -> None:
        message = f"The record in {entity_set} already exists."
        raise ODataError("Internal_EntityWithSameKeyExists", message, self._settings.duplicate_status)

    def _within(self, request: str, parent: str, entity_set: str, sent: Json | None, old: str | None = None) -> Json:
        """Add, replace (`old`) or drop (`sent` None) a line or a dimension line, and put the row that holds it."""
        parent = parent.lower()
        kind, held, lines = self._holding(entity_set, parent)
        self._draft(held)
        row = copy.deepcopy(held)
        holder = row if not lines else next(line for line in row[lines] if line["id"] == parent)
        holder[entity_set] = [line for line in holder.get(entity_set, ()) if line["id"] != old]
        line = {}
        if sent is not None:
            line = (self._dimension if entity_set == "dimensionLines" else self._line)(holder, entity_set, sent)
        self._put(request, kind, row)
        return line

    def _holding(self, entity_set: str, parent: str) -> tuple[str, Json, str]:
        """The kind and row that hold a parent; the third names the lines it is one of, empty where it is the row."""
        for kind in (OWNER_OF[entity_set],) if entity_set in OWNER_OF else ROOTS:
            if parent in self._sets[kind]:
                return kind, self._sets[kind][parent], ""
        if entity_set == "dimensionLines" and parent in self._document_of:
            kind, document = self._document_of[parent]
            return kind, self._sets[kind][document], LINES_OF[kind]
        raise refused(f'The "{PARENT[entity_set]}" does not match to a record.')

    def _line(self, document: Json, lines_name: str, sent: Json) -> Json:
        lines = document[lines_name]
        last = max((line["sequence"] for line in lines), default=0)
        line: Json = {"id": str(uuid.uuid4()), "sequence": last + 10_000, "quantity": 0.0, "unitCost": 0.0} | sent
        line["documentId"] = document["id"]
        if any(line["sequence"] == other["sequence"] for other in lines):
            self._duplicate(lines_name)
        if line.get("taxCode", "") not in self._settings.tax_rates:
            raise ODataError("Internal_InvalidTableRelation", "The field taxCode cannot be found in the related table.")
        number = line.get("lineObjectNumber") or line.get("lineDetails", {}).get("number")
        if "itemId" in line:
            raise refused('The "itemId" does not match to an Item.')  # the sandbox keeps no items
        if "accountId" in sent or number:
            found = self.found("accounts", *(("id", sent["accountId"]) if "accountId" in sent else ("number", number)))
            if not found:
                raise refused('The "accountId" does not match to an Account.')
            account = self._sets["accounts"][min(found)]
            line["accountId"] = account["id"]
            line.setdefault("lineType", "Account")
            line.setdefault("description", account["displayName"])
        elif line.setdefault("lineType", "Comment") == "Account":
            raise refused('The "accountId" does not match to an Account.')
        if len(line.get("description", "")) > _TRIMMED and self._alters("trim a text"):
            line["description"] = line["description"][:_TRIMMED]
        if line["unitCost"] % 1 and self._alters("round an amount"):
            line["unitCost"] = float(round(line["unitCost"]))
        lines.append(line)
        lines.sort(key=lambda item: item["sequence"])
        return line

    def _dimension(self, holder: Json, entity_set: str, sent: Json) -> Json:
        name, wanted = ("id", sent["id"]) if "id" in sent else ("code", sent.get("code", ""))
        found = self.found("dimensions", name, wanted)
        if not found:
            raise ODataError("Internal_InvalidTableRelation", "The field code cannot be found in the related table.")
        dimension = self._sets["dimensions"][min(found)]
        name, wanted = ("id", sent["valueId"]) if "valueId" in sent else ("code", sent.get("valueCode", ""))
        values = [v for v in self.rows("dimensionValues", dimension) if v[name].upper() == wanted.upper()]
        if not values:
            raise ODataError(
                "Internal_InvalidTableRelation", "The field valueCode cannot be found in the related table."
            )
        if any(line["id"] == dimension["id"] for line in holder[entity_set]):
            self._duplicate(entity_set)
        line = {f"value{field[0].upper()}{field[1:]}": values[0][field] for field in ("id", "code", "displayName")}
        line |= {"parentId": holder["id"]} | {field: dimension[field] for field in ("id", "code", "displayName")}
        if self._alters("drop a dimension"):
            return line | {"@odata.etag": tag(line)}
        holder[entity_set].append(line)
        return line

    def _put(self, request: str, kind: str, row: Json, *, gone: bool = False) -> None:
        old, lines = self._sets[kind].get(row["id"]), row.get(LINES_OF.get(kind, ""), [])
        before = "" if old is None else digest_of(json.dumps(content(old), sort_keys=True))
        operation: Operation = "purge" if gone else "create" if old is None else "update"
        if not gone:
            if kind in LINES_OF:
                priced(row, lines, self._settings.tax_rates)
            row["lastModifiedDateTime"] = now()
            for part in (*(d for x in (*lines, row) for d in x.get("dimensionLines", ())), *lines, row):
                part.pop("@odata.etag", None)
                part["@odata.etag"] = tag(part)
        after = "" if gone else digest_of(json.dumps(content(row), sort_keys=True))
        subject = row.get(EXTERNAL.get(kind, "")) or row["number"]
        text = None if gone else json.dumps(row)
        self._held.keep(request, [Effect(kind, row["id"], subject, operation, text, after, int(before != after))])
        if old is not None:
            self._forget(kind, old)
        if not gone:
            self._remember(kind, row)

    def _remember(self, kind: str, row: Json) -> None:
        self._sets[kind][row["id"]] = row
        for name in INDEXED:
            if name in row:
                self._index[kind, name, row[name].upper()].add(row["id"])
        for line in row.get(LINES_OF.get(kind, ""), ()):
            self._document_of[line["id"]] = kind, row["id"]

    def _forget(self, kind: str, row: Json) -> None:
        del self._sets[kind][row["id"]]
        for name in INDEXED:
            if name in row:
                self._index[kind, name, row[name].upper()].discard(row["id"])
        for line in row.get(LINES_OF.get(kind, ""), ()):
            del self._document_of[line["id"]]
