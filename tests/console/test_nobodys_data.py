"""Nobody's data."""

from __future__ import annotations

import re

from tests.console.visits import ANY, Visitor, looks, token
from tests.test_privacy import CANARY


def test_no_page_and_no_address_shows_personal_data_to_a_viewer(visitor: Visitor) -> None:
    vera = visitor("vera")
    word = token(vera)
    for flow in ("dfe_csc", "business_central"):
        vera.post(f"/plan/{flow}", data={"token": word})
    seen: dict[str, str] = {}
    waiting = [*looks(**ANY), "/part/liquidlogic.person", "/record?key=liquidlogic:person:1002", "/record?key=nobody:is:1"]
    while waiting and len(seen) < 250:
        path = waiting.pop()
        if path in seen:
            continue
        seen[path] = vera.get(path).text
        links = {link.replace("&amp;", "&") for link in re.findall(r'href="(/[^"]*)"', seen[path])}
        waiting += sorted(link for link in links - seen.keys() if not link.startswith(("/static", "/sign")))
    assert len(seen) > 60
    assert sum("•••" in text for text in seen.values()) > 20, "no record with personal fields was met"
    for path, text in seen.items():
        assert CANARY not in path.lower()
        assert CANARY not in text.lower(), path
    found = vera.post("/records", data={"token": word, "words": f"{CANARY}2"})
    assert CANARY not in found.headers.get("location", "")
    assert CANARY not in found.text
