"""The streams of the SSDA903 files, and the adapter that reads them."""

from __future__ import annotations

from adapters.kit.delimited import Delimited
from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.kit.layout_xml import Elements, XmlLayout
from adapters.kit.layouts import Layout, XmlOr
from adapters.kit.split import Split
from adapters.ssda903 import adoption, child, episodes, outcomes


def files(name: str) -> str:
    """
    The names of a return's files: `SSDA903_2024_episodes.csv`, or `episodes.csv` where there is one return; and of the whole
    return as XML, `SSDA903_2024.xml`.
    """
    return rf"(?:SSDA903[ _-](?P<extract>[0-9]{{4}})[ _-]?)?(?:{name}\.csv|.*\.xml)"


def csv(name: str) -> str:
    """The names of a file that the return as XML does not hold."""
    return files(name).replace(r"|.*\.xml", "")


def _in_xml(row: type, path: str, **columns: str) -> XmlLayout:
    return XmlLayout((row,), elements={row: Elements(f"EXPSSDA903/CHILD/{path}", tuple(columns.items()))})


def _of_a_child(row: type) -> Layout:
    """The file of a row for each child of whom it is said; in the return as XML, what stands with the child itself."""
    return XmlOr(Split(_in_xml(row, "HEADER", child="CHILDID"), row, child.if_said), Delimited(row))


def _several(row: type, element: str) -> Layout:
    """The file of a row; in the return as XML, an element in the child's header."""
    return XmlOr(_in_xml(row, f"HEADER/{element}", child="../CHILDID"), Delimited(row))


class Ssda903Settings(FilesSettings):
    """The folder of a council's SSDA903 files, besides what every adapter of files may say."""


_HEADER, _OC2 = _of_a_child(child.Header), _several(outcomes.Oc2, "OC2")
_EPISODES = XmlOr(
    _in_xml(episodes.Episode, "EPISODE", child="../HEADER/CHILDID", place="PL"), Delimited(episodes.Episode)
)
DECLARED = (
    FileStream("person", child.person, _HEADER, files("header")),
    FileStream("mother", child.mother, Split(_HEADER, child.Header, child.mothers), files("header")),
    FileStream("unaccompanied", child.unaccompanied, _of_a_child(child.Uasc), files("uasc")),
    FileStream("looked-after-episode", episodes.looked_after, _EPISODES, files("episodes")),
    FileStream("placement", episodes.placement, _EPISODES, files("episodes")),
    FileStream("legal-status", episodes.legal_status, _EPISODES, files("episodes")),
    FileStream("missing-episode", episodes.missing, _several(episodes.Missing, "AMISSING"), files("missing")),
    FileStream("review", episodes.review, _several(episodes.Reviewed, "AREVIEW"), files("reviews")),
    FileStream("involvement", episodes.involvement, Delimited(episodes.WorkerEpisode), csv("sw_?episodes")),
    FileStream("health-screening", outcomes.screening, _OC2, files("oc2")),
    FileStream("health-check", outcomes.health_check, Split(_OC2, outcomes.Oc2, outcomes.checks), files("oc2")),
    FileStream("conviction", outcomes.conviction, Split(_OC2, outcomes.Oc2, outcomes.convictions), files("oc2")),
    FileStream("care-leaver", outcomes.care_leaver, _of_a_child(outcomes.Oc3), files("oc3")),
    FileStream("adoption", adoption.decided, _of_a_child(adoption.Ad1), files("ad1"), prefix=adoption.AD1),
    FileStream(
        "placed-for-adoption", adoption.placed, _several(adoption.Placed, "AD_PLACED"), files("placed_?(?:for_?)?adoption"),
        prefix=adoption.PLACED,
    ),
    FileStream(
        "previous-permanence", adoption.previous, _several(adoption.Previous, "PERMANENCE"),
        files("prev(?:ious)?_?perm(?:anence)?"),
    ),
)  # fmt: skip


class Ssda903Adapter(FilesAdapter):
    """The SSDA903 returns of one council, of one year or of several."""

    def __init__(self, name: str, settings: Ssda903Settings) -> None:
        super().__init__(name, settings, DECLARED)
