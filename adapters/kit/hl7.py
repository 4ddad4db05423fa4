"""
HL7 v2 messages: taken apart, their fields merged with what was said before, and answered.

>>> said = b"MSH|^~\\\\&|PAS|RXX|Ironbridge|Council|20261127||ADT^A08|7|P|2.4\\rPID|1||42^^^RXX^PI||O\\\\T\\\\B^Ann\\r"
>>> message = parsed("hospital", said)
>>> message.event, text_of(message.field("PID-5")), text_of(message.field("PID-5"), 2)
('A08', 'O&B', 'Ann')

The library `hl7` splits a message. Escapes are undone here, because the library logs a text whose escape it cannot undo.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import blake2b
from typing import Any, Literal, NamedTuple
from uuid import uuid4
from zoneinfo import ZoneInfo

import hl7

from canonical.errors import BadRecordError, shape_of

Values = list[list[list[str]]]
"""A field: its repetitions, their components, and the subcomponents of these. An absent or empty field is `[]`."""

Said = Mapping[str, Values]
"""Fields by their place, such as `PID-5`."""

NULL: Values = [[['""']]]
"""A sender writes this into a field whose value was taken away. An empty field says nothing."""

Acknowledgement = Literal["AA", "AE", "AR"]
"""Says what became of a message: accepted; in error (its content); refused (its kind)."""

_CODES = {
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "207": "Application internal error",
}
"""HL7 table 0357."""

_MOST = 64_000  # characters: taking these apart holds everything else up for less than 100 ms

ENCODINGS = {
    "": "",
    "ASCII": "ascii",
    "UNICODE UTF-8": "utf-8",
    "UNICODE": "utf-8",
    "UTF-8": "utf-8",
    "8859/1": "iso8859-1",
    "8859/15": "iso8859-15",
    "WINDOWS-1252": "cp1252",
}
"""Python's name of each character set that MSH-18 may name: HL7 table 0211, and two that senders write besides."""


class Hl7RefusalError(BadRecordError):
    """A message cannot be taken in, and its sender is told so: `acknowledgement` and `code` (HL7 table 0357) say how."""

    def __init__(self, where: str, place: str, rule: str, code: str, acknowledgement: Acknowledgement = "AE") -> None:
        super().__init__(where, field=place, rule=rule, shape="not shown")
        self.code = code
        self.acknowledgement = acknowledgement


class MessageFault(NamedTuple):
    """Something is wrong with a message: the segment or field, the rule that it broke, and the code for it."""

    place: str
    rule: str
    code: str = "102"


class Hl7Head(NamedTuple):
    """This is the segment MSH, as it came. It is read as Latin-1, so that an answer gives back the very same bytes."""

    separator: str = "|"
    signs: str = "^~\\&"
    fields: tuple[str, ...] = ()

    def field(self, number: int) -> str:
        """MSH-3 is 3; empty if it is not there."""
        at = number - 3
        return self.fields[at] if at < len(self.fields) else ""

    def component(self, field: int, number: int) -> str:
        parts = self.field(field).split(self.signs[0])
        return parts[number - 1].strip() if number <= len(parts) else ""


def head_of(block: bytes) -> Hl7Head | None:
    """Read the first segment of a message; None if it is no MSH, or its signs are letters or twice the same."""
    line = re.split(rb"[\r\n]", block[:10_000].lstrip(), maxsplit=1)[0].decode("latin-1")
    if not line.startswith("MSH") or len(line) < 9:
        return None
    _, signs, *fields = line.split(line[3])
    apart = {each for each in line[3] + signs[:4] if each.isprintable() and not each.isalnum() and not each.isspace()}
    return Hl7Head(line[3], signs, tuple(fields)) if len(apart) == 5 else None


@dataclass(frozen=True, slots=True)
class Hl7Segment:
    """One segment of a message."""

    name: str
    parts: Sequence[Any]
    signs: str
    """The signs for fields, components, repetitions, escapes and subcomponents, in this order."""

    def field(self, number: int) -> Values:
        if number >= len(self.parts):
            return []
        found = [[self._component(c) for c in _within(r)] for r in _within(self.parts[number])]
        return found if any(sub for r in found for c in r for sub in c) else []

    def said(self, numbers: Iterable[int]) -> dict[str, Values]:
        """The fields of these numbers that say something."""
        return {f"{self.name}-{n}": values for n in numbers if (values := self.field(n))}

    def _component(self, part: Any) -> list[str]:
        return [unescaped(str(sub), self.signs) for sub in _within(part)]


