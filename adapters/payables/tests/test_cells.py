"""Money and dates: whatever is written comes back as it was meant, and whatever is not is refused in our own words."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.kit.text import Text, encodings
from adapters.payables.cells import DATE_STYLES, UnreadableError, day, money, month_first, plain, text_of
from adapters.payables.documents import token
from adapters.payables.layout import PayablesLayout, built_in
from adapters.payables.reading import Rules, read
from adapters.payables.recognise import fit
from adapters.payables.rows import RowTally, lines
from adapters.payables.tables import Table
from adapters.payables.wholeness import Doubts
from canonical.errors import BadRecordError, DoubtfulError

AMOUNTS = st.decimals(min_value=-(10**12), max_value=10**12, places=2)
DAYS = st.dates(date(1980, 1, 1), date(2079, 12, 31))
ANY_CELL = st.one_of(
    st.text(), st.text("0123456789.,-£()/ JanFeb:", max_size=14), st.integers(), st.floats(), st.booleans(), st.none(),
    st.dates(), st.datetimes(), st.times(), st.timedeltas(),
)  # fmt: skip
WRITTEN = {
    "dd/mm/yyyy": "%d/%m/%Y", "dd/mm/yy": "%d/%m/%y", "dd-mm-yyyy": "%d-%m-%Y", "dd.mm.yyyy": "%d.%m.%Y",
    "dd-Mon-yy": "%d-%b-%y", "dd-Mon-yyyy": "%d-%b-%Y", "d Month yyyy": "%d %B %Y", "yyyy-mm-dd": "%Y-%m-%d",
    "yyyymmdd": "%Y%m%d",
}  # fmt: skip


def ways(amount: Decimal) -> list[str]:
    bare = f"{abs(amount):,.2f}"
    if amount >= 0:
        return [bare, f"£{bare}", f" £ {bare} ", bare.replace(",", "")]
    return [
        f"-{bare}",
        f"{bare}-",
        f"({bare})",
        f"-£{bare}",
        f"£-{bare}",
        f"(£{bare})",
        f"£{bare}-",
        f"\u2212{bare}",
        f"- {bare}",
    ]


@given(AMOUNTS)
def test_an_amount_comes_back_however_it_was_written(amount: Decimal) -> None:
    for written in ways(amount):
        read_back = money(written)
        assert read_back == amount
        assert str(read_back) == str(abs(amount) if amount == 0 else amount)


@given(AMOUNTS)
def test_an_amount_with_a_decimal_comma_comes_back(amount: Decimal) -> None:
    written = f"{amount:,.2f}".translate(str.maketrans(",.", ".,"))
    assert money(written, decimal=",") == amount


@given(st.decimals(min_value=-(10**10), max_value=10**10, places=2))
def test_an_amount_that_a_workbook_kept_as_a_float_comes_back(amount: Decimal) -> None:
    assert money(float(amount)) == amount


@given(ANY_CELL, st.sampled_from([".", ","]), st.sampled_from(["GBP", "EUR", "SEK"]))
def test_whatever_a_cell_holds_it_is_pennies_or_nothing_or_refused(cell: object, decimal: str, currency: str) -> None:
    try:
        amount = money(cell, decimal=decimal, currency=currency)  # type: ignore[arg-type]
    except UnreadableError as error:
        if isinstance(cell, str) and len(cell) > 4 and cell in str(error):
            pytest.fail("the error repeats the value")
    else:
        assert amount is None or (amount.as_tuple().exponent == -2 and amount.is_finite())


@pytest.mark.parametrize(
    "written",
    ["12.345", "1,23", "1,2345.00", "1.2.3", "1e5", "1E+05", "--5", "-5-", "(-5)", "5-5", "£", ".", "€5", "$5", "5 CR",
     "12 34", "1 000.00", "abc", "٥", "½", "0x10", "1_000", "9" * 16, "+5", "5%", True, date(2024, 1, 1), time(1)],
)  # fmt: skip
def test_what_could_be_two_amounts_or_none_is_refused(written: str) -> None:
    with pytest.raises(UnreadableError):
        money(written)


@pytest.mark.parametrize(
    ("written", "amount"),
    [("Nil", "0.00"), ("nil ", "0.00"), ("0", "0.00"), ("-0.00", "0.00"), (".5", "0.50"), ("5.", "5.00"),
     ("1,000", "1000.00"), ("12.3", "12.30"), (0.1 + 0.2, "0.30"), (7, "7.00"), (-0.0, "0.00")],
)  # fmt: skip
def test_plain_words_and_short_forms_are_amounts(written: str, amount: str) -> None:
    assert str(money(written)) == amount


@pytest.mark.parametrize("written", ["", "  ", "N/A", "n/a", "-", "–", "#N/A", "None", None, "\u00a0"])
def test_a_cell_that_says_there_is_none_is_no_amount_and_no_date(written: str | None) -> None:
    assert money(written) is None
    assert day(written, ("dd/mm/yyyy",)) is None


@given(DAYS, st.sampled_from(sorted(WRITTEN)))
def test_a_day_comes_back_in_every_style(meant: date, style: str) -> None:
    written = meant.strftime(WRITTEN[style])
    assert day(written, (style,)) == meant
    assert day(f"{written} 00:00", (style,)) == meant
    assert day(f"{written} 01:00:00", (style,)) == meant  # midnight of British Summer Time, exported from UTC


@given(DAYS)
def test_a_day_comes_back_from_a_workbook(meant: date) -> None:
    serial = (meant - date(1899, 12, 30)).days
    assert day(meant, ()) == day(float(serial), ()) == day(str(serial), ("excel-serial",)) == meant
    assert day(datetime.combine(meant, time(1)), ()) == day(datetime.combine(meant, time(19, 1, 7)), ()) == meant


@given(ANY_CELL, st.lists(st.sampled_from(sorted(DATE_STYLES)), min_size=1, unique=True))
def test_whatever_a_cell_holds_it_is_a_day_or_nothing_or_refused(cell: object, styles: list[str]) -> None:
    try:
        found = day(cell, tuple(styles))  # type: ignore[arg-type]
    except UnreadableError as error:
        if isinstance(cell, str) and len(cell) > 4 and cell in str(error):
            pytest.fail("the error repeats the value")
    else:
        assert found is None or date(1980, 1, 1) <= found <= date(2099, 12, 31)


@pytest.mark.parametrize(
    "written",
    ["04/25/2024", "31/04/2024", "29/02/2023", "00/01/2024", "1/1/1", "01/04/0204", "01/04/1066", "2024-04-01",
     "01/04/2024 23:00", "01-Foo-24", "tomorrow", "45387", True, datetime.fromisoformat("2024-04-01T23:00"),
     timedelta(1), time(9), 1.5],
)  # fmt: skip
def test_what_is_no_day_of_the_allowed_style_is_refused(written: object) -> None:
    with pytest.raises(UnreadableError):
        day(written, ("dd/mm/yyyy", "dd-Mon-yy"))  # type: ignore[arg-type]


@given(DAYS)
def test_a_date_is_known_as_american_only_when_it_can_be_nothing_else(meant: date) -> None:
    assert month_first(f"{meant:%m/%d/%Y}") == (meant.day > 12)
    assert not month_first(f"{meant:%d/%m/%Y}") or meant.day <= 12


@given(st.text())
def test_a_text_has_no_breaks_and_is_its_own_text(raw: str) -> None:
    text = text_of(raw)
    assert text_of(text) == text
    assert not {"\n", "\r", "\t"} & set(text)
    assert plain(plain(text)) == plain(text) or not plain(text).isascii()


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_token_is_a_part_of_a_key_and_tells_texts_apart(one: str, other: str) -> None:
    a, b = token(one), token(other)
    assert a.isascii()
    assert ":" not in a
    assert "  " not in a
    assert len(a) <= 48
    assert a == a.strip()
    assert (a == b) == (" ".join(one.split()) == " ".join(other.split()))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_as_one_file(data: bytes) -> None:
    try:
        read("any", data, Rules("acme", built_in()))
    except BadRecordError:
        pass
    else:
        pytest.fail("no random bytes should fit a layout")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), st.sampled_from(["utf-8-sig", "utf-16"]))
def test_a_byte_order_mark_decides(text: str, encoding: str) -> None:
    assume("\0" not in text)
    (how,) = encodings("x", text.encode(encoding))
    assert (how, "".join(Text(text.encode(encoding), how).lines())) == (encoding, text)


CELLS = st.text('abc 019.,-£/()\n"', max_size=8)


@given(st.lists(st.lists(CELLS, min_size=0, max_size=6), max_size=12))
def test_whatever_the_rows_hold_each_is_accounted_for(rows: list[list[str]]) -> None:
    quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    text = "\n".join(["Payment Ref,Payee,Paid On,Service,Amount", *quoted])
    try:
        found = read("any", text.encode(), Rules("acme", {"payments-list": built_in()["payments-list"]})).reckoning
    except BadRecordError:
        return  # a total that disagrees, dates that are American: a whole file is refused in our own words
    assert found.accounted == found.rows


@pytest.mark.parametrize(
    ("late", "refused"), [("25/04/2024", True), ("05/04/2024", False), (date(2024, 4, 25), False)], ids=str
)
def test_real_dates_up_to_the_twelfth_and_texts_after_it_were_swapped(late: object, refused: bool) -> None:
    columns = {"number": "R", "supplier_name": "P", "payment_date": "D", "net": "N"}
    layout = PayablesLayout.model_validate({"title": "x", "columns": columns})
    rows = [["R", "P", "D", "N"], ["1", "Ash", date(2024, 5, 4), 1.0], ["2", "Ash", late, 2.0]]
    (found,) = fit("x", [Table(rows, 3, "workbook, sheet 1")], {"own": layout})  # type: ignore[arg-type]
    try:
        assert len(list(lines(Doubts("x"), found, "GBP", RowTally()))) == 2
    except DoubtfulError as error:
        assert (error.doubt, refused) == ("dates", True)  # noqa: PT017
    else:
        assert not refused
