"""The statement that gives workers a memory of pages and turns at sites."""

from infra import migrations

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Runs the statements."""
    migrations.run("0011_pages.sql")
