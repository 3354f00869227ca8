"""Jobs that come again by the clock."""

from infra import migrations

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Runs the statements."""
    migrations.run("0005_schedules.sql")
