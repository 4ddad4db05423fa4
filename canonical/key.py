"""
Makes and reads the keys of entities: `source:entity:identifier`, e.g. `liquidlogic:person:1042`.

The source is the adapter's name, the entity its type's name, the identifier the legacy system's own. Several identifiers
are joined by colons, each escaped first, so that two different lists never become one key:

| identifiers | in the key |
|---|---|
| `1042` | `1042` |
| `A-1` and `2` | `A-1:2` |
| `A` and `1-2` | `A:1-2` |
| `A:1`, alone | `A%3A1` |

Letters, digits and nearly all signs of ASCII stand as they are. A colon, `%`, `"`, `<`, `>`, a backslash, a backtick, a
blank at an end or behind another blank, and all that is not printable ASCII are percent-encoded as UTF-8 (RFC 3986).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, NamedTuple
from urllib.parse import quote, unquote

from pydantic import StringConstraints

Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.-]*:[a-z][a-z0-9-]*:[!-~]+( [!-~]+)*$", max_length=240)]
"""
`source:entity:identifier`, e.g. `liquidlogic:person:1042`. It names a record for people and machines alike and holds
nothing that identifies a person by itself.
"""

_SAFE = " !#$&'()*+,-./;=?@[]^_{|}~"  # besides letters and digits
_PLAIN = re.compile(rf"[A-Za-z0-9{re.escape(_SAFE.strip())}]*")
_ODD_BLANK = re.compile(r"^ | $|(?<= ) ")


class KeyParts(NamedTuple):
    """A key, taken apart. `identifier` is as written in the key."""

    source: str
    entity: str
    identifier: str

    @property
    def identifiers(self) -> tuple[str, ...]:
        """The legacy system's own identifiers, as they were before they were joined."""
        return tuple(map(_unescaped, self.identifier.split(":")))


def key_of(source: str, entity: str, *identifiers: int | str) -> str:
    """The key of an entity that has these identifiers in its source. It holds if `Key` takes it."""
    if len(identifiers) == 1:  # the usual case, once or more for every row that is read
        [only] = identifiers
        return f"{source}:{entity}:{only if type(only) is int else escaped(only)}"
    written = [_escaped(each) if isinstance(each, str) else str(each) for each in identifiers]
    return f"{source}:{entity}:{':'.join(written)}"


def key_as_written(source: str, entity: str, *identifiers: str) -> str:
    """The same as `key_of`, if every identifier is escaped already."""
    return f"{source}:{entity}:{':'.join(identifiers)}"


def read_key(key: str) -> KeyParts:
    """
    Take a key apart.

    :raises ValueError: it is no key.
    """
    parts = key.split(":", 2)
    if len(parts) < 3:
        raise ValueError("is no key: a key is source:entity:identifier")
    return KeyParts(*parts)


def entity_of(key: str) -> str:
    """The type of the entity that a key names; empty if the text is no key."""
    parts = key.split(":", 2)
    return parts[1] if len(parts) == 3 else ""


def escaped(identifier: int | str) -> str:
    """An identifier as it stands in a key: without colons, in printable ASCII."""
    return str(identifier) if isinstance(identifier, int) else _escaped(identifier)


@lru_cache(maxsize=4096)  # a row's identifiers stand in several keys, and in those of the next rows
def _escaped(identifier: str) -> str:
    if _PLAIN.fullmatch(identifier):
        return identifier
    return _ODD_BLANK.sub("%20", quote(identifier, safe=_SAFE, errors="surrogatepass"))


def _unescaped(written: str) -> str:
    if "%" not in written:
        return written
    try:
        return unquote(written, errors="surrogatepass")
    except UnicodeDecodeError:
        return written  # cut within a character


@dataclass(frozen=True, slots=True)
class KeysOf:
    """
    Makes the keys of one kind of record of one source.

    `prefix` stands before the first identifier, where several tables of a source become one entity: `cin-` and `cp-`. It is
    of letters, digits and dashes.
    """

    source: str
    entity: str
    prefix: str = ""

    @property
    def beginning(self) -> str:
        """The beginning of all these keys. A whole number may be put behind it as it is."""
        return f"{self.source}:{self.entity}:{self.prefix}"

    def of(self, first: int | str, *others: int | str) -> str:
        return key_of(self.source, self.entity, f"{self.prefix}{first}" if self.prefix else first, *others)