@dataclass(frozen=True, slots=True)
class Hl7Message:
    """A message, taken apart."""

    head: Hl7Head
    segments: tuple[Hl7Segment, ...]
    digest: str
    """Stands for its kind, its number (MSH-10) and all that it says: a repetition has the same, whenever it is sent."""

    @property
    def kind(self) -> str:
        """`ADT`, say."""
        return self.head.component(9, 1)

    @property
    def event(self) -> str:
        """`A01`, say."""
        return self.head.component(9, 2) or text_of(self.field("EVN-1"))

    def first(self, name: str) -> Hl7Segment | None:
        return next((each for each in self.segments if each.name == name), None)

    def field(self, place: str) -> Values:
        """The field at a place such as `PID-5`, of the first segment of that name."""
        name, _, number = place.partition("-")
        segment = self.first(name)
        return segment.field(int(number)) if segment else []

    def said(self, name: str, numbers: Iterable[int]) -> dict[str, Values]:
        """The fields of a segment that say something; nothing if the message has no such segment."""
        segment = self.first(name)
        return segment.said(numbers) if segment else {}


def parsed(
    where: str, block: bytes, *, encoding: str = "utf-8", processing: Collection[str] = "P", only: Collection[str] = ()
) -> Hl7Message:
    """
    Take a message apart. `encoding` counts where MSH-18 names none. Segments that are not in `only` are left out, because
    taking them apart takes long: an OBX may hold a whole document.

    :raises Hl7RefusalError: it cannot be read, or is not for us.
    """
    head = head_of(block)
    if head is None:
        raise Hl7RefusalError(where, "MSH", "the message does not begin with a segment MSH", "100", "AR")
    if not head.field(10).strip():
        raise Hl7RefusalError(where, "MSH-10", "is empty", "101", "AR")
    if head.component(11, 1) not in processing:
        raise Hl7RefusalError(where, "MSH-11", f"is not {' or '.join(sorted(processing))}", "202", "AR")
    if not head.field(12).startswith("2"):
        raise Hl7RefusalError(where, "MSH-12", "is no version 2", "203", "AR")
    text = _text(where, head, block, encoding)
    content = "\r".join([head.field(9), head.field(10), text.partition("\r")[2]])
    wanted = "\r".join(line for line in text.split("\r") if not only or line[:3] in ("MSH", *only))
    if len(wanted) > _MOST:
        raise Hl7RefusalError(where, "MSH", f"the segments that are read have more than {_MOST:,} characters", "207")
    segments = tuple(_segments(where, wanted, head))
    return Hl7Message(head, segments, blake2b(content.encode(), digest_size=12).hexdigest())


def insist(where: str, message: Hl7Message, kind: str, events: Collection[str]) -> None:
    """:raises Hl7RefusalError: a message is not of this kind, or of none of these events."""
    if message.kind != kind:
        raise Hl7RefusalError(where, "MSH-9", f"is not {kind}", "200", "AR")
    if message.event not in events:
        raise Hl7RefusalError(where, "MSH-9", f"is none of {', '.join(sorted(events))}", "201", "AR")


def _text(where: str, head: Hl7Head, block: bytes, encoding: str) -> str:
    named = ENCODINGS.get(head.field(18).split(head.signs[1])[0].strip().upper())
    if named is None:
        raise Hl7RefusalError(where, "MSH-18", f"is none of {', '.join(filter(None, ENCODINGS))}", "103", "AR")
    try:
        text = block.decode(named or encoding)
    except UnicodeDecodeError:
        raise Hl7RefusalError(where, "MSH-18", f"the message's bytes are not {named or encoding}", "102") from None
    return text.replace("\r\n", "\r").replace("\n", "\r").strip("\r ")


def _segments(where: str, text: str, head: Hl7Head) -> Iterable[Hl7Segment]:
    try:
        message = hl7.parse(text)
    except (hl7.HL7Exception, ValueError, IndexError, AssertionError):
        raise Hl7RefusalError(where, "MSH", "the message cannot be taken apart", "100") from None
    for segment in message:
        yield Hl7Segment(str(segment[0]).strip(), segment, f"{head.separator}{head.signs}")


def _within(part: Any) -> Sequence[Any]:
    return part if isinstance(part, hl7.Container) else [part]


def unescaped(text: str, signs: str) -> str:
    """A text without HL7's escapes. One that is not known, such as a change of colour, is left out."""
    field, component, repetition, escape, subcomponent = tuple(signs)[:5]
    if escape not in text:
        return text
    plain = {"F": field, "S": component, "R": repetition, "E": escape, "T": subcomponent, ".br": "\n", ".sp": "\n"}

    def undone(found: re.Match[str]) -> str:
        inner: str = found[1]
        return _of_hex(inner[1:]) if inner[:1] == "X" else plain.get(inner, "")

    sign = re.escape(escape)
    return re.sub(f"{sign}([^{sign}]*){sign}", undone, text)


