"""Every statement is taken by the database as the migrations leave it, and fits the function that uses it."""

import ast
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg

from infra import budgets, outbox, overview, statements, statistics, timings, views
from tests.factories import Factory

INFRA = Path(__file__).parents[2] / "infra"
ROWS = ("row", "r", "step")
"""What adapters call a row of a result."""


@dataclasses.dataclass(frozen=True)
class Use:
    """A statement as a function of its adapter uses it; ``given`` is None if the arguments come from elsewhere."""

    topic: str
    name: str
    function: str
    given: int | None
    read: frozenset[str]


def uses(topic: str) -> Iterator[Use]:
    """Every call that runs a statement of this topic."""
    tree = ast.parse((INFRA / f"{topic}.py").read_text())
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for function in functions.values():
        calls = [call for node in ast.walk(function) if isinstance(node, ast.Call) and (call := _statement(node))]
        for name, given in calls:
            # A function that runs several statements may read rows of any of them.
            read = _read(function, functions) if len({name for name, _ in calls}) == 1 else frozenset()
            yield Use(topic, name, function.name, given, read)


def _statement(call: ast.Call) -> tuple[str, int | None] | None:
    """The statement that a call runs and how many arguments it gives."""
    if not call.args or not isinstance(call.args[0], ast.Subscript):
        return None
    if ast.unparse(call.args[0].value) != "SQL" or not isinstance(call.args[0].slice, ast.Constant):
        return None
    given = 0
    for argument in call.args[1:]:
        if not isinstance(argument, ast.Starred):
            given += 1
        elif isinstance(argument.value, ast.Tuple):
            given += len(argument.value.elts)
        else:
            return str(call.args[0].slice.value), None
    return str(call.args[0].slice.value), given


def _read(
    function: ast.AST, functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef], seen: frozenset[str] = frozenset()
) -> frozenset[str]:
    """The columns that a function, and those which it hands rows to, read by name."""
    found: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and ast.unparse(node.value) in ROWS:
            found.add(str(node.slice.value))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in seen:
            called = functions.get(node.func.id)
            if called is not None and any(isinstance(a, ast.Name) and a.id in ROWS for a in node.args):
                found |= _read(called, functions, seen | {node.func.id})
    return frozenset(found)


def test_every_statement_has_a_function_and_every_function_its_statement() -> None:
    for topic in statements.topics():
        assert {use.name for use in uses(topic)} == set(statements.load(topic)), topic


def test_every_statement_says_what_it_is_for() -> None:
    for topic in statements.topics():
        for name, text in statements.load(topic).items():
            assert text.startswith("-- "), f"{topic}.{name}"


async def test_every_statement_can_be_prepared_and_fits_its_function(factory: Factory) -> None:
    wrong: list[str] = []
    async with factory.pool.acquire() as connection:
        for topic in statements.topics():
            for name, text in statements.load(topic).items():
                try:
                    prepared = await connection.prepare(text)
                except asyncpg.PostgresError as error:
                    wrong.append(f"{topic}.{name}: {error}")
                    continue
                parameters = len(prepared.get_parameters())
                columns = {attribute.name for attribute in prepared.get_attributes()}
                for use in (use for use in uses(topic) if use.name == name):
                    if use.given not in (None, parameters):
                        wrong.append(f"{topic}.{use.function} gives {use.given} of {parameters} parameters to {name}")
                    if missing := use.read - columns:
                        wrong.append(f"{topic}.{use.function} reads {sorted(missing)}, which {name} does not return")
    assert not wrong, "\n".join(wrong)


async def test_rows_that_become_records_as_they_are_have_their_fields(factory: Factory) -> None:
    records: dict[tuple[str, str], type[Any]] = {
        ("outbox", "claim_owed"): outbox.Owed,
        ("views", "execution_parameters"): views.Order,
        ("views", "timeline"): views.Fact,
        ("views", "live_workers"): views.Worker,
        ("views", "clients"): views.Client,
        ("budgets", "execution_account"): budgets.ExecutionAccount,
        ("budgets", "client_account"): budgets.ClientAccount,
        ("budgets", "client_months"): budgets.Month,
        ("budgets", "entries"): budgets.Entry,
        ("overview", "ended"): overview.Ended,
        ("overview", "under_way"): overview.UnderWay,
        ("overview", "open_letters"): overview.Letters,
        ("statistics", "executions"): statistics.Executions,
        ("statistics", "stages"): statistics.Stage,
        ("statistics", "costs"): statistics.Cost,
        ("statistics", "workers"): statistics.Worker,
        ("timings", "steps"): timings.Times,
        ("timings", "shards"): timings.ShardTimes,
        ("timings", "repeats"): timings.Repeat,
        ("timings", "costs"): timings.Cost,
    }
    async with factory.pool.acquire() as connection:
        for (topic, name), record in records.items():
            prepared = await connection.prepare(statements.load(topic)[name])
            columns = {attribute.name for attribute in prepared.get_attributes()}
            assert columns == {field.name for field in dataclasses.fields(record)}, name
