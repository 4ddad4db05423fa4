"""Values as JSON has them, and short names, for documents."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_jsonable_python

from flows.port import Body


def plain(values: Mapping[str, Any]) -> Body:
    """
    Make a document's body: days, amounts and codes as JSON texts, without what is not known (None, and empty lists).

    An amount stays a text, for a JSON number would lose pence in some receivers. Where a target wants numbers, give it one.
    """
    body: Body = to_jsonable_python({name: value for name, value in values.items() if value is not None and value != ()})
    return body


def short_name(key: str) -> str:
    """
    Make a name of 32 capital letters and digits that stands for a canonical key, for targets whose names are short or take
    few signs.

    It is base32 of BLAKE2b (160 bits): the same key always has the same name, and no two keys ever share one.
    """
    return base64.b32encode(hashlib.blake2b(key.encode(), digest_size=20).digest()).decode()
