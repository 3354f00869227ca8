"""Admission and the coordinators' transactions on a real database, several of them at once."""

import asyncio
from typing import Any

from consumers.coordinator import admitting, transitions
from consumers.coordinator.engine import facts
from contracts import messages
from contracts.admission import Share
from contracts.messages import TaskKey
from contracts.tiers import Tier
from infra import admission, jobs
from tests.factories import Factory
from tests.integration.rows import document, state, submit


async def test_a_clients_urgent_jobs_come_first_and_then_the_oldest(tables: Factory) -> None:
    calm = await submit(tables, 2, urgency=5)
    urgent = await submit(tables, 2, urgency=9)
    other = await submit(tables, 1, client="beta", tier=Tier.PREMIUM, urgency=0)
    async with tables.pool.acquire() as connection:
        heads = await admission.heads(connection, 3)
        assert [h.execution_id for h in heads] == [*urgent, calm[0], other[0]]
        assert [(h.client, h.tier, h.cost) for h in heads[2:]] == [("acme", "basic", 1.0), ("beta", "premium", 1.0)]
        assert [h.execution_id for h in await admission.heads(connection, 1)] == [urgent[0], other[0]]
        assert await jobs.queued(connection, ["acme", "beta", "nobody"]) == {"acme": 4, "beta": 1, "nobody": 0}


async def test_a_flood_of_queued_jobs_is_not_read_to_find_the_heads(tables: Factory) -> None:
    (template,) = await submit(tables)
    await submit(tables, client="beta")
    async with tables.pool.acquire() as connection:
        await connection.execute(
            """INSERT INTO executions (id, client_id, submit_key, submit_hash, template, template_version, parameters,
                                       tier, quality, optimise_for, urgency, position, estimate)
               SELECT gen_random_uuid(), CASE WHEN n % 1000 = 0 THEN 'beta' ELSE 'acme' END, 'flood' || n, 'h',
                      template, 1, parameters, tier, quality, optimise_for, n % 10, 0, 1
               FROM executions, generate_series(1, 20000) AS n WHERE id = $1""",
            template,
        )
        await connection.execute("ANALYZE executions")
        plan = await connection.fetchval("EXPLAIN (ANALYZE, FORMAT JSON) " + admission.SQL["heads"], 3)
        scans = [node for node in _nodes(plan[0]["Plan"]) if node.get("Relation Name") == "executions"]
        assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}
        assert {node["Index Name"] for node in scans} == {"executions_queued"}
        assert sum(node["Actual Rows"] * node["Actual Loops"] for node in scans) <= 20, "only the heads are read"
        assert len(await admission.heads(connection, 3)) == 6


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]


async def test_coordinators_that_admit_at_once_grant_exactly_the_free_slots(tables: Factory) -> None:
    for client, tier in (("acme", Tier.BASIC), ("beta", Tier.STANDARD), ("gamma", Tier.ENTERPRISE)):
        await submit(tables, 12, client, tier)
    states = [state(tables) for _ in range(3)]
    for granted in (10, 0):
        outcomes = await asyncio.gather(*(admitting.admit(s, 10) for s in states))
        assert sum(len(outcome.tasks) for outcome, _ in outcomes) == granted
        assert (await tables.statuses())["running"] == 10
    async with tables.pool.acquire() as connection:
        running = await admission.running(connection)
    assert running == {"acme": 2, "beta": 3, "gamma": 5}, "each up to its cap of ten slots"


async def test_virtual_times_are_kept_to_the_last_digit(tables: Factory) -> None:
    times = {"factory": Share(0.0, 1e15 + 0.125), "tier:basic": Share(0.1 + 0.2, 1 / 3)}
    async with tables.pool.acquire() as connection:
        await admission.save_shares(connection, {"factory": Share(1.0, 1.0)})
        await admission.save_shares(connection, times)
        assert await admission.shares(connection, [*times, "client:basic:new"]) == times


async def test_two_coordinators_taking_the_same_events_in_make_one_effect(tables: Factory) -> None:
    ids = await submit(tables, 6)
    both = [state(tables), state(tables)]
    await transitions.advance(both[0], [facts.Started(i) for i in ids])
    events = [messages.StageCompleted(**TaskKey(i, 1, "a", 0, 1)._asdict(), worker="w", output=document()) for i in ids]
    outcomes = await asyncio.gather(*(transitions.advance(s, e) for s in both for e in (events, events[::-1])))
    assert sorted(offer.task.execution_id for o in outcomes for offer in o.tasks) == sorted(ids)
    assert sum(o.ignored.total() for o in outcomes) == 18
    rows = await tables.fetch("SELECT status FROM step_executions WHERE step = 'b'")
    assert [r["status"] for r in rows] == ["dispatched"] * 6


async def test_an_execution_cancelled_before_it_started_leaves_no_open_rows(tables: Factory) -> None:
    (execution_id,) = await submit(tables)
    await transitions.advance(state(tables), [facts.Cancelled(execution_id, "ada")])
    outcome = await transitions.advance(state(tables), [facts.Started(execution_id)])
    assert outcome.ignored == {"duplicate": 1}
    assert await tables.fetch("SELECT 1 FROM step_executions") == []
