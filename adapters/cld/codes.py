"""
The lists of Client Level Data release 2 that are known whole; case does not count. Other phrases are published as they stand.

Source: DataS-DHSC/ASC-CLD-LA-Dashboard (MIT), its documentation of data cleaning and of deduplication.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from adapters.kit.codes import CodeMap
from adapters.kit.rows import DayWritten, Soft

_RETURN, _SINCE = "Client Level Data", date(2025, 4, 1)
_FORM = DayWritten("%d/%m/%Y")
Day = Annotated[date | None, _FORM]


def _phrases(name: str, *phrases: str) -> CodeMap:
    return CodeMap(name, {phrase: phrase for phrase in phrases}, _RETURN, _SINCE)


_ENDINGS = (
    "Responsibility moved to another local authority", "Referral to NHS services or NHS funded social care",
    "Self-funded client or under 12wk disregard", "Information and advice or signposting",
    "Referral to other service within the local authority", "Support declined", "Deceased", "Support ended as planned",
    "Support ended for other reason", "No services offered for other reason", "Other",
)  # fmt: skip
_OUTCOMES = (
    "Progress to reablement/ST-Max", "Progress to assessment, review or reassessment", "Progress to support planning or services",
    "Continuation of support or services", "Admitted to hospital", *(f"NFA: {ending}" for ending in _ENDINGS),
)  # fmt: skip
_CLIENTS = "Service user", "Unpaid carer", "Unpaid carer known by association"

EVENT = CodeMap("cld-event-type", {"Request": "Request"}, _RETURN, _SINCE)
"""All other events of the return are picked by their own streams."""
Outcome = Soft[Annotated[str | None, _phrases("cld-outcome", *_OUTCOMES)]]
Client = Soft[Annotated[str | None, _phrases("cld-client-type", *_CLIENTS)]]
SEX = CodeMap("cld-gender", {"Male": "M", "Female": "F", "Other": "U", "Unknown": "U"}, _RETURN, _SINCE)

_ASIAN, _BLACK = "Asian or Asian British", "Black, Black British, Caribbean or African"
_MIXED, _WHITE, _OTHER = "Mixed or multiple ethnic groups", "White", "Other ethnic group"
# "White: Gypsy or Irish Traveller" is two codes of the census, and stands in no list until a council says which one it means.
ETHNICITY = CodeMap(
    "cld-ethnicity",
    {
        f"{_ASIAN}: Indian": "AIND", f"{_ASIAN}: Pakistani": "APKN", f"{_ASIAN}: Bangladeshi": "ABAN",
        f"{_ASIAN}: Chinese": "CHNE", f"{_ASIAN}: Any other Asian background": "AOTH",
        f"{_BLACK}: Caribbean": "BCRB", f"{_BLACK}: African": "BAFR",
        f"{_BLACK}: Any other Black, Black British, Caribbean or African background": "BOTH",
        f"{_MIXED}: White and Black Caribbean": "MWBC", f"{_MIXED}: White and Black African": "MWBA",
        f"{_MIXED}: White and Asian": "MWAS", f"{_MIXED}: Any other Mixed or multiple ethnic background": "MOTH",
        f"{_WHITE}: English, Welsh, Scottish, Northern Irish or British": "WBRI", f"{_WHITE}: Irish": "WIRI",
        f"{_WHITE}: Roma": "WROM", f"{_WHITE}: Any other White background": "WOTH",
        f"{_OTHER}: Arab": "OOTH", f"{_OTHER}: Any other ethnic group": "OOTH",
        "No data: Refused": "REFU", "No data: Undeclared or not known": "NOBT",
    },
    _RETURN, _SINCE,
)  # fmt: skip
