"""Operations over dead letters."""

from infra import migrations

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Runs the statements."""
    migrations.run("0003_dead_letter_desk.sql")
