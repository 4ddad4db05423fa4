"""The streams of a mainframe's ledger, and the adapter that reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.kit.layout_ebcdic import EbcdicLayout, RecordHeader
from adapters.mainframe_ledger import records
from canonical.errors import MisconfiguredError


class CopybookSettings(BaseModel):
    """
    These settings describe the records of one stream by the council's own copybook, a text `file`. `columns` are the paths of the
    row's fields in it, as `COMPANY.SHORT-NAME`. In a file with several kinds of record, `by` is the field that tells them apart,
    `kinds` its values in the stream's records and `others` in those that are left out. `header` stands before each record where
    they are not of one length. `encoding` is Python's name of the code page.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    file: Path
    columns: dict[str, str] = Field(default_factory=dict)
    by: str = ""
    kinds: tuple[str, ...] = ("",)
    others: tuple[str, ...] = ()
    header: RecordHeader | None = None
    encoding: str = "cp037"

    def layout(self, name: str, row: type) -> EbcdicLayout:
        """:raises MisconfiguredError: the copybook cannot be read."""
        try:
            text = self.file.read_text("utf-8")
        except (OSError, UnicodeError) as error:
            fix = f"correct `file` in [adapters.{name}.copybooks]"
            raise MisconfiguredError(name, f"a copybook cannot be read ({type(error).__name__})", fix=fix) from error
        kinds = dict.fromkeys(self.others) | dict.fromkeys(self.kinds, row)
        return EbcdicLayout(text, kinds, self.by, self.header, encoding=self.encoding, columns=self.columns)


class MainframeLedgerSettings(FilesSettings):
    """
    The folder of a mainframe's files, besides what every adapter of files may say. `copybooks` describe the records of a stream
    where they are not as this adapter's own copybook says.
    """

    copybooks: dict[Literal["supplier", "journal-line"], CopybookSettings] = Field(default_factory=dict)


class MainframeLedgerAdapter(FilesAdapter):
    """The files of one mainframe's ledger."""

    def __init__(self, name: str, settings: MainframeLedgerSettings) -> None:
        def layout(stream: Literal["supplier", "journal-line"], row: type, text: str) -> EbcdicLayout:
            own = settings.copybooks.get(stream)
            return EbcdicLayout(text, {"": row}) if own is None else own.layout(name, row)

        suppliers = layout("supplier", records.SupplierRecord, records.SUPPLIER)
        entries = layout("journal-line", records.LedgerEntry, records.ENTRY)
        streams = (
            FileStream("supplier", records.supplier, suppliers, r"suppliers?(?:[ ._-](?P<extract>[0-9-]+))?\.(?:dat|bin)"),
            FileStream("journal-line", records.entry, entries, r"(?:ledger|journal)(?:[ ._-](?P<extract>[0-9-]+))?\.(?:dat|bin)"),
        )
        super().__init__(name, settings, streams)
