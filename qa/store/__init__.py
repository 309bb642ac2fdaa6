"""What is kept: calls, transcripts, scorecards, the ledger of the night, people. SQLite by default, PostgreSQL by a URL."""

from qa.store import accounts as _accounts  # noqa: F401  (its tables are part of the schema)
from qa.store import annotations as _annotations  # noqa: F401
from qa.store import coaching as _coaching  # noqa: F401
from qa.store import random_audits as _random_audits  # noqa: F401
from qa.store import reviewed as _reviewed  # noqa: F401
from qa.store import rules as _rules  # noqa: F401
from qa.store import work as _work  # noqa: F401
from qa.store.engine import Store, StoreError, open_store

__all__ = ["Store", "StoreError", "open_store"]
