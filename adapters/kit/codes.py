"""
Translates a system's own codes into national ones.

>>> ETHNICITY = CodeMap("ethnicity", {"WB": "WBRI", "OTH": "OOTH"}, owner="the data team", agreed=date(2026, 5, 1))
>>> ETHNICITY.national("wb ")
'WBRI'
>>> ETHNICITY.unknown("X9")
'X9 is not in the code map ethnicity, which the data team agreed on 2026-05-01'
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from pydantic import BaseModel, ConfigDict, Field, field_validator

from canonical.errors import MisconfiguredError


@dataclass(frozen=True, slots=True)
class CodesFromSettings:
    """
    Says that the council gives the code map of this name in the adapter's settings: `tenure: Annotated[str | None,
    CodesFromSettings("tenure")]`. Made for codes that each council has agreed for itself.
    """

    name: str


class CodeList(BaseModel):
    """A code map in the settings, `[adapters.housing.codes.tenure]`; its fields are those of `CodeMap`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    owner: str = Field(min_length=1)
    agreed: date
    codes: dict[str, str] = Field(min_length=1)
    looks: str = "[A-Z0-9]{1,4}"

    @field_validator("looks")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error:
            raise ValueError("is a regular expression such as [A-Z0-9]{1,4}") from None
        return value


@dataclass(frozen=True, slots=True, eq=False)
class CodeMap:
    """
    A list of local codes, each with its national one: `ethnicity: Annotated[str | None, ETHNICITY]` in a row class arrives as the
    national code. `owner` is who answers for the list, `agreed` when it was agreed with them. Case and blanks at the ends do
    not count.

    A code that is not in the list quarantines its row, or costs its field where it is `Soft`. It is told itself if it `looks`
    like a code. Anything else that stands in the column is told by its shape alone, because it may be a person's.

    A map of the same name in the adapter's settings goes over this one.
    """

    name: str
    codes: Mapping[str, str]
    owner: str
    agreed: date
    looks: str = "[A-Z0-9]{1,4}"

    def __post_init__(self) -> None:
        """:raises MisconfiguredError: the list is empty, or has two entries for one code."""
        plain = {_plain(local): national for local, national in self.codes.items()}
        if not plain or len(plain) != len(self.codes):
            fix = "give each local code one national code; case and blanks at the ends do not count"
            raise MisconfiguredError(f"the code map {self.name}", "is empty or has two entries for one code", fix=fix)
        object.__setattr__(self, "codes", plain)

    def national(self, local: str) -> str | None:
        """The national code of a local one; None if the list does not have it."""
        return self.codes.get(_plain(local))

    def unknown(self, local: str) -> str:
        """The rule that a code breaks which is not in the list."""
        code = _plain(local) if re.fullmatch(self.looks, _plain(local)) else "what stands there"
        return f"{code} is not in the code map {self.name}, which {self.owner} agreed on {self.agreed}"


def agreed(where: str, given: Mapping[str, CodeList], used: Iterable[CodeMap | CodesFromSettings]) -> tuple[CodeMap, ...]:
    """
    Make the code maps that an adapter's settings give; its rows are declared with those in `used`.

    :raises MisconfiguredError: one that the rows need is not given, or one that is given is none of theirs.
    """
    names = {each.name for each in used}
    if unknown := sorted(given.keys() - names):
        fix = f"its code maps are {', '.join(sorted(names)) or 'none'}"
        raise MisconfiguredError(where, f"`codes` names no code map: {', '.join(unknown)}", fix=fix)
    needed = {each.name for each in used if isinstance(each, CodesFromSettings)}
    if lacking := sorted(needed - given.keys()):
        fix = f"give [adapters.{where}.codes.{lacking[0]}] an owner, the day when it was agreed, and codes"
        raise MisconfiguredError(where, f"has no code map {', '.join(lacking)}", fix=fix)
    return tuple(CodeMap(name, each.codes, each.owner, each.agreed, each.looks) for name, each in sorted(given.items()))


def _plain(code: str) -> str:
    return code.strip().upper()
