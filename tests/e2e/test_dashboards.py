"""Every panel of every dashboard shows something after a demonstration, asked of real servers."""

import math
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from contracts import messages
from infra.grafana import library
from infra.grafana.panels import Panel, Postgres, Prometheus
from infra.local import prometheus
from tests import llm_server, monitoring
from tests.e2e.test_budgets import serving
from tests.e2e.test_cli import Cli
from tests.factories import Client, Factory, free_port
from tests.integration.money import CENT
from tests.integration.test_statistics import reader
from tests.monitoring import Monitor

pytestmark = pytest.mark.timeout(600)

SUBSTITUTES = {"$__rate_interval": "2m", "$stage": ".*", "$tier": ".*"}
"""What Grafana would put into a query to Prometheus."""


def processes(home: Path) -> dict[str, int]:
    """The ports of the factory's processes, as ``factory up`` has written them down for Prometheus."""
    written = yaml.safe_load((home / prometheus.FILE).read_text())
    (job,) = (job for job in written["scrape_configs"] if job["job_name"] == "factory")
    return {
        target["labels"]["process"]: int(target["targets"][0].rpartition(":")[2]) for target in job["static_configs"]
    }


async def troubled(factory: Factory, client: Client, service: str) -> str:
    """The id of an execution that has paid, has retried, and has failed for good."""
    ask = {"service": f"'http://{service}/'", "amount": str(5 * CENT)}
    retry = {"attempts": 2, "base": 0.05, "cap": 0.1}
    steps = [
        {"name": "ask", "stage": "paid_effect", "parameters": ask},
        {"name": "fail", "depends_on": ["ask"], "retry": retry, "parameters": {"fail": "'transient'"}},
    ]
    await factory.template("troubled", steps)
    await client.submit("troubled", budget=20 * CENT)
    (finished,) = await client.answered(messages.ExecutionFinished)
    assert finished.status == "failed"
    return str(finished.execution_id)


async def ask_prometheus(monitor: Monitor, panel: Panel, query: Prometheus) -> str | None:
    text = query.text
    for name, value in SUBSTITUTES.items():
        text = text.replace(name, value)
    found = await monitor.ask(text)
    shown = [value for _, value in found if not math.isnan(value)]
    return None if shown else f"{panel.title}: {query.text} gives {found}"


async def ask_postgres(factory: Factory, panel: Panel, query: Postgres, execution: str) -> str | None:
    text = query.text.replace("${execution:sqlstring}", f"'{execution}'")
    while "$__timeFilter(" in text:
        before, _, rest = text.partition("$__timeFilter(")
        column, _, after = rest.partition(")")
        text = f"{before}{column} BETWEEN now() - interval '1 day' AND now(){after}"
    connection = await asyncpg.connect(reader(factory.settings, factory))
    try:
        rows: list[Any] = await connection.fetch(text)
    finally:
        await connection.close()
    if not rows:
        return f"{panel.title}: {query.text} gives no rows"
    named = {*(name for name, _ in panel.columns), *((panel.opens[0],) if panel.opens else ())}
    missing = named - set(rows[0].keys())
    return f"{panel.title}: there is no column {missing}" if missing else None


async def test_every_panel_shows_something_after_a_demonstration(factory: Factory, tmp_path: Path) -> None:
    cli = Cli(factory, tmp_path / "home")
    async with serving() as service, llm_server.serve() as models, factory.connect() as client:
        cli.environment["FACTORY_FETCH_ALLOW"] = f"127.0.0.1:{free_port()},{service.address}"
        cli.environment |= {
            "OPENAI_API_KEY": llm_server.KEY,
            "OPENAI_BASE_URL": models.url,
            "FACTORY_LLM_MODELS": "tiny",
            "FACTORY_LLM_PRICES": f"tiny={llm_server.PRICES}",
        }
        await cli.run("up")
        try:
            ports = processes(cli.home)
            assert set(ports) == {"coordinator", "worker", "worker-feeds"}
            async with monitoring.observe(factory, ports, hurried=False) as monitor:
                await monitor.collected()
                await cli.run("demo")
                await factory.client()
                await cli.run("budgets", "set", "acme", "10")
                execution = await troubled(factory, client, service.address)
                faults = await blank_panels(factory, monitor, execution)
                assert not faults, "\n".join(faults)
                names = await monitor.names()
        finally:
            await cli.run("down")
    assert {name for name in names if name.startswith("factory_")} >= {"factory_task_seconds_bucket", "factory_slots"}


async def blank_panels(factory: Factory, monitor: Monitor, execution: str) -> list[str]:
    """What panels show nothing, once all that was measured has been collected."""

    async def look() -> list[str]:
        found = []
        for panel in (panel for board in library.BOARDS for panel in board.panels):
            for query in panel.queries:
                if isinstance(query, Prometheus):
                    found.append(await ask_prometheus(monitor, panel, query))
                else:
                    found.append(await ask_postgres(factory, panel, query, execution))
        return [fault for fault in found if fault is not None]

    return await monitoring.at_last(look)
