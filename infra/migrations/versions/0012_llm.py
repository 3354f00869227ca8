"""The statement that lets workers share the limits of language models."""

from infra import migrations

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Runs the statements."""
    migrations.run("0012_llm.sql")
