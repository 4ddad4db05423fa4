"""
A COBOL copybook: which fields a record of a mainframe has, where each lies and how its value is written.

It reads what record descriptions are made of: levels, PIC of X, A, 9, S, V, P and a printed point, COMP, COMP-3 and COMP-5 (and
their synonyms), SIGN LEADING or TRAILING, SEPARATE, OCCURS with and without DEPENDING ON, REDEFINES, FILLER, 88. The sizes are
those of IBM Enterprise COBOL. It refuses by its name what it does not know, such as COMP-1 or SYNCHRONIZED.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from canonical.errors import MisconfiguredError

Usage = Literal["display", "binary", "native", "packed"]
"""`native` is COMP-5: binary with whatever its bytes can hold; other binary numbers have no more digits than their PIC."""


@dataclass(frozen=True, slots=True)
class CopybookPicture:
    """The way in which one value is written: `digits` of a number with `scale` behind the point, or `size` bytes of text."""

    size: int
    digits: int = 0
    scale: int = 0
    signed: bool = False
    usage: Usage = "display"
    separate: Literal["", "leading", "trailing"] = ""
    leading: bool = False
    edited: bool = False
    """A point stands there in print, or blanks for zeros: it is a number that people can read."""


@dataclass(frozen=True)
class CopybookField:
    """
    A field of a record, or a group of fields. `name` is as a Python name: `SHORT_NAME`. It stands there `most` times, or as often
    as the field `depending` says; a field that `redefines` another begins where that one begins.
    """

    name: str
    level: int
    picture: CopybookPicture | None = None
    fields: list[CopybookField] = field(default_factory=list)
    most: int = 1
    least: int = 1
    table: bool = False
    depending: str = ""
    redefines: str = ""

    @property
    def one(self) -> int:
        """The bytes of one of it, as many as there can be."""
        if self.picture is not None:
            return self.picture.size
        ends: dict[str, int] = {}
        end = 0
        for each in self.fields:
            start = ends.get(each.redefines, end) if each.redefines else end
            ends[each.name] = start
            end = max(end, start + each.size)
        return end

    @property
    def size(self) -> int:
        return self.one * self.most


def copybook(text: str, where: str = "the copybook") -> list[CopybookField]:
    """
    The records that a copybook describes, by its fields of level 01.

    :raises MisconfiguredError: it is none, or has something that is not known here; says the sentence's number and the word.
    """
    found = [each for n, words in enumerate(_sentences(text), 1) if (each := _field(words, f"{where}, sentence {n}"))]
    if not found:
        raise MisconfiguredError(where, "describes no record", fix="give the copybook's own text, from its level 01 on")
    tops: list[CopybookField] = []
    open_groups: list[CopybookField] = []
    for each in found:
        while open_groups and open_groups[-1].level >= each.level:
            open_groups.pop()
        if open_groups and open_groups[-1].picture is not None:
            what = f"{each.name} lies in {open_groups[-1].name}, which has a PIC"
            raise MisconfiguredError(where, what, fix="correct its level")
        (open_groups[-1].fields if open_groups else tops).append(each)
        open_groups.append(each)
    for each in tops:
        _insist(each, where)
    return tops


def _insist(its: CopybookField, where: str) -> None:
    """:raises MisconfiguredError: a group is empty, or a field redefines none of those before it."""
    if its.picture is None and not its.fields:
        raise MisconfiguredError(where, f"{its.name} has no PIC and no fields", fix="give the whole copybook")
    for at, each in enumerate(its.fields):
        if each.redefines and each.redefines not in {before.name for before in its.fields[:at]}:
            raise MisconfiguredError(where, f"{each.name} redefines {each.redefines}, which is not beside it", fix="give it too")
        _insist(each, where)


# -- sentences -------------------------------------------------------------------------------------------------------

_WORD = re.compile(r"""'[^']*'|"[^"]*"|[^\s,;'"]+""")


def _sentences(text: str) -> Iterator[list[str]]:
    """The words of each sentence, in capitals. Columns 1 to 6 and from 73 on are no text, nor are comments."""
    words: list[str] = []
    for line in text.splitlines():
        body = line.expandtabs(8)
        if body[6:7] in ("*", "/") or body.lstrip().startswith("*"):
            continue
        for word in _WORD.findall(body[6:72] if len(body) > 6 and not body[:6].strip(" 0123456789") else body):
            words.append(word.rstrip(".") if word[0] not in "'\"" else word)
            if word.endswith("."):
                yield [each.upper() for each in words if each]
                words = []
    if words:
        yield [each.upper() for each in words]


_USAGES: dict[str, Usage] = {
    **dict.fromkeys(("COMP", "COMP-4", "BINARY", "COMPUTATIONAL", "COMPUTATIONAL-4"), "binary"),
    **dict.fromkeys(("COMP-5", "COMPUTATIONAL-5"), "native"),
    **dict.fromkeys(("COMP-3", "COMPUTATIONAL-3", "PACKED-DECIMAL"), "packed"),
}
_NOTHING = {"IS", "USAGE", "DISPLAY", "TIMES", "ON", "TO", "CHARACTER", "SIGN", "ARE", "BY"}


