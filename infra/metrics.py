"""What the processes of the factory measure: one table, on which dashboards, alerts and docs/metrics.md rest.

Names follow the conventions of Prometheus (https://prometheus.io/docs/practices/naming/): base units, ``_total`` for
what only grows. A label has few values: a stage, a tier, a template, an outcome, never the id of anything, since each
combination of labels is a time series of its own. What is measured in one process is added up over all of them by the
query; what the database alone knows is in ``infra/census`` and is the same whichever coordinator is asked.
"""

import itertools
from collections.abc import Callable

import prometheus_client

from contracts.errors import ErrorClass
from contracts.tiers import Tier
from infra.registries import COUNTS, LIFE, QUICK, REGISTRIES, ROWS, WORK, Described, Process, counter, gauge, histogram

# --- Jobs and executions ---

JOBS = counter(
    "coordinator",
    "factory_jobs_total",
    "Jobs that were answered: accepted, repeated (the first answer again) or rejected.",
    "outcome",
)
ADMISSION_WAIT = histogram(
    "coordinator",
    "factory_admission_wait_seconds",
    "From the submission of a job until its execution got a slot.",
    LIFE,
    "tier",
)
EXECUTIONS = counter(
    "coordinator",
    "factory_executions_finished_total",
    "Executions that are over: completed, partial, failed or cancelled.",
    *("template", "tier", "outcome"),
)
EXECUTION_SECONDS = histogram(
    "coordinator",
    "factory_execution_seconds",
    "From the submission of a job until its execution was over, however it ended.",
    LIFE,
    *("template", "tier"),
)

# --- Steps and tasks ---

STEPS = counter(
    "coordinator",
    "factory_steps_finished_total",
    "Steps and shards that are over: completed, failed, skipped or cancelled; shards cancelled with their step are not "
    "counted one by one.",
    *("stage", "tier", "outcome"),
)
ATTEMPTS = counter(
    "coordinator",
    "factory_step_attempts_total",
    "Attempts at steps and shards that ended, other than by a cancellation; divided by what completed or failed it "
    "is 1 where nothing had to be repeated.",
    "stage",
)
RETRIES = counter(
    "coordinator",
    "factory_retries_total",
    "Attempts that ended and are made again, by another stage or the same, by the class of the error.",
    *("stage", "error_class"),
)
QUEUE_WAIT = histogram(
    "coordinator",
    "factory_queue_wait_seconds",
    "From the offer of a task until a worker began it.",
    WORK,
    *("stage", "tier"),
)
TASK_SECONDS = histogram(
    "worker",
    "factory_task_seconds",
    "How long an attempt at a task took: loading its inputs, the stage's code, storing the output.",
    WORK,
    *("stage", "tier", "outcome"),
)
REFUSED = counter(
    "worker",
    "factory_tasks_refused_total",
    "Tasks that a worker did not do: cancelled meanwhile, or copies of what it has done.",
    *("stage", "reason"),
)
SLOTS = gauge("worker", "factory_worker_slots", "Tasks that the worker does at the same time at most.")
SLOTS_BUSY = gauge("worker", "factory_worker_slots_busy", "Slots in which a task is being done.")
BUFFERED = gauge("worker", "factory_worker_tasks_buffered", "Tasks that the worker holds and has not begun.", "stage")

# --- The coordinator's loops ---

BATCH_MESSAGES = histogram(
    "coordinator",
    "factory_batch_messages",
    "Messages that were settled together; kind is jobs or events.",
    COUNTS,
    "kind",
)
BATCH_SECONDS = histogram(
    "coordinator",
    "factory_batch_seconds",
    "From taking a batch until it was committed.",
    QUICK,
    "kind",
)
HOP_SECONDS = histogram(
    "coordinator",
    "factory_hop_seconds",
    "From taking a batch of events until the broker confirmed the tasks that follow from it.",
    QUICK,
)
EVENTS = counter(
    "coordinator",
    "factory_events_total",
    "Events by the way they took: short is one statement, long a transaction.",
    "way",
)
IGNORED = counter(
    "coordinator",
    "factory_events_ignored_total",
    "Facts that changed nothing because they were duplicates, stale or too late.",
    "reason",
)
LEASES_ENDED = counter(
    "coordinator",
    "factory_leases_ended_total",
    "Tasks that were taken from workers: lapsed (silent), overdue, or crash_loop.",
    "reason",
)

# --- What lies outside ---

