"""Stuck records in groups: counted in the database, shown a page at a time, and changed as a whole."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from html import unescape

import httpx
import pytest
from sqlalchemy import text

from adapters.engine.journal import Problem, Step
from bench import parked as many
from ironbridge.console import serve
from ironbridge.console.app import mounted
from ironbridge.console.shown import ROWS
from ironbridge.operate import audit, insight, steer, stuck
from ironbridge.operate.audit import Actor
from ironbridge.runtime.bridge import Platform
from ironbridge.settings import ConsoleSettings, HttpSettings, Settings
from ironbridge.store import Store, StoredMemory
from ironbridge.store.bulk import put
from ironbridge.store.causes import cause_of
from ironbridge.store.tables import problems, rejects, subjects
from tests.agreement import BAD, World, invoice, invoice_key, supplier, supplier_key

JO = Actor("jo", "command line")


@pytest.fixture
def store(each_store: Store) -> Store:
    return each_store


async def _park(store: Store, rows: list[tuple[str, str, str, str | None]]) -> None:
    """Subjects as an older release left them, without a cause: flow, key, state, reason."""
    async with store.write() as connection:
        for flow in sorted({flow for flow, *_ in rows}):
            await connection.execute(text("INSERT INTO flows (name) VALUES (:flow) ON CONFLICT DO NOTHING"), {"flow": flow})
        made = [(flow, key, state, why, float(n), 0) for n, (flow, key, state, why) in enumerate(rows)]
        await put(connection, subjects, ("flow", "subject", "state", "reason", "since", "partition"), made)


async def _quarantine(store: Store, reasons: dict[str, str]) -> None:
    async with store.write() as connection:
        await connection.execute(text("INSERT INTO streams (id, adapter, name) VALUES (1, 'legacy', 'person')"))
        rows = [(1, key, "f", "r", "s", why, 5.0) for key, why in reasons.items()]
        await put(connection, problems, ("stream", "key", "field", "rule", "shape", "what", "since"), rows)


async def test_the_database_counts_the_groups_that_the_rows_give(store: Store) -> None:
    dice = random.Random(7)
    states = ("parked", "waiting", "dropped", "dirty", "agreed")
    reasons = (None, "no", "{} is not right", "cloud {}: name: is empty (its shape: text a{}9). To do: fill it", "{}: x: (y)")
    rows = [
        (flow, key, dice.choice(states), why and why.replace("{}", key))
        for flow in ("cloud", "other")
        for key in (f"legacy:person:{n}" for n in range(60))
        for why in [dice.choice(reasons)]
    ]
    await _park(store, rows)
    await _quarantine(store, {f"legacy:person:{n}": f"legacy legacy:person:{n}: x (row {n} of the file): y" for n in range(9)})
    async with store.write() as connection:
        foreign = [("cloud", f"topic[0]@{n}", f"topic[0]@{n}: is no event", 3.0) for n in range(4)]
        await put(connection, rejects, ("flow", "place", "what", "since"), foreign)
    listing, by_hand = await stuck.groups(store, None), stuck.grouped(await insight.parked(store))

    def told(group: stuck.Group) -> tuple[object, ...]:
        return group.id, group.part, group.state, group.rule, group.next, group.count, group.example, group.oldest

    assert [told(each) for each in listing.groups] == [told(each) for each in by_hand]
    assert listing.total == len(by_hand)
    assert listing.counts == {state: sum(g.count for g in by_hand if g.state == state) for state in stuck.STATES}
    for group in by_hand:
        found = await stuck.group(store, group.id)
        assert found is not None
        assert told(found) == told(group)
        assert [key async for keys in stuck.members(store, found) for key in keys] == sorted(group.keys)
    assert await stuck.group(store, "0" * 12) is None
    assert await stuck.group(store, "no group") is None


async def test_each_with_a_shape_of_its_own_they_are_one_group_and_done_with_whole(store: Store) -> None:
    reasons = {
        f"legacy:person:{n:05}": f"legacy legacy:person:{n:05}: upn: is wrong (its shape: text a{n}). To do: correct it"
        for n in range(4500)
    }
    await _quarantine(store, reasons)
    listing = await stuck.groups(store)
    assert [(g.count, g.rule, g.next) for g in listing.groups] == [(4500, "upn: is wrong", "correct it")]
    count = 0
    async for keys in stuck.members(store, listing.groups[0]):
        count += await steer.drop(store, JO, keys, "exported twice")
    assert count == 4500
    assert (await stuck.groups(store)).total == 0
    assert {row.what for row in await audit.trail(store, most=5000)} == reasons.keys()


async def test_a_group_is_retried_whole_and_only_it(store: Store) -> None:
    rows = [("cloud", f"k{n:05}", "parked", "the target says no" if n % 9 else "its name is empty") for n in range(4500)]
    await _park(store, rows)
    largest, other = (await stuck.groups(store)).groups
    assert (largest.count, other.count) == (4000, 500)
    count = 0
    async for keys in stuck.members(store, largest):
        count += await steer.retry(store, JO, keys)
    assert count == 4000
    assert [each.id for each in (await stuck.groups(store)).groups] == [other.id]


async def test_a_group_is_read_a_page_at_a_time_forwards_and_backwards(store: Store) -> None:
    keys = [f"k{n:03}" for n in range(25)]
    await _park(store, [("cloud", key, "parked", "no") for key in keys])
    (group,) = (await stuck.groups(store)).groups
    seen, start = [], ""
    while True:
        page = await stuck.page(store, group, 10, start=start)
        seen.append([row.key for row in page.rows])
        assert page.earlier == (start != "")
        if page.then is None:
            break
        start = page.then
    assert seen == [keys[:10], keys[10:20], keys[20:]]
    back = await stuck.page(store, group, 10, before="k020")
    assert ([row.key for row in back.rows], back.earlier, back.then) == (keys[10:20], True, "k020")
    first = await stuck.page(store, group, 10, before="k004")
    assert ([row.key for row in first.rows], first.earlier, first.then) == (keys[:10], False, "k010")
    behind = await stuck.page(store, group, 10, start="z")
    assert [row.key for row in behind.rows] == keys[:10], "the former page is gone"


async def test_many_groups_are_shown_some_at_a_time_and_all_are_counted(store: Store) -> None:
    await _park(store, [("cloud", f"k{n:03}", "parked", f"the target says {n}") for n in range(120)])
    shown = [await stuck.groups(store, 50, skip) for skip in (0, 50, 100, 150)]
    assert [len(listing.groups) for listing in shown] == [50, 50, 20, 0]
    assert {(listing.total, listing.counts["parked"]) for listing in shown} == {(120, 120)}
    assert len({group.id for listing in shown for group in listing.groups}) == 120


async def test_what_waited_and_was_given_up_is_one_group(store: Store) -> None:
    await _park(store, [("cloud", f"k{n}", "waiting", f"waits for other:{n}") for n in range(5)])
    (waiting,) = (await stuck.groups(store)).groups
    assert (waiting.count, waiting.rule) == (5, "waits for another record, which the target does not hold yet")
    async for keys in stuck.members(store, waiting):
        assert await steer.drop(store, JO, keys, "they never come") == 5
    (dropped,) = (await stuck.groups(store)).groups
    assert (dropped.count, dropped.state, dropped.rule) == (5, "dropped", waiting.rule)
    assert {each.id for each in stuck.grouped(await insight.parked(store))} == {dropped.id}


async def _causes(store: Store, table: str, key: str) -> dict[str, str | None]:
    async with store.read() as connection:
        found = await connection.execute(text(f"SELECT {key}, cause FROM {table}"))
        return {str(name): cause for name, cause in found}


async def test_a_flow_writes_the_cause_beside_the_reason_and_none_where_all_is_well(store: Store) -> None:
    world = World(store)
    await world.arrive(supplier(1, name=BAD), supplier(2, name=BAD), supplier(3), invoice(4, of=9))
    await world.agree()
    causes = await _causes(store, "subjects", "subject")
    (parked,) = {causes[supplier_key(n)] for n in (1, 2)}
    assert parked is not None
    assert causes[invoice_key(4)] == cause_of("waiting", invoice_key(4), None)
    assert causes[supplier_key(3)] is None
    assert {group.cause for group in (await stuck.groups(store)).groups} == {parked, causes[invoice_key(4)]}
    await world.arrive(supplier(1, 2), supplier(2, 2))
    await world.agree()
    assert (await _causes(store, "subjects", "subject"))[supplier_key(1)] is None


async def test_an_adapter_writes_the_cause_of_a_quarantined_row_and_of_its_next_one(store: Store) -> None:
    memory = StoredMemory(store, "legacy")
    for what in ("upn: is wrong", "name: is empty"):
        problem = Problem("legacy:person:1", "f", "r", "s", f"legacy legacy:person:1: {what} (its shape: text a)")
        await memory.save("person", Step(problems=[problem]))
        ((key, cause),) = (await _causes(store, "problems", "key")).items()
        assert cause == cause_of("quarantined", key, problem.what)


# -- in the console ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def browser(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    listen = HttpSettings(listen="127.0.0.1:0")
    built = Platform(Settings(http=listen, console=ConsoleSettings()), store)
    async with mounted(built) as routes, serve.serving(serve.application(built, routes), listen) as url:
        assert url is not None
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            yield http


async def test_the_console_shows_some_of_a_group_with_a_way_to_the_others(store: Store, browser: httpx.AsyncClient) -> None:
    keys = [f"legacy:person:a b/{n:04}" for n in range(2 * ROWS + 1)]
    await _park(store, [("cloud", key, "parked", "no") for key in keys])
    (group,) = (await stuck.groups(store)).groups
    seen: list[str] = []
    path: str | None = f"/stuck/{group.id}"
    while path:
        shown = unescape((await browser.get(path)).text)
        here = [key for key in keys if f"Look again<span class=\"govuk-visually-hidden\"> at {key}<" in shown]
        seen += here
        path = _link(shown, "next")
    assert seen == keys
    back = _link(shown, "prev")
    assert back is not None
    assert f"at {keys[ROWS]}<" in unescape((await browser.get(back)).text)
    assert (await browser.get(f"/stuck/{group.id}", params={"from": "\0"})).status_code == 200


def _link(page: str, rel: str) -> str | None:
    at = page.find(f'rel="{rel}"')
    return None if at < 0 else page[page.rfind('href="', 0, at) + 6 : page.find('"', page.rfind('href="', 0, at) + 6)]


async def test_the_console_shows_some_groups_with_a_way_to_the_others(store: Store, browser: httpx.AsyncClient) -> None:
    await _park(store, [("cloud", f"k{n:03}", "parked", f"the target says {n}") for n in range(stuck.SHOWN + 1)])
    first = (await browser.get("/stuck")).text
    assert first.count("1 record parked in cloud") == stuck.SHOWN
    assert f"{stuck.SHOWN + 1} groups" in first
    path = _link(first, "next")
    assert path is not None
    assert (await browser.get(path)).text.count("1 record parked in cloud") == 1


async def test_the_benchmark_fills_what_it_says(store: Store) -> None:
    await many.fill(store, 50)
    listing = await stuck.groups(store)
    assert (listing.total, listing.counts["parked"], listing.counts["quarantined"]) == (2 * many.RULES, 50, 50)
