"""The machine that keeps every target in agreement: takes, drafts, writes, settles. No system knows it."""
