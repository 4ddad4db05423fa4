"""The fuzzer of agreement in short; `make fuzz-corners` runs it for long."""

from tests.fuzzing.run import fuzzed


def test_five_hundred_seeds_break_no_promise_of_agreement() -> None:
    assert fuzzed("tests.fuzz_agreement", "0-499") == ""
