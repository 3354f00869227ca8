"""Whether tiers and clients get what they pay for."""

from infra.grafana.panels import HALF, HALF_AND_MOST, Board, Prometheus, Section, figure, graph, quantiles, table

FAIRNESS = Section(
    "Fairness",
    (
        graph(
            "Executions that run, by tier",
            "Slots that each tier holds, against all there are.",
            Prometheus('max by (tier) (factory_executions{status="running"})', "{{tier}}"),
            Prometheus("max(factory_slots)", "all slots"),
        ),
        graph(
            "Executions that wait, by tier",
            "Queued executions; each client's are worked off in their own order.",
            Prometheus('max by (tier) (factory_executions{status="queued"})', "{{tier}}"),
            stacked=True,
        ),
        graph(
            "Shares of the work",
            "The part of all steps that each tier gets. While every tier has work waiting it is 8:4:2:1, that is 53 %, "
            "27 %, 13 % and 7 %.",
            Prometheus(
                "sum by (tier) (rate(factory_steps_finished_total[$__rate_interval])) "
                "/ on () group_left () sum(rate(factory_steps_finished_total[$__rate_interval]))",
                "{{tier}}",
            ),
            unit="percentunit",
            stacked=True,
        ),
    ),
)

WAITING = Section(
    "Waiting",
    (
        *(
            graph(
                title,
                says,
                *quantiles(metric, "tier", HALF_AND_MOST),
                unit="s",
                runbook=runbook,
            )
            for title, says, metric, runbook in (
                (
                    "How long executions wait for a slot",
                    "From the submission of a job until its execution started.",
                    "factory_admission_wait_seconds",
                    "ExecutionsWaitTooLong",
                ),
                (
                    "How long tasks wait for a worker",
                    "From the offer of a task until a worker began it.",
                    "factory_queue_wait_seconds",
                    "TasksWaitTooLong",
                ),
                (
                    "How long executions take",
                    "From the submission of a job to its end.",
                    "factory_execution_seconds",
                    None,
                ),
            )
        ),
    ),
)

NEAR_LIMIT = figure(
    "Clients near their limit",
    "Clients that have used nine tenths of their month. What is paid for stops at the limit.",
    "sum(max by (tier) (factory_budget_clients_near_limit))",
    limits=((1, "yellow"),),
    runbook="BudgetNearLimit",
)

BUDGETS = Section(
    "Budgets",
    (
        graph(
            "Spent and set aside this month, by tier",
            "US dollars of the present month (UTC) in the ledger.",
            Prometheus("max by (tier) (factory_budget_spent_dollars)", "{{tier}}: spent"),
            Prometheus("max by (tier) (factory_budget_reserved_dollars)", "{{tier}}: set aside"),
            unit="currencyUSD",
            width=HALF,
            board="cost",
        ),
        NEAR_LIMIT,
    ),
)

CLIENTS = Section(
    "Clients",
    (
        table(
            "Clients in this time",
            "Executions of each client that were submitted in the chosen time: how many, how many wait or run, the "
            "part of the ended ones that delivered something, how long they took, and how long they waited for a slot.",
            """
SELECT client, tier, count(*) AS executions,
       count(*) FILTER (WHERE status = 'queued') AS waiting,
       count(*) FILTER (WHERE status = 'running') AS running,
       count(*) FILTER (WHERE status IN ('completed', 'partial'))::double precision
           / nullif(count(*) FILTER (WHERE status IN ('completed', 'partial', 'failed')), 0) AS delivered,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS "took p50",
       percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS "took p95",
       percentile_cont(0.95) WITHIN GROUP (ORDER BY queued_seconds) AS "waited p95"
FROM reporting.executions
WHERE $__timeFilter(created_at)
GROUP BY client, tier
ORDER BY executions DESC
LIMIT 200""",
            columns=(("delivered", "percentunit"), ("took p50", "s"), ("took p95", "s"), ("waited p95", "s")),
        ),
        table(
            "Budgets of this month",
            "What each client with a budget has used of it in the present month (UTC), the nearest to the limit first.",
            """
SELECT client, tier, budget, spent, reserved AS "set aside", (spent + reserved) / nullif(budget, 0) AS used
FROM reporting.budgets
WHERE month = date_trunc('month', now() AT TIME ZONE 'UTC')::date AND budget IS NOT NULL
ORDER BY used DESC NULLS LAST
LIMIT 200""",
            columns=(
                ("budget", "currencyUSD"),
                ("spent", "currencyUSD"),
                ("set aside", "currencyUSD"),
                ("used", "percentunit"),
            ),
            runbook="BudgetNearLimit",
        ),
    ),
)

BOARD = Board(
    "tiers",
    "Factory: tiers and clients",
    "Whether tiers and clients get what they pay for: slots, shares, waiting and budgets.",
    (FAIRNESS, WAITING, BUDGETS, CLIENTS),
    span="now-6h",
)
