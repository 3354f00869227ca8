"""Pausing, reopening, and the one clock."""

from infra import migrations

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Runs the statements."""
    migrations.run("0002_run_control.sql")
