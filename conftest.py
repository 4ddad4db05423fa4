"""Every test, here or in a system's own folder, has the fixtures of tests/fixtures.py and tests/councils.py."""

pytest_plugins = ("tests.fixtures", "tests.councils")
