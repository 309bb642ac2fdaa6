"""Run by Alembic: applies the revisions on the connection that `qa.store.engine` hands over.

To write a new revision: change schema.py, then `python -m qa.store.migrations "what changes"`.
"""

from alembic import context

from qa.store.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    compare_type=True,
)
context.run_migrations()
