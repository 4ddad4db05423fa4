"""Faults for the stand-ins: where one of them fails, and how."""

from __future__ import annotations


class Killed(BaseException):
    """The process ended here. Nothing that it would have done afterwards happens."""


class Faults:
    """
    Faults make the stand-ins fail: at the n-th point that the stand-ins pass, counted from 0, or at the n-th of one name.

    They pass one before each thing that they are asked, and another after what has an effect: `publish` and
    `published`, `save` and `saved`. After `Killed` every later point raises it again: a dead process does nothing more.
    """

    def __init__(self, at: int | None = None, error: BaseException | None = None, only: str | None = None) -> None:
        self.at = at
        self.error = error or Killed()
        self.only = only
        self.passed = 0
        self._dead = False

    def point(self, name: str) -> None:
        if self._dead:
            raise self.error
        if self.only in (None, name):
            here, self.passed = self.passed, self.passed + 1
            if here == self.at:
                self._dead = isinstance(self.error, Killed)
                raise self.error
