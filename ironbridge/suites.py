"""
A plugin for pytest, found by itself where Ironbridge is installed: the suites for adapters and targets run without a setting.

A subclass of `adapters.testing.AdapterSuite` or `flows.testing.TargetSuite` needs neither `asyncio_mode` nor a mark, and a
scenario that fails shows the values that it compared.
"""

from __future__ import annotations

import inspect

import pytest

_SUITES = ("adapters.testing.suite", "adapters.testing.adt_suite", "flows.testing.suite")

pytest.register_assert_rewrite(*_SUITES)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, obj: object) -> None:
    marked = any(mark.name == "asyncio" for mark in getattr(obj, "pytestmark", ()))
    if isinstance(collector, pytest.Class) and inspect.iscoroutinefunction(obj) and _is_suite(collector.obj) and not marked:
        pytest.mark.asyncio(obj)  # pytest-asyncio looks for it when the test is made of the function


def _is_suite(found: type) -> bool:
    return any(base.__module__ in _SUITES for base in found.__mro__)
