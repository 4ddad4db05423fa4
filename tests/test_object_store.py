"""Files in an object store: moto's S3 server, asked over a real connection, and filled by Amazon's own client."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.port import Extract, Files
from adapters.testing import Bench
from canonical.errors import MisconfiguredError, UnavailableError
from tests.servers import bucket_client
from tests.test_files_kit import HEAD, NAMES, TENANTS, TWO, tenant


class Prefix:
    """A prefix of the council's bucket, and adapters that read from it."""

    def __init__(self, options: dict[str, str]) -> None:
        self.options, self.client, self.name = options, bucket_client(options), f"drop-{uuid4().hex[:8]}"

    def put(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket="council", Key=f"{self.name}/{name}", Body=data)

    def take_away(self, name: str) -> None:
        self.client.delete_object(Bucket="council", Key=f"{self.name}/{name}")

    def adapter(self, settle: float = 0, done: str = "", bucket: str = "council", **options: str) -> FilesAdapter:
        store = {"url": f"s3://{bucket}/{self.name}", "options": {**self.options, **options}}
        given: dict[str, Any] = {"store": store, "settle": settle, "done": done, "max_megabytes": 1}
        return FilesAdapter("estates", FilesSettings.model_validate(given), [FileStream("tenants", tenant, TENANTS, NAMES)])


@pytest.fixture
def prefix(s3: dict[str, str]) -> Prefix:
    return Prefix(s3)


async def look(estates: FilesAdapter) -> list[Extract]:
    (stream,) = estates.streams()
    assert isinstance(stream.reading, Files)
    return [extract async for extract in stream.reading.extracts()]


async def test_an_object_is_published_and_a_newer_one_replaces_it(prefix: Prefix) -> None:
    prefix.put("tenants_2024.csv", TWO)
    estates = prefix.adapter()
    bench = Bench(estates)
    assert len(await bench.read()) == 2
    assert await bench.read() == []
    prefix.put("tenants_2024.csv", HEAD + b"7,Darby the Younger,17/03/1711\n")
    assert [(event.key, event.data is not None) for event in await bench.read()] == [
        ("estates:person:7:1711-03-17", True), ("estates:person:8:1750-02-01", False),
    ]  # fmt: skip
    await estates.close()


async def test_another_content_of_the_same_size_in_the_same_second_is_seen(prefix: Prefix) -> None:
    prefix.put("tenants_2024.csv", HEAD + b"7,Darby the Younger,17/03/1711\n")
    bench = Bench(estates := prefix.adapter())
    assert len(await bench.read()) == 1
    prefix.put("tenants_2024.csv", HEAD + b"7,Darby the Elder..,17/03/1711\n")
    assert len(await bench.read()) == 1
    await estates.close()


async def test_an_object_waits_for_its_marker_or_its_time_and_those_below_and_hidden_ones_are_not_ours(prefix: Prefix) -> None:
    prefix.put("tenants_2024.csv", TWO)
    prefix.put(".tenants_2025.csv", TWO)
    prefix.put("old/tenants_2023.csv", TWO)
    marked, patient = prefix.adapter(done=".done"), prefix.adapter(settle=3600)
    assert await look(marked) == [] == await look(patient)
    in_all, *_ = await patient.check()
    assert in_all.what == f"s3://council/{prefix.name}: no extract yet, 1 files still settling"
    prefix.put("tenants_2024.csv.done", b"")
    assert [extract.name for extract in await look(marked)] == ["2024"]
    prefix.take_away("tenants_2024.csv")
    assert await look(marked) == []
    await marked.close()
    await patient.close()


async def test_an_object_that_is_too_large_is_not_fetched_and_is_refused(prefix: Prefix) -> None:
    prefix.put("tenants_2024.csv", TWO + b"\n" * 1_000_001)
    estates = prefix.adapter()
    _, refused = await estates.check()
    assert (refused.well, "is larger than 1 MB" in refused.what) == (False, True)
    await estates.close()


async def test_a_bucket_or_a_server_that_is_not_there_is_tried_again(prefix: Prefix) -> None:
    with pytest.raises(UnavailableError, match=r"s3://nobodys/.* cannot be read \(\w+\)"):
        await prefix.adapter(bucket="nobodys").open()
    with pytest.raises(UnavailableError, match="cannot be read"):
        await prefix.adapter(aws_endpoint_url="http://127.0.0.1:1").open()


async def test_an_option_that_is_none_is_for_a_person_to_mend_and_no_key_is_told(prefix: Prefix) -> None:
    with pytest.raises(MisconfiguredError, match="cannot be asked with these `options`") as told:
        await prefix.adapter(aws_secret="buildwas").open()
    assert "buildwas" not in f"{told.value!r} {told.value}"
