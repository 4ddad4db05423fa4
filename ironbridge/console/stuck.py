"""What does not get on by itself, as the command line groups it, too: see ironbridge/stuck.py."""

from ironbridge.stuck import STATES, Group, grouped, groups

__all__ = ["STATES", "Group", "grouped", "groups"]