CONFIRM_SECONDS = histogram(
    "every process",
    "factory_publish_confirm_seconds",
    "From publishing until the broker took responsibility; what is published at once counts once.",
    QUICK,
)
OBJECT_BYTES = counter(
    "every process",
    "factory_object_bytes_total",
    "Bytes of documents as they are stored, read from or written to the object store.",
    "direction",
)
OBJECT_SECONDS = histogram(
    "every process",
    "factory_object_seconds",
    "Requests to the object store.",
    QUICK,
    "operation",
)
FETCHES = counter(
    "worker",
    "factory_fetches_total",
    "Requests to the web by the kind of the answer (2xx, 4xx, ..., and unchanged for a 304), or by the class of the "
    "error where none came.",
    "outcome",
)
FETCH_SECONDS = histogram("worker", "factory_fetch_seconds", "Requests to the web, redirects included.", WORK)
TURN_SECONDS = histogram(
    "worker",
    "factory_turn_seconds",
    "How long requests to the web waited for their turn at the site; without those that were given up.",
    WORK,
)
FETCHED_BYTES = counter("worker", "factory_fetched_bytes_total", "Bytes of pages, as they arrived.")
PAGES = counter(
    "worker",
    "factory_pages_total",
    "Looks at pages that are remembered, by kind (feed or page): network (it was sent), unchanged (304), memory "
    "(nobody had to be asked), stale (as it was seen last, since it could not be had), failed (a request in vain).",
    *("kind", "result"),
)
SAVED_BYTES = counter("worker", "factory_fetch_saved_bytes_total", "Bytes of pages that were not sent again.")
CACHE = counter(
    "worker",
    "factory_cache_requests_total",
    "Looks into the cache that the workers of a stage share: hit or miss.",
    *("stage", "result"),
)
STAGE_FIGURES = counter(
    "worker",
    "factory_stage_figures_total",
    "What stages measured of their own work, added up: citations_supported is the share of a report's cited sentences "
    "that its evidence bears, uncited_sentences those that state a fact and cite nothing.",
    *("stage", "figure"),
)
STAGE_MEASUREMENTS = counter(
    "worker",
    "factory_stage_measurements_total",
    "How often stages measured a figure of their own; the sum divided by this is its mean.",
    *("stage", "figure"),
)
COST = counter(
    "worker",
    "factory_paid_dollars_total",
    "What paid calls cost, in US dollars; model is empty where the call was to none.",
    *("stage", "model"),
)
TOKENS = counter(
    "worker",
    "factory_tokens_total",
    "Tokens that models read (direction in) and wrote (out).",
    *("model", "direction"),
)

LLM_CALLS = counter(
    "worker",
    "factory_llm_calls_total",
    "Questions to language models by what became of them: cached (kept from before, no call), answered, invalid "
    "(breaks the shape or a rule), truncated, declined, limited (429, 503), rejected (other 4xx), failed (5xx), "
    "lost (no whole answer), unreachable.",
    *("model", "outcome"),
)
LLM_WAIT = histogram(
    "worker",
    "factory_llm_wait_seconds",
    "Waiting for a turn at a model, whose limits all workers share.",
    WORK,
    "model",
)

# --- The process ---

READY = gauge("every process", "factory_ready", "1 while the process is ready, 0 while a fault is noted.")
CENSUS_UP = gauge(
    "coordinator",
    "factory_census_up",
    "1 while the database tells its part of the metrics, 0 while it does not.",
)
LAG = gauge(
    "every process",
    "factory_event_loop_lag_seconds",
    "How late the event loop of the process came last to what was due.",
)

TABLE: tuple[Described, ...] = tuple(ROWS)
"""Every metric that a process measures, in the order of this module."""

# Without a first sample of 0 a counter has not risen, as far as Prometheus can see, when it shows its first 1.
for _metric, _values in {
    JOBS: ("accepted", "repeated", "rejected"),
    EVENTS: ("short", "long"),
    IGNORED: ("duplicate", "stale", "over", "paused", "fanned_out", "unknown"),
    LEASES_ENDED: ("lapsed", "overdue", "crash_loop"),
    OBJECT_BYTES: ("read", "written"),
    OBJECT_SECONDS: ("make_bucket", "put", "get", "stat", "remove", "presign"),
    FETCHES: ("2xx", "unchanged", "3xx", "4xx", "5xx", "transient", "permanent"),
}.items():
    for _value in _values:
        _metric.labels(_value)

for _kind, _result in itertools.product(("feed", "page"), ("network", "unchanged", "memory", "stale", "failed")):
    PAGES.labels(_kind, _result)

# They double what is told, and nothing asks for them.
_disable: Callable[[], None] = prometheus_client.disable_created_metrics
_disable()

prometheus_client.ProcessCollector(registry=REGISTRIES["every process"])
prometheus_client.GCCollector(registry=REGISTRIES["every process"])


def expect_coordination(stage: str) -> None:
    """Has what a coordinator counts of a stage, whatever the tier, begin at 0."""
    ATTEMPTS.labels(stage)
    for error_class in ErrorClass:
        RETRIES.labels(stage, error_class.value)


def expect_work(stage: str) -> None:
    """Has what a worker counts of a stage begin at 0."""
    for tier in Tier:
        TASK_SECONDS.labels(stage, tier.value, "completed")
    for reason in ("cancelled", "copy"):
        REFUSED.labels(stage, reason)
    for result in ("hit", "miss"):
        CACHE.labels(stage, result)
    COST.labels(stage, "")


CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST


def exposition(process: Process) -> bytes:
    """What a process of this kind measures, in Prometheus' text format."""
    registries = [REGISTRIES["every process"], REGISTRIES[process]]
    return b"".join(prometheus_client.generate_latest(registry) for registry in registries)
