"""XML as a layout of the files kit: what becomes a row, what is refused, and how much memory it takes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Annotated, NamedTuple

import pytest

from adapters.kit.layout_kinds import FoundRow, must_agree, should_agree
from adapters.kit.layout_xml import XmlLayout
from adapters.kit.layouts import HowWritten
from adapters.kit.rows import Spelt, row_of
from adapters.kit.typed import typed
from adapters.port import Row, UnreadRow
from canonical.errors import BadRecordError, DoubtfulError


@row_of("toys/toy")
class Toy(NamedTuple):
    name: Annotated[str, Spelt("@name")]
    price: Decimal | None


@row_of("household/pet", key="number")
class HouseholdPet(NamedTuple):
    number: Annotated[int, Spelt("@no")]
    name: str | None
    street: Annotated[str | None, Spelt("../address/street")]
    chip: Annotated[str | None, Spelt("id[@scheme='chip' and @valid]")]
    toys: tuple[Toy, ...]


@row_of("household/summary")
class PetSummary(NamedTuple):
    pets: int | None


PETS = XmlLayout((HouseholdPet,))
HOUSEHOLD = """<?xml version="1.0" encoding="iso-8859-1"?>
<household>
  <address><street>Caf\u00e9 Row</street></address>
  <pet no="7"><name> Rex </name><id scheme="tag">1</id><id scheme="chip" valid="y">2</id>
    <toys><toy name="ball"><price>1.50</price></toy><toy name="bone"/></toys></pet>
  <pet no="8"/>
</household>""".encode("latin-1")


def read(layout: XmlLayout, data: bytes) -> list[Row]:
    return [row for row in layout.rows(BytesIO(data)) if isinstance(row, tuple)]


def refusal(data: bytes, layout: XmlLayout = PETS) -> str:
    with pytest.raises(BadRecordError) as caught:
        read(layout, data)
    assert caught.value.field == "file"
    return caught.value.rule


def test_an_element_is_a_row_whose_columns_are_paths_below_it_and_above_it() -> None:
    assert read(PETS, HOUSEHOLD) == [
        ("7", "Rex", "Caf\u00e9 Row", "2", (("ball", "1.50"), ("bone", None))),
        ("8", None, "Caf\u00e9 Row", None, ()),
    ]


def test_its_row_is_typed_as_any_other() -> None:
    first = typed(HouseholdPet)(read(PETS, HOUSEHOLD)[0])
    assert (first.number, first.toys[0]) == (7, Toy("ball", Decimal("1.50")))


def test_the_layout_can_be_sent_to_another_process() -> None:
    assert read(pickle.loads(pickle.dumps(PETS)), HOUSEHOLD) == read(PETS, HOUSEHOLD)


def test_utf_16_is_read_as_the_file_says() -> None:
    text = HOUSEHOLD.decode("latin-1").replace("iso-8859-1", "utf-16")
    assert read(PETS, text.encode("utf-16")) == read(PETS, HOUSEHOLD)


def test_a_column_that_stands_there_twice_costs_its_row_alone() -> None:
    first, second = read(PETS, HOUSEHOLD.replace(b"<name>", b"<name>Max</name><name>"))
    assert isinstance(first, UnreadRow)
    assert (first.field, first.rule, first[0], first[1]) == ("name", "stands there more than once", "7", None)
    assert second == ("8", None, "Caf\u00e9 Row", None, ())


def test_a_column_of_a_part_that_stands_there_twice_costs_the_whole_row() -> None:
    first, _ = read(PETS, HOUSEHOLD.replace(b"<price>", b"<price>2</price><price>"))
    assert isinstance(first, UnreadRow)
    assert first.field == "price"


# -- names in namespaces ---------------------------------------------------------------------------------------------


@row_of("Order|Return", key="number")
class ShopDocument(NamedTuple):
    kind: Annotated[str, Spelt("local-name()")]
    number: Annotated[str, Spelt("c:ID")]
    customer: Annotated[str | None, Spelt("Customer/c:Name")]


SHOP = XmlLayout((ShopDocument,), {"c": "urn:common"}, roots=("urn:shop:1", "urn:shop:2"))


@pytest.mark.parametrize("root", ["urn:shop:1", "urn:shop:2"])
def test_a_bare_name_is_of_the_roots_namespace_whichever_of_the_known_ones_it_is(root: str) -> None:
    xml = f'<Return xmlns="{root}" xmlns:k="urn:common"><k:ID>R1</k:ID><Customer><k:Name>Ash</k:Name></Customer></Return>'
    assert read(SHOP, xml.encode()) == [("Return", "R1", "Ash")]


def test_another_namespace_or_another_root_is_refused() -> None:
    assert refusal(b'<Order xmlns="urn:shop:3"/>', SHOP) == (
        "its first element is of none of the namespaces urn:shop:1, urn:shop:2"
    )
    assert refusal(b"<html><Order/></html>", SHOP) == "its first element is no Order or Return"


# -- what is refused -------------------------------------------------------------------------------------------------


def test_a_broken_file_is_refused_with_line_and_reason_and_without_any_of_its_text() -> None:
    torn = HOUSEHOLD[: HOUSEHOLD.index(b"<toy name")]
    assert refusal(torn).startswith("is no well-formed XML in line 5: ")
    assert refusal(HOUSEHOLD.replace(b"</name>", b"</secret>")) == "is no well-formed XML in line 4: tag name mismatch"
    assert refusal(b"") == "is empty"
    assert refusal(b"number,name\n7,Rex\n").startswith("is no well-formed XML ")
    assert refusal(HOUSEHOLD.replace(b"Rex", b"&rex;")) == "is no well-formed XML in line 4: undeclared entity"
    assert refusal(HOUSEHOLD.replace(b"Rex", b"\x01")) == "is no well-formed XML in line 4: invalid char"


def test_rows_before_the_break_are_given_and_then_the_file_is_refused() -> None:
    rows = PETS.rows(BytesIO(HOUSEHOLD.replace(b'<pet no="8"/>', b'<pet no="8">')))
    assert isinstance(next(rows), tuple)
    with pytest.raises(BadRecordError):
        list(rows)


@pytest.mark.parametrize(
    "kind",
    [
        b'<!DOCTYPE household [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        b'<!DOCTYPE household [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        b'<!DOCTYPE household SYSTEM "http://127.0.0.1:9/household.dtd">',
        b'<!DOCTYPE household [<!ATTLIST pet no CDATA "9">]>',
    ],
)
def test_a_document_type_is_refused(kind: bytes) -> None:
    start = HOUSEHOLD.index(b"<household>")
    harmed = HOUSEHOLD[:start] + kind + HOUSEHOLD[start:].replace(b"Rex", b"&a;")
    assert refusal(harmed) == "has a document type, which could make anything of its text"


def test_elements_that_nest_without_end_are_refused() -> None:
    assert refusal(b"<household>" + b"<pet>" * 100_000).startswith("is no well-formed XML in line 1: ")


def test_a_record_without_an_end_is_refused_before_it_fills_the_memory() -> None:
    long = b"<household><pet>" + b"<name>Rex</name>" * 1_100_000
    assert refusal(long) == "16 megabytes hold no end of a record"


# -- a schema, and totals --------------------------------------------------------------------------------------------

SCHEMA = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
<xs:element name="household"><xs:complexType><xs:sequence>
  <xs:element name="pet" maxOccurs="unbounded"><xs:complexType>
    <xs:sequence><xs:element name="name" type="xs:string"/></xs:sequence>
    <xs:attribute name="no" type="xs:int" use="required"/></xs:complexType></xs:element>
</xs:sequence></xs:complexType></xs:element></xs:schema>"""


