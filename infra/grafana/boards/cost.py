"""What paid calls cost, and what saves some of them."""

from infra.grafana.boards import tiers
from infra.grafana.panels import HALF, HALF_AND_MOST, Board, Prometheus, Section, figure, graph, quantiles, table

MONEY = Section(
    "Money",
    (
        figure(
            "Spent this month",
            "Of all clients, in the present month (UTC).",
            "sum(max by (tier) (factory_budget_spent_dollars))",
            unit="currencyUSD",
        ),
        figure(
            "Set aside now",
            "For calls that are under way.",
            "sum(max by (tier) (factory_budget_reserved_dollars))",
            unit="currencyUSD",
        ),
        figure(
            "Spent in the last hour",
            "As workers recorded it.",
            "sum(increase(factory_paid_dollars_total[1h]))",
            unit="currencyUSD",
        ),
        tiers.NEAR_LIMIT,
        graph(
            "Spent, by stage",
            "US dollars for each hour at the present rate.",
            Prometheus("sum by (stage) (rate(factory_paid_dollars_total[$__rate_interval])) * 3600", "{{stage}}"),
            unit="currencyUSD",
            stacked=True,
        ),
        graph(
            "Spent, by model",
            "The same by the model that was asked; calls to services without one have none.",
            Prometheus("sum by (model) (rate(factory_paid_dollars_total[$__rate_interval])) * 3600", "{{model}}"),
            unit="currencyUSD",
            stacked=True,
        ),
        graph(
            "Tokens",
            "What models read (in) and wrote (out), each second.",
            Prometheus(
                "sum by (model, direction) (rate(factory_tokens_total[$__rate_interval]))", "{{model}} {{direction}}"
            ),
            unit="ops",
        ),
    ),
)

MODELS = Section(
    "Language models",
    (
        graph(
            "Questions, by what became of them",
            "Each second. Cached ones were answered before and cost nothing; the rest but the answered gave nothing.",
            Prometheus("sum by (outcome) (rate(factory_llm_calls_total[$__rate_interval]))", "{{outcome}}"),
            unit="ops",
            stacked=True,
        ),
        graph(
            "Questions without an answer, by model",
            "Calls that gave nothing usable, each second; the local engine does what no model answers.",
            Prometheus(
                'sum by (model) (rate(factory_llm_calls_total{outcome!~"answered|cached"}[$__rate_interval]))',
                "{{model}}",
            ),
            unit="ops",
        ),
        graph(
            "How long a turn is waited for",
            "Limits of calls, requests and tokens hold for all workers together.",
            *quantiles("factory_llm_wait_seconds", parts=HALF_AND_MOST),
            unit="s",
        ),
    ),
)

SAVED = Section(
    "What was not asked for again",
    (
        graph(
            "Found in the cache",
            "The part of the looks into the shared cache that found something, by stage.",
            Prometheus(
                'sum by (stage) (rate(factory_cache_requests_total{result="hit"}[$__rate_interval])) '
                "/ (sum by (stage) (rate(factory_cache_requests_total[$__rate_interval])) > 0) or vector(0)",
                "{{stage}}",
            ),
            unit="percentunit",
        ),
        graph(
            "Fetches",
            "Requests to the web, each second, by the kind of the answer or the class of the error.",
            Prometheus("sum by (outcome) (rate(factory_fetches_total[$__rate_interval]))", "{{outcome}}"),
            unit="ops",
            stacked=True,
        ),
        graph(
            "How long fetches take",
            "Requests to the web, redirects included.",
            *quantiles("factory_fetch_seconds", parts=HALF_AND_MOST),
            unit="s",
        ),
        graph(
            "Bytes fetched",
            "Bodies of pages, as they arrived.",
            Prometheus("sum(rate(factory_fetched_bytes_total[$__rate_interval]))", "fetched"),
            unit="Bps",
        ),
    ),
)

LEDGER = Section(
    "Ledger",
    (
        table(
            "By client and day",
            "What paid calls of each client cost on each day (UTC), and how many there were.",
            """
SELECT day, client, tier, count(*) FILTER (WHERE kind = 'post') AS calls, sum(dollars) AS dollars,
       sum(dollars) FILTER (WHERE kind = 'overrun') AS overrun
FROM reporting.costs
WHERE $__timeFilter(at)
GROUP BY day, client, tier
ORDER BY day DESC, dollars DESC
LIMIT 500""",
            width=HALF,
            columns=(("dollars", "currencyUSD"), ("overrun", "currencyUSD")),
        ),
        table(
            "By template and stage",
            "What an execution of each template cost in the mean, and which stages spent it.",
            """
SELECT template, stage, count(DISTINCT execution_id) AS executions, sum(dollars) AS dollars,
       sum(dollars) / nullif(count(DISTINCT execution_id), 0) AS "each"
FROM reporting.costs
WHERE $__timeFilter(at)
GROUP BY template, stage
ORDER BY dollars DESC
LIMIT 200""",
            width=HALF,
            columns=(("dollars", "currencyUSD"), ("each", "currencyUSD")),
        ),
    ),
)

BOARD = Board(
    "cost",
    "Factory: cost and models",
    "What paid calls cost by stage, model, client and day, and what the cache saved.",
    (MONEY, MODELS, SAVED, LEDGER),
    span="now-24h",
)
