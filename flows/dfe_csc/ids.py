"""
Makes the DfE's identifiers of canonical keys: of a child, and of the records within a child.

The DfE has one name space for all children of a council, and a canonical key says which system a child comes from. One
system's identifiers are the ones that the council calls its children by: they are sent as they are. Identifiers of every
other system end with a mark, 60 bits of a digest of the whole key, so that children of two systems never become one.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from canonical.key import read_key

_CHILD: Final = 20
_RECORD: Final = 36
_MARK: Final = 12
_MARKED: Final = re.compile(rf"[A-Za-z0-9_-]*[X-][A-Z2-7]{{{_MARK}}}")


@dataclass(frozen=True, slots=True)
class Ids:
    """`source` is the system whose identifiers are sent as they are."""

    source: str

    def child(self, key: str) -> str:
        """`la_child_id`: letters and digits, at most 20."""
        return self._plain(key) or _marked(key, _CHILD, "[^A-Za-z0-9]", "X")

    def record(self, key: str, before: str = "") -> str:
        """Any other id: letters, digits, `_` and `-`, at most 36; `before` stands before it."""
        return before + (self._plain(key) or _marked(key, _RECORD - len(before), "[^A-Za-z0-9_-]", "-"))

    def _plain(self, key: str) -> str | None:
        """The identifier as it is, if it may be sent so. One that the DfE would refuse is left for `checked` to tell."""
        source, _, _ = parts = read_key(key)
        if source != self.source or len(parts.identifiers) > 1 or _MARKED.fullmatch(parts.identifiers[0]):
            return None
        return parts.identifiers[0]


def _marked(key: str, limit: int, not_taken: str, sign: str) -> str:
    shown = re.sub(not_taken, "", read_key(key).identifier)[: limit - _MARK - 1]
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return f"{shown}{sign}{base64.b32encode(digest).decode()[:_MARK]}"
