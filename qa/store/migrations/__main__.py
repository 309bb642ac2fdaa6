"""Write the next revision from the difference between schema.py and a migrated scratch database.

    python -m qa.store.migrations "what changes"

Read the result before committing it, and set `SCHEMA_REVISION` in qa/store/engine.py to its number.
"""

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory

from qa.store.engine import migration_config, open_store


def write_revision(message: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{Path(folder) / 'scratch.db'}")
        with store.engine.begin() as connection:
            config = migration_config(connection)
            count = len(list(ScriptDirectory.from_config(config).walk_revisions()))
            command.revision(config, message, autogenerate=True, rev_id=f"{count + 1:04d}")
        store.close()


if __name__ == "__main__":
    write_revision(sys.argv[1])
