"""`ironbridge check` looks at the open tables: is their place reached, may we write there, do their columns agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec

from canonical.errors import IronbridgeError, ours
from canonical.finding import Finding
from ironbridge.settings import TablesSettings
from ironbridge.tables.choice import TablePlan, plans, storage_of
from ironbridge.tables.files import writable
from ironbridge.tables.table import OpenTable


def of_tables(settings: TablesSettings) -> Iterator[Finding]:
    """The place, then each table that does not agree with the contracts; nothing is made or changed but a file for a moment."""
    if not settings.path:
        yield Finding("tables: no path is set, so there are none", True)
        return
    if missing := [name for name in ("deltalake", "pyarrow", "duckdb") if find_spec(name) is None]:
        yield Finding(f"tables: {', '.join(missing)} is not installed", False, "pip install 'ironbridge[tables]'")
        return
    for path in filter(None, (settings.path, settings.apart_path)):
        if fault := _fault("tables", partial(writable, path, storage_of(settings))):
            yield Finding(f"{fault.where}: {path}: {fault.what}", False, fault.fix)
            return
        yield Finding(f"tables: {path} is reached and can be written to", True)
    yield from _agreeing(settings)


def _agreeing(settings: TablesSettings) -> Iterator[Finding]:
    found: list[TablePlan] = []
    if fault := _fault("tables", lambda: found.extend(plans(settings))):
        yield Finding(f"{fault.where}: {fault.what}", False, fault.fix)
        return
    wrong = [fault for plan in found if (fault := _fault(plan.view, partial(_look, plan, settings)))]
    for fault in wrong:
        yield Finding(f"{fault.where}: {fault.what}", False, fault.fix)
    if not wrong:
        yield Finding(f"tables: the columns of all {len(found)} agree with the contracts, or they are yet to be made", True)


def _look(plan: TablePlan, settings: TablesSettings) -> None:
    OpenTable(plan, storage_of(settings)).open(make=False)


def _fault(what: str, ask: Callable[[], None]) -> IronbridgeError | None:
    try:
        ask()
    except Exception as error:
        return ours(what, error)
    return None
