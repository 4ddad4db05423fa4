"""The streams of UBL documents, and the adapter that reads them."""

from __future__ import annotations

from functools import partial

from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.kit.layout_xml import XmlLayout
from adapters.ubl import documents, suppliers
from adapters.ubl.names import NAMESPACES, ROOTS

_layout = partial(XmlLayout, namespaces=NAMESPACES, roots=ROOTS)
_FILES = r".*\.xml"
# A received document stays, although another file takes its file's place: only a credit note takes an invoice back.
DECLARED = (
    FileStream("supplier", suppliers.supplier, _layout(suppliers.KINDS, whole=suppliers.sellers), _FILES, lasting=True),
    FileStream("invoice", documents.invoice, _layout(documents.KINDS, whole=documents.invoices), _FILES, lasting=True),
    FileStream(
        "credit-note", documents.credit_note, _layout(documents.KINDS, whole=documents.credit_notes), _FILES, lasting=True
    ),
)


class UblSettings(FilesSettings):
    """The folder where e-invoices arrive, besides what every adapter of files may say."""


class UblAdapter(FilesAdapter):
    """The UBL documents of one access point or mailbox, a document a file."""

    def __init__(self, name: str, settings: UblSettings) -> None:
        super().__init__(name, settings, DECLARED)
