"""Makes packages for authors: `ironbridge new`. What it writes passes its suite, and is theirs to change."""
