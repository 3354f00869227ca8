"""The tables of the factory."""

from infra import migrations

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates everything."""
    migrations.run("0001_factory.sql")
