"""Forward-only migrations: SQL files that Alembic applies in order."""

import pathlib

from alembic import op
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.pool.base import PoolProxiedConnection

VERSIONS = pathlib.Path(__file__).parent / "versions"

LOCK = 7_266_100_001
"""Key of the advisory lock under which migrations run, so that two processes never migrate at once."""


def run(filename: str) -> None:
    """Runs a file of SQL statements inside the migration's own transaction."""
    bind = op.get_bind()
    # Any statement through the driver begins the transaction that the script then runs in.
    bind.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
    connection: PoolProxiedConnection = bind.connection
    driver = connection.dbapi_connection
    script = (VERSIONS / filename).read_text()
    if driver is None or isinstance(driver, ConnectionPoolEntry):
        raise RuntimeError("migrations need an open connection")
    driver.run_async(lambda raw: raw.execute(script))
