"""
XML as a layout: each element at a path is a record, and the columns of its row class are XPaths below it.

    @row_of("household/pet", key="number")
    class Pet(NamedTuple):
        number: Annotated[int, Spelt("@no")]
        name: str | None
        street: Annotated[str | None, Spelt("../address/street")]
        toys: tuple[Toy, ...]                           # another row class, of the table "toys/toy"

    XmlLayout((Pet,))

lxml reads it (libxml2). A document type is refused, and with it every entity, default and file that one could name; nothing is
fetched. Elements nest 256 deep at most, and a text has ten megabytes: these are libxml2's limits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

from lxml import etree

from adapters.kit.layout_kinds import FoundRow, Whole, each_row, refused_file
from adapters.kit.layouts import HowWritten, Passed
from adapters.kit.rows import declared_of, fields_of
from adapters.port import Row, UnreadRow
from canonical.errors import BadRecordError


class Elements(NamedTuple):
    """
    The elements at a `path` that are rows of a class which says itself how they stand in another kind of file. `columns` are the
    XPaths of the fields that are called otherwise here; any other one is called as its column.
    """

    path: str
    columns: tuple[tuple[str, str], ...] = ()


LONGEST = 16_000_000
"""Bytes of a file within which a record has to end: what lies between two ends is in memory, with all that XML makes of it."""


@dataclass(frozen=True)
class XmlLayout:
    """
    The records of an XML file. `kinds` are their row classes; the table of each, as `row_of` declares it, is the path of its
    elements from the root, `Document/Report/Item`. Several paths are separated by `|`.

    A column is the XPath 1.0 that `Spelt` gives, or the field's own name, seen from the element; `..` leads to what stands before
    the file's first such element. A name without a prefix is of the namespace that the root has, other ones stand in `namespaces`
    under their prefixes. `roots` are the namespaces that the root may have; if there are none in the list any will do. Rows that
    nest, a field of the type `tuple[Line, ...]`, are the elements at the path that their own class declares as its table. Where a
    class was declared for another kind of file, `elements` says how its rows stand in this one.

    A text loses the blanks round it; what is not there is None, and a `Filled` column is empty. A column that is found twice
    makes its row an `UnreadRow`. `schema` is an XSD file that the whole file has to agree with. `whole` is asked to hold the
    records together.
    """

    kinds: tuple[type, ...]
    namespaces: Mapping[str, str] = field(default_factory=dict)
    roots: tuple[str, ...] = ()
    whole: Whole = field(default=each_row, repr=False)
    schema: Path | None = None
    accepted: frozenset[str] = frozenset()
    elements: Mapping[type, Elements] = field(default_factory=dict)

    def written(self, how: HowWritten) -> Self:
        """XML says itself how its texts are written: of the settings, only a person's consent matters."""
        return replace(self, accepted=how.accepted)

    def rows(self, file: BinaryIO) -> Iterator[Row | Passed]:
        """
        Give the rows to publish.

        :raises BadRecordError: the file is no well-formed XML, or another kind of it; says the line and the reason.
        """
        yield from self.whole(self._found(file), self.accepted)

    def _found(self, file: BinaryIO) -> Iterator[FoundRow]:
        namespace = self._namespace(file)
        prefixes = tuple({**self.namespaces, **({_ROOT: namespace} if namespace else {})}.items())
        plans = {
            path: (kind, _plan(kind, prefixes, self.elements.get(kind)))
            for kind in self.kinds
            for path in _paths(self._written_paths(kind), prefixes)
        }
        metered, tags = _Metered(file), {path[-1] for path in plans}
        schema = None if self.schema is None else _schema(self.schema)
        line = 1
        try:
            for _, element in etree.iterparse(metered, ("end",), tag=tags, schema=schema, **_SAFELY):
                line = element.sourceline or line
                path = (*(each.tag for each in reversed(list(element.iterancestors()))), element.tag)
                if path in plans:
                    kind, plan = plans[path]
                    yield FoundRow(kind, plan.row(element), line)
                    metered.ended()
                    _forget(element)
        except etree.XMLSyntaxError as error:
            raise _broken(error, line) from None

    def _written_paths(self, kind: type) -> list[str]:
        path = self.elements[kind].path if kind in self.elements else declared_of(kind).table
        return [each.strip() for each in path.split("|")]

    def _namespace(self, file: BinaryIO) -> str:
        """
        The namespace of the root.

        :raises BadRecordError: the file has a document type, or another root than its records' paths begin with.
        """
        if not file.read(1):
            raise refused_file("is empty", "nothing")
        file.seek(0)
        etree.clear_error_log()  # it is the thread's, and holds what was said of other files
        try:
            _, root = next(iter(etree.iterparse(file, ("start",), **_SAFELY)))
        except etree.XMLSyntaxError as error:
            raise _broken(error, 1) from None
        file.seek(0)
        if root.getroottree().docinfo.internalDTD is not None:
            rule = "has a document type, which could make anything of its text"
            raise refused_file(rule, "XML", "ask for the file without one")
        name, names = etree.QName(root), {
            path.split("/")[0] for kind in self.kinds for path in self._written_paths(kind)
        }
        if name.localname not in {each.rpartition(":")[2] for each in names}:
            raise refused_file(f"its first element is no {' or '.join(sorted(names))}", "XML")
        if self.roots and (name.namespace or "") not in self.roots:
            raise refused_file(f"its first element is of none of the namespaces {', '.join(self.roots)}", "XML")
        return name.namespace or ""


