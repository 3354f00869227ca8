"""One execution, from its submission to its deliverables, and those that someone may want to look at."""

from infra.grafana.panels import HALF, Board, Section, Variable, table

FIND = Section(
    "Which one?",
    (
        table(
            "Executions",
            "The latest executions of the chosen time; click an id to see it below.",
            """
SELECT created_at AS submitted, id AS execution, client, tier, template, template_version AS version, status,
       queued_seconds AS waited, seconds AS took
FROM reporting.executions
WHERE $__timeFilter(created_at)
ORDER BY created_at DESC
LIMIT 100""",
            columns=(("waited", "s"), ("took", "s")),
            opens=("execution", "execution"),
        ),
    ),
)

ONE = Section(
    "The chosen execution",
    (
        table(
            "Execution",
            "Who wanted it, where it stands, how long it waited and took.",
            """
SELECT id AS execution, client, tier, template, template_version AS version, status, pause_reason AS paused, urgency,
       created_at AS submitted, started_at AS started, finished_at AS finished, queued_seconds AS waited,
       seconds AS took
FROM reporting.executions
WHERE id::text = ${execution:sqlstring}""",
            columns=(("waited", "s"), ("took", "s")),
            height=4,
        ),
        table(
            "Steps and shards",
            "In the order in which they were offered: how long each waited, how long its last attempt took.",
            """
SELECT step, shard, stage, status, attempt, retries, error_class AS error, worker, dispatched_at AS offered,
       waited_seconds AS waited, run_seconds AS ran
FROM reporting.steps
WHERE execution_id::text = ${execution:sqlstring}
ORDER BY dispatched_at NULLS LAST, step, shard
LIMIT 500""",
            columns=(("waited", "s"), ("ran", "s")),
            height=12,
        ),
        table(
            "Attempts that were followed by another",
            "Retries, outages, lapsed leases and the like, with the class of the error and the worker.",
            """
SELECT at, kind, step, shard, stage, attempt, error_class AS error, worker
FROM reporting.retries
WHERE execution_id::text = ${execution:sqlstring}
ORDER BY at
LIMIT 500""",
            width=HALF,
        ),
        table(
            "What it cost",
            "Paid calls of the execution as the ledger has them.",
            """
SELECT at, step, shard, attempt, stage, purpose, kind, dollars
FROM reporting.costs
WHERE execution_id::text = ${execution:sqlstring}
ORDER BY at
LIMIT 500""",
            width=HALF,
            columns=(("dollars", "currencyUSD"),),
        ),
        table(
            "Dead letters",
            "What of it needs a person, or needed one.",
            """
SELECT created_at AS at, id, kind, reason, stage, step, error_class AS error, status, resolved_at AS resolved
FROM reporting.dead_letters
WHERE execution_id::text = ${execution:sqlstring}
ORDER BY created_at
LIMIT 200""",
            runbook="DeadLettersGrow",
        ),
    ),
)

BOARD = Board(
    "execution",
    "Factory: execution",
    "One execution with its steps, retries, cost and dead letters.",
    (FIND, ONE),
    (Variable("execution", "Execution"),),
    span="now-24h",
)
