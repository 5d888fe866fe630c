"""How alembic reaches the database: one history for SQLite and PostgreSQL."""

import os

from alembic import context

from service.db import engine_from_url, metadata

config = context.config
url = config.attributes.get("url") or os.environ.get("CONSENT_DATABASE_URL", "sqlite:///.consent/ledger.db")
engine = engine_from_url(url)
writing = engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
with writing.connect() as connection, connection.begin():
    context.configure(
        connection=connection, target_metadata=metadata, render_as_batch=False, compare_type=True
    )
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
