"""The statement that opens figures to programs which may see nothing else."""

from infra import migrations

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Runs the statements."""
    migrations.run("0010_statistics.sql")
