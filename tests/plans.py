"""How the database answers the statements of the factory: connections that ask for the plan of each one they run."""

import contextlib
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import asyncpg
import pydantic_core

from infra import database, statements

NAMES = {text: f"{topic}.{name}" for topic in statements.topics() for name, text in statements.load(topic).items()}
"""Every statement by its text."""

MODES = ("force_custom_plan", "force_generic_plan")
"""A session plans a statement for its arguments at first, and after some runs once for all arguments."""

INLINED = "matching_dead_letters"
"""Its filters are known to a plan for given arguments only; whoever lists dead letters asks once in a session."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a statement was run: how many rows it read of each table, and which tables it read from end to end."""

    statement: str
    mode: str
    rows: Mapping[str, int]
    scanned: frozenset[str]
    text: str


class Watched(asyncpg.Connection):
    """A connection that has each statement of the factory explained, with its arguments, before it is run."""

    seen: list[Plan]

    async def fetch(self, query: str, *arguments: Any, **options: Any) -> Any:
        await self._explain(query, arguments)
        return await super().fetch(query, *arguments, **options)

    async def fetchrow(self, query: str, *arguments: Any, **options: Any) -> Any:
        await self._explain(query, arguments)
        return await super().fetchrow(query, *arguments, **options)

    async def execute(self, query: str, *arguments: Any, **options: Any) -> str:
        await self._explain(query, arguments)
        return await super().execute(query, *arguments, **options)

    async def _explain(self, query: str, arguments: Sequence[Any]) -> None:
        name = NAMES.get(query)
        if name is None:
            return
        types = [parameter.name for parameter in (await self.prepare(query)).get_parameters()]
        given = [await self._literal(value, kind) for value, kind in zip(arguments, types, strict=True)]
        for mode in MODES[:1] if INLINED in query else MODES:
            self.seen.append(await self._run(name, query, types, given, mode))

    async def _literal(self, value: Any, kind: str) -> str:
        return f"{await super().fetchval(f'SELECT quote_nullable($1::{kind}::text)', value)}::{kind}"

    async def _run(self, name: str, query: str, types: Sequence[str], given: Sequence[str], mode: str) -> Plan:
        transaction = self.transaction()
        await transaction.start()
        try:
            await super().execute(f"SET LOCAL plan_cache_mode = {mode}")
            await super().execute(f"PREPARE explained{_listed(types)} AS {query}")
            found = await super().fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE explained{_listed(given)}")
            await super().execute("DEALLOCATE explained")
        finally:
            await transaction.rollback()
        nodes = list(_nodes(found[0]["Plan"]))
        rows: Counter[str] = Counter()
        for _, node in nodes:
            rows[node.get("Relation Name", "")] += _read(node)
        return Plan(
            statement=name,
            mode=mode,
            rows=rows,
            scanned=frozenset(node["Relation Name"] for _, node in nodes if node["Node Type"] == "Seq Scan"),
            text="\n".join("  " * depth + _line(node) for depth, node in nodes),
        )


def _encoded(value: Any) -> str:
    return pydantic_core.to_json(value, exclude_none=True).decode()


def _listed(parts: Sequence[str]) -> str:
    return f" ({', '.join(parts)})" if parts else ""


def _nodes(plan: dict[str, Any], depth: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    yield depth, plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child, depth + 1)


def _read(node: Mapping[str, Any]) -> int:
    """Rows that a node has read from a table, those that it then left out included."""
    if node["Node Type"] == "ModifyTable":
        return 0
    left_out = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    each = sum(float(node.get(part, 0)) for part in ("Actual Rows", *left_out))
    return round(float(node["Actual Loops"]) * each)


def _line(node: Mapping[str, Any]) -> str:
    """A node as a failure shows it."""
    shown = (
        "Index Name",
        "Relation Name",
        "Index Cond",
        "Filter",
        "Actual Loops",
        "Actual Rows",
        "Rows Removed by Filter",
    )
    return ", ".join([node["Node Type"], *(f"{name} {str(node[name])[:120]}" for name in shown if name in node)])


@dataclasses.dataclass(frozen=True)
class Watch:
    """A pool of watched connections, what they saw, and the tables that have more than so many rows."""

    pool: database.Pool
    seen: list[Plan]
    large: frozenset[str]


@contextlib.asynccontextmanager
async def watched(url: str, rows: int, options: Mapping[str, str]) -> AsyncIterator[Watch]:
    """Connections to a database that look at the plan of every statement before they run it.

    Tables that have more than so many rows are large. ``options`` are of the sessions.
    """
    plans: list[Plan] = []

    async def prepare(connection: asyncpg.Connection) -> None:
        assert isinstance(connection, Watched)
        connection.seen = plans
        for name in ("json", "jsonb"):
            await connection.set_type_codec(
                name, schema="pg_catalog", encoder=_encoded, decoder=pydantic_core.from_json, format="text"
            )

    async with asyncpg.create_pool(
        url,
        min_size=1,
        max_size=2,
        connection_class=Watched,
        init=prepare,
        statement_cache_size=0,
        server_settings=dict(options),
    ) as pool:
        large = await pool.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > $1", rows)
        yield Watch(pool, plans, frozenset(row["relname"] for row in large))
