"""What the two fuzzers share, and what each of them needs: see tests/fuzz_pump.py and tests/fuzz_agreement.py."""
