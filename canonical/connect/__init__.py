"""Means to reach another system that both sides share: encrypted connections, and SQL databases. Nothing here is an entity's."""
