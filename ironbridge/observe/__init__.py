"""What a process tells about itself while it works: metrics, traces, log lines, and what holds up its event loop."""
