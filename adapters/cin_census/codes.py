"""
The code lists of the CIN census, as the DfE's schema of 2024 has them.

Ethnicity is published as it stands. A council's settings may give a map of another list's name: newer years have more codes.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from adapters.kit.code_lists import national_list
from adapters.kit.codes import CodeMap
from adapters.kit.rows import Soft

_CENSUS = "the CIN census"
_FACTORS = (
    "1A 1B 1C 2A 2B 2C 3A 3B 3C 4A 4B 4C 5A 5B 5C 6A 6B 6C 7A 8B 8C 8D 8E 8F 9A 10A 11A 12A 13A 14A 15A 16A 17A 18A 18B 18C "
    "19A 19B 19C 20 21 22A 23A 24A"
)
_SOURCES = "1A 1B 1C 1D 2A 2B 3A 3B 3C 3D 3E 3F 4 5A 5B 5C 5D 6 7 8 9 10"

# GenderCurrent has digits (9: not specified), Sex has letters.
SEX = CodeMap(
    "cin-sex", {"M": "M", "F": "F", "U": "U", "1": "M", "2": "F", "0": "U", "9": "U"}, _CENSUS, date(2023, 4, 1), "[A-Z0-9]"
)
SexCode = Soft[Annotated[str | None, SEX]]
NoUpn = Soft[Annotated[str | None, national_list("cin-upn-unknown", "UN1 UN2 UN3 UN4 UN5 UN6 UN7", _CENSUS, 2023)]]
DISABILITY = national_list("cin-disability", "NONE MOB HAND PC INC COMM LD HEAR VIS BEH CON AUT DDA", _CENSUS, 2023)
SOURCE = national_list("cin-referral-source", _SOURCES, _CENSUS, 2023)
NEED = national_list("cin-primary-need", "N0 N1 N2 N3 N4 N5 N6 N7 N8 N9", _CENSUS, 2023)
CLOSURE = national_list("cin-closure", "RC1 RC2 RC3 RC4 RC5 RC6 RC7 RC8 RC9", _CENSUS, 2023)
FACTOR = national_list("cin-factor", _FACTORS, _CENSUS, 2023)
ABUSE = national_list("cin-abuse", "NEG PHY SAB EMO MUL", _CENSUS, 2023)