_SAFELY: dict[str, Any] = {
    "resolve_entities": False, "no_network": True, "load_dtd": False, "dtd_validation": False, "attribute_defaults": False,
    "huge_tree": False, "recover": False, "remove_comments": True, "remove_pis": True,
}  # fmt: skip


class _Metered:
    """A file that refuses to be read on when too much of it went by without the end of a record."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._since = file, 0

    def read(self, size: int) -> bytes:
        piece = self._file.read(size)
        self._since += len(piece)
        if self._since > LONGEST:
            raise refused_file(f"{LONGEST // 1_000_000} megabytes hold no end of a record", "XML", "ask for smaller records")
        return piece

    def ended(self) -> None:
        self._since = 0


def _forget(element: Any) -> None:
    """Take what lies behind us out of memory: of the element and all round it, the last of the same kind and all between."""
    while (parent := element.getparent()) is not None:
        if (last := next(element.itersiblings(element.tag, preceding=True), None)) is not None:
            del parent[parent.index(last) : parent.index(element)]
        element = parent


def _broken(error: etree.XMLSyntaxError, behind: int) -> BadRecordError:
    """
    Say where and why a file is no good XML, by the name of libxml2's own reason: its sentences quote the file. `behind` is the
    line of the last record that was good, for a reason whose line libxml2 does not tell.
    """
    reason, line = etree.ErrorTypes._getName(error.code, "ERR_UNKNOWN"), error.lineno
    if not line and (entries := list(error.error_log)):  # lxml says "no element found" of some; the log has the reason
        reason, line = entries[-1].type_name, entries[-1].line
    words = reason.removeprefix("ERR_").removeprefix("SCHEMAV_").replace("_", " ").lower()
    kind = "does not agree with its schema" if reason.startswith("SCHEMAV") else "is no well-formed XML"
    return refused_file(f"{kind} {f'in line {line}' if line else f'at or behind line {behind}'}: {words}", "XML")


@cache
def _schema(path: Path) -> etree.XMLSchema:
    return etree.XMLSchema(file=str(path))


# -- how a row class reads an element --------------------------------------------------------------------------------

_ROOT = "root-of-the-file"
"""The prefix of the root's own namespace, under which every name without a prefix is looked for."""


class _Column(NamedTuple):
    name: str
    find: etree.XPath
    part: _Plan | None


@dataclass(frozen=True, slots=True)
class _Plan:
    """The XPaths of a row class, compiled."""

    columns: tuple[_Column, ...]

    def row(self, element: Any) -> Row:
        values: list[Any] = []
        twice = ""
        for name, find, part in self.columns:
            found = find(element)
            if part is not None:
                values.append(tuple(map(part.row, found)))
                twice = twice or next((each.field for each in values[-1] if isinstance(each, UnreadRow)), "")
            elif isinstance(found, str):
                values.append(found.strip())
            else:
                values.append(_text(found[0]) if len(found) == 1 else None)
                twice = twice or (name if len(found) > 1 else "")
        return UnreadRow.of(values, twice, "stands there more than once") if twice else tuple(values)


def _text(found: Any) -> str:
    if isinstance(found, str):
        return str(found).strip()
    return (found.text or "" if len(found) == 0 else "".join(found.itertext())).strip()


@cache
def _plan(kind: type, prefixes: tuple[tuple[str, str], ...], elements: Elements | None = None) -> _Plan:
    """:raises etree.XPathSyntaxError: a column's name is no XPath; a mistake of the row class, which its first test shows."""
    columns, otherwise = [], dict(elements.columns if elements else ())
    for its in fields_of(kind):
        path = declared_of(its.part).table if its.part else "string('')" if its.filled else otherwise.get(its.name, its.column)
        part = _plan(its.part, prefixes) if its.part else None
        columns.append(_Column(its.column, _xpath(path, prefixes), part))
    return _Plan(tuple(columns))


def _xpath(path: str, prefixes: tuple[tuple[str, str], ...]) -> etree.XPath:
    return etree.XPath(_qualified(path, prefixes), namespaces=dict(prefixes), smart_strings=False)


_BARE_NAME = re.compile(r"""'[^']*'|"[^"]*"|(?<![@:\w$.-])([A-Za-z_][\w.-]*)(?![\w.:(-])""")


def _qualified(path: str, prefixes: Iterable[tuple[str, str]]) -> str:
    """An XPath in which each element's name without a prefix has the root's."""
    if _ROOT not in dict(prefixes):
        return path
    return _BARE_NAME.sub(lambda found: found[0] if found[1] in (None, "and", "or") else f"{_ROOT}:{found[1]}", path)


def _paths(written: Iterable[str], prefixes: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, ...]]:
    """The paths of a kind's elements, in lxml's way of writing names."""
    spaces = dict(prefixes)
    for path in written:
        steps = (step.rpartition(":") for step in path.split("/"))
        yield tuple(f"{{{space}}}{name}" if (space := spaces.get(prefix or _ROOT)) else name for prefix, _, name in steps)
