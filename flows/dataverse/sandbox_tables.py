"""The tables of the invented environment: their columns, choices, lookups and keys, and what is wrong with a row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, NamedTuple

Json = dict[str, Any]
KEY = "cr1_ironbridgekey"
Sort = Literal["text", "choice", "day", "amount"]


class DataverseError(Exception):
    """The environment refuses a request. Codes are those of the Web API's pages; where they name none it is empty."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status = status
        self.body: Json = {"error": {"code": code, "message": message}}
        super().__init__(message)


class SandboxColumn(NamedTuple):
    sort: Sort = "text"
    length: int = 100
    options: tuple[int, ...] = ()


@dataclass(frozen=True)
class SandboxTable:
    """A table. `states` gives the statuses of each state; `resolved` are states that only an action of the system sets."""

    name: str
    entity_set: str
    columns: Mapping[str, SandboxColumn]
    lookups: Mapping[str, str] = field(default_factory=dict)
    key: tuple[str, ...] = (KEY,)
    states: Mapping[int, tuple[int, ...]] = field(default_factory=lambda: {0: (1,), 1: (2,)})
    resolved: frozenset[int] = frozenset()
    wants_one_of: tuple[str, ...] = ()
    """One of these lookups must be there in a new row."""

    def checked(self, body: Json) -> None:
        """:raises DataverseError: the body cannot be written to a row of this table."""
        for name in body:
            if name in self.key:
                raise DataverseError(400, "0x80040216", f"The key attribute '{name}' must not be part of the content.")
            lookup = name.removesuffix("@odata.bind")
            if lookup == name and name not in self.columns and name not in ("statecode", "statuscode"):
                message = f"Could not find a property named '{name}' on type 'Microsoft.Dynamics.CRM.{self.name}'."
                raise DataverseError(400, "0x80048d19", f"Error identified in Payload provided by the user: {message}")
            if lookup != name and lookup not in self.lookups:
                raise DataverseError(400, "0x80048d19", f"The navigation property '{lookup}' is not declared.")
        for name, column in self.columns.items():
            if body.get(name) is not None:
                _CHECKS[column.sort](name, column, body[name])
        self._stated(body)

    def _stated(self, body: Json) -> None:
        state, status = body.get("statecode"), body.get("statuscode")
        if state is None and status is None:
            return
        if status not in self.states.get(-1 if state is None else state, ()):
            raise DataverseError(400, "0x80048408", f"{status} is not a valid status code for state code {state} of {self.name}.")
        if state in self.resolved:
            raise DataverseError(400, "", f"The statecode of {self.name} is set to resolved by an action alone.")

    def definition(self) -> Json:
        """Its `EntityDefinition`, as far as it is asked for."""
        rights = ("Create", "Read", "Write", "Delete", "Append", "AppendTo")
        keys = {"LogicalName": "cr1_key", "KeyAttributes": list(self.key), "EntityKeyIndexStatus": "Active"}
        columns = [*self.columns, *self.key, f"{self.name}id", "statecode", "statuscode"]
        return {
            "Attributes": [{"LogicalName": each} for each in columns],
            "ManyToOneRelationships": [{"ReferencingEntityNavigationPropertyName": each} for each in self.lookups],
            "LogicalName": self.name, "EntitySetName": self.entity_set, "IsOptimisticConcurrencyEnabled": True, "Keys": [keys],
            "Privileges": [{"PrivilegeType": r, "Name": f"prv{r}{self.name}", "PrivilegeId": f"{r}-{self.name}"} for r in rights],
        }  # fmt: skip

    def options(self, column: str) -> list[Json]:
        every = [status for statuses in self.states.values() for status in statuses]
        values = {"statecode": list(self.states), "statuscode": every}.get(column)
        return [{"Value": value} for value in (self.columns[column].options if values is None else values)]


def _text(name: str, column: SandboxColumn, value: Any) -> None:
    if not isinstance(value, str):
        raise DataverseError(400, "0x80048d19", f"Cannot convert a value of '{name}' to type 'Edm.String'.")
    if len(value) > column.length:
        raise DataverseError(400, "0x80044331", f"The length of the '{name}' attribute exceeds the maximum of {column.length}.")


