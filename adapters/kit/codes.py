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
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from canonical.errors import MisconfiguredError


@dataclass(frozen=True, slots=True, eq=False)
class CodeMap:
    """
    A list of local codes, each with its national one: `ethnicity: Annotated[str | None, ETHNICITY]` in a row class arrives as the
    national code. `owner` is who answers for the list, `agreed` when it was agreed with them. Case and blanks at the ends do
    not count.

    A code that is not in the list quarantines its row, or costs its field where it is `Soft`. It is told itself if it `looks`
    like a code. Anything else that stands in the column is told by its shape alone, because it may be a person's.
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


def _plain(code: str) -> str:
    return code.strip().upper()
