"""The error vocabulary: an error's class says what the program does, its sentence says what the reader does."""

from __future__ import annotations

import asyncio
from pathlib import Path


class IronbridgeError(Exception):
    """
    Something went wrong, said so that a person can act on it.

    `where` names the part (an adapter, a flow, a file), `what` says what broke, `fix` what to do about it.
    None of them may hold a value of somebody's record: a field's name, its shape and the rule it broke are enough.
    """

    def __init__(self, where: str, what: str, *, fix: str = "") -> None:
        # A sentence goes into logs, into the state and onto a page; all of these take what can be printed.
        self.where = printable(where)
        self.what = printable(what)
        self.fix = fix
        super().__init__(f"{self.where}: {self.what}" + (f". To do: {fix}" if fix else ""))


class UnavailableError(IronbridgeError):
    """The other side cannot answer now: try again later."""


class UnforeseenError(UnavailableError):
    """Code failed in a way that nobody foresaw: end what it was part of, say so, and try again as after an outage."""


class RefusedError(IronbridgeError):
    """The other side will never take this as it is: park it."""


class MisconfiguredError(IronbridgeError):
    """Nothing will work until a person changes something: stop and say so."""


class FencedError(IronbridgeError):
    """A newer copy of this worker has taken over: stop at once and touch nothing."""


class BadRecordError(IronbridgeError):
    """
    One record cannot be read as the canonical entity it should be: quarantine it, go on with the next.

    `field` is the canonical or legacy field, `rule` the rule it broke, `shape` what the value looks like with every
    letter and digit blotted out (see `shape_of`).
    """

    def __init__(self, where: str, *, field: str, rule: str, shape: str, fix: str = "") -> None:
        self.field = field
        self.rule = rule
        self.shape = shape
        super().__init__(where, f"{field}: {rule} (its shape: {shape})", fix=fix)


class UntoldError(BadRecordError):
    """
    A row may be this record, or another one under whose key its fault is told: what was published stays, and nothing is told
    twice.
    """


class DoubtfulError(BadRecordError):
    """
    One file is in doubt as a whole: it is refused, unless a person who has looked accepts it as it is.

    `doubt` is the word for what is in doubt, by which it is accepted.
    """

    def __init__(self, where: str, doubt: str, *, field: str, rule: str, shape: str, fix: str = "") -> None:
        self.doubt = doubt
        super().__init__(where, field=field, rule=rule, shape=shape, fix=fix)


def shape_of(value: object, limit: int = 24) -> str:
    """
    Show the form of a value and not its content: letters become `a`, digits `9`, the rest of ASCII stays.

    >>> shape_of("AB12 3CD"), shape_of(None), shape_of(12.5)
    ('text aa99 9aa', 'nothing', 'float 99.9')
    """
    if value is None:
        return "nothing"
    kind = "text" if isinstance(value, str) else type(value).__name__
    blotted = "".join(
        "9" if c.isdigit() else "a" if c.isalpha() else c if c.isascii() and c.isprintable() else "?"
        for c in str(value)[:limit]
    )
    return f"{kind} {blotted}{'…' if len(str(value)) > limit else ''}"


def printable(text: str) -> str:
    """The text with a question mark for each character that cannot be printed: a NUL, half a character. Lines stay lines."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def named(error: BaseException) -> str:
    """Name an error by its type and the place in the code that raised it. Its own text may quote a record."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    place, trace = None, error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if "pydantic" not in file.parts:  # a model fails at what its user asks of it
            place = f"{file.name}:{trace.tb_lineno}"
        trace = trace.tb_next
    kind = type(error).__name__
    return kind if place is None else f"{kind} at {place}"


def ends_us(error: BaseException) -> bool:
    """Tell whether an error is to end us: a person's Ctrl-C, or somebody cancels this very task. Any other one is a mistake."""
    if isinstance(error, asyncio.CancelledError):
        try:
            task = asyncio.current_task()
        except RuntimeError:
            return False  # no task is at work here
        return task is not None and task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt | GeneratorExit)


def ours(where: str, error: BaseException) -> IronbridgeError:
    """The error if it is one of ours; any other one as an `UnforeseenError` of the part `where`."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, IronbridgeError):
        return error
    fix = "report this line; the part is tried again, and the others go on"
    return UnforeseenError(where, f"failed with {named(error)}", fix=fix)
