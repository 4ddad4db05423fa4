"""
Makes lawful FHIR ids of canonical keys: letters, digits, `-` and `.`, at most 64 (R4, datatypes, `id`).

| key | id |
|---|---|
| `mosaic:person:1042` | `mosaic.person.1042` |
| `cld_north:person:A 7` | `cld-north.person.A-7.` and 20 letters and digits |

A key stands as it is, with dots for colons, where its three parts are of letters, digits and dashes. Every other one is cut and
ends with 100 bits of a digest of the whole key. The first form has two dots and the second three, so two keys never share an id.
The source always comes first: the records of two systems cannot meet.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

from canonical.key import read_key

LONGEST: Final = 64
_PLAIN: Final = re.compile(r"[A-Za-z0-9-]+\.[A-Za-z0-9-]+\.[A-Za-z0-9-]+")
_SOURCE, _ENTITY, _MARK = 16, 12, 20


def fhir_id(key: str) -> str:
    """The id of the resource that an entity becomes."""
    plain = ".".join(read_key(key))
    return plain if len(plain) <= LONGEST and _PLAIN.fullmatch(plain) else _marked(key, key)


def pair_id(key: str, other: str) -> str:
    """The id of a resource that says how one person is related to another; `key` comes first in it."""
    return _marked(key, f"{key} {other}")


def _marked(key: str, whole: str) -> str:
    source, entity, identifier = (re.sub(r"[^A-Za-z0-9-]+", "-", part) for part in read_key(key))
    digest = hashlib.blake2b(whole.encode(), digest_size=16).digest()
    mark = base64.b32encode(digest).decode()[:_MARK].lower()
    shown = f"{source[:_SOURCE]}.{entity[:_ENTITY]}."
    return f"{shown}{identifier[: LONGEST - len(shown) - _MARK - 1]}.{mark}"
