"""Alembic's entry: run the migrations on the connection that `appliance.ledger.engine` hands over."""

from alembic import context

from appliance.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
