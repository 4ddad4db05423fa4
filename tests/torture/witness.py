"""
What the checker compares: the state of each record as a text, read from the legacy systems, from events and from targets.

Written from the systems' manuals, not from the program: only what the torture changes, and what every record must have.
Keys are the canonical ones, which are part of the contract: `liquidlogic:care-episode:1042`, `payables:invoice:INV7`.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from tests.torture.checker import Should, Value

Json = dict[str, Any]
LIQUIDLOGIC, PAYABLES = "liquidlogic", "payables"
DFE, CENTRAL = "dfe_csc", "business_central"


@dataclass(frozen=True, slots=True)
class Watched:
    """A kind of record in the warehouse: its table, and the same fields there, in its events and in a child's record."""

    kind: str
    table: str
    ident: str
    columns: tuple[str, ...]
    fields: tuple[str, ...]
    where: str = "TRUE"
    listed: str = ""
    shown: tuple[str, ...] = ()
    hostile: str = "FALSE"
    """The rows that no program can read as what they should be."""

    def select(self) -> str:
        """Number, child, then the columns."""
        names = ", ".join(f"t.{c}" for c in self.columns)
        return self._of(f"t.{self.ident}, t.DIM_PERSON_ID, {names}", f"NOT coalesce({self.hostile}, FALSE)")

    def select_hostile(self) -> str:
        """Number and child."""
        return self._of(f"t.{self.ident}, t.DIM_PERSON_ID", self.hostile)

    def _of(self, names: str, condition: str) -> str:
        return f"SELECT {names} FROM Child_Social.{self.table} t WHERE t.DIM_PERSON_ID <> -1 AND {self.where} AND {condition}"

    def key(self, number: int) -> str:
        return f"{LIQUIDLOGIC}:{self.kind if self.kind.endswith('-') else f'{self.kind}:'}{number}"


_SPAN, _DATES, _START_END = ("START_DTTM", "END_DTTM"), ("start_date", "end_date"), ("start_date", "end_date")
PERSON = Watched(
    "person", "DIM_PERSON", "DIM_PERSON_ID", ("FORENAME", "SURNAME"), ("names.0.given", "names.0.family"),
    "t.DUPLICATED_DTTM IS NULL AND t.IS_CLIENT = 'Y'", "", ("first_name", "surname"),
)  # fmt: skip
WATCHED = (
    PERSON,
    Watched(
        "care-episode", "FACT_REFERRALS", "FACT_REFERRAL_ID",
        ("REFRL_START_DTTM", "REFRL_END_DTTM", "DIM_LOOKUP_REFRL_ENDRSN_ID_CODE"),
        ("referral_date", "close_date", "close_reason"), "TRUE", "",
        ("referral_date", "closure_date", "closure_reason"), "t.REFRL_END_DTTM > '9999-12-31'",
    ),
    Watched(
        "care-plan:cin-", "FACT_CARE_PLAN_SUMMARY", "FACT_CARE_PLAN_SUMMARY_ID", _SPAN, _DATES,
        "coalesce(t.DIM_LOOKUP_PLAN_STATUS_ID_CODE, 'A') <> 'z' AND EXISTS (SELECT 1 FROM Child_Social.FACT_CARE_PLANS p "
        "WHERE p.FACT_CARE_PLAN_SUMMARY_ID = t.FACT_CARE_PLAN_SUMMARY_ID AND p.DIM_LOOKUP_PLAN_TYPE_ID_CODE = 'FP')",
        "child_in_need_plans:child_in_need_plan_id", _START_END,
    ),
    Watched(
        "care-plan:cp-", "FACT_CP_PLAN", "FACT_CP_PLAN_ID", _SPAN, _DATES, "TRUE",
        "child_protection_plans:child_protection_plan_id", _START_END, "t.END_DTTM < '0001-01-01'",
    ),
    Watched(
        "section-47-enquiry", "FACT_S47", "FACT_S47_ID", _SPAN, _DATES, "TRUE",
        "section_47_assessments:section_47_assessment_id", _START_END,
    ),
    Watched("placement", "FACT_CLA_PLACEMENT", "FACT_CLA_PLACEMENT_ID", _SPAN, _DATES),
    Watched("involvement", "FACT_INVOLVEMENTS", "FACT_INVOLVEMENTS_ID", _SPAN, _DATES),
)  # fmt: skip
EPISODE = WATCHED[1]
_BLOCKS = {w.listed.split(":")[0]: w for w in WATCHED if w.listed}
_ENTITIES: dict[str, tuple[str, ...]] = {w.kind.split(":")[0]: w.fields for w in WATCHED}


