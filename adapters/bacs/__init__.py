"""
Bacs Standard 18 files: the credit payments and direct debits that a council tells Bacs to make.

See README.md in this folder for what it reads, and what it leaves out.
"""

from __future__ import annotations

from adapters.bacs.standard18 import STREAMS
from adapters.kit.files_system import files_system

__all__ = ["system"]

system = files_system(__name__, STREAMS)
