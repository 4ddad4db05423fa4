"""
The console's pages. A page is one module here, which declares it as `PAGE`, a folder of its templates in console/templates/,
and its tests in tests/console/. It is found because it is here: no list names it.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ironbridge.console.page import ConsolePage


def found() -> list[ConsolePage]:
    """All pages, in the order of their modules' names."""
    names = sorted(each.name for each in iter_modules(__path__))
    return [import_module(f"{__name__}.{name}").PAGE for name in names]
