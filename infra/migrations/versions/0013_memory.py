"""The statement that gives clients a memory over their executions."""

from infra import migrations

revision = "0013"
down_revision = "0011"


def upgrade() -> None:
    """Runs the statements."""
    migrations.run("0013_memory.sql")
