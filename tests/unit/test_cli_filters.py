"""What the options of the dead-letter desk choose, and moments as people write them."""

import datetime

import pytest
import typer

from contracts.errors import FactoryError, Reason
from producer.cli import filters, moments
from producer.cli.filters import Filter

NOW = datetime.datetime(2026, 5, 4, 12, 0, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW - datetime.timedelta(seconds=90)),
        ("30m", NOW - datetime.timedelta(minutes=30)),
        (" 12h ", NOW - datetime.timedelta(hours=12)),
        ("7d", NOW - datetime.timedelta(days=7)),
        ("2026-05-01T08:00:00+02:00", datetime.datetime(2026, 5, 1, 6, tzinfo=datetime.UTC)),
        ("2026-05-01", datetime.datetime(2026, 5, 1).astimezone()),
    ],
)
def test_a_moment_is_an_age_or_a_date(text: str, expected: datetime.datetime) -> None:
    assert moments.parse(text, NOW, "--since") == expected


@pytest.mark.parametrize("text", ["yesterday", "12", "-1h", "999999999d", ""])
def test_anything_else_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="give an age such as 30m, 12h or 7d"):
        moments.parse(text, NOW, "--since")


def test_an_action_over_everything_must_be_asked_for() -> None:
    with pytest.raises(FactoryError, match="--all"):
        filters.mass(Filter(), everything=False)
    assert filters.mass(Filter(), everything=True) == Filter()
    assert filters.mass(Filter(ids=(3,)), everything=False).ids == (3,)
    with pytest.raises(FactoryError, match="ids and options"):
        filters.mass(Filter(ids=(3,), reason=Reason.FAILED), everything=False)
