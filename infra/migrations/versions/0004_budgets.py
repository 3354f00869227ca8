"""Budgets and their ledger."""

from infra import migrations

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Runs the statements."""
    migrations.run("0004_budgets.sql")
