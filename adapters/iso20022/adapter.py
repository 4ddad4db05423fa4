"""The stream of pain.001 messages, and the adapter that reads them."""

from __future__ import annotations

from adapters.iso20022 import pain001
from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.kit.layout_xml import XmlLayout

LAYOUT = XmlLayout(pain001.KINDS, roots=pain001.VERSIONS, whole=pain001.transfers)
DECLARED = (FileStream("bank-transfer", pain001.transfer, LAYOUT, r".*\.xml"),)


class Iso20022Settings(FilesSettings):
    """The folder where the finance system's pain.001 files are kept, besides what every adapter of files may say."""


class Iso20022Adapter(FilesAdapter):
    """The pain.001 files of one finance system."""

    def __init__(self, name: str, settings: Iso20022Settings) -> None:
        super().__init__(name, settings, DECLARED)
