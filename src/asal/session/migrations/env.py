"""Alembic's entry: runs the steps over the connection that `asal.session.schema` hands it, inside its transaction."""

from alembic import context

from asal.session.schema import TABLES, VERSION

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=TABLES,
    version_table=VERSION.name,
    transaction_per_migration=False,
)
context.run_migrations()
