"""
A layout: a short declaration of one shape of extract. Adding one is adding a file of ten lines; README.md teaches it.

A layout says by which headings it is known, what each column means, how dates and amounts are written, and how lines
make up a document. What it does not say is refused, not guessed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from adapters.payables.cells import DATE_STYLES
from canonical.errors import MisconfiguredError

Meaning = Literal[
    "number", "line", "supplier_name", "supplier_number", "vat_number", "company_number", "charity_number",
    "document_date", "due_date", "payment_date", "net", "tax", "gross", "description", "corrects",
]  # fmt: skip
"""What a column can mean. Every one that a layout names must be in the file, unless it is `optional`."""
DATES: tuple[Meaning, ...] = ("document_date", "due_date", "payment_date")
MONEY: tuple[Meaning, ...] = ("net", "tax", "gross")
Part = Literal["number", "supplier", "document_date", "due_date", "payment_date"]
DateStyle = Annotated[str, Field(pattern="^(" + "|".join(re.escape(style) for style in DATE_STYLES) + ")$")]

WITHHELD = r"(?i).*\b(redacted|withheld|personal data|personal information)\b.*"
SUNDRY = r"(?i).*(one.?time|1.?time|one.?off|sundr|miscell|various).*"
SUMMARIES = r"(?i).*\b(summary|overview|pivot|totals?|contents)\b.*"
TOTALS = (
    r"(?i)(([\w&]+ ){0,3}|(grand|sub|report|overall)-?)totals?"
    r"( (for|of|to|by|in|per|paid|payable|net|gross|amount|value|spend|expenditure|payments?|invoices?|lines?)\b.*|\s*[^\w\s].*)?"
)
"""This matches what a total is called. A supplier whose name goes on behind the word, as Total Hygiene Ltd, is none."""


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return value


Pattern = Annotated[str, BeforeValidator(_pattern)]


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Declared):
    """
    One column: its heading (`"Net"`), some spellings of it (`["Net", "Nett"]`), or the whole table.

    A cell that does not match `pattern` holds no value of the column: Calderdale writes words into `Supplier ID`.
    `position` counts from 1 and serves in files without any headings, where `pattern` is the evidence.
    """

    heading: tuple[str, ...]
    optional: bool = False
    position: int | None = Field(default=None, ge=1)
    pattern: Pattern | None = None


def _column(value: Any) -> Any:
    if isinstance(value, str | list | tuple):
        return {"heading": (value,) if isinstance(value, str) else tuple(value)}
    if isinstance(value, dict) and isinstance(value.get("heading"), str):
        return {**value, "heading": (value["heading"],)}
    return value


Headed = Annotated[Column, BeforeValidator(_column)]


class Analysis(_Declared):
    """
    A dimension of a line: the column of its code and, where there is one, that of its name.

    `split` cuts a cell like `ENVS - Environmental Services` into code and name; the name groups are `code` and `name`.
    """

    code: Headed
    name: Headed | None = None
    split: Pattern | None = None


def _analysis(value: Any) -> Any:
    return {"code": value} if isinstance(value, str | list | tuple) else value


Analysed = Annotated[Analysis, BeforeValidator(_analysis)]


class PayablesLayout(_Declared):
    """
    One shape of extract.

    `document` names the parts that make lines one document, and so its key. `scope` says how far the number reaches:
    `ledger`, unique in the ledger and the same document in every extract; `extract`, known in this file only.
    `unnumbered` says what a row without a number is: `refuse` it, or a document of its own (`single`).
    `sheets` says which sheets of a workbook are read together if several fit: those called after a month, a quarter or a week
    each (`periods`), all of them (`each`), or none (`one`); a sheet called as `summaries` says is passed over.
    `sundry` are suppliers' numbers that stand for many, `renamed` ones that stand for one, whatever it is called.
    `sign` is `as-is` where what is owed to the supplier is positive, `reversed` where the ledger shows it as negative.
    """

    title: str
    columns: dict[Meaning, Headed]
    account: Analysed | None = None
    dimensions: dict[Annotated[str, Field(pattern="^[A-Z][A-Z0-9 _-]*$")], Analysed] = {}
    document: tuple[Part, ...] = ("number", "supplier")
    scope: Literal["ledger", "extract"] = "ledger"
    unnumbered: Literal["refuse", "single"] = "refuse"
    dates: tuple[DateStyle, ...] = ("dd/mm/yyyy",)
    decimal: Literal[".", ","] = "."
    sign: Literal["as-is", "reversed"] = "as-is"
    headless: bool = False
    redacted: Pattern = WITHHELD
    totals: Pattern = TOTALS
    sundry: Pattern = SUNDRY
    renamed: Pattern = ""
    sheets: Literal["periods", "each", "one"] = "periods"
    summaries: Pattern = SUMMARIES

    @model_validator(mode="after")
    def _whole(self) -> PayablesLayout:
        if "supplier_name" not in self.columns:
            raise ValueError("columns has no supplier_name")
        if "net" not in self.columns and not {"gross", "tax"} <= self.columns.keys():
            raise ValueError("columns has neither net nor both of gross and tax")
        for part in self.document:
            if part not in ("supplier", "number", *self.columns):
                raise ValueError(f"document names {part}, which columns does not have")
        if "number" not in self.columns and self.unnumbered == "refuse":
            raise ValueError('columns has no number: say unnumbered = "single", so that each row is a document')
        if self.headless and any(c.position is None and not c.optional for _, c in self.parts()):
            raise ValueError("a headless layout needs the position of every column")
        return self

    def parts(self) -> Iterator[tuple[str, Column]]:
        """Every column with its name inside: a meaning, `account`, `account name`, `COSTCENTRE`, `COSTCENTRE name`."""
        yield from self.columns.items()
        for name, analysis in self.analyses():
            yield name, analysis.code
            if analysis.name:
                yield f"{name} name", analysis.name

    def analyses(self) -> Iterator[tuple[str, Analysis]]:
        if self.account:
            yield "account", self.account
        yield from self.dimensions.items()

    def heading(self, part: str) -> str:
        """Return the name that the file gives a part, for a person to find it."""
        return next((column.heading[0] for name, column in self.parts() if name == part), part)


@cache
def built_in() -> dict[str, PayablesLayout]:
    """The layouts that come with Ironbridge, by the name of their file."""
    folder = resources.files("adapters.payables") / "layouts"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {f.name.removesuffix(".toml"): declared(f.name, tomllib.loads(f.read_text("utf-8"))) for f in files}


def declared(name: str, table: dict[str, Any]) -> PayablesLayout:
    """
    A layout from its declaration.

    :raises MisconfiguredError: it does not hold together; says where.
    """
    try:
        return PayablesLayout.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the layout"
        raise MisconfiguredError(
            f"layout {name}", f"{where}: {first['msg']}", fix="see adapters/payables/README.md, Adding a layout"
        ) from None
