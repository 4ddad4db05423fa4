"""A reader over the tables of the settings, and what it takes to have one."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from canonical.errors import MisconfiguredError
from ironbridge.figures.figure import Figure
from ironbridge.figures.reading import FigureReader
from ironbridge.figures.relations import APART
from ironbridge.settings import Settings
from ironbridge.store import Store, quality

_NEEDED = ("duckdb", "pyarrow", "deltalake", "holidays")


def lacks_set_up(settings: Settings) -> str:
    """Tell what has to be set up before figures can be shown; empty if all is."""
    try:
        _insist(settings, tables=True)
    except MisconfiguredError as error:
        return str(error)
    return ""


def _insist(settings: Settings, *, tables: bool) -> None:
    if absent := [name for name in _NEEDED if find_spec(name) is None]:
        raise MisconfiguredError(
            "figures", f"{', '.join(absent)} is not installed", fix="install Ironbridge with its extra: `ironbridge[figures]`"
        )
    if tables and not settings.tables.path:
        raise MisconfiguredError(
            "figures", "there are no open tables to read", fix="set `tables.path`, and run `ironbridge run tables` to fill them"
        )


async def reader(settings: Settings, store: Store, of: Figure) -> FigureReader:
    """
    A reader for one figure.

    :raises MisconfiguredError: a library is not installed, or the settings name no tables.
    """
    _insist(settings, tables=bool(of.entities))
    return FigureReader(lambda names: _opened(settings, names), await quality.faulty(store) if of.needs_state else ())


def _opened(settings: Settings, names: tuple[str, ...]) -> Any:
    from ironbridge.tables.query import opened

    if not names:
        import duckdb

        return duckdb.connect(":memory:")
    return opened(settings.tables, [*names, *(APART + name for name in names)])
