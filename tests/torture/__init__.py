"""
Torture: the running platform is killed, cut off and lied to, and a checker proves that nothing was lost, doubled or reordered.

`make torture` runs it; docs/torture/ has the last report and says how to repeat it. `checker.py`, `witness.py` and
`observer.py` know nothing of the program: they look at the legacy systems, the topics and the targets from outside.
"""
