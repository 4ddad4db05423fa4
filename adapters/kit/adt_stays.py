"""
Stays as ADT messages tell of them: admitted, moved, discharged, and each of these taken back.

A system declares its own row class of a stay, and its columns by their places in PV1 and PV2. The fields `number`, `patient` and
`wards` (`tuple[VisitWard, ...]`) of that class are filled in here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo

from adapters.kit.adt_register import Known
from adapters.kit.hl7 import NULL, Hl7Message, Said, Values, component_of, moment_of, text_of, updated
from adapters.kit.hl7_rows import Hl7Rows, numbers_of
from adapters.kit.rows import Soft, Spelt, row_of
from adapters.port import Row
from canonical.health import WardStay

_FILLED = ("number", "patient", "wards")
_DISCHARGE = ("PV1-36", "PV1-37", "PV1-45")
_DOCTORS = ("PV1-7", "PV1-8", "PV1-9", "PV1-17")  # all are kept, so that another setting holds for the stays that are known
_CANCELLED = "cancelled"


@row_of("ADT")
class VisitWard(NamedTuple):
    """A ward of a stay, and the time from which on the patient lay there."""

    since: Annotated[Soft[str | None], Spelt("EVN-6")]
    ward: Annotated[str | None, Spelt("PV1-3.1")]
    room: Annotated[str | None, Spelt("PV1-3.2")]
    bed: Annotated[str | None, Spelt("PV1-3.3")]
    site: Annotated[str | None, Spelt("PV1-3.4")]


def wards_of(rows: Iterable[VisitWard], zone: ZoneInfo) -> tuple[WardStay, ...]:
    """:raises BadRecordError: a time is none."""
    return tuple(
        WardStay(start=moment_of(w.since, "EVN-6", zone), ward=w.ward, room=w.room, bed=w.bed, site=w.site) for w in rows
    )


class Stays:
    """
    The rows of stays, of the class that the system declares, and how each event changes what the register knows of one. `doctor`
    is the field that is read where the class names PV1-7.
    """

    def __init__(self, kind: type, doctor: str) -> None:
        self._rows = Hl7Rows(kind, _FILLED, {"PV1-7": doctor})
        own = [f"{name}-{n}" for name, each in self._rows.fields.items() for n in each]
        self.fields = numbers_of([*own, *_DISCHARGE, *_DOCTORS, "PV1-44"])
        """The fields that the register keeps, by segment."""

    def row(self, number: str, patient: str, known: Known) -> Row:
        wards = tuple(tuple(each) for each in known.get("wards", []))
        return self._rows.row(known.get("said", {}), number=number, patient=patient, wards=wards)

    def after(self, known: Known, message: Hl7Message) -> Known:
        """Return a stay as it is known after this message."""
        if message.event == "A11":
            return {_CANCELLED: True}
        if is_cancelled(known):
            if message.event != "A01":
                return known  # nothing but a new admission makes a stay of it again
            known = {}
        had: Said = known.get("said", {})
        return {"said": updated(had, self._said(had, message)), "wards": _wards(known.get("wards", []), message)}

    def _said(self, had: Said, message: Hl7Message) -> dict[str, Values]:
        """Return what a message says of a stay. An admission or a discharge without a time has the event's own time."""
        said = {p: values for name, numbers in self.fields.items() for p, values in message.said(name, numbers).items()}
        match message.event:
            case "A13":
                return said | dict.fromkeys(_DISCHARGE, NULL)
            case "A01" if "PV1-44" not in had:
                return {"PV1-44": _happened(message)} | said
            case "A03" if "PV1-45" not in had:
                return {"PV1-45": _happened(message)} | said
        return said


def is_cancelled(known: Known) -> bool:
    return _CANCELLED in known


def _happened(message: Hl7Message) -> Values:
    return message.field("EVN-6") or message.field("EVN-2")


def _wards(had: list[list[str]], message: Hl7Message) -> list[list[str]]:
    """The wards of a stay, each with the time from which on the patient lay there."""
    place, before = _place(message.field("PV1-3")), _place(message.field("PV1-6"))
    if not place or (had and had[-1][1:] == place):
        return had
    if message.event == "A02":
        known = had or ([["", *before]] if before else [])
        return [*known, [text_of(_happened(message)), *place]]
    if had:  # any other event corrects where the patient lies
        return [*had[:-1], [had[-1][0], *place]]
    began = message.field("PV1-44") or _happened(message) if message.event == "A01" else []
    return [[text_of(began), *place]]


def _place(values: Values) -> list[str]:
    found = [component_of(values[0], number) for number in range(1, 5)] if values else []
    return found if any(found) else []
