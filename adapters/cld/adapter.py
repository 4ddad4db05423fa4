"""The streams of Client Level Data, and the adapter that reads them. All of them read the same file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from adapters.cld import events, person
from adapters.kit.delimited import Delimited
from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.kit.split import Split
from adapters.kit.streams import types_of

_FILES = r".*\.csv"


class CldSettings(FilesSettings):
    """The folder of a council's Client Level Data, besides what every adapter of files may say."""


def _events(name: str, mapping: Callable[[str, Any], Any], picked: Callable[[Any], Iterator[Any]]) -> FileStream:
    row = types_of(name, mapping)[0]
    return FileStream(name, mapping, Split(Delimited(row), row, picked), _FILES)


DECLARED = (
    FileStream("person", person.person, Delimited(person.Adult), _FILES),
    _events("adult-request", events.request, events.requests),
    _events("adult-assessment", events.assessment, events.assessments),
    _events("adult-service", events.service, events.services),
    _events("adult-review", events.review, events.reviews),
)


class CldAdapter(FilesAdapter):
    """The Client Level Data files of one council."""

    def __init__(self, name: str, settings: CldSettings) -> None:
        super().__init__(name, settings, DECLARED)
