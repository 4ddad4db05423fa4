"""The pump's fuzzer in short; `make fuzz-corners` runs it for long."""

from tests.fuzzing.run import fuzzed


def test_five_hundred_seeds_break_no_promise_of_the_pump() -> None:
    assert fuzzed("tests.fuzz_pump", "0-499") == ""
