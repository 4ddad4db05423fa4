"""Statements of the state, as SQLAlchemy takes them."""

from __future__ import annotations

from functools import lru_cache

import sqlalchemy
from sqlalchemy import TextClause


@lru_cache(1024)
def text(sql: str) -> TextClause:
    """Make a statement of SQL, once for each text: SQLAlchemy looks through all of it, and keeps what it found."""
    return sqlalchemy.text(sql)
