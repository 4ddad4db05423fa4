"""A file that was cut off, at whatever byte, publishes no wrong amount and loses no row unsaid."""

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.payables import world
from adapters.payables.layout import built_in
from adapters.payables.mapping import entity
from adapters.payables.reading import FileRecords, Rules, read
from adapters.payables.tests.properties import entities_of
from adapters.payables.tests.test_payables import HEAD, ONE, TWO
from canonical import CreditNote, Invoice
from canonical.errors import BadRecordError, DoubtfulError

RULES = Rules("acme", {name: built_in()[name] for name in world.LAYOUTS})
CUTS = {
    "amount last": TWO,
    "text last": "Amount,Payment Ref,Payee,Paid On,Service\n10.00,P1,Ash,01/04/2024,Parks\n20.00,P2,Bir,02/04/2024,Parks all\n",
    "lines of one document": HEAD + "".join(f"{n},Ash,01/04/2024,Parks,10.00\r\n" for n in ("P12", "P123", "P123")),
    "line breaks in cells": HEAD + 'P1,Ash,01/04/2024,"Parks\nplay","1,250.00"\nP2,Bir,02/04/2024,"Park ""A""\r\nB","2,250.00"\n',
    "headings at the end": "P1,Ash Ltd,01/04/2024,Parks,10.00\nP2,Birch,02/04/2024,Parks,20.00\n" + HEAD,
    "a total": TWO + "Total,,,,30.00\n",
    "accents": HEAD + "P1,Café Ltd,01/04/2024,Parks,£10.00\nP2,Brûlé,02/04/2024,Parks,£20.00\n",
}  # fmt: skip


def money(reading: FileRecords) -> Counter[tuple[str, Decimal]]:
    """Each published document's number and each amount of it."""
    return Counter(
        (each.number, line.net if isinstance(each, Invoice) else -line.net)
        for each in entities_of(reading)
        if isinstance(each, Invoice | CreditNote)
        for line in each.lines
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
@pytest.mark.parametrize("kind", CUTS)
def test_cut_at_any_byte_a_file_publishes_whole_rows_or_is_refused(kind: str, encoding: str) -> None:
    data = CUTS[kind].encode(encoding)
    right = money(read("april", data, RULES))
    for end in range(len(data)):
        try:
            cut = read("april", data[:end], RULES)
        except BadRecordError:
            continue
        # Only a file that ends exactly behind a row shows nothing of what it lost.
        assert data[:end].decode(encoding).endswith(("\r", "\n")), end
        assert money(cut) <= right
        assert cut.reckoning.notes == 0


def test_a_person_can_accept_a_file_that_ends_without_a_line_end() -> None:
    with pytest.raises(DoubtfulError) as raised:
        read("april", TWO.strip().encode(), RULES)
    assert raised.value.doubt == "end"
    accepted = read("april", TWO.strip().encode(), Rules("acme", RULES.layouts, accepted=frozenset({"end"})))
    assert accepted.reckoning.money_published == Decimal("30.00")


@pytest.mark.parametrize(("cut", "reads"), [(1, True), (2, True), (6, False), (20, False)])
def test_a_system_that_never_ends_its_last_line_says_so_and_a_row_without_all_its_cells_is_refused_all_the_same(
    cut: int, reads: bool
) -> None:
    rules = Rules("acme", RULES.layouts, last_line="open")
    text = ONE + "P2,Birchfield LLP,02/04/2024,Parks,2.0\n"
    try:
        assert read("april", text[:-cut].encode(), rules).reckoning.published == 2
    except DoubtfulError:
        assert not reads


def test_line_breaks_and_commas_in_a_cell_are_no_swallowed_row() -> None:
    text = HEAD + 'P1,Ashgrove Ltd,01/04/2024,"Parks, 3, 4.00, 5\n01/04/2024, 6, and play",10.00\n'
    (invoice,) = (e for r in read("april", text.encode(), RULES).records if isinstance(e := entity(r.row), Invoice))
    assert invoice.net == Decimal("10.00")


@pytest.mark.shared
@pytest.mark.parametrize("path", ["hyndburn/2022-09.csv", "hyndburn/2024-03.csv", "calderdale/2018-12.csv"])
def test_the_end_of_a_published_file_is_cut_at_each_byte(shared: Path, path: str) -> None:
    data = (shared / "data/finance/council-spend" / path).read_bytes()
    start = max(data.rfind(b"\n", 0, len(data) - 400), 0)
    head = data[: data.find(b"\n", data.find(b"\n", data.find(b"\n") + 1) + 1) + 1]
    data = head + data[start + 1 :]
    rules = Rules("council", built_in())
    right = money(read("spend", data, rules))
    for end in range(len(head) + 1, len(data)):
        try:
            cut = read("spend", data[:end], rules)
        except BadRecordError:
            continue
        assert data[:end].endswith((b"\r", b"\n"))
        assert money(cut) <= right
