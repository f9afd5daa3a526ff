"""Alembic's entry: run the migrations on the connection that `appliance.ledger.engine` hands over."""

from alembic import context

from provisioning.registry.database.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
