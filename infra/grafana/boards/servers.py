"""What the factory stands on: the broker, the database, the object store, and the coordinators between them."""

from infra.grafana.panels import Board, Prometheus, Section, figure, graph, quantiles

COORDINATORS = Section(
    "Coordinators",
    (
        graph(
            "Jobs and events that wait",
            "Messages that no coordinator has taken. More than 1,000 for two minutes is an alert.",
            Prometheus(
                'sum by (queue) (rabbitmq_detailed_queue_messages_ready{queue=~"(jobs|events)[.].+"})', "{{queue}}"
            ),
            stacked=True,
            runbook="CoordinatorBehind",
        ),
        graph(
            "How long a batch takes",
            "From taking jobs or events until they are committed.",
            *quantiles("factory_batch_seconds", "kind"),
            unit="s",
        ),
        graph(
            "Messages in a batch",
            "The mean. It grows with the load, which is how a coordinator keeps up.",
            Prometheus(
                "sum by (kind) (rate(factory_batch_messages_sum[$__rate_interval])) "
                "/ sum by (kind) (rate(factory_batch_messages_count[$__rate_interval]))",
                "{{kind}}",
            ),
        ),
        graph(
            "Events by the way they take",
            "Short is one statement, long a transaction.",
            Prometheus("sum by (way) (rate(factory_events_total[$__rate_interval]))", "{{way}}"),
            unit="ops",
            stacked=True,
        ),
        graph(
            "Messages owed",
            "Messages that follow from a commit and are not confirmed yet.",
            Prometheus("max(factory_outbox_messages)", "owed"),
            runbook="CoordinatorBehind",
        ),
        graph(
            "How long messages are owed",
            "Age of the oldest message that follows from a commit and is not confirmed yet.",
            Prometheus("max(factory_outbox_oldest_seconds)", "oldest"),
            unit="s",
            runbook="CoordinatorBehind",
        ),
        graph(
            "How late event loops come",
            "A process whose loop comes late does something that should not be done in it, or has no CPU left.",
            Prometheus('max by (process) (factory_event_loop_lag_seconds{job="factory"})', "{{process}}"),
            unit="s",
        ),
    ),
)

BROKER = Section(
    "RabbitMQ",
    (
        figure(
            "Memory, against its limit",
            "At 100 % the broker takes no messages.",
            "max(rabbitmq_process_resident_memory_bytes / rabbitmq_resident_memory_limit_bytes)",
            unit="percentunit",
            limits=((0.8, "yellow"), (1, "red")),
            runbook="BrokerMemoryAlarm",
        ),
        figure(
            "Free disk, above its limit",
            "At 0 the broker takes no messages.",
            "min(rabbitmq_disk_space_available_bytes - rabbitmq_disk_space_available_limit_bytes)",
            unit="bytes",
            runbook="BrokerDiskAlarm",
        ),
        figure(
            "Alarms",
            "Alarms of memory and disk.",
            "sum(rabbitmq_alarms_memory_used_watermark) + sum(rabbitmq_alarms_free_disk_space_watermark)",
            limits=((1, "red"),),
            runbook="BrokerMemoryAlarm",
        ),
        figure("Connections to RabbitMQ", "Of all processes and producers.", "sum(rabbitmq_connections)"),
        graph(
            "Messages published and delivered",
            "Over all queues, with those that were delivered once more.",
            Prometheus("sum(rate(rabbitmq_global_messages_received_total[$__rate_interval]))", "published"),
            Prometheus("sum(rate(rabbitmq_global_messages_delivered_total[$__rate_interval]))", "delivered"),
            Prometheus("sum(rate(rabbitmq_global_messages_redelivered_total[$__rate_interval]))", "redelivered"),
            unit="ops",
        ),
        graph(
            "Messages in queues",
            "Those that wait, and those that are held without being settled.",
            Prometheus("sum(rabbitmq_queue_messages_ready)", "waiting"),
            Prometheus("sum(rabbitmq_queue_messages_unacked)", "held"),
            stacked=True,
        ),
        graph(
            "How long a confirm takes",
            "From publishing until the broker took responsibility, as the factory's processes see it.",
            *quantiles("factory_publish_confirm_seconds"),
            unit="s",
        ),
    ),
)

DATABASE = Section(
    "Postgres",
    (
        figure(
            "Silent",
            "1 while no coordinator gets an answer from the database.",
            "1 - max(factory_census_up)",
            limits=((1, "red"),),
            runbook="DatabaseSilent",
        ),
        figure("Size", "Of the largest database.", "max(pg_database_size_bytes)", unit="bytes"),
        figure(
            "Found in memory",
            "The part of all pages that were found in Postgres' own memory.",
            "sum(rate(pg_stat_database_blks_hit[5m])) "
            "/ (sum(rate(pg_stat_database_blks_hit[5m])) + sum(rate(pg_stat_database_blks_read[5m])))",
            unit="percentunit",
        ),
        figure(
            "Oldest transaction",
            "A transaction that stays open keeps dead rows from being removed.",
            "max(pg_stat_activity_max_tx_duration)",
            unit="s",
            limits=((60, "yellow"), (600, "red")),
        ),
        graph(
            "Transactions",
            "Committed and rolled back, each second.",
            Prometheus("sum(rate(pg_stat_database_xact_commit[$__rate_interval]))", "committed"),
            Prometheus("sum(rate(pg_stat_database_xact_rollback[$__rate_interval]))", "rolled back"),
            unit="ops",
        ),
        graph(
            "Connections to Postgres",
            "By what they do.",
            Prometheus("sum by (state) (pg_stat_activity_count) > 0", "{{state}}"),
            stacked=True,
        ),
        graph(
            "Rows",
            "Rows written, each second.",
            *(
                Prometheus(f"sum(rate(pg_stat_database_tup_{kind}[$__rate_interval]))", kind)
                for kind in ("inserted", "updated", "deleted")
            ),
            unit="ops",
        ),
    ),
)

OBJECTS = Section(
    "Object store",
    (
        graph(
            "Requests",
            "Of all processes, each second.",
            Prometheus("sum by (operation) (rate(factory_object_seconds_count[$__rate_interval]))", "{{operation}}"),
            unit="ops",
        ),
        graph(
            "How long requests take",
            "Retries included.",
            *quantiles("factory_object_seconds", "operation"),
            unit="s",
        ),
        graph(
            "Bytes of documents",
            "As they are stored.",
            Prometheus("sum by (direction) (rate(factory_object_bytes_total[$__rate_interval]))", "{{direction}}"),
            unit="Bps",
        ),
    ),
)

BOARD = Board(
    "servers",
    "Factory: broker, database, objects",
    "Coordinators, RabbitMQ, Postgres and the object store.",
    (COORDINATORS, BROKER, DATABASE, OBJECTS),
)
