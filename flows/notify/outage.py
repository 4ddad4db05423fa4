"""An outage may look like a refusal: Notify has answered 400 to everybody while it was down."""

from __future__ import annotations

from collections import defaultdict


class Outage:
    """
    Counts the subjects that were refused for the same sort of error since a message was last taken.

    A refusal whose rule is known to be about the message is not told here. So many subjects in a row make an outage, until a
    message is taken.
    """

    def __init__(self, after: int) -> None:
        self._after = after
        self._met: dict[str, set[str]] = defaultdict(set)

    def met(self, sort: str, subject: str) -> None:
        self._met[sort].add(subject)

    def over(self) -> None:
        """A message was taken: what was refused was refused for itself."""
        self._met.clear()

    def of(self, subject: str) -> str:
        """The sort of error of the outage that refused a subject; empty if that was none."""
        return next((sort for sort, met in self._met.items() if subject in met and len(met) >= self._after), "")
