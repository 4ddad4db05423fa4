"""Means that adapters share: SQL sources and their connections. An adapter takes from here what it needs."""