def _of_hex(digits: str) -> str:
    try:
        return bytes.fromhex(digits).decode("utf-8")
    except ValueError:
        return ""


# -- what fields say ---------------------------------------------------------------------------------------------------


def text_of(values: Values, component: int = 1, sub: int = 1) -> str:
    """A text of the first repetition; empty if it is not there, or null."""
    return component_of(values[0], component, sub) if values else ""


def component_of(repetition: list[list[str]], component: int = 1, sub: int = 1) -> str:
    if component > len(repetition) or sub > len(repetition[component - 1]):
        return ""
    found = repetition[component - 1][sub - 1].strip()
    return "" if found == NULL[0][0][0] else found


def updated(had: Said, said: Said) -> dict[str, Values]:
    """The fields that were known, as a message changes them: an empty field keeps its value, a null one loses it."""
    return {place: values for place, values in {**had, **said}.items() if values != NULL}


_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)?(\d\d)?(?:\.\d{1,6})?)?([+-]\d{4})?")

_FIRST_YEAR = 1800  # nobody who is told of was born before, and no zone takes a moment out of Python's calendar


def day_of(written: str | None, place: str) -> date | None:
    """
    The day of a date or time, as the sender writes it; None if nothing is written.

    :raises BadRecordError: it is no whole day.
    """
    moment = _read(written, place)
    return moment.date() if moment else None


def moment_of(written: str | None, place: str, zone: ZoneInfo) -> datetime | None:
    """
    The moment, if a time of day is written; `zone` counts where the offset from UTC is not.

    :raises BadRecordError: it is no time.
    """
    moment = _read(written, place)
    if moment is None or len(re.split("[+-]", written or "")[0]) < 10:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def _read(written: str | None, place: str) -> datetime | None:
    if not written:
        return None
    try:
        found = _TIME.fullmatch(written)
        if found is None or int(found[1]) < _FIRST_YEAR:
            raise ValueError  # one sentence for all of them
        *numbers, offset = found.groups()
        plain = "".join(number or "00" for number in numbers) + (offset or "")
        return datetime.strptime(plain, "%Y%m%d%H%M%S%z" if offset else "%Y%m%d%H%M%S")  # noqa: DTZ007 (its zone may be ours)
    except ValueError:
        rule = "is not of the form YYYYMMDD, with or without a time"
        raise BadRecordError("hl7", field=place, rule=rule, shape=shape_of(written)) from None


# -- the answer --------------------------------------------------------------------------------------------------------


def answer(head: Hl7Head | None, acknowledgement: Acknowledgement, faults: Sequence[MessageFault] = ()) -> bytes:
    """The answer to a message: MSH and MSA, and an ERR for each fault."""
    head = head or Hl7Head()
    component = head.signs[0]
    event = head.component(9, 2)
    told = [_plain(head, f"{f.place}: {f.rule}" if f.place else f.rule) for f in faults]
    msh = [
        "MSH", head.signs, head.field(5), head.field(6), head.field(3), head.field(4), f"{datetime.now(UTC):%Y%m%d%H%M%S}+0000",
        "", component.join(["ACK", event, "ACK"] if event else ["ACK"]), uuid4().hex[:20], head.field(11) or "P",
        head.field(12) or "2.5", "", "", "", "", "", head.field(18),
    ]  # fmt: skip
    msa = ["MSA", acknowledgement, head.field(10), *told[:1]]
    errors = [_error(head, fault, text) for fault, text in zip(faults, told, strict=True)]
    segments = [head.separator.join(fields).rstrip(head.separator) for fields in (msh, msa, *errors)]
    return "".join(f"{segment}\r" for segment in segments).encode("latin-1", "replace")


_PLACE = re.compile(r"([A-Z][A-Z0-9]{2})(?:-(\d+)(?:\.(\d+))?)?")


def _error(head: Hl7Head, fault: MessageFault, text: str) -> list[str]:
    component = head.signs[0]
    place = _PLACE.fullmatch(fault.place)
    segment, field, part = place.groups() if place else (None, None, None)
    located = [each for each in (segment, "1", field, part and "1", part) if each] if field else [segment] if segment else []
    code = component.join([fault.code, _CODES.get(fault.code, _CODES["207"]), "HL70357"])
    return ["ERR", "", component.join(located), code, "E", "", "", "", text]


def _plain(head: Hl7Head, text: str) -> str:
    """A text of ours without the signs that have a meaning in a message."""
    return re.sub(f"[{re.escape(head.separator + head.signs)}\r\n]", " ", text)
