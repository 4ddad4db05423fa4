"""A page is one module, a folder of its templates, and its tests. Nothing else names it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from pkgutil import iter_modules

import pytest
from playwright.sync_api import Page

from ironbridge import console
from ironbridge.console import pages
from tests.console.visits import assert_meets_wcag

MODULES = sorted(each.name for each in iter_modules(pages.__path__))
TEMPLATES = Path(console.__path__[0], "templates")


@pytest.mark.parametrize("name", MODULES)
def test_a_page_has_a_folder_of_templates_and_its_tests(name: str) -> None:
    assert (TEMPLATES / name / "page.html").is_file()
    assert Path(__file__).with_name(f"test_{name}.py").is_file()


def test_every_folder_of_templates_is_a_pages() -> None:
    assert sorted(each.name for each in TEMPLATES.iterdir() if each.is_dir()) == MODULES


def test_no_two_pages_have_one_address_and_no_two_entries_one_place() -> None:
    found = pages.found()
    assert len(found) == len(MODULES)
    paths = Counter([("GET", path) for page in found for path in page.looks])
    paths += Counter([("POST", form.path) for page in found for form in page.forms])
    assert [path for path, count in paths.items() if count > 1] == []
    entries = [page.entry for page in found if page.entry]
    assert len({entry.place for entry in entries}) == len(entries)
    assert {entry.path for entry in entries} <= {path for method, path in paths if method == "GET"}


def test_what_is_no_page_is_told_accessibly(page: Page) -> None:
    assert_meets_wcag(page, "/nowhere")