def text(value: Any) -> str:
    """One field: dates as days (1900-01-01 is none), texts without the blanks around them."""
    if isinstance(value, datetime):
        value = value.date()
    if isinstance(value, date):
        return "-" if value <= date(1900, 1, 1) else value.isoformat()
    return "-" if value is None else str(value).strip() or "-"


def joined(values: Iterable[Any]) -> str:
    return "|".join(text(value) for value in values)


@dataclass
class Snapshot:
    """The legacy systems at one moment: each watched key's state, whose it is, and who is certainly of the DfE's cohort."""

    states: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    certain: set[str] = field(default_factory=set)
    unsaid: set[str] = field(default_factory=set)
    partly: set[str] = field(default_factory=set)
    """The children of whom some record cannot be read."""

    def rows(self, watched: Watched, rows: Iterable[Sequence[Any]]) -> None:
        for number, child, *values in rows:
            key = watched.key(number)
            self.states[key] = joined(values)
            self.owners[key] = f"{LIQUIDLOGIC}:person:{child}"

    def hostile(self, watched: Watched, rows: Iterable[tuple[int, int]]) -> None:
        for number, child in rows:
            self.unsaid.add(watched.key(number))
            self.partly.add(f"{LIQUIDLOGIC}:person:{child}")

    def cohort(self, people: Iterable[tuple[int, datetime | None]], referred: Iterable[tuple[int, datetime | None]]) -> None:
        """Clearly in it: under 20, and referred within the last 300 days."""
        now = datetime.now()
        young = {n for n, born in people if born is not None and timedelta(days=30) < now - born < timedelta(days=20 * 365)}
        recent = {n for n, at in referred if at is not None and timedelta(0) <= now - at < timedelta(days=300)}
        self.certain = {f"{LIQUIDLOGIC}:person:{n}" for n in young & recent}

    def extract(self, content: bytes) -> None:
        """The invoices of an ERP extract, and its suppliers; one of which a row cannot be read is unsaid."""
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
        by_number: dict[str, list[dict[str, str]]] = defaultdict(list)
        for row in rows:
            by_number[row["Invoice No"]].append(row)
            self.states.setdefault(f"{PAYABLES}:supplier:{row['Supplier No']}", row["Supplier Name"])
        for number, lines in by_number.items():
            state = _document(lines)
            key = f"{PAYABLES}:{'credit-note' if number.startswith('CRN') else 'invoice'}:{number}"
            if state is None:
                self.unsaid.add(key)
            else:
                self.states[key] = state


def _document(lines: Sequence[Mapping[str, str]]) -> str | None:
    try:
        net = sum(Decimal(line["Net Amount"]) for line in lines)
        for line in lines:
            datetime.strptime(line["Invoice Date"], "%d/%m/%Y")
            if Decimal(line["Net Amount"]) + Decimal(line["VAT Amount"]) != Decimal(line["Gross Amount"]):
                return None
        due = datetime.strptime(lines[0]["Due Date"], "%d/%m/%Y").date()
    except (InvalidOperation, ValueError):
        return None
    return joined([lines[0]["Supplier No"], due, f"{abs(net):.2f}"])


# -- events ----------------------------------------------------------------------------------------------------------


def of_event(entity: str, data: Json) -> str:
    """The state that an event tells, in the same words."""
    if entity in ("invoice", "credit-note"):
        net = sum(Decimal(line["net"]) for line in data["lines"])
        return joined([data["supplier"].rpartition(":")[2], data.get("due_date"), f"{abs(net):.2f}"])
    if entity == "supplier":
        return text(data["name"])
    return joined(_at(data, path) for path in _ENTITIES.get(entity, ()))


def _at(data: Any, path: str) -> Any:
    for step in path.split("."):
        if isinstance(data, list):
            data = data[int(step)] if int(step) < len(data) else None
        else:
            data = (data or {}).get(step)
    return data


