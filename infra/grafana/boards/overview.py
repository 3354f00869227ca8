"""Whether the factory is healthy, at one glance."""

from infra.grafana.panels import HALF, HALF_AND_MOST, Board, Prometheus, Section, figure, graph, quantiles

HEALTH = Section(
    "Is it healthy?",
    (
        figure(
            "Alerts firing",
            "Alerts that fire now. Anything but 0 has a runbook.",
            'count(ALERTS{alertstate="firing"}) or vector(0)',
            limits=((1, "red"),),
        ),
        figure(
            "Processes in trouble",
            "Coordinators and workers that do not answer or are not ready.",
            'count(up{job="factory"} == 0 or factory_ready == 0) or vector(0)',
            limits=((1, "red"),),
            runbook="ProcessNotReady",
        ),
        figure(
            "Executions stuck",
            "Running executions of which nothing has been on its way for five minutes. There should never be one.",
            "max(factory_executions_stuck)",
            limits=((1, "red"),),
            runbook="ExecutionsStuck",
        ),
        figure(
            "Dead letters open",
            "Messages and steps that need a person.",
            "factory:dead_letters:open",
            limits=((1, "yellow"), (50, "red")),
            runbook="DeadLettersGrow",
        ),
        figure(
            "Failed, last hour",
            "The part of the executions of the last hour that failed. The objective is at most 1 %.",
            "factory:failures:ratio_rate1h or vector(0)",
            unit="percentunit",
            limits=((0.01, "yellow"), (0.144, "red")),
            runbook="ErrorBudgetBurnsFast",
        ),
        figure(
            "Oldest task, against its limit",
            "Age of the oldest waiting task as a part of what its tier may wait. 100 % breaks the objective.",
            "max(max by (tier) (factory:task_age:seconds) / on (tier) factory:queue_age_limit:seconds) or vector(0)",
            unit="percentunit",
            limits=((0.5, "yellow"), (1, "red")),
            runbook="TasksWaitTooLong",
            board="stages",
        ),
        figure(
            "Slots in use",
            "Executions that run, as a part of those that may run at the same time.",
            'sum(max by (tier) (factory_executions{status="running"})) / max(factory_slots)',
            unit="percentunit",
            limits=((0.9, "yellow"),),
            board="tiers",
        ),
        figure(
            "Repairs, last hour",
            "What was missing between database and broker and was put back. Normally nothing.",
            "sum(increase(factory:repairs:total[1h]))",
            limits=((1, "yellow"),),
            runbook="RepairsMade",
        ),
    ),
)

OBJECTIVES = Section(
    "Objectives",
    (
        graph(
            "How fast the error budget burns",
            "Failures over a window, divided by the 1 % that may fail: at 1 the budget lasts as long as it should. "
            "The fast alert fires at 14.4 over both five minutes and an hour, the slow one at 6 over half an hour and "
            "six hours.",
            *(
                Prometheus(f"factory:failures:ratio_rate{window} / on () factory:failure_limit:ratio", window)
                for window in ("5m", "30m", "1h", "6h")
            ),
            width=HALF,
            limits=((6, "yellow"), (14.4, "red")),
            runbook="ErrorBudgetBurnsFast",
        ),
        graph(
            "Waiting, against the limit of the tier",
            "The oldest task without a worker and the first in line without a slot, each divided by what its tier may "
            "wait.",
            Prometheus(
                "max by (tier) (factory:task_age:seconds) / on (tier) factory:queue_age_limit:seconds "
                "or on (tier) factory:queue_age_limit:seconds * 0",
                "{{tier}}: worker",
            ),
            Prometheus(
                "factory:slot_wait:seconds / on (tier) factory:queue_age_limit:seconds "
                "or on (tier) factory:queue_age_limit:seconds * 0",
                "{{tier}}: slot",
            ),
            unit="percentunit",
            width=HALF,
            limits=((1, "red"),),
            runbook="TasksWaitTooLong",
            board="tiers",
        ),
    ),
)

WORK = Section(
    "What it does",
    (
        graph(
            "Executions finished",
            "Executions that ended, each minute, by how they ended.",
            Prometheus(
                "sum by (outcome) (rate(factory_executions_finished_total[$__rate_interval])) * 60", "{{outcome}}"
            ),
            unit="cpm",
            stacked=True,
        ),
        graph(
            "How long executions take",
            "From the submission of a job to its end, half of them and nineteen of twenty.",
            *quantiles("factory_execution_seconds", "template", HALF_AND_MOST),
            unit="s",
        ),
        graph(
            "Executions by status",
            "Executions that wait for a slot, run, or are paused.",
            Prometheus("sum by (status) (max by (status, tier) (factory_executions))", "{{status}}"),
            stacked=True,
            board="tiers",
        ),
        graph(
            "Steps finished",
            "Steps and shards that ended, each second, by how they ended.",
            Prometheus("sum by (outcome) (rate(factory_steps_finished_total[$__rate_interval]))", "{{outcome}}"),
            unit="ops",
            stacked=True,
            board="stages",
        ),
        graph(
            "How long a hop takes",
            "From an event's arrival at a coordinator until the tasks that follow from it are confirmed by the broker.",
            *quantiles("factory_hop_seconds"),
            unit="s",
            limits=((2, "red"),),
            runbook="HopsSlow",
            board="servers",
        ),
        graph(
            "Age of the oldest dead letter",
            "For how long somebody has been needed and nobody has come.",
            Prometheus("max(factory_dead_letters_oldest_seconds)", "oldest"),
            unit="s",
            runbook="DeadLettersGrow",
        ),
        graph(
            "Jobs answered",
            "Jobs that clients submitted, each minute, by the answer that they got.",
            Prometheus("sum by (outcome) (rate(factory_jobs_total[$__rate_interval])) * 60", "{{outcome}}"),
            unit="cpm",
            stacked=True,
        ),
    ),
)

PROCESSES = Section(
    "Processes",
    (
        graph(
            "Processes that answer",
            "Coordinators and workers; a process that is gone for a minute is an alert.",
            Prometheus('sum by (process) (up{job="factory"})', "{{process}}"),
            runbook="ProcessDown",
        ),
        graph(
            "CPU",
            "Cores that each process uses.",
            Prometheus('rate(process_cpu_seconds_total{job="factory"}[$__rate_interval])', "{{process}} {{instance}}"),
            unit="none",
        ),
        graph(
            "Memory",
            "Resident memory of each process.",
            Prometheus('process_resident_memory_bytes{job="factory"}', "{{process}} {{instance}}"),
            unit="bytes",
        ),
    ),
)

BOARD = Board(
    "overview",
    "Factory: overview",
    "Whether the factory is healthy, how fast its error budget burns, and what it does.",
    (HEALTH, OBJECTIVES, WORK, PROCESSES),
)
