"""The web console and the probes: everything that is answered over HTTP."""