# -- targets ---------------------------------------------------------------------------------------------------------


def of_child(record: Json) -> dict[str, str]:
    """The records that a child's document at the DfE tells of."""
    person = f"{LIQUIDLOGIC}:person:{record['la_child_id']}"
    parts = {person: joined(record.get("child_details", {}).get(name) for name in PERSON.shown)}
    for episode in record.get("social_care_episodes", ()):
        key = f"{LIQUIDLOGIC}:care-episode:{episode['social_care_episode_id']}"
        parts[key] = joined(episode.get(name) for name in EPISODE.shown)
        parts |= dict(_blocks(episode))
    return parts


def _blocks(episode: Json) -> Iterator[tuple[str, str]]:
    for name, watched in _BLOCKS.items():
        for block in episode.get(name, ()):
            number = block[watched.listed.split(":")[1]]
            kind = watched.kind.split(":")[0]
            yield f"{LIQUIDLOGIC}:{kind}:{number}", joined(block.get(field) for field in watched.shown)


def of_purchase(kind: str, row: Json) -> dict[str, str]:
    """The record that a document in Business Central tells of."""
    if kind == "vendors":
        return {f"{PAYABLES}:supplier:{row['number']}": text(row.get("displayName"))}
    number, lines, entity = {
        "purchaseInvoices": ("vendorInvoiceNumber", "purchaseInvoiceLines", "invoice"),
        "purchaseCreditMemos": ("vendorCreditMemoNumber", "purchaseCreditMemoLines", "credit-note"),
    }[kind]
    net = sum(Decimal(str(line["unitCost"])) * Decimal(str(line["quantity"])) for line in row.get(lines, ()))
    due = (row.get("dueDate") or "")[:10] or None
    return {f"{PAYABLES}:{entity}:{row[number]}": joined([row.get("vendorNumber"), due, f"{abs(net):.2f}"])}


NEXT_PHONE, NEXT_LINE, NEXT_POSTCODE = "01952 884391", " *", "ZE1 0AA"


def release_of(kind: str, row: Json) -> str | None:
    """The release that wrote a document as it stands, by the field that differs in the later one; None: some of each."""
    if kind == "vendors":
        return "next" if row.get("phoneNumber") == NEXT_PHONE else ""
    if "child_details" in row:
        return "next" if row["child_details"].get("postcode") == NEXT_POSTCODE else ""
    lines = next((row[name] for name in ("purchaseInvoiceLines", "purchaseCreditMemoLines") if name in row), ())
    marked = {str(line.get("description", "")).endswith(NEXT_LINE) for line in lines}
    return {frozenset({True}): "next", frozenset({False}): ""}.get(frozenset(marked))


_NUMBERED = re.compile(rf"{PAYABLES}:(supplier:V|invoice:INV|credit-note:CRN)\d+")


def watched(key: str) -> bool:
    """Whether the history tells of this key: payments lists and looked-after children are not followed."""
    if key.startswith(PAYABLES):
        return _NUMBERED.fullmatch(key) is not None
    rest = key.partition(":")[2]
    return any(rest.startswith(w.kind if w.kind.endswith("-") else f"{w.kind}:") for w in WATCHED)


def should(snapshot: Snapshot, ever: Iterable[str]) -> dict[str, dict[str, Should]]:
    """What each target should hold now, by the key of its subject; `ever`: all keys that there ever were."""
    children: dict[str, dict[str, str]] = defaultdict(dict)
    shown = {w.kind.split(":")[0] for w in WATCHED if w.shown}
    for key, state in snapshot.states.items():
        if key.startswith(LIQUIDLOGIC) and key.split(":")[1] in shown:
            children[snapshot.owners[key]][key] = state
    dfe, central = {}, {}
    for key in ever:
        if key.startswith(f"{LIQUIDLOGIC}:person:"):
            there = key in snapshot.states
            dfe[key] = Should(children[key] if there else {}, key in snapshot.certain, key not in snapshot.partly)
        elif _NUMBERED.fullmatch(key):
            state: Value = snapshot.states.get(key)
            central[key] = Should({} if state is None else {key: state})
    return {DFE: dfe, CENTRAL: central}
