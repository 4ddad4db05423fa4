"""
This module reads one cell as money, a date or a word. A cell that can be read in two ways is not read at all.

Every refusal is an `UnreadableError` with the rule that the cell broke; the value itself is never in it.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime, timedelta
from decimal import Decimal

from adapters.kit.open_days import NO_DAYS, real_day
from adapters.kit.workbook import Cell

PENNY = Decimal("0.01")


class UnreadableError(ValueError):
    """A cell that does not say one thing; the message is the rule that it broke."""


def text_of(cell: Cell) -> str:
    """The cell's text, every run of blanks and line breaks made one space. A whole number has no `.0` behind it."""
    if isinstance(cell, str) and cell.isascii():
        return " ".join(cell.split())  # nearly all cells
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return " ".join(unicodedata.normalize("NFC", str(cell)).replace("\u200b", "").split())


def plain(text: str) -> str:
    """
    A heading or a name without case, blanks and punctuation; one that is nothing but those stays as it is. A & B is not AB.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[^\w&+]+|_+", "", folded) or folded.strip()


# -- money ---------------------------------------------------------------------------------------------------------

_SYMBOLS = {"GBP": "£", "EUR": "€", "USD": "$"}
_ABSENT = {"", "n/a", "na", "#n/a", "none", "null", "-", "–"}
_ZERO = {"nil"}
_WHOLE = r"(?P<whole>[0-9]+|[0-9]{1,3}(?:\%s[0-9]{3})+)?(?:\%s(?P<part>[0-9]*))?"
_STYLES = {".": re.compile(_WHOLE % (",", ".")), ",": re.compile(_WHOLE % (".", ","))}
_LARGEST = 15  # digits before the point: beyond that, Excel itself no longer knows the pennies


def money(cell: Cell, *, decimal: str = ".", currency: str = "GBP") -> Decimal | None:
    """
    An amount to the penny; None where the cell says that there is none (blank, `N/A`), zero for `Nil`.

    `decimal` is `.` or `,`; the other one separates thousands. Negative: `-5`, `5-` or `(5)`, never two of them.

    :raises UnreadableError: not money, parts of a penny, another currency's sign, or two ways to read it.
    """
    if isinstance(cell, bool) or not isinstance(cell, str | int | float | None):
        raise UnreadableError("is not an amount of money")
    if isinstance(cell, int | float):
        return _number(cell)
    word = text_of(cell)
    if word.casefold() in _ABSENT:
        return None
    if word.casefold() in _ZERO:
        return Decimal("0.00")
    return _written(word, _STYLES[decimal], _SYMBOLS.get(currency, currency))


def _number(value: float) -> Decimal:
    try:
        exact = Decimal(format(value, ".15g"))  # the fifteen digits that Excel itself shows and keeps
    except ArithmeticError:
        raise UnreadableError("is not an amount of money") from None
    if not exact.is_finite() or abs(exact) >= 10**_LARGEST:
        raise UnreadableError("is not an amount of money")
    if exact != exact.quantize(PENNY):
        raise UnreadableError("has parts of a penny")
    return exact.quantize(PENNY) + Decimal(0)


def _written(word: str, style: re.Pattern[str], symbol: str) -> Decimal:
    bare = re.sub(r"[\u2212–]", "-", word)
    bare = re.sub(
        rf"(?<=[-(]) | (?=[-)])|(?<={re.escape(symbol)}) ", "", bare
    )  # blanks between digits are no style of ours
    bracketed = bare.startswith("(") and bare.endswith(")")
    if bracketed:
        bare = bare[1:-1]
    signs = bare.count("-")
    if not re.fullmatch(r"\W*[0-9][0-9.,]*\W*", bare.replace(symbol, "")):
        raise UnreadableError("is not an amount of money")
    if signs + bracketed > 1:
        raise UnreadableError("has more than one sign")
    if signs and not (bare.startswith("-") or bare.endswith("-") or f"{symbol}-" in bare):
        raise UnreadableError("is not an amount of money")
    bare = bare.replace("-", "", 1).removeprefix(symbol)
    if any(unicodedata.category(c) == "Sc" for c in bare):
        raise UnreadableError("is in another currency")
    found = style.fullmatch(bare)
    if not found or not any(c.isdigit() for c in bare):
        raise UnreadableError("is not an amount of money")
    part = found["part"] or ""
    if len(part) > 2:
        # 12.345 is either parts of a penny or twelve thousand written abroad.
        raise UnreadableError("has more than two digits behind the decimal sign")
    whole = re.sub(r"[^0-9]", "", found["whole"] or "") or "0"
    if len(whole) > _LARGEST:
        raise UnreadableError("is too large to be an amount of money")
    amount = Decimal(f"{whole}.{part.ljust(2, '0')}")
    return -amount if (signs or bracketed) and amount else amount


# -- dates ---------------------------------------------------------------------------------------------------------

MONTHS = {
    name: number
    for number, names in enumerate(
        ("january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul", "august aug",
         "september sep sept", "october oct", "november nov", "december dec"),
        start=1,
    )
    for name in names.split()
}  # fmt: skip
_D, _M, _MON, _Y4, _Y2 = (
    r"(?P<d>[0-9]{1,2})",
    r"(?P<m>[0-9]{1,2})",
    r"(?P<m>[A-Za-z]{3,9})",
    r"(?P<y>[0-9]{4})",
    r"(?P<y>[0-9]{2})",
)
DATE_STYLES = {
    "dd/mm/yyyy": f"{_D}/{_M}/{_Y4}",
    "dd/mm/yy": f"{_D}/{_M}/{_Y2}",
    "dd-mm-yyyy": f"{_D}-{_M}-{_Y4}",
    "dd.mm.yyyy": rf"{_D}\.{_M}\.{_Y4}",
    "dd-Mon-yy": f"{_D}-{_MON}-{_Y2}",
    "dd-Mon-yyyy": f"{_D}-{_MON}-{_Y4}",
    "d Month yyyy": f"{_D} {_MON} {_Y4}",
    "yyyy-mm-dd": r"(?P<y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})",
    "yyyymmdd": r"(?P<y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})",
    "excel-serial": r"(?P<serial>[0-9]{5})(?:\.0*)?",
}
"""What a layout may allow. All but `excel-serial` may have a time of day behind them, which is dropped."""
_TIME = r"(?:[T ](?P<time>[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?))?"
_COMPILED = {style: re.compile(rule if "serial" in style else rule + _TIME) for style, rule in DATE_STYLES.items()}
_MONTH_FIRST = re.compile(r"(0?[1-9]|1[0-2])[/.-](1[3-9]|2[0-9]|3[01])[/.-]([0-9]{2}|[0-9]{4})" + _TIME)
_FIRST, _LAST = date(1980, 1, 1), date(2099, 12, 31)  # no ledger extract is older; a typing error in the year is
EPOCH = date(1899, 12, 30)
"""Excel counts days from here; a workbook may say another day."""


def day(
    cell: Cell, styles: tuple[str, ...], no_days: frozenset[date] = NO_DAYS, epoch: date = EPOCH
) -> date | None:
    """
    A calendar day; None where the cell is blank, or its day one of `no_days`. `styles` are those of `DATE_STYLES` that the layout
    allows, and serial numbers count the days since `epoch`.

    Excel keeps a midnight of British Summer Time as 01:00 when it was exported from UTC: the day is the same. 23:00
    sharp may be the midnight of the next day shifted back, so it is refused rather than put on either day.

    :raises UnreadableError: no allowed style, no such day, or a day that no ledger can mean.
    """
    if isinstance(cell, datetime):
        _not_shifted_back(cell.time().isoformat())
        return _within(real_day(cell, no_days))
    if isinstance(cell, date):
        return _within(real_day(cell, no_days))
    if isinstance(cell, bool) or not isinstance(cell, str | int | float | None):
        raise UnreadableError("is not a date")
    word = text_of(cell)
    if word.casefold() in _ABSENT:
        return None
    # A number in an Excel sheet is a date that lost its format.
    allowed = styles if isinstance(cell, str) else ("excel-serial",)
    written = [match for style in allowed if (match := _COMPILED[style].fullmatch(word))]
    read = {found for each in written if (found := _calendar_day(each, epoch))}
    if len(read) > 1:
        raise UnreadableError("can be read as two different dates")
    if not read:
        form = " or ".join(allowed)
        raise UnreadableError("is no day of the calendar" if written else f"is not a date of the form {form}")
    return _within(real_day(read.pop(), no_days))


def month_first(cell: Cell) -> bool:
    """Tell whether the cell can only be a date with the month in front, as 04/25/2024: the American order."""
    return isinstance(cell, str) and bool(_MONTH_FIRST.fullmatch(text_of(cell)))


def day_first(cell: Cell) -> bool:
    """Tell whether the cell can only be a date with the day in front, as 25/04/2024."""
    return isinstance(cell, str) and bool(re.match(r"(1[3-9]|2[0-9]|3[01])[/.-](0?[1-9]|1[0-2])[/.-]", text_of(cell)))


def _calendar_day(written: re.Match[str], epoch: date) -> date | None:
    parts = written.groupdict()
    if "serial" in parts:
        return epoch + timedelta(days=int(parts["serial"]))
    _not_shifted_back(parts["time"] or "")
    month = int(parts["m"]) if parts["m"].isdigit() else MONTHS.get(parts["m"].casefold(), 0)
    year = int(parts["y"]) + (0 if len(parts["y"]) == 4 else 2000 if int(parts["y"]) < 80 else 1900)
    try:
        return date(year, month, int(parts["d"]))
    except ValueError:
        return None


def _not_shifted_back(clock: str) -> None:
    if re.fullmatch(r"23:00(:00(\.0+)?)?", clock):
        raise UnreadableError("is 23:00 sharp: that day's, or the next day's midnight in another time zone")


def _within(found: date | None) -> date | None:
    if found is not None and not _FIRST <= found <= _LAST:
        raise UnreadableError(f"is not between {_FIRST.year} and {_LAST.year}")
    return found
