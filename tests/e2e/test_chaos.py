"""The rows of the chaos matrix that are quick and steady enough for every run of the tests; `make chaos` tries all."""

from pathlib import Path

import pytest

from infra import settings
from tests.chaos import __main__ as command
from tests.chaos import matrix, report, world

SEED = 7
QUICK = [row.key for row in matrix.ROWS.values() if row.quick]
WANTED = {str(number) for number in (*range(1, 6), 8, 9, 13, *range(26, 31), 37, 44, 45)}


def test_the_core_rows_are_quick_ones() -> None:
    assert set(QUICK) >= WANTED
    assert not any(matrix.ROWS[key].own for key in QUICK), "a quick row may not kill the servers that others share"


def test_every_row_of_the_matrix_is_tried_or_has_a_reason() -> None:
    tried = {key.rstrip("abcdefgh") for key in [*matrix.ROWS, *command.LEFT_OUT]}
    assert tried == {str(number) for number in range(1, 50)}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("key", QUICK)
async def test_row(key: str, stack: settings.Settings, tmp_path: Path) -> None:
    result = await matrix.run(world.World(stack, None, tmp_path), matrix.ROWS[key], SEED)
    assert result.passed, report.line(result)
    assert result.verdict.lost == result.verdict.doubled == result.verdict.stuck == 0
