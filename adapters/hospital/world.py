"""
An invented hospital: what it sends in some days, from a seed, as one would see it on the wire.

It has the habits of real ones: fields that say nothing because nothing changed, times without an offset, a transfer without the
ward before, names with signs that HL7 escapes, a patient who was entered twice. It sends by itself, so a demonstration that
makes a system before anybody listens has no use for it; tests have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

_FAMILIES = ("Darby", "O'Neill", "Reynolds & Sons", "Łukasz", "Wilkinson", "Ó Briain", "Telford", "Maw")
_GIVEN = ("Abraham", "Siân", "Hannah", "Zoë", "Thomas", "Mary-Ann")
_WARDS = ("AMU", "STROKE", "ORTHO", "CARE OF THE ELDERLY", "ICU")
_DOCTORS = ("C1234567^Sorrel^Ruth^^^Dr", "C7654321^Bevan^Aneurin^^^Mr")
_HOMES = ("19", "54", "85")


@dataclass(slots=True)
class Bed:
    """A patient of the invented hospital who lies in it, and what was told of the stay."""

    number: str
    visit: str
    ward: str
    since: datetime


@dataclass(slots=True)
class Hospital:
    """Sends messages, one after the other. `trust` is the authority of its numbers."""

    seed: int
    trust: str = "RXX"
    clock: datetime = datetime(2026, 11, 2, 8, 0)  # noqa: DTZ001 (it writes local times without an offset, as most do)
    _random: Random = field(init=False)
    _sent: int = 0
    _inside: list[Bed] = field(default_factory=list)
    _known: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311

    def messages(self, count: int) -> Iterator[str]:
        """Make so many messages, and give them in the order in which a hospital sends them."""
        for _ in range(count):
            self.clock += timedelta(minutes=self._random.randrange(1, 90))
            yield self._next()

    def _next(self) -> str:
        if not self._inside or self._random.random() < 0.35:
            return self._admit()
        bed = self._random.choice(self._inside)
        deeds = (self._transfer, self._discharge, self._correct, self._cancel, self._merge)
        return self._random.choices(deeds, weights=(5, 4, 3, 1, 1))[0](bed)

    def _admit(self) -> str:
        number = f"{100000 + len(self._known)}"
        self._known[number] = self._pid(number)
        bed = Bed(number, f"V{700000 + self._sent}", self._random.choice(_WARDS), self.clock)
        self._inside.append(bed)
        expected = f"{bed.since + timedelta(days=self._random.randrange(1, 20)):%Y%m%d}"
        pv2 = "PV2" + "|" * 9 + expected
        return self._message("A01", self._known[number], self._pv1(bed, f"{'|' * 25}{bed.since:%Y%m%d%H%M}"), pv2)

    def _transfer(self, bed: Bed) -> str:
        before, bed.ward = bed.ward, self._random.choice([each for each in _WARDS if each != bed.ward])
        told = self._random.choice([f"{before}^^^{self.trust}", ""])
        return self._message("A02", self._known[bed.number], self._pv1(bed, "", told))

    def _discharge(self, bed: Bed) -> str:
        self._inside.remove(bed)
        told = f"{'|' * 17}1|{self._random.choice(_HOMES)}{'|' * 8}{self.clock:%Y%m%d%H%M}"
        return self._message("A03", self._known[bed.number], self._pv1(bed, told))

    def _correct(self, bed: Bed) -> str:
        self._known[bed.number] = self._pid(bed.number)
        return self._message(self._random.choice(["A08", "A31"]), self._known[bed.number], self._pv1(bed, ""))

    def _cancel(self, bed: Bed) -> str:
        self._inside.remove(bed)
        return self._message("A11", self._known[bed.number], self._pv1(bed, ""))

    def _merge(self, bed: Bed) -> str:
        """The patient had been entered before, under a number that the hospital gives up."""
        return self._message("A40", self._known[bed.number], f"MRG|{bed.number}9^^^{self.trust}^PI")

    def _pid(self, number: str) -> str:
        family, given = (self._random.choice(names) for names in (_FAMILIES, _GIVEN))
        born = f"{1925 + self._random.randrange(80)}{self._random.randrange(1, 13):02}{self._random.randrange(1, 29):02}"
        street = f"{self._random.randrange(1, 200)} Wharfage^^Ironbridge^^TF8 7{self._random.choice('AB')}W^^H"
        name = f"{family.replace('&', chr(92) + 'T' + chr(92))}^{given}"
        return f"PID|1||{number}^^^{self.trust}^PI||{name}||{born}|{self._random.choice('FMU')}|||{street}"

    def _pv1(self, bed: Bed, rest: str, before: str = "") -> str:
        doctor = self._random.choice(_DOCTORS)
        return f"PV1|1|I|{bed.ward}^^{self._random.randrange(1, 9)}^{self.trust}|21||{before}|{doctor}{'|' * 12}{bed.visit}{rest}"

    def _message(self, event: str, *segments: str) -> str:
        self._sent += 1
        now = f"{self.clock:%Y%m%d%H%M%S}"
        number = f"{self.seed}-{self._sent}"
        msh = rf"MSH|^~\&|PAS|{self.trust}|Ironbridge|Council|{now}||ADT^{event}|{number}|P|2.4||||||UNICODE UTF-8"
        return "\r".join([msh, f"EVN|{event}|{now}", *segments, ""])
