"""The canary: rows that any sound database takes, to tell a fault of the system from one of the data."""

from infra import database, identifiers, statements

SQL = statements.load("canary")


async def write(connection: database.Connection) -> None:
    """Writes into every table that batches write, and takes it back; fails if the database does not take it."""
    name = identifiers.new()
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(SQL["write_canary"], f"canary {name}", name)
    finally:
        await transaction.rollback()
