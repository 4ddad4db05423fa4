"""Speed, measured against real servers and beside other programs: `python -m bench`. See docs/benchmarks.md."""
