"""What all figures have in common: their files, the tables that they read, what they hide, and how they are written."""

from __future__ import annotations

import csv
import io
from datetime import date
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from canonical.entity import Sensitivity
from canonical.errors import MisconfiguredError
from ironbridge.figures.figure import figure, figures
from ironbridge.figures.opening import lacks_set_up
from ironbridge.figures.reading import Behind, DateRange, FigureReader, last_twelve_months
from ironbridge.figures.sheet import csv_pieces
from ironbridge.program import app
from ironbridge.settings import Settings, TablesSettings
from ironbridge.tables.choice import plans
from tests.figure_tables import SPRING_OF_2020, filled, numbers, of_child, opened_of, table_of

TEXT = " ".join((Path(__file__).parents[1] / "docs" / "figures.md").read_text("utf-8").split())
MARCH = DateRange(date(2026, 3, 1), date(2026, 3, 31))


@pytest.mark.parametrize("name", figures())
def test_a_figure_declares_every_column_and_the_document_tells_its_definition(name: str) -> None:
    of = figure(name)
    for said in (f"### {of.title} `{name}`: {of.unit} by {', '.join(of.by)}.", of.definition, of.source, of.lacks):
        assert said in TEXT
    reader = FigureReader(opened_of([]))
    sheet = reader.numbers(of, MARCH)
    assert sheet.lines == []
    assert sheet.columns[: len(of.by)] == of.by
    assert of.chart in sheet.columns
    assert set(of.flags) <= set(of.columns)
    assert reader.rows(of, MARCH, Behind(), reveal=True, most=1).lines == []


def test_the_document_has_no_figure_that_does_not_ship() -> None:
    assert TEXT.count("###") == len(figures())


def test_fields_that_stand_apart_are_read_with_the_others_and_fields_that_are_left_out_are_named() -> None:
    world = [of_child("care-episode", day, 1, referral_date=f"2026-03-0{day}") for day in (1, 9)]
    whole = table_of(type(world[0]), world)

    def opened(names: tuple[str, ...]) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect()
        connection.register("care_episode", whole.select(["key", "_source", "person"]))
        if apart:
            connection.register("apart_care_episode", whole.drop_columns(["person"]))
        return connection

    apart = True
    [line] = FigureReader(opened).numbers(figure("re-referrals"), MARCH).records
    assert numbers(line, "referrals", "again") == (2, 1)
    apart = False
    with pytest.raises(MisconfiguredError, match=r"leave referral_date of care-episode out.*classes too \(special\)"):
        FigureReader(opened).numbers(figure("re-referrals"), MARCH)


@pytest.mark.parametrize("name", figures())
@pytest.mark.parametrize("hold", [("plain",), ("plain", "identifying"), ("plain", "financial"), ("plain", "special")])
def test_over_tables_that_leave_classes_out_a_figure_answers_or_names_them(name: str, hold: tuple[Sensitivity, ...]) -> None:
    tables = {plan.name: plan.columns.empty_table() for plan in plans(TablesSettings(path="x", hold=hold)) if not plan.history}

    def opened(names: tuple[str, ...]) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect()
        for each in names:
            connection.register(each, tables[each])
        return connection

    try:
        said = FigureReader(opened).numbers(figure(name), MARCH).lines
    except MisconfiguredError as error:
        said = [("the open tables leave" in error.what, "`tables.hold`" in error.fix)]
    assert said in ([], [(True, True)])


def test_rows_hide_all_fields_but_plain_ones() -> None:
    reader = FigureReader(opened_of([of_child("care-episode", 1, 1, referral_date="2026-03-01")]))
    [row] = reader.rows(figure("re-referrals"), MARCH, Behind(), reveal=False, most=9).lines
    assert row == ("lcs:care-episode:1", "lcs:person:1", "lcs", "•••", "•••", None, "•••")


def test_a_text_that_a_spreadsheet_would_run_becomes_a_text_and_numbers_stay_numbers() -> None:
    lines = [("=1+1", "@SUM(A1)", "\t-1", "＝1", "a-b", -1.5, True, None)]
    written = "".join(csv_pieces(("a",), [lines]))
    assert list(csv.reader(io.StringIO(written)))[1] == ["'=1+1", "'@SUM(A1)", "'\t-1", "'＝1", "a-b", "-1.5", "yes", ""]


def test_a_range_that_ends_before_it_begins_and_a_group_that_is_none_are_refused() -> None:
    with pytest.raises(MisconfiguredError, match="ends on 2026-03-01"):
        DateRange(date(2026, 3, 2), date(2026, 3, 1))
    reader = FigureReader(opened_of([]))
    with pytest.raises(MisconfiguredError, match="has no group key; DROP"):
        reader.count(figure("re-referrals"), MARCH, Behind({"key; DROP": "1"}))
    assert last_twelve_months(date(2026, 11, 28)) == DateRange(date(2025, 12, 1), date(2026, 11, 28))


def test_the_command_lists_figures_and_prints_one_for_some_days(tmp_path: Path) -> None:
    settings = filled(tmp_path / "tables", SPRING_OF_2020)
    file, classes = tmp_path / "ironbridge.toml", ", ".join(f'"{each}"' for each in settings.hold)
    file.write_text(f'data = "{tmp_path}"\n[tables]\npath = "{settings.path}"\nhold = [{classes}]\n', "utf-8")

    def said(*words: str, status: int = 0) -> str:
        result = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
        assert result.exit_code == status, result.output
        return result.output

    said("migrate", "-f", str(file))
    assert "re-referrals" in said("figures", "list")
    spring = ("--from", "2020-03-01", "--to", "2020-05-31", "-f", str(file))
    assert said("figures", "show", "assessments-in-time", *spring, "--format", "csv").splitlines() == [
        "system,month,assessments,in_time,late,undated,in_time_percent,from_referral",
        "lcs,2020-04,1,1,0,0,100.0,0",
        "lcs,2020-05,2,1,1,0,50.0,0",
    ]
    assert "•••" in said("figures", "show", "assessments-in-time", *spring, "--rows")
    shown = said("figures", "show", "assessments-in-time", *spring, "--rows", "--reveal", "--why", "a test")
    assert "2020-05-29" in shown
    assert "records" in said("figures", "show", "data-quality", *spring)


def test_a_figure_says_what_is_to_be_set_up() -> None:
    assert "set `tables.path`" in lacks_set_up(Settings())
