"""
Dataverse, written one record a request: an upsert by alternate key, which can be repeated, and whose answer is its own.

Source: the pages on the Web API and on service protection limits at https://learn.microsoft.com/power-apps/developer/data-platform/.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

import httpx

from canonical.connect.oauth import OAuthClient
from canonical.errors import MisconfiguredError
from canonical.finding import Finding
from flows.dataverse.metadata import Metadata, OptionSets
from flows.dataverse.settings import DataverseSettings
from flows.kit.http import ClientCredentials
from flows.kit.odata import ODataTarget, code_of
from flows.kit.records import RecordAccess
from flows.port import Body, Document, Outcome, Refused, Unavailable, Unknown, Write

UNADDRESSABLE: Final = frozenset('/<>*%&:\\?+')
"""Signs that no value of an alternate key may hold if a record is to be found by it."""

LIMITS: Final = {
    "0x80072322": "more than 6,000 requests in 300 seconds",
    "0x80072321": "more than 20 minutes of execution time in 300 seconds",
    "0x80072326": "more than 52 requests at once",
}
"""The service protection limits, by the code of the answer 429."""

_RIGHTS = "give the application user a security role that lets it create, read, write, append and delete in these tables"


class DataverseTarget(ODataTarget):
    """One environment, whose tables are those of the settings. A kind of document is a table's logical name."""

    def __init__(self, name: str, settings: DataverseSettings, http: httpx.AsyncClient) -> None:
        client = OAuthClient(name, str(settings.token_url), settings.client_id, settings.client_secret, settings.scope)
        self._credentials = ClientCredentials(client)
        super().__init__(name, settings.limits, RecordAccess(http, self._credentials))
        self.root = str(settings.base_url).rstrip("/")
        self.tables = settings.every_table
        self.headers = {**ODataTarget.headers, "If-None-Match": "null"}  # or a cache on the way may answer

    def unfit(self, number: str) -> str:
        parts = number.split(":")
        if any(UNADDRESSABLE & set(part) for part in parts):
            return "the number: holds a sign that Dataverse finds no record by; use `flows.kit.plain.short_name`"
        return "the number: a value of the key is empty" if "" in parts else ""

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        outcomes = await super().write(batch)
        if len(outcomes) > 1 and all(isinstance(each, Refused) and each.reason.startswith("403") for each in outcomes):
            raise MisconfiguredError(self.name, "does not allow us this (403)", fix=_RIGHTS)
        return outcomes

    def troubled(self, answer: httpx.Response) -> Unavailable | Unknown | None:
        code = code_of(answer)
        if answer.status_code == 403 and code:
            return None  # Dataverse itself says so of this one record: rights may differ from row to row
        said = super().troubled(answer)
        return replace(said, reason=f"429: {LIMITS[code]}") if isinstance(said, Unavailable) and code in LIMITS else said

    def reason(self, document: Document, answer: httpx.Response) -> str:
        return self.refusal(answer) if answer.status_code == 403 else super().reason(document, answer)

    def refusal(self, answer: httpx.Response) -> str:
        said = f"{answer.status_code} {code_of(answer) or 'no error code'}"
        return f"{said}: the application user may not do this to the record" if answer.status_code == 403 else said

    # -- checking --------------------------------------------------------------------------------------------------

    async def check(self) -> Sequence[Finding]:
        """Look at the token, the tables, their alternate keys, optimistic concurrency, and what the application user may do."""
        metadata = Metadata(self.name, self._read)
        try:
            if trouble := await self._credentials.obtain(self._access.http):
                return [Finding(f"no token: {trouble.reason}", False, "try again later")]
            may, finding = await metadata.privileges()
            if may is None:
                return [finding]
            return [finding, *[each for kind, table in self.tables.items() for each in await metadata.table(kind, table, may)]]
        except MisconfiguredError as error:
            return [Finding(error.what, False, error.fix)]

    async def columns(self, kind: str) -> Collection[str] | None:
        return await Metadata(self.name, self._read).fields(kind) if kind in self.tables else None

    async def check_choices(self, named: OptionSets) -> list[Finding]:
        """Check whether choices have the values that a flow's settings name, by table and column."""
        metadata = Metadata(self.name, self._read)
        asked = [(kind, column, values) for kind, columns in named.items() for column, values in columns.items()]
        try:
            return [await metadata.choice(kind, column, values) for kind, column, values in asked]
        except MisconfiguredError as error:
            return [Finding(error.what, False, error.fix)]

    async def _read(self, path: str, template: str) -> Body | str:
        """Ask an address of the service; give its answer, or the reason why there is none."""
        answer = await self._exchanged("GET", f"{self.root}/{path}", template)
        if not isinstance(answer, httpx.Response):
            return answer.reason
        return _object(answer) if answer.is_success else f"{answer.status_code} {code_of(answer)}".strip()


def _object(answer: httpx.Response) -> Body | str:
    try:
        said = answer.json()
    except ValueError:
        return "the answer is not JSON"
    return said if isinstance(said, dict) else "the answer is no object"
