"""What is run against the code, not by it: fuzzers, the audit of dependencies, the scan for secrets. See the Makefile."""
