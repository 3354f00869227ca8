"""Every stage by rate, errors and duration, and what waits for it."""

from infra.grafana.panels import HALF, Board, Prometheus, Section, Variable, graph, quantiles

CHOSEN = 'stage=~"$stage", tier=~"$tier"'

# RabbitMQ knows the stage and the tier of a queue by its name alone.
QUEUE = 'queue=~"stage[.]($stage)[.]($tier)"'
NAMED = (
    'label_replace(label_replace({}, "stage", "$1", "queue", "stage[.](.+)[.].+"), "tier", "$1", "queue", ".+[.](.+)")'
)


def _queues(metric: str) -> str:
    return NAMED.format(f"rabbitmq_detailed_queue_{metric}{{{QUEUE}}}")


RED = Section(
    "Rate, errors, duration",
    (
        graph(
            "Steps finished, by stage",
            "Steps and shards that ended, each second.",
            Prometheus(
                f"sum by (stage) (rate(factory_steps_finished_total{{{CHOSEN}}}[$__rate_interval]))", "{{stage}}"
            ),
            unit="ops",
            stacked=True,
        ),
        graph(
            "Attempts that fail, by stage",
            "The part of all attempts that ended in an error. One that is tried again and succeeds counts here, and "
            "nowhere among the failed executions.",
            Prometheus(
                f'sum by (stage) (rate(factory_task_seconds_count{{outcome!="completed", {CHOSEN}}}'
                f"[$__rate_interval])) "
                f"/ sum by (stage) (rate(factory_task_seconds_count{{{CHOSEN}}}[$__rate_interval])) "
                f"or sum by (stage) (rate(factory_task_seconds_count{{{CHOSEN}}}[$__rate_interval])) * 0",
                "{{stage}}",
            ),
            unit="percentunit",
            limits=((0.05, "yellow"), (0.25, "red")),
            runbook="ErrorBudgetBurnsFast",
        ),
        graph(
            "How long an attempt takes",
            "Loading its inputs, the code of the stage, storing the output.",
            *quantiles("factory_task_seconds", "stage", where=CHOSEN),
            unit="s",
        ),
        graph(
            "Steps finished, by tier",
            "The same by the tier of the client.",
            Prometheus(f"sum by (tier) (rate(factory_steps_finished_total{{{CHOSEN}}}[$__rate_interval]))", "{{tier}}"),
            unit="ops",
            stacked=True,
        ),
        graph(
            "Retries by class",
            "Attempts that are made again, each minute, by the class of the error.",
            Prometheus(
                'sum by (error_class) (rate(factory_retries_total{stage=~"$stage"}[$__rate_interval])) * 60',
                "{{error_class}}",
            ),
            unit="cpm",
            stacked=True,
        ),
        graph(
            "Attempts for each step",
            "1 where nothing had to be repeated.",
            Prometheus(
                'sum by (stage) (rate(factory_step_attempts_total{stage=~"$stage"}[$__rate_interval])) '
                "/ sum by (stage) "
                '(rate(factory_steps_finished_total{stage=~"$stage", outcome=~"completed|failed"}[$__rate_interval]))',
                "{{stage}}",
            ),
            unit="none",
            least=None,
        ),
    ),
)

QUEUES = Section(
    "Queues",
    (
        graph(
            "Tasks that wait",
            "Messages in the queues of the stages that no worker has taken.",
            Prometheus(f"sum by (stage, tier) ({_queues('messages_ready')})", "{{stage}} {{tier}}"),
            stacked=True,
            width=HALF,
        ),
        graph(
            "Age of the oldest task",
            "The oldest offer that no worker has begun. The limit depends on the tier.",
            Prometheus(
                f"max by (stage, tier) (factory_tasks_oldest_seconds{{{CHOSEN}}}) "
                "or on (stage, tier) 0 * sum by (stage, tier) "
                f"({_queues('messages_ready')})",
                "{{stage}} {{tier}}",
            ),
            unit="s",
            width=HALF,
            runbook="TasksWaitTooLong",
        ),
        graph(
            "How long tasks wait",
            "From the offer of a task until a worker began it.",
            *quantiles("factory_queue_wait_seconds", "stage", where=CHOSEN),
            unit="s",
        ),
        graph(
            "Consumers",
            "Workers that take from the queues of a stage now. One that is busy with slow tasks is none meanwhile.",
            Prometheus(f"min by (stage) ({_queues('consumers')})", "{{stage}}"),
            unit="none",
            runbook="QueueWithoutConsumer",
        ),
        graph(
            "Tasks in flight",
            "Tasks that are not over, by where they stand: ready, offered, begun, or waiting for a retry.",
            Prometheus(
                f"sum by (status) (max by (stage, tier, status) (factory_tasks{{{CHOSEN}}})) or vector(0)", "{{status}}"
            ),
            stacked=True,
        ),
    ),
)

