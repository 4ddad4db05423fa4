"""
This module asks a company for what only it knows: the ids of its accounts and the values of its dimensions, read once
and kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flows.business_central.odata import GARBLED, NO_COMPANY, NOT_ITS_FORM, Answer, Json, Service, no_company
from flows.kit.odata import query
from flows.port import Body, NotDone, Unavailable


class Company:
    """
    Accounts and dimension values by code. The API only reads dimensions: people make them in Business Central.

    They are read when first needed, and again where a document names a code that is not among them: somebody may have
    made it since. A dimension's values are read once a document has named the dimension.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._wanted: set[str] = set()
        self._accounts: dict[str, str] = {}
        self._numbers: dict[str, str] = {}
        self._values: dict[str, frozenset[str]] = {}

    def account_id(self, number: str) -> str:
        """The id of an account that `missing` did not name."""
        return self._accounts[number.upper()]

    def account_number(self, account_id: str | None) -> str:
        """The number of an account, the id itself where nobody knows it."""
        return self._numbers.get(str(account_id).lower(), str(account_id))

    @property
    def dimensions(self) -> frozenset[str]:
        """The codes of those wanted dimensions that the company has."""
        return frozenset(self._values)

    def missing(self, lines: Iterable[Body]) -> str | None:
        """The first field of a document's lines whose code the company does not have."""
        for line in lines:
            if line["account"].upper() not in self._accounts:
                return f"lines[{line['sequence']}].account"
            for code, value in line.get("dimensions", {}).items():
                if value not in self._values.get(code, ()):
                    return f"lines[{line['sequence']}].dimensions.{code}"
        return None

    async def know(self, documents: Sequence[Sequence[Body]], dimensions: Iterable[str] = ()) -> Unavailable | None:
        """
        Read accounts and dimension values where they were not yet, or where one of the documents, or `dimensions`, names a
        code that is not known.
        """
        unknown = {*dimensions} - self._values.keys()
        if self._accounts and not unknown and not any(self.missing(lines) for lines in documents):
            return None
        self._wanted |= unknown.union(*(line.get("dimensions", {}) for lines in documents for line in lines))
        try:
            return await self._read()
        except NOT_ITS_FORM:
            return NotDone(f"accounts and dimensions cannot be read: {GARBLED}")

    async def _read(self) -> Unavailable | None:
        accounts = await self._all(query("accounts", select="id,number"))
        if not isinstance(accounts, list):
            return accounts
        dimensions = await self._all(query("dimensions", select="id,code")) if self._wanted else []
        if not isinstance(dimensions, list):
            return dimensions
        values: dict[str, frozenset[str]] = {}
        for dimension in dimensions:
            if (code := str(dimension["code"]).upper()) in self._wanted:
                found = await self._all(query(f"dimensions({dimension['id']})/dimensionValues", select="code"))
                if not isinstance(found, list):
                    return found
                values[code] = frozenset(str(value["code"]).upper() for value in found)
        self._values = values
        self._accounts = {str(a["number"]).upper(): str(a["id"]).lower() for a in accounts}
        self._numbers = {number: account for account, number in self._accounts.items()}
        return None

    async def _all(self, path: str) -> list[Json] | Unavailable:
        """Every row of a collection, page after page."""
        rows: list[Json] = []
        url: str | None = path
        seen: set[str] = set()
        while url:
            if url in seen:
                return NotDone("accounts and dimensions cannot be read: their pages go round in a circle")
            seen.add(url)
            reply = await self._service.get(url)
            if not isinstance(reply, Answer):
                # Reading leaves nothing in doubt.
                return NotDone(reply.reason, reply.after if isinstance(reply, Unavailable) else None)
            if reply.code == NO_COMPANY:
                raise no_company(self._service.name)
            if not reply.well:
                return NotDone(f"accounts and dimensions cannot be read: {reply.status} {reply.code}", reply.wait)
            rows += reply.rows()
            url = reply.body.get("@odata.nextLink")
        return rows
