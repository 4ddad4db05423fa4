"""Suggestions for a word that means nothing, and the remark that belongs to all that settings cannot say."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

PYTHON = "(anything more is a flow in Python: `ironbridge new flow`)"


def near(word: str, there: Iterable[str]) -> str:
    """The nearest of the words that there are, as the end of a sentence; all of them if none is near."""
    known = sorted(there)
    found = get_close_matches(word, known, n=1)
    return f", did you mean `{found[0]}`?" if found else f" (there are: {', '.join(known) or 'none'})"
