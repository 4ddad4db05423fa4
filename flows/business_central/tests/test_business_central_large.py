"""A batch of long documents: whatever is done with it, the other parts of the process have their turn meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import cast

from canonical import DocumentLine, Invoice
from flows.business_central.tests.test_business_central import SUPPLIER, Council, council
from flows.engine.draft import drafts
from flows.engine.ledger import Ledger
from flows.port import Confirmed, Fact, Grouping, Held, Write
from tests.rounds import counted

INVOICES, LINES = 100, 30
MOST = 100_000
"""Calls in one round of the loop, about 20 ms. The batch makes several times as many in each of its steps."""


def invoice(number: int, net: str) -> Invoice:
    lines = [DocumentLine(number=1, net=Decimal(net), description="Labour")]
    lines += [DocumentLine(number=n + 1, net=Decimal(n), description=f"Timber {n}") for n in range(1, LINES)]
    return Invoice(key=f"payables:invoice:{number}", number=f"I{number}", supplier=SUPPLIER.key, lines=tuple(lines))


class LedgerOf:
    """Answers what the drafts ask a ledger for."""

    def __init__(self, net: str, vendor: str) -> None:
        entities = [invoice(n, net) for n in range(INVOICES)]
        self._facts = {e.key: [Fact("invoice", e.key, e.owner, 1, e.to_bytes())] for e in entities}
        self._vendor = vendor

    async def facts(self, subjects: Sequence[str], grouping: Grouping) -> Mapping[str, Sequence[Fact]]:
        return self._facts

    async def refs(self, subjects: Sequence[str]) -> Mapping[str, str]:
        return dict.fromkeys(subjects, self._vendor)


async def drafted(town: Council, net: str, vendor: str) -> list[Write]:
    ledger = LedgerOf(net, vendor)
    subjects = [f"payables:invoice:{n}" for n in range(INVOICES)]
    async with counted() as rounds:
        made = await drafts(town.flow, cast(Ledger, ledger), subjects, date(2026, 1, 5))
    assert rounds.longest < MOST < rounds.all
    return [Write(each.subject, each.document, refs=each.refs) for each in made]


async def written(town: Council, writes: Sequence[Write]) -> list[Write]:
    """The next writes of the same subjects, once these are done."""
    async with counted() as rounds:
        outcomes = await town.target.write(writes)
    assert rounds.longest < MOST < rounds.all / 5
    assert all(isinstance(outcome, Confirmed) for outcome in outcomes)
    refs = [outcome.ref for outcome in outcomes if isinstance(outcome, Confirmed)]
    return [replace(w, confirmed=w.document, ref=ref) for w, ref in zip(writes, refs, strict=True)]


async def test_a_large_batch_is_drafted_created_read_back_and_changed_in_turns_with_all_others() -> None:
    async with council() as town:
        vendor = (await town.vendor()).ref
        done = await written(town, await drafted(town, "1.00", vendor))
        async with counted() as rounds:
            answers = await town.target.read_back(done)
        assert rounds.longest < MOST < rounds.all / 5
        bodies = [write.document and write.document.body for write in done]
        assert [answer.body for answer in answers if isinstance(answer, Held)] == bodies
        changed = await drafted(town, "2.00", vendor)
        await written(town, [replace(d, document=c.document) for d, c in zip(done, changed, strict=True)])
        assert {i["totalAmountExcludingTax"] for i in town.held("purchaseInvoices")} == {2 + sum(range(LINES))}