def _choice(name: str, column: SandboxColumn, value: Any) -> None:
    if type(value) is not int:
        raise DataverseError(400, "0x80048d19", f"Cannot convert a value of '{name}' to type 'Edm.Int32'.")
    if value not in column.options:
        accepted = ",".join(map(str, column.options))
        raise DataverseError(400, "0x8004431a", f"The value of '{name}' is outside the valid range. Accepted Values: {accepted}")


def _day(name: str, column: SandboxColumn, value: Any) -> None:
    try:
        well = bool(re.fullmatch(r"\d{4}-\d\d-\d\d", value)) and date.fromisoformat(value).year >= 1753
    except (TypeError, ValueError):
        well = False
    if not well:
        raise DataverseError(400, "0x80048d19", f"Cannot convert a value of '{name}' to type 'Edm.Date'.")


def _amount(name: str, column: SandboxColumn, value: Any) -> None:
    if isinstance(value, bool | str):
        raise DataverseError(400, "0x80048d19", f"Cannot convert a value of '{name}' to type 'Edm.Decimal'.")


_CHECKS: Mapping[Sort, Callable[[str, SandboxColumn, Any], None]] = {
    "text": _text, "choice": _choice, "day": _day, "amount": _amount,
}  # fmt: skip
_REACHED = {
    "telephone1": SandboxColumn(length=50), "emailaddress1": SandboxColumn(length=100),
    **{f"address1_line{n}": SandboxColumn(length=250) for n in (1, 2, 3)},
    "address1_city": SandboxColumn(length=80), "address1_postalcode": SandboxColumn(length=20),
}  # fmt: skip

CONTACT = SandboxTable(
    "contact", "contacts",
    {
        "firstname": SandboxColumn(length=50), "lastname": SandboxColumn(length=50), "salutation": SandboxColumn(length=100),
        "middlename": SandboxColumn(length=50), "suffix": SandboxColumn(length=10), "jobtitle": SandboxColumn(length=100),
        "department": SandboxColumn(length=100), "mobilephone": SandboxColumn(length=50),
        "description": SandboxColumn(length=2000),
        "birthdate": SandboxColumn("day"), "gendercode": SandboxColumn("choice", options=(1, 2)), **_REACHED,
    },
)  # fmt: skip
ACCOUNT = SandboxTable(
    "account", "accounts",
    {
        "name": SandboxColumn(length=160), "accountnumber": SandboxColumn(length=20), "websiteurl": SandboxColumn(length=200),
        "description": SandboxColumn(length=2000),
        "customertypecode": SandboxColumn("choice", options=tuple(range(1, 13))), **_REACHED,
    },
    {"primarycontactid": "contact"},
)  # fmt: skip
INCIDENT = SandboxTable(
    "incident", "incidents",
    {
        "title": SandboxColumn(length=200), "description": SandboxColumn(length=2000),
        "casetypecode": SandboxColumn("choice", options=(1, 2, 3)), "prioritycode": SandboxColumn("choice", options=(1, 2, 3)),
    },
    {"customerid_contact": "contact", "customerid_account": "account"},
    states={0: (1, 2, 3, 4), 1: (5, 1000), 2: (6, 2000)}, resolved=frozenset({1}),
    wants_one_of=("customerid_contact", "customerid_account"),
)  # fmt: skip
TENANCY = SandboxTable(
    "cr1_tenancy", "cr1_tenancies",
    {"cr1_name": SandboxColumn(length=100), "cr1_start": SandboxColumn("day"), "cr1_rent": SandboxColumn("amount")},
    {"cr1_Tenant": "contact"},
)  # fmt: skip
"""A table of a council's own, as `settings.sample.toml` has it."""
TABLES = (CONTACT, ACCOUNT, INCIDENT, TENANCY)


def lookups_of(table: SandboxTable, body: Json) -> Iterator[tuple[str, Any]]:
    """The lookups that a body sets, each with the address that it is bound to (None: cleared)."""
    for name, value in body.items():
        if (lookup := name.removesuffix("@odata.bind")) in table.lookups and lookup != name:
            yield lookup, value
