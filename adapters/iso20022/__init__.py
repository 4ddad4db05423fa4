"""
ISO 20022 pain.001 messages: the credit transfers that a council tells its bank to make.

See README.md in this folder for what it reads, and what it leaves out.
"""

from __future__ import annotations

from adapters.iso20022.pain001 import STREAMS
from adapters.kit.files_system import files_system

__all__ = ["system"]

system = files_system(__name__, STREAMS)
