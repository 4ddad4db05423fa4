"""
This module finds the totals among a file's rows: the ones that say so are checked against the rows around them, and a row
without a number that shows a sum of other rows may be one, whatever it is called.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from adapters.payables.recognise import Apart, Fit
from adapters.payables.wholeness import Doubts
from canonical.errors import shape_of

_SEVERAL = 3  # rows: one that shows the same amount as the only other row is a second payment
_MANY = 6  # rows of which none is the sum of all others by chance: the whole file would wait for it


@dataclass(slots=True)
class RunningSum:
    """The money of so many lines."""

    money: Decimal = Decimal(0)
    lines: int = 0

    def add(self, net: Decimal | None) -> None:
        self.money += net or 0
        self.lines += 1


@dataclass(slots=True)
class RowTally:
    """
    The numbers of a file's rows that are no lines, by kind, and the sums that a total may show. `suspects` are lines that may
    be totals, and `plain` is the sum of all others; `since` is the sum behind the last total, `between` the one behind the
    last total or suspect. `first` is the row and amount of a total above all lines, `largest` those of a line without a number.
    """

    apart: Apart = field(default_factory=Apart)
    totals: int = 0
    notes: int = 0
    suspects: int = 0
    all: RunningSum = field(default_factory=RunningSum)
    plain: RunningSum = field(default_factory=RunningSum)
    since: RunningSum = field(default_factory=RunningSum)
    between: RunningSum = field(default_factory=RunningSum)
    unreadable: bool = False  # the amount of some line could not be read: then no total can be checked
    first: tuple[int, Decimal] | None = None
    largest: tuple[int, Decimal] = (0, Decimal(0))

    def add(self, net: Decimal | None) -> None:
        self.unreadable = self.unreadable or net is None
        for each in self._sums:
            each.add(net)

    def compare(self, row: int, net: Decimal | None) -> None:
        """Remember a line without a number if its amount is the largest so far."""
        if net and abs(net) > abs(self.largest[1]):
            self.largest = row, net

    def suspect(self, net: Decimal | None) -> None:
        """Add a line that may be a total."""
        self.suspects += 1
        self.all.add(net)
        self.since.add(net)
        self.between = RunningSum()

    def total(self, row: int, amount: Decimal | None) -> None:
        if not self.all.lines and amount is not None:
            self.first = row, amount
        self.totals += 1
        self.begin()

    def begin(self) -> None:
        """Begin the sums behind a total, or of a sheet."""
        self.since, self.between = RunningSum(), RunningSum()

    @property
    def _sums(self) -> tuple[RunningSum, ...]:
        return self.all, self.plain, self.since, self.between

    @property
    def sums(self) -> set[Decimal]:
        """The sums that a total may show: of some lines above it, or of all. Empty if an amount could not be read."""
        return set() if self.unreadable or not self.all.lines else {each.money for each in self._sums}

    def shows_a_sum(self, net: Decimal | None) -> bool:
        """Tell whether a line without a number shows a sum of several lines above it, and so may be a total."""
        return bool(net) and any(each.money == net and each.lines + 1 >= _SEVERAL for each in self._sums)


def refuse_total(doubts: Doubts, found: Fit, row: int, amount: Decimal, rule: str) -> None:
    """
    Refuse a file because of a total.

    :raises DoubtfulError: nobody has accepted it.
    """
    doubts.refuse("total", found.called(found.amount), rule, shape_of(amount), row=row)


def refuse_hidden_total(doubts: Doubts, found: Fit, tally: RowTally) -> None:
    """
    Look for a total above its rows, once all of them are read: a row that is called one has to agree with them, and of many
    lines none without a number may show the sum of all others.

    :raises DoubtfulError: one does not agree, or a line shows that sum.
    """
    if tally.unreadable:
        return
    if tally.first and tally.plain.lines and tally.first[1] not in {tally.all.money, tally.plain.money}:
        refuse_total(doubts, found, *tally.first, "is a total that the rows below it do not add up to")
    row, net = tally.largest
    if net and tally.plain.lines >= _MANY and tally.plain.money == 2 * net:
        refuse_total(doubts, found, row, net, "is the sum of all other rows, so that it may be a total")
