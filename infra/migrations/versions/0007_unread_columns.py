"""Columns that nothing reads."""

from infra import migrations

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Runs the statements."""
    migrations.run("0007_unread_columns.sql")
