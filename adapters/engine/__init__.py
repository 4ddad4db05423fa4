"""The machine that runs every adapter: reads, compares, publishes, catches up. No system knows it."""
