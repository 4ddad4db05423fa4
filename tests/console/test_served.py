"""Where the console may be served, and the commands that serve it."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import httpx
import pytest

from canonical.errors import MisconfiguredError
from ironbridge.console.access import check
from ironbridge.settings import ConsoleSettings, HttpSettings, Settings
from tests.console.visits import process


@pytest.mark.parametrize(
    ("listen", "console", "sentence"),
    [
        ("0.0.0.0:8080", {}, "would be open to everybody who reaches 0.0.0.0: there is no sign-in"),
        ("127.0.0.1:8080", {"issuer": "https://login.example"}, "client_id, client_secret, public_url is not set"),
        (
            "0.0.0.0:8080",
            {
                "issuer": "https://login.example",
                "client_id": "a",
                "client_secret": "b",
                "public_url": "http://bridge.example",
            },
            "public_url is not https",
        ),
    ],
)
def test_it_refuses_an_address_where_it_would_not_be_safe_and_says_what_to_set(
    listen: str, console: dict[str, str], sentence: str
) -> None:
    settings = Settings(http=HttpSettings(listen=listen), console=ConsoleSettings.model_validate(console))
    with pytest.raises(MisconfiguredError) as caught:
        check(settings)
    assert sentence in str(caught.value)
    assert caught.value.fix


def test_on_this_machine_alone_and_behind_a_sign_in_it_is_served() -> None:
    check(Settings(http=HttpSettings(listen="[::1]:8080")))
    signing = {
        "issuer": "https://login.example",
        "client_id": "a",
        "client_secret": "b",
        "public_url": "https://bridge.example",
    }
    check(Settings(http=HttpSettings(listen="0.0.0.0:8080"), console=ConsoleSettings.model_validate(signing)))


def test_the_command_serves_it_over_a_state_that_nothing_runs_on(tmp_path: Path) -> None:
    file = tmp_path / "ironbridge.toml"
    file.write_text(f"data = {json.dumps(str(tmp_path))}", encoding="utf-8")
    with process("-m", "ironbridge", "migrate", "--file", str(file)) as made:
        assert made.wait(60) == 0
    with process("-m", "ironbridge", "console", "--file", str(file), "--listen", "127.0.0.1:0") as running:
        assert running.stdout is not None
        said = running.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert url is not None, said
        assert httpx.get(url[0]).status_code == 200
        assert httpx.get(f"{url[0]}/healthz").status_code == 200
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0


def test_the_demonstration_goes_on_for_whoever_looks_at_its_console(tmp_path: Path) -> None:
    sizes = ["--size", "liquidlogic=20", "--size", "payables=20", "--no-traces"]
    with process("-m", "ironbridge", "demo", "--data", str(tmp_path), *sizes, "--console", "127.0.0.1:0") as running:
        assert running.stdout is not None
        url = next(
            (found for line in running.stdout if (found := re.search(r"Look round at (http://[0-9.:]+);", line))), None
        )
        assert url is not None, "it ended"
        assert "in agreement" in httpx.get(url[1], timeout=30).text
        running.send_signal(signal.SIGINT)
        assert "Done in" in running.stdout.read()
        assert running.wait(30) == 0
