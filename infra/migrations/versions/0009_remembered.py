"""The statement that settles what a coordinator remembers."""

from infra import migrations

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Runs the statements."""
    migrations.run("0009_remembered.sql")
