"""The streams of the CIN census, and the adapter that reads them."""

from __future__ import annotations

from adapters.cin_census import child, episodes
from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.kit.layout_xml import XmlLayout

_FILES = r".*\.xml"


class CinCensusSettings(FilesSettings):
    """The folder of a council's CIN census messages, besides what every adapter of files may say."""


def _layout(row: type) -> XmlLayout:
    return XmlLayout((child.CensusHeader, row), whole=child.of_the_census)


DECLARED = (
    FileStream("person", child.person, _layout(child.CensusChild), _FILES),
    FileStream("care-episode", episodes.episode, _layout(episodes.Details), _FILES),
    FileStream("assessment", episodes.assessment, _layout(episodes.Assessed), _FILES),
    FileStream("cin-plan", episodes.need_plan, _layout(episodes.NeedPlan), _FILES, prefix=episodes.NEED_PLAN),
    FileStream("section-47-enquiry", episodes.enquiry, _layout(episodes.Enquiry), _FILES),
    FileStream("cp-plan", episodes.protection_plan, _layout(episodes.ProtectionPlan), _FILES, prefix=episodes.PROTECTION),
    FileStream("cp-review", episodes.review, _layout(episodes.PlanReview), _FILES),
)


class CinCensusAdapter(FilesAdapter):
    """The CIN census messages of one council, of one year or of several."""

    def __init__(self, name: str, settings: CinCensusSettings) -> None:
        super().__init__(name, settings, DECLARED)
