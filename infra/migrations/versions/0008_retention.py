"""What the removal of old executions needs, and an index for what was cancelled lately."""

from infra import migrations

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Runs the statements."""
    migrations.run("0008_retention.sql")
