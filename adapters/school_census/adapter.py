"""The streams of the school census's leavers, and the adapter that reads them."""

from __future__ import annotations

from adapters.kit.delimited import Delimited
from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.school_census import pupil

_FILES = r"(?P<extract>[0-9]{4}_(?:autumn|spring|summer))_pupilnolongeronroll\.csv"


class SchoolCensusSettings(FilesSettings):
    """The folder of a council's school census files, besides what every adapter of files may say."""


DECLARED = (
    FileStream("person", pupil.person, Delimited(pupil.Leaver), _FILES),
    FileStream("enrolment", pupil.enrolment, Delimited(pupil.OffRoll), _FILES),
)


class SchoolCensusAdapter(FilesAdapter):
    """The school census files of one council, of one term or of several."""

    def __init__(self, name: str, settings: SchoolCensusSettings) -> None:
        super().__init__(name, settings, DECLARED)