def _field(words: Sequence[str], where: str) -> CopybookField | None:
    """The field that a sentence describes; None if it describes the values of one (level 88) or is none (COPY, EJECT)."""
    if not words or not words[0].isdigit():
        return None
    level, rest = int(words[0]), list(words[1:])
    if level == 88:
        return None
    if level in (66, 77):
        raise MisconfiguredError(where, f"level {level} is not known here", fix="leave it out: it is no field of a record")
    name = rest.pop(0) if rest and rest[0] not in ("PIC", "PICTURE", "REDEFINES", "OCCURS") else "FILLER"
    return _described(level, name.replace("-", "_"), rest, where)


def _described(level: int, name: str, rest: list[str], where: str) -> CopybookField:
    its = _Clauses()
    while rest:
        word = rest.pop(0)
        if word in _TAKING:
            if not rest:
                raise MisconfiguredError(where, f"ends with {word}", fix="give the whole copybook")
            _TAKING[word](its, rest)
        elif word in _USAGES:
            its.usage = _USAGES[word]
        elif word in ("LEADING", "TRAILING"):
            its.leading = word == "LEADING"
        elif word == "SEPARATE":
            its.separate = True
        elif word not in _NOTHING:
            raise MisconfiguredError(where, f"{word} is not known here", fix="describe the field without it, if that is the same")
    picture = _picture(its, where) if its.pic else None
    return CopybookField(name, level, picture, [], its.most, its.least, its.table, its.depending, its.redefines)


@dataclass(slots=True)
class _Clauses:
    """Collects what the clauses of a sentence say."""

    pic: str = ""
    usage: Usage = "display"
    leading: bool = False
    separate: bool = False
    most: int = 1
    least: int = 1
    table: bool = False
    depending: str = ""
    redefines: str = ""

    def take_picture(self, rest: list[str]) -> None:
        self.pic = _behind("IS", rest)

    def take_redefines(self, rest: list[str]) -> None:
        self.redefines = rest.pop(0).replace("-", "_")

    def take_depending(self, rest: list[str]) -> None:
        self.depending = _behind("ON", rest).replace("-", "_")

    def take_occurs(self, rest: list[str]) -> None:
        self.table, self.least = True, int(rest.pop(0))
        self.most = self.least
        if rest[:1] == ["TO"]:
            self.most = int(rest[1])
            del rest[:2]

    def take_no_matter(self, rest: list[str]) -> None:
        """Values that a program begins with, and indexes, say nothing of the record."""
        rest.clear()


_TAKING = {
    **dict.fromkeys(("PIC", "PICTURE"), _Clauses.take_picture),
    **dict.fromkeys(("VALUE", "VALUES", "INDEXED", "ASCENDING", "DESCENDING"), _Clauses.take_no_matter),
    "REDEFINES": _Clauses.take_redefines,
    "OCCURS": _Clauses.take_occurs,
    "DEPENDING": _Clauses.take_depending,
}


def _behind(filler: str, rest: list[str]) -> str:
    word = rest.pop(0)
    return rest.pop(0) if word == filler and rest else word


_TIMES = re.compile(r"(.)\((\d+)\)")


def _picture(its: _Clauses, where: str) -> CopybookPicture:
    written = _TIMES.sub(lambda found: found[1] * int(found[2]), its.pic)
    if re.fullmatch("[XA9]*[XA][XA9]*", written):
        return CopybookPicture(len(written))
    if not re.fullmatch(r"S?[9Z]*(V9*|\.9+)?P*", written) or not re.search("[9Z]", written):
        fix = "describe the field as PIC X, and let the mapping read it"
        raise MisconfiguredError(where, f"PIC {its.pic} is not known here", fix=fix)
    edited = "." in written or "Z" in written
    if its.usage != "display" and edited:
        raise MisconfiguredError(where, f"PIC {its.pic} is printed, and its usage is not", fix="correct one of them")
    digits, signed, behind = len(re.findall("[9Z]", written)), written.startswith("S"), re.search(r"[V.](9*)", written)
    separate: Literal["", "leading", "trailing"] = ""
    if its.separate and signed:
        separate = "leading" if its.leading else "trailing"
    return CopybookPicture(
        size=_size(its.usage, digits) or len(re.sub("[SVP]", "", written)) + bool(separate),
        digits=digits, scale=len(behind[1]) if behind else -written.count("P"), signed=signed, usage=its.usage,
        separate=separate, leading=its.leading, edited=edited,
    )  # fmt: skip


def _size(usage: Usage, digits: int) -> int:
    """The bytes of a number that is not written in characters; 0 for one that is."""
    if usage == "display":
        return 0
    return digits // 2 + 1 if usage == "packed" else 2 if digits <= 4 else 4 if digits <= 9 else 8