def test_a_file_that_does_not_agree_with_its_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pets.xsd").write_text(SCHEMA)
    layout = XmlLayout((HouseholdPet,), schema=tmp_path / "pets.xsd")
    assert len(read(layout, b'<household><pet no="7"><name>Rex</name></pet></household>')) == 1
    assert refusal(b'<household>\n<pet no="secret"><name>Rex</name></pet></household>', layout) == (
        "does not agree with its schema at or behind line 2: cvc datatype valid 1 2 1"
    )
    assert refusal(b'<household><pet no="7"><secret/></pet></household>', layout).startswith("does not agree with its schema")


def counted(records: Iterator[FoundRow], accepted: frozenset[str]) -> Iterator[Row]:
    held, said = 0, None
    for record in records:
        if record.kind is HouseholdPet:
            held += 1
            yield record.row
        else:
            said = typed(PetSummary)(record.row).pets
    should_agree("count", "the number of pets is", said, held, accepted)
    must_agree("fewer pets than", 100, max(held, 100))


def test_records_of_several_kinds_are_held_together_and_a_person_may_accept_a_doubt() -> None:
    layout = XmlLayout((HouseholdPet, PetSummary), whole=counted)
    summed = HOUSEHOLD.replace(b"</household>", b"<summary><pets>3</pets></summary></household>")
    with pytest.raises(DoubtfulError, match="says the number of pets is 3, and holds 2"):
        read(layout, summed)
    assert len(read(layout.written(HowWritten(accepted=frozenset({"count"}))), summed)) == 2
    assert len(read(layout, summed.replace(b">3<", b">2<"))) == 2
    assert len(read(layout, HOUSEHOLD)) == 2


_MEASURE = """
import io, resource, sys
from tests.test_layout_xml import PETS
class Long(io.RawIOBase):
    # A file of so many megabytes: a head, one pet many times over with a stranger beside it, an end.
    def __init__(self, megabytes):
        pet = b'<pet no="7"><name>Rex</name><toys><toy name="ball"><price>1.50</price></toy></toys></pet><other><x/></other>'
        self.block, self.left, self.head = pet * 10_000, megabytes * 1_000_000 // (len(pet) * 10_000), b"<household>"
        self.rest, self.start = self.head, (self.left,)
    def seek(self, *_):
        self.rest, self.left = self.head, self.start[0]
    def read(self, size):
        if len(self.rest) < size and self.left >= 0:
            self.rest += self.block if self.left else b"</household>"
            self.left -= 1
        piece, self.rest = self.rest[:size], self.rest[size:]
        return piece
rows = sum(1 for _ in PETS.rows(Long(int(sys.argv[1]))))
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_does_not_grow_with_the_file() -> None:
    """Six times the file takes the same memory, to a few megabytes."""
    small, large = (
        subprocess.run([sys.executable, "-c", _MEASURE, size], capture_output=True, text=True, check=True).stdout.split()
        for size in ("2", "12")
    )
    assert int(large[0]) > 5 * int(small[0])
    assert int(large[1]) - int(small[1]) < 12
