"""Each example's tests find their package installed, as their authors do."""

from __future__ import annotations

import sys

import pytest

from tests.own_package import COUNCIL_HOUSING

sys.path.append(str(COUNCIL_HOUSING))  # its tests are imported before a fixture is at work


@pytest.fixture(autouse=True)
def _installed(council_housing: None) -> None:
    """See `council_housing` in tests/fixtures.py."""
