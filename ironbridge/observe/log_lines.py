"""
Writes log lines to stderr: ours, those of installed systems, and the warnings of all other libraries.

An installed system is every package that an entry point of Ironbridge names, with its modules. Its lines have our level and
go where ours go. No line quotes an exception that is not our own: its text may hold a value of somebody's record.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator
from importlib.metadata import entry_points
from types import TracebackType
from typing import Literal, TypeAlias

from opentelemetry import trace
from opentelemetry.trace import format_span_id, format_trace_id
from pythonjsonlogger.json import JsonFormatter

from canonical.errors import IronbridgeError, named

Form: TypeAlias = Literal["console", "json"]
_Raised: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

_OURS = frozenset({"adapters", "flows", "ironbridge", "canonical"})
_SHOWN = re.compile(r"[\n<(\[{'\"]")
"""One of these begins each object that asyncio shows in a line."""
_GROUPS = "ironbridge."
"""Every group of entry points in which a package adds something to Ironbridge begins so: see pyproject.toml."""


def log_to_stderr(level: int = logging.INFO, form: Form = "console") -> None:
    """Write log lines to stderr, for a person or as one JSON object each. A line that belongs to a trace names it."""
    packages = _OURS | systems()
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(form))
    handler.addFilter(_NoPersonalData(packages))
    # Lines of libraries below WARNING are dropped before they are formatted: at DEBUG they write a thousand for one of ours.
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    for name in packages:
        logging.getLogger(name).setLevel(level)


def systems() -> frozenset[str]:
    """The packages, by the first part of their names, from which installed entry points add something to Ironbridge."""
    points = entry_points()
    groups = [group for group in points.groups if group.startswith(_GROUPS)]
    return frozenset(point.module.partition(".")[0] for group in groups for point in points.select(group=group))


class _NoPersonalData(logging.Filter):
    """
    Drops lines below WARNING of all but these packages, because libraries log at DEBUG what passes through them. Gives each
    line that is kept the trace in which it was written.
    """

    def __init__(self, packages: frozenset[str]) -> None:
        super().__init__()
        self._packages = packages

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING and record.name.partition(".")[0] not in self._packages:
            return False
        record.exc_text = None  # another handler may have left the exception here with its text
        if isinstance(record.args, tuple):
            record.args = tuple(_told(each) for each in record.args)
        if record.name == "asyncio":  # shows a task with its exception, and a callback with its arguments
            record.msg, record.args = _SHOWN.split(record.getMessage(), maxsplit=1)[0].rstrip(), None
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            record.trace_id, record.span_id = format_trace_id(context.trace_id), format_span_id(context.span_id)
        return True


def _told(argument: object) -> object:
    """What a line may say of an argument: of an exception that is not our own its type and place."""
    if isinstance(argument, BaseException) and not isinstance(argument, IronbridgeError):
        return named(argument)
    return argument


class _PlainLine(logging.Formatter):
    """Writes a line for a person, with its trace at the end if it has one."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        found = getattr(record, "trace_id", None)
        return f"{line} (trace {found})" if found else line

    def formatException(self, ei: _Raised) -> str:  # noqa: N802 (logging's name)
        return _without_texts(ei)


class _JsonLine(JsonFormatter):
    """Writes a line as one JSON object."""

    def formatException(self, ei: _Raised) -> str:  # noqa: N802 (logging's name)
        return _without_texts(ei)


def _formatter(form: Form) -> logging.Formatter:
    if form == "console":
        return _PlainLine("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    names = {"levelname": "level", "name": "logger"}
    return _JsonLine(["levelname", "name", "message"], rename_fields=names, timestamp="time")


def _without_texts(raised: _Raised) -> str:
    """A traceback with the places in the code and the errors' classes; of our own errors the sentence, too."""
    return "".join(_shown(raised[1], set())).rstrip() if raised[1] is not None else ""


def _shown(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _shown(before, seen)
        yield "and then:\n"
    yield from traceback.format_tb(error.__traceback__)
    text = str(error) if isinstance(error, IronbridgeError) else "its text is left out, because it may quote a record"
    yield f"{type(error).__module__}.{type(error).__qualname__}: {text}\n"
    for each in getattr(error, "exceptions", ()):
        if id(each) not in seen:
            yield from _shown(each, seen)
