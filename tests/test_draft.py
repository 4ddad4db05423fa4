"""What a target should hold, worked out by a pure function: every kind of draft."""

import re
from datetime import date
from typing import Any

from flows.engine.draft import Draft, draft, referring
from flows.engine.ledger import pack
from flows.port import Document, Fact, Facts, Nothing
from tests.agreement import BAD, BROKEN, UNWANTED, WHY, PurchaseFlow, invoice, invoice_key, supplier, supplier_key

DAY = date(2026, 1, 5)
S1 = supplier_key(1)


def drafted(arrived: Any, flow: PurchaseFlow | None = None) -> Draft:
    fact = Fact(arrived.entity, arrived.key, arrived.owner, arrived.version, arrived.data)
    return draft(flow or PurchaseFlow(), arrived.key, Facts([fact], DAY))


def test_facts_become_a_document_in_the_form_in_which_the_ledger_keeps_it() -> None:
    made = drafted(supplier(1))
    wanted = Document("supplier", "1", {"number": "1", "name": "Supplier 1 as of 1"})
    assert made == Draft(S1, wanted, pack(wanted))
    assert referring(made, {}).digest is not None


def test_what_the_target_should_not_hold_comes_with_the_reason() -> None:
    assert drafted(supplier(1, name=UNWANTED)) == Draft(S1, why=WHY)
    assert draft(PurchaseFlow(), S1, Facts([], DAY)) == Draft(S1, why="no such record is published")


def test_facts_that_are_refused_and_a_mapping_that_fails_are_faults_without_a_word_of_the_facts() -> None:
    assert drafted(supplier(1, name=BAD)).fault == "purchasing: name: is not one that the target can ever hold"
    fault = drafted(supplier(1, name=BROKEN)).fault or ""
    assert re.fullmatch(r"purchasing: the mapping failed \(KeyError at agreement\.py:\d+\): mend the flow", fault)


def test_a_reference_is_missing_until_the_target_holds_the_other_subject() -> None:
    made = drafted(invoice(7, of=1))
    waits = referring(made, {})
    assert (waits.missing, waits.digest) == (S1, None)
    goes = referring(made, {S1: "id1"})
    assert (goes.missing, dict(goes.refs)) == (None, {"vendorId": "id1"})
    assert goes.digest != referring(made, {S1: "id2"}).digest
    assert goes.digest == referring(drafted(invoice(7, of=1)), {S1: "id1", invoice_key(7): "x"}).digest


class ByDay(PurchaseFlow):
    """Asks for days in each of the ways in which it may end."""

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        if facts.has_come(date(2026, 2, 1)) or not facts.has_come(date(2026, 1, 1)):
            return Nothing("later")
        return super().desired(subject, facts)


def test_a_draft_says_when_it_may_be_otherwise_however_it_ends() -> None:
    for name in ("Ltd", BAD, BROKEN, UNWANTED):
        assert drafted(supplier(1, name=name), ByDay()).recheck == date(2026, 2, 1), name
        assert drafted(supplier(1, name=name)).recheck is None, name


def test_facts_know_the_first_day_that_gives_another_answer() -> None:
    facts = Facts([], DAY)
    assert facts.has_come(DAY)
    assert facts.has_come(date.min)
    assert facts.recheck is None, "a day that has come has come for good"
    assert not facts.has_come(date(2030, 1, 1))
    assert not facts.has_come(date(2027, 1, 1))
    assert not facts.has_come(date(2028, 1, 1))
    assert facts.recheck == date(2027, 1, 1)
    assert facts.today == DAY
    assert facts.recheck == date(2026, 1, 6)
