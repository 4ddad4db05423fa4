"""`check` looks here at what an environment says of itself: tables, alternate keys, rights and choices. It changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any, Final

from canonical.errors import MisconfiguredError
from canonical.finding import Finding
from flows.kit.odata import ODataTable
from flows.port import Body

OptionSets = Mapping[str, Mapping[str, Collection[int]]]
"""Values of choices, by table and column."""

_NEEDED: Final = {"Create", "Read", "Write", "Delete"}
_BOUND: Final = {"Append"}
_PRIVILEGES = "systemusers({})/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()"
_TABLE = (
    "EntityDefinitions(LogicalName='{}')?$select=LogicalName,EntitySetName,IsOptimisticConcurrencyEnabled,Privileges"
    "&$expand=Keys($select=LogicalName,KeyAttributes,EntityKeyIndexStatus)"
)
_CHOICE = (
    "EntityDefinitions(LogicalName='{}')/Attributes(LogicalName='{}')/Microsoft.Dynamics.CRM.{}AttributeMetadata"
    "?$select=LogicalName&$expand=OptionSet($select=Options)"
)
_FIELDS = (
    "EntityDefinitions(LogicalName='{}')?$select=LogicalName&$expand=Attributes($select=LogicalName)"
    ",ManyToOneRelationships($select=ReferencingEntityNavigationPropertyName)"
)
_SORTS = {"statecode": "State", "statuscode": "Status"}
_ROLE = "give the application user a security role with this right"


class Metadata:
    """Reads the metadata of an environment. `read` gives the answer of an address, or the reason, as text, why there is none."""

    def __init__(self, name: str, read: Callable[[str, str], Awaitable[Body | str]]) -> None:
        self._name = name
        self._read = read

    async def privileges(self) -> tuple[frozenset[str] | None, Finding]:
        """The ids of what the application user may do; None where that cannot be read."""
        what = "the application user and its rights"
        me = await self._read("WhoAmI()", "/WhoAmI()")
        if isinstance(me, str):
            return None, Finding(f"{what}: {me}", False, "check base_url, and that the application is a user of the environment")
        held = await self._read(_PRIVILEGES.format(me.get("UserId")), _PRIVILEGES)
        if isinstance(held, str):
            return None, Finding(f"{what}: {held}", False, "let the application user read its own security roles")
        return frozenset(str(each.get("PrivilegeId")) for each in _rows(held, "RolePrivileges")), Finding(what, True)

    async def table(self, kind: str, table: ODataTable, may: frozenset[str]) -> list[Finding]:
        """The findings on one table."""
        said = await self._read(_TABLE.format(kind), "/EntityDefinitions({name})")
        if isinstance(said, str):
            return [Finding(f"table {kind}: {said}", False, "check the table's logical name")]
        findings = [each for part in (_named, _keyed, _concurrent) for each in part(kind, table, said)]
        return findings + _allowed(kind, table, said, may)

    async def fields(self, kind: str) -> frozenset[str]:
        """
        The columns of a table, and the navigation properties of its lookups.

        :raises MisconfiguredError: they cannot be read.
        """
        said = await self._read(_FIELDS.format(kind), "/EntityDefinitions({name})")
        if isinstance(said, str):
            fix = "check the table's logical name, and that the application user may read its definition"
            raise MisconfiguredError(self._name, f"table {kind}: {said}", fix=fix)
        columns = {str(each.get("LogicalName")) for each in _rows(said, "Attributes")}
        names = (each.get("ReferencingEntityNavigationPropertyName") for each in _rows(said, "ManyToOneRelationships"))
        return frozenset(columns.union(map(str, names)))

    async def choice(self, kind: str, column: str, values: Collection[int]) -> Finding:
        """Whether a choice has all these values."""
        what = f"choice {kind}.{column}"
        path = _CHOICE.format(kind, column, _SORTS.get(column, "Picklist"))
        said = await self._read(path, "/EntityDefinitions({name})/Attributes")
        if isinstance(said, str):
            return Finding(f"{what}: {said}", False, "check the column's name in the flow's settings")
        options = said.get("OptionSet")
        there = {each.get("Value") for each in _rows(options if isinstance(options, dict) else {}, "Options")}
        missing = sorted(set(values) - there)
        fix = "choose values that the column has, in the flow's settings" if missing else ""
        return Finding(f"{what}: has no value {missing[0]}" if missing else what, not missing, fix)


def _rows(of: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    rows = of.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _named(kind: str, table: ODataTable, said: Body) -> Iterator[Finding]:
    if said.get("EntitySetName") != table.entity_set:
        yield Finding(f"table {kind}: its name in addresses is another one", False, "set entity_set to its EntitySetName")


def _keyed(kind: str, table: ODataTable, said: Body) -> Iterator[Finding]:
    """An alternate key is used only once its index is built (`EntityKeyIndexStatus`)."""
    what = f"alternate key of {kind}: {', '.join(table.key)}"
    ours = [each for each in _rows(said, "Keys") if set(each.get("KeyAttributes") or ()) == set(table.key)]
    status = ours[0].get("EntityKeyIndexStatus") if ours else None
    if not ours:
        yield Finding(f"{what}: there is none", False, "make an alternate key of these columns")
    elif status == "Active":
        yield Finding(what, True)
    elif status == "Failed":
        yield Finding(f"{what}: its index failed", False, "remove doubled or odd values of it, then reactivate the key")
    else:
        yield Finding(f"{what}: its index is not built yet", False, "wait until its status is Active")


def _concurrent(kind: str, table: ODataTable, said: Body) -> Iterator[Finding]:
    what = f"optimistic concurrency of {kind}"
    well = said.get("IsOptimisticConcurrencyEnabled") is True
    yield Finding(what if well else f"{what}: it is off", well, "" if well else "switch it on for the table")


def _allowed(kind: str, table: ODataTable, said: Body, may: frozenset[str]) -> list[Finding]:
    needed = _NEEDED | (_BOUND if table.lookups else set())
    there = {str(each.get("PrivilegeType")): str(each.get("PrivilegeId")) for each in _rows(said, "Privileges")}
    missing = sorted(right for right in needed if there.get(right) not in may)
    if not missing:
        return [Finding(f"rights in {kind}", True)]
    return [Finding(f"rights in {kind}: {right} is missing", False, _ROLE) for right in missing]