WORKERS = Section(
    "Workers",
    (
        graph(
            "Workers alive",
            "Processes that were heard of within a lease.",
            Prometheus('max by (stage) (factory_workers{stage=~"$stage"})', "{{stage}}"),
            unit="none",
            runbook="ProcessDown",
        ),
        graph(
            "How much of the workers is used",
            "The part of the slots in which tasks are done. Near 100 % another worker shortens the waiting.",
            Prometheus(
                "sum by (process) (avg_over_time(factory_worker_slots_busy[$__rate_interval])) "
                "/ (sum by (process) (factory_worker_slots) > 0)",
                "{{process}}",
            ),
            unit="percentunit",
        ),
        graph(
            "Tasks held",
            "Tasks that workers do now, and tasks that they hold and have not begun.",
            Prometheus("sum(factory_worker_slots_busy)", "being done"),
            Prometheus('sum(factory_worker_tasks_buffered{stage=~"$stage"})', "held"),
        ),
        graph(
            "Tasks taken from workers",
            "Leases that ended in the last five minutes: the worker was silent, took too long, or died of the task "
            "again and again.",
            Prometheus("sum by (reason) (increase(factory_leases_ended_total[5m]))", "{{reason}}"),
            runbook="ProcessDown",
        ),
        graph(
            "Tasks refused",
            "Tasks that were cancelled meanwhile, or copies of what the worker has done. Copies are harmless.",
            Prometheus('sum by (reason) (increase(factory_tasks_refused_total{stage=~"$stage"}[5m]))', "{{reason}}"),
        ),
        graph(
            "What stages measured",
            "The mean of each figure that stages measure of their own work, since their workers started: "
            "citations_supported is the share of a report's cited sentences that its evidence bears.",
            Prometheus(
                'sum by (stage, figure) (factory_stage_figures_total{stage=~"$stage"}) '
                '/ sum by (stage, figure) (factory_stage_measurements_total{stage=~"$stage"})',
                "{{stage}}: {{figure}}",
            ),
            unit="none",
        ),
        graph(
            "Facts that did not count",
            "Events that changed nothing because they were duplicates, stale or too late: what at-least-once costs.",
            Prometheus("sum by (reason) (increase(factory_events_ignored_total[5m]))", "{{reason}}"),
        ),
    ),
)

SITES = Section(
    "Feeds and sites",
    (
        graph(
            "Feeds by state",
            "Every feed that was ever read, as it was found last: degraded fails again and again, dormant has had "
            "nothing new for three months, gone is asked for once a week. `factory sources list` names them.",
            Prometheus("max by (status) (factory_feeds)", "{{status}}"),
            unit="none",
            stacked=True,
        ),
        graph(
            "Looks at feeds",
            "What each look at a feed came to, each minute: sent whole, unchanged (304), from memory without asking, "
            "stale because it could not be had, or a request in vain.",
            Prometheus(
                'sum by (result) (rate(factory_pages_total{kind="feed"}[$__rate_interval])) * 60', "{{result}}"
            ),
            unit="cpm",
            stacked=True,
        ),
        graph(
            "Requests answered with 304",
            "The part of all requests for feeds that were answered. It is small where most feeds are read for the "
            "first time, or where their servers give no validators.",
            Prometheus(
                'sum(rate(factory_pages_total{kind="feed", result="unchanged"}[$__rate_interval])) '
                '/ sum(rate(factory_pages_total{kind="feed", result=~"unchanged|network"}[$__rate_interval])) '
                'or 0 * sum(rate(factory_pages_total{kind="feed"}[$__rate_interval]))',
                "answered with 304",
            ),
            unit="percentunit",
        ),
        graph(
            "Bytes saved",
            "Of pages that were not sent again, each second, beside those that were sent.",
            Prometheus("sum(rate(factory_fetch_saved_bytes_total[$__rate_interval]))", "saved"),
            Prometheus("sum(rate(factory_fetched_bytes_total[$__rate_interval]))", "sent"),
            unit="Bps",
        ),
        graph(
            "Sites on hold",
            "Sites that have refused (429, 403, or 503 with a time) and are left alone until then.",
            Prometheus("max(factory_domains_on_hold)", "on hold"),
            unit="none",
        ),
        graph(
            "Waiting for a turn",
            "How long requests wait so that no site is asked by too many at once.",
            *quantiles("factory_turn_seconds"),
            unit="s",
        ),
    ),
)

BOARD = Board(
    "stages",
    "Factory: stages",
    "Every stage and tier by rate, errors and duration, with its queues, its workers and the sites that they ask.",
    (RED, QUEUES, WORKERS, SITES),
    (
        Variable("stage", "Stage", metric="factory_steps_finished_total"),
        Variable("tier", "Tier", metric="factory_steps_finished_total"),
    ),
)
