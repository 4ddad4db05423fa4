"""Who may what."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx

from tests.console.visits import ANY, Consoles, Visitor, forms, looks, token


def test_nobody_sees_a_page_without_signing_in(visitor: Visitor) -> None:
    anybody = visitor("")
    for path in looks(**ANY):
        sent = anybody.get(path)
        assert sent.status_code == 303, path
        assert sent.headers["location"].startswith("/sign-in?next=")
    assert anybody.get("/live/map", headers={"hx-request": "true"}).status_code == 401
    assert anybody.post("/stuck/retry", data={"key": "x"}).headers["location"] == "/sign-in?next=/"
    for path in forms(**ANY):
        assert anybody.post(path, data={"why": "x"}).headers["location"] == "/sign-in?next=/", path
    assert anybody.get("/healthz").status_code == 200


def test_a_viewer_looks_an_operator_acts_and_a_stranger_does_neither(visitor: Visitor) -> None:
    vera, otto, nora = (visitor(name) for name in ("vera", "otto", "nora"))
    assert nora.get("/").status_code == 303
    assert "vera" in vera.get("/stuck").text
    for client, status in ((vera, 403), (otto, 303)):
        word = token(client)
        form = {"token": word, "why": "a rehearsal"}
        assert client.post("/part/liquidlogic.person/backfill", data=form).status_code == status
        assert client.post("/part/dfe_csc/replay", data=form | {"reach": "hour"}).status_code == status
        done = client.post("/stuck/retry", data={"token": word, "key": "liquidlogic:person:1003", "group": "none"})
        assert done.status_code == status
        assert client.post("/record/reveal", data={"token": word, "key": "x", "why": "y"}).status_code == 403
    assert "Pause dfe_csc" in otto.get("/part/dfe_csc").text
    assert "Pause dfe_csc" not in vera.get("/part/dfe_csc").text
    assert vera.post("/sign-out", data={"token": token(vera)}).headers["location"] == "/signed-out"
    assert vera.get("/").status_code == 303


def test_people_come_back_to_a_page_of_ours_after_signing_in(visitor: Visitor) -> None:
    for wanted, got in (("/late", "/late"), ("https://evil.example", "/"), ("//evil.example", "/"), ("/\\evil", "/")):
        client = visitor("")
        sent = client.get("/sign-in", params={"next": wanted})
        asked = parse_qs(urlsplit(sent.headers["location"]).query)
        assert asked["code_challenge_method"] == ["S256"]
        back = httpx.post(sent.headers["location"], data={"sub": "vera"})
        assert client.get(back.headers["location"]).headers["location"] == got


def test_a_form_from_elsewhere_is_refused(visitor: Visitor) -> None:
    otto = visitor("otto")
    word = token(otto)
    form = {"token": word, "why": "mischief"}
    for data, headers in (
        ({"why": "mischief"}, {}),
        (form | {"token": "guessed"}, {}),
        (form, {"sec-fetch-site": "cross-site"}),
        (form, {"origin": "https://evil.example"}),
    ):
        refused = otto.post("/part/dfe_csc/pause", data=data, headers=headers)
        assert refused.status_code == 403, (data, headers)
    assert "mischief" not in otto.get("/audit").text


def test_every_answer_forbids_scripts_of_others_frames_and_memory(consoles: Consoles) -> None:
    for path in ("/", "/nowhere", "/records"):
        headers = httpx.get(consoles.open + path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "httponly; samesite=lax" in headers["set-cookie"]
    assert "<script>" not in httpx.get(consoles.open).text
    assert httpx.get(consoles.open, headers={"host": "evil.example"}).status_code == 400
