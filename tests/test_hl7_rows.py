"""Rows of HL7 fields, read by the places that their columns declare."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import pytest

from adapters.kit.hl7 import parsed
from adapters.kit.hl7_rows import Hl7Rows, Together
from adapters.kit.rows import Spelt, row_of
from canonical.errors import MisconfiguredError

SAID = r"MSH|^~\&|LAB|RXX|Us|Council|20261127||ORU^R01|7|P|2.4" + "\rNK1|1|Darby^Ann&of^^Mrs~Maw^Bo|SPO|||19500102|1^^^A|2^^^B\r"


@row_of("NK1")
class KinName(NamedTuple):
    family: Annotated[str | None, Spelt("NK1-2.1")]
    given: Annotated[str | None, Spelt("NK1-2.2"), Together("NK1-2.4", "NK1-2.2", "NK1-2.2.2")]


@row_of("NK1", key="number")
class Kin(NamedTuple):
    number: str
    is_a: Annotated[str | None, Spelt("NK1-3")]
    ward: Annotated[str | None, Spelt("NK1-7.4")]
    phone: Annotated[str | None, Spelt("NK1-5")]
    names: tuple[KinName, ...]


def test_each_column_is_read_from_its_place_or_from_the_one_that_a_setting_names() -> None:
    rows = Hl7Rows(Kin, ["number"], {"NK1-7": "NK1-8"})
    assert rows.fields == {"NK1": (2, 3, 5, 8)}
    said = parsed("lab", SAID.encode()).said("NK1", rows.fields["NK1"])
    assert rows.row(said, number="7") == ("7", "SPO", "B", None, (("Darby", "Mrs Ann of"), ("Maw", "Bo")))
    assert rows.row({}, number="8") == ("8", None, None, None, ())


def test_a_column_without_a_place_is_told_before_any_message_comes() -> None:
    with pytest.raises(MisconfiguredError, match=r"Kin\.number: has no place in a message"):
        Hl7Rows(Kin)
