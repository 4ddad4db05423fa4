"""
The target's OData against SAP CAP, a server that is not ours.

CAP differs from Dataverse in three points, and the scenarios are cut down to what both promise: it takes no upsert without a
condition of an entity with an ETag (428), it has no error codes of Dataverse's kind, and it asks nothing of the token.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from flows.dataverse.target import DataverseTarget
from flows.dataverse.tests.environment import environment
from flows.port import Absent, Confirmed, Document, Held, Refused, Unknown, Waiting, Write
from tests.cap import cap
from tests.fixtures import needed

MODEL = """
@path: '/odata/v4/council' @requires: 'any'
service Council {
  entity contacts { key cr1_key: String(40); firstname: String(50); birthdate: Date; rent: Decimal(16, 2); }
  entity incidents { key cr1_key: String(40); title: String(200); customerid_contact: Association to contacts @assert.target; }
  entity accounts {
    key cr1_key: String(40); name: String(160);
    @odata.etag modifiedon: Timestamp @cds.on.insert: $now @cds.on.update: $now;
  }
  entity lettings { key estate: String(20); key number: Integer; note: String(20); }
}
"""
TABLES = {
    "contact": {"entity_set": "contacts", "key": ["cr1_key"], "amounts": ["rent"]},
    "incident": {"entity_set": "incidents", "key": ["cr1_key"], "lookups": {"customerid_contact": "contact"}},
    "account": {"entity_set": "accounts", "key": ["cr1_key"]},
    "letting": {"entity_set": "lettings", "key": ["estate", "number"], "whole": ["number"]},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with needed(), cap(tmp_path_factory.mktemp("cap"), MODEL) as address:
        yield f"{address}/odata/v4/council"


@pytest.fixture
async def target(server: str) -> AsyncIterator[DataverseTarget]:
    async with environment(base_url=server, tables=TABLES) as (made, _):
        yield made


async def confirmed(target: DataverseTarget, write: Write) -> Confirmed:
    (outcome,) = await target.write([write])
    assert isinstance(outcome, Confirmed), outcome
    return outcome


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            Document("contact", "A1", {"firstname": "Zoë O'Hare", "birthdate": "2012-03-04", "rent": "99999999999.10"}),
            Document("contact", "A1", {"firstname": "Zoë", "rent": "0.30"}),
        ),
        (Document("letting", "O'Hare Court:12", {"note": "first"}), Document("letting", "O'Hare Court:12", {"note": "second"})),
    ],
)
async def test_a_record_is_made_changed_emptied_read_back_and_deleted(
    target: DataverseTarget, first: Document, second: Document
) -> None:
    assert await target.read_back([Write("s", first)]) == [Absent()]
    assert (await confirmed(target, Write("s", first))).body == first.body
    write = Write("s", second, first)
    assert (await confirmed(target, write)).body == second.body
    assert await target.read_back([write]) == [Held(second.body, second.number)]
    await confirmed(target, Write("s", None, second))
    await confirmed(target, Write("s", None, second))
    assert await target.read_back([Write("s", None, second)]) == [Absent()]


async def test_a_document_waits_for_what_it_refers_to_and_is_bound_by_key(target: DataverseTarget) -> None:
    child = Document("contact", "B1", {"firstname": "Ada"})
    case = Document("incident", "C1", {"title": "North"}, {"customerid_contact": "x:person:1"})
    write = Write("x:case:1", case, refs={"customerid_contact": "B1"})
    assert await target.write([write]) == [Waiting("x:person:1")]
    await confirmed(target, Write("x:person:1", child))
    await confirmed(target, write)
    assert await target.read_back([write]) == [Held(case.body, "C1")]
    other = Write("x:case:1", case, refs={"customerid_contact": "B2"})
    assert await target.read_back([other]) == [Held(case.body | {"customerid_contact": "B1"}, "C1")]


async def test_a_column_that_is_unknown_there_is_refused(target: DataverseTarget) -> None:
    (outcome,) = await target.write([Write("s", Document("contact", "D1", {"hair": "grey"}))])
    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith("hair: 400")


async def test_what_somebody_changed_meanwhile_is_not_written_over(target: DataverseTarget) -> None:
    first, second = Document("account", "E1", {"name": "Joiners"}), Document("account", "E1", {"name": "Joinery"})
    async with httpx.AsyncClient() as somebody:
        made = await somebody.post(f"{target.root}/accounts", json={"cr1_key": "E1", "name": "Joiners"})
        assert made.status_code == 201
    (shown,) = await target.read_back([Write("s", first)])
    assert isinstance(shown, Held)
    assert shown.tag
    changed = await confirmed(target, Write("s", second, first, (), "E1", shown.tag))
    assert changed.tag != shown.tag
    assert await target.write([Write("s", first, second, (), "E1", shown.tag)]) == [
        Unknown("somebody changed the record there since it was read (412)")
    ]
    await confirmed(target, Write("s", None, second, (), "E1", changed.tag))
