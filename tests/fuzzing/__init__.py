"""The parts of the two fuzzers, shared or their own: see tests/fuzz_pump.py and tests/fuzz_agreement.py."""
