"""What the coordinator had to put right."""

from infra import migrations

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Runs the statements."""
    migrations.run("0006_repairs.sql")
