"""What is kept: calls, transcripts, scorecards, the ledger of the night. SQLite by default, PostgreSQL by a URL."""

from qa.store.engine import Store, StoreError, open_store

__all__ = ["Store", "StoreError", "open_store"]
