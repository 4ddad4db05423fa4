"""A process tells about itself while it works: metrics, traces, log lines, and the code that holds up its event loop."""
