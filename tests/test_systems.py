"""Which systems there are, and what a section has to say that asks for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from canonical.errors import MisconfiguredError
from ironbridge.runtime import systems
from ironbridge.settings import Settings


def refused(name: str, **section: Any) -> str:
    with pytest.raises(MisconfiguredError) as told:
        systems.adapters(Settings(adapters={name: section}))
    return str(told.value)


def test_a_section_of_the_ledger_adapter_is_told_that_it_is_called_payables_now() -> None:
    assert refused("ledger", folders=["drop"]) == (
        "adapters.ledger: the system `ledger` is called `payables` now. To do: write `system = \"payables\"` in it; "
        "`ledger` stays the source in every key, and other settings go on naming it (`vendor_numbers_of`). "
        "If it has never run, call it [adapters.payables] instead"
    )
    assert refused("schools", system="ledger") == (
        "adapters.schools: the system `ledger` is called `payables` now. To do: write `system = \"payables\"` in it"
    )


def test_an_adapter_keeps_its_name_and_so_its_keys_when_its_system_has_a_new_one(tmp_path: Path) -> None:
    given = {"system": "payables", "folders": [str(tmp_path)], "layouts": ["erp-invoices"]}
    plan = systems.adapters(Settings(adapters={"ledger": given}))["ledger"]
    assert plan.adapter.name == "ledger"
