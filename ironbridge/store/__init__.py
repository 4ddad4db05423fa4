"""The state: PostgreSQL in production, SQLite embedded. What it forgets, Kafka and the targets still know."""

from ironbridge.store.database import Store, Upkeep, open_store
from ironbridge.store.ledger import StoredLedger
from ironbridge.store.memory import StoredMemory

__all__ = ["Store", "StoredLedger", "StoredMemory", "Upkeep", "open_store"]
