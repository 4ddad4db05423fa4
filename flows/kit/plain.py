"""Values as JSON has them, for the bodies of documents."""

from __future__ import annotations

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
