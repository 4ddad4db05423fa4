"""The streams of a personnel system's exports, and the adapter that reads them."""

from __future__ import annotations

from pydantic import Field

from adapters.hr import staff
from adapters.kit.delimited import Delimited
from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.kit.layouts import Layout


class HrSettings(FilesSettings):
    """
    The folder of a council's personnel exports, besides what every adapter of files may say. `headings` are the council's own,
    with the column that each of them is here.
    """

    headings: dict[str, str] = Field(default_factory=dict)


def files(name: str) -> str:
    """The names of an export's files: `assignments_2026-05.csv`, or `assignments.csv` where there is one."""
    return rf"{name}(?:[ _-](?P<extract>[0-9-]+))?\.csv"


def declared(headings: dict[str, str]) -> tuple[FileStream, ...]:
    def lines(row: type) -> Layout:
        return Delimited(row, called=headings)

    return (
        FileStream("person", staff.person, lines(staff.Employee), files("employees")),
        FileStream("post", staff.post, lines(staff.PostDetails), files("posts")),
        FileStream("assignment", staff.assignment, lines(staff.PostHolding), files("assignments")),
    )


class HrAdapter(FilesAdapter):
    """The exports of one personnel system."""

    def __init__(self, name: str, settings: HrSettings) -> None:
        super().__init__(name, settings, declared(settings.headings))
