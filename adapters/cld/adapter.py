"""The streams of Client Level Data, and the adapter that reads them. All of them read the same file."""

from __future__ import annotations

from adapters.cld import events, person
from adapters.kit.delimited import Delimited
from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.kit.split import Split

_FILES = r".*\.csv"


class CldSettings(FilesSettings):
    """The folder of a council's Client Level Data, besides what every adapter of files may say."""


DECLARED = (
    FileStream("person", person.person, Delimited(person.Adult), _FILES),
    FileStream(
        "adult-request", events.request, Split(Delimited(events.Request), events.Request, events.requests), _FILES
    ),
    FileStream(
        "adult-assessment", events.assessment,
        Split(Delimited(events.Assessment), events.Assessment, events.assessments), _FILES,
    ),
    FileStream(
        "adult-service", events.service, Split(Delimited(events.Service), events.Service, events.services), _FILES
    ),
    FileStream("adult-review", events.review, Split(Delimited(events.Reviewed), events.Reviewed, events.reviews), _FILES),
)  # fmt: skip


class CldAdapter(FilesAdapter):
    """The Client Level Data files of one council."""

    def __init__(self, name: str, settings: CldSettings) -> None:
        super().__init__(name, settings, DECLARED)
