"""The DfE's children's social care data API: one POST for up to a hundred children, taken whole or refused whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import httpx
from pydantic_core import to_json

from canonical.connect.oauth import OAuthClient
from canonical.errors import MisconfiguredError
from canonical.finding import Finding
from canonical.turns import in_turns
from flows.dfe_csc.partial import to_send
from flows.dfe_csc.refusal import named, reason
from flows.dfe_csc.settings import DfeCscSettings
from flows.kit.http import TEMPLATE, ClientCredentials, exchange, json_of, trouble
from flows.port import (
    Body,
    Confirmed,
    NotDone,
    Outcome,
    ReadBack,
    Refused,
    Unavailable,
    Unknown,
    Untold,
    Write,
)

_PATH: Final = "/children_social_care_data/{la_code}/children"
_MOST_REQUESTS: Final = 32
"""For one write. Two a halving are enough to find one culprit in a hundred twice over; what is left comes next time."""


@dataclass(frozen=True, slots=True)
class _Rejected:
    """The API took none of the records: 400 for the fault of some, 413 for being too much."""

    status: int
    text: str


class DfeCsc:
    """
    Children's records to the DfE. There is no way to read them back, so what is in doubt is sent again, whole.

    The requests of one write differ: none is repeated. After a 400 the records that it names are refused and the others
    go again without them; where it names nobody, and after a 413, the batch goes again in halves.
    """

    def __init__(self, name: str, settings: DfeCscSettings, http: httpx.AsyncClient) -> None:
        self.name = name
        self.limits = settings.limits
        self._settings = settings
        self._http = http
        who = OAuthClient(name, str(settings.token_url), settings.client_id, settings.client_secret, settings.scope)
        self._auth = ClientCredentials(who)

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        """
        One outcome a child, in order; `Confirmed.ref` is the receipt's UUID.

        :raises MisconfiguredError: the client, the supplier key, the council's code or the address is wrong.
        """
        sent = [to_send(write, self._settings.ids) async for write in in_turns(batch)]
        outcomes: dict[int, Outcome] = {}
        left: Outcome = NotDone("not sent: too many records of the batch were refused at once")
        groups = list(_groups([len(records) for records in sent], self.limits.batch))
        for _ in range(_MOST_REQUESTS):
            if not groups:
                break
            group = groups.pop(0)
            try:
                said = await self._post([record for n in group for record in sent[n]])
            except MisconfiguredError as error:
                if not outcomes:
                    raise
                left = NotDone(f"not sent: {error.what}")  # what is known already must not be lost with it
                break
            if isinstance(said, Unavailable | Unknown):
                outcomes |= dict.fromkeys(group, said)
                left = NotDone("not sent: the answer before was lost")
                if isinstance(said, Unavailable):
                    left = NotDone(said.reason, said.after)
                break
            known, again = _sorted_out([n for n in group for _ in sent[n]], said)
            outcomes |= known
            groups = [g for g in again if g] + groups
        return [outcomes.get(n, left) for n in range(len(batch))]

    async def read_back(self, batch: Sequence[Write]) -> Sequence[ReadBack]:
        return [Untold("the API only takes records, it shows none")] * len(batch)

    async def check(self) -> Sequence[Finding]:
        """Ask for a token, and send no records at all: 204. Nothing changes."""
        findings = []
        for what, ask in (("a token can be had", self._token), ("the address takes our records", self._nothing)):
            try:
                fault = await ask()
            except MisconfiguredError as error:
                fault = f"{error.what}. {error.fix}"
            findings.append(Finding(what, not fault, fault))
        return findings

    async def _token(self) -> str:
        fault = await self._auth.obtain(self._http)
        return f"{fault.reason}. Check token_url, and try again later" if fault else ""

    async def _nothing(self) -> str:
        said = await self._post([])
        if isinstance(said, Unavailable | Unknown):
            return f"{said.reason}. Check api_endpoint, and try again later"
        return "" if said == [] else "it refuses an empty list of records. Check api_endpoint and la_code"

    async def _post(self, records: list[Body]) -> list[str] | _Rejected | Unavailable | Unknown:
        """The receipts' UUIDs, one a record, or why there are none."""
        request = self._http.build_request(
            "POST",
            self._settings.children,
            content=to_json(records),
            headers={
                "Content-Type": "application/json",
                "SupplierKey": self._settings.supplier_key.get_secret_value(),
            },
            extensions={TEMPLATE: _PATH},
        )
        answer = await exchange(self._http, request, self._auth, where=self.name)
        if not isinstance(answer, httpx.Response):
            return answer
        if fault := trouble(answer, self.name, _fix(self.name)):
            return fault
        if answer.status_code == 204 and not records:
            return []
        if answer.status_code in (400, 413):
            return _Rejected(answer.status_code, answer.text)
        if answer.is_success:
            return _receipts(answer, len(records))
        raise MisconfiguredError(self.name, f"the address answers {answer.status_code}", fix=_fix(self.name))


def _groups(records: Sequence[int], most: int) -> Iterator[list[int]]:
    """
    The writes of a batch, by their place, in groups of so many records at most. The records of one write go together, so that
    they are taken together or refused together: a child is never purged under its old id and then refused under its new one.
    """
    group: list[int] = []
    for n, many in enumerate(records):
        if group and sum(records[m] for m in group) + many > most:
            yield group
            group = []
        group.append(n)
    if group:
        yield group


def _fix(name: str) -> str:
    variable = f"IRONBRIDGE_TARGETS__{name.upper()}__SUPPLIER_KEY"
    return f"check api_endpoint, la_code, scope and {variable}, then run `ironbridge check {name}`"


def _receipts(answer: httpx.Response, records: int) -> list[str] | Unknown:
    said = json_of(answer)
    if isinstance(said, Unknown):
        return said
    if not isinstance(said, list) or len(said) != records or not all(isinstance(receipt, str) for receipt in said):
        return Unknown(f"{answer.status_code}, but not one receipt a record")
    return [receipt.rpartition("_")[2] for receipt in said]  # date and time are joined differently here and there


def _sorted_out(of: list[int], said: list[str] | _Rejected) -> tuple[dict[int, Outcome], list[list[int]]]:
    """
    Return what is now known of a group of writes, and the groups in which the others are to go again. `of` says of each
    record that was sent to which write it belongs.
    """
    if not isinstance(said, _Rejected):
        return {n: Confirmed(receipt) for n, receipt in zip(of, said, strict=True)}, []
    group = list(dict.fromkeys(of))
    if said.status == 400 and (places := named(said.text, len(of))):
        alone = len(places) == 1
        refused: dict[int, Outcome] = {of[place]: Refused(reason(said.text, place, alone)) for place in places}
        return refused, [[n for n in group if n not in refused]]
    if len(group) == 1:
        why = "the record is larger than the API takes (413)" if said.status == 413 else reason(said.text, 0, True)
        return {group[0]: Refused(why)}, []
    half = (len(group) + 1) // 2
    return {}, [group[:half], group[half:]]
