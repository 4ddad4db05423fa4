"""The stream of Bacs files, and the adapter that reads them."""

from __future__ import annotations

from adapters.bacs import standard18
from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.kit.layout_fixed import FixedLayout

LAYOUT = FixedLayout(standard18.KINDS, whole=standard18.transfers)
DECLARED = (FileStream("bank-transfer", standard18.transfer, LAYOUT, r".*\.(?:txt|dat|bac|bacs|18)"),)


class BacsSettings(FilesSettings):
    """The folder where the finance system's Bacs files are kept, besides what every adapter of files may say."""


class BacsAdapter(FilesAdapter):
    """The Bacs files of one finance system."""

    def __init__(self, name: str, settings: BacsSettings) -> None:
        super().__init__(name, settings, DECLARED)
