"""One night at a time. The lock belongs to the process: the system lets go of it however the process ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from qa.store.engine import Store

POSTGRES_KEY = 0x4E69_6768  # of the session-level advisory lock ("Nigh")


class LockedError(RuntimeError):
    """Another night is running; `holder` says what is known of it."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


@contextmanager
def night_lock(store: Store, data_folder: Path) -> Iterator[None]:
    """Hold the night's lock inside the block.

    SQLite is used from one machine, so a locked file beside the data does; a PostgreSQL database may be shared by
    several machines, so the database holds the lock for as long as the connection lives.
    Raises LockedError when somebody else has it.
    """
    data_folder.mkdir(parents=True, exist_ok=True)
    path = data_folder / "night.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise LockedError(file.read().strip()) from None
        file.truncate(0)
        file.write(f"pid {os.getpid()}")
        file.flush()
        if store.dialect != "postgresql":
            yield
            return
        with store.engine.connect() as connection:
            if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": POSTGRES_KEY}):
                raise LockedError(store.engine.url.render_as_string())
            connection.commit()  # the lock is the session's, not the transaction's
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": POSTGRES_KEY})
                connection.commit()
