"""The streams of the SSDA903 files, and the adapter that reads them."""

from __future__ import annotations

from adapters.kit.delimited import Delimited
from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.kit.split import Split
from adapters.ssda903 import adoption, child, episodes, outcomes


def files(name: str) -> str:
    """The names of a return's files: `SSDA903_2024_episodes.csv`, or `episodes.csv` where there is one return."""
    return rf"(?:SSDA903[ _-](?P<extract>[0-9]{{4}})[ _-])?{name}\.csv"


class Ssda903Settings(FilesSettings):
    """The folder of a council's SSDA903 files, besides what every adapter of files may say."""


_HEADER, _EPISODES, _OC2 = Delimited(child.Header), Delimited(episodes.Episode), Delimited(outcomes.Oc2)
DECLARED = (
    FileStream("person", child.person, _HEADER, files("header")),
    FileStream("mother", child.mother, Split(_HEADER, child.Header, child.mothers), files("header")),
    FileStream("unaccompanied", child.unaccompanied, Delimited(child.Uasc), files("uasc")),
    FileStream("looked-after-episode", episodes.looked_after, _EPISODES, files("episodes")),
    FileStream("placement", episodes.placement, _EPISODES, files("episodes")),
    FileStream("legal-status", episodes.legal_status, _EPISODES, files("episodes")),
    FileStream("missing-episode", episodes.missing, Delimited(episodes.Missing), files("missing")),
    FileStream("review", episodes.review, Delimited(episodes.Reviewed), files("reviews")),
    FileStream("involvement", episodes.involvement, Delimited(episodes.WorkerEpisode), files("sw_?episodes")),
    FileStream("health-screening", outcomes.screening, _OC2, files("oc2")),
    FileStream("health-check", outcomes.health_check, Split(_OC2, outcomes.Oc2, outcomes.checks), files("oc2")),
    FileStream("conviction", outcomes.conviction, Split(_OC2, outcomes.Oc2, outcomes.convictions), files("oc2")),
    FileStream("care-leaver", outcomes.care_leaver, Delimited(outcomes.Oc3), files("oc3")),
    FileStream("adoption", adoption.decided, Delimited(adoption.Ad1), files("ad1"), prefix=adoption.AD1),
    FileStream(
        "placed-for-adoption", adoption.placed, Delimited(adoption.Placed), files("placed_?(?:for_?)?adoption"),
        prefix=adoption.PLACED,
    ),
    FileStream(
        "previous-permanence", adoption.previous, Delimited(adoption.Previous), files("prev(?:ious)?_?perm(?:anence)?")
    ),
)  # fmt: skip


class Ssda903Adapter(FilesAdapter):
    """The SSDA903 files of one council, of one year or of several."""

    def __init__(self, name: str, settings: Ssda903Settings) -> None:
        super().__init__(name, settings, DECLARED)
