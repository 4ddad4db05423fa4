"""The streams of Annex A, and the adapter that reads them. All of them read the same workbook, each its list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adapters.annex_a import care, need, person
from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.kit.layout_sheet import SheetLayout
from adapters.kit.split import Split
from adapters.kit.streams import types_of

_FILES = r".*\.(?:xlsx|xlsm|xls|ods)"
_ALL = SheetLayout(person.ListedChild, tuple(f"List {number}" for number in range(1, 11)))


class AnnexASettings(FilesSettings):
    """The folder of a council's Annex A workbooks, besides what every adapter of files may say."""


def _list(number: int, name: str, mapping: Callable[[str, Any], Any], prefix: str = "") -> FileStream:
    layout = SheetLayout(types_of(name, mapping)[0], (f"List {number}",))
    return FileStream(name, mapping, layout, _FILES, prefix=prefix)


DECLARED = (
    FileStream("person", person.child, Split(_ALL, person.ListedChild, person.in_one_spelling), _FILES),
    _list(1, "contact", need.contact),
    _list(2, "early-help", need.early_help),
    _list(3, "referral", need.referral, need.REFERRED),
    _list(4, "assessment", need.assessment),
    _list(5, "section-47-enquiry", need.enquiry),
    _list(6, "child-in-need", need.in_need, need.IN_NEED),
    _list(7, "cp-plan", need.protection),
    _list(8, "looked-after", care.period),
    _list(8, "placement", care.placement),
    _list(8, "legal-status", care.status),
    _list(9, "care-leaver", care.leaver),
    _list(10, "permanence", care.adoption),
    _list(11, "adopting-person", person.adopting, "adopter-"),
    _list(11, "adopter", care.adopter),
)


class AnnexAAdapter(FilesAdapter):
    """The Annex A workbooks of one council."""

    def __init__(self, name: str, settings: AnnexASettings) -> None:
        super().__init__(name, settings, DECLARED)
