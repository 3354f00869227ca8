"""Every alert fires when its fault is there, and clears when it is gone; the times in the rules are shortened."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from contracts import encoding, messages, topology
from contracts.steering import CancelExecution
from contracts.tiers import Tier
from infra import budgets
from producer import provision
from tests import monitoring, proxy
from tests.chaos import levers
from tests.e2e.test_budgets import serving
from tests.e2e.test_cli import Cli
from tests.factories import Client, Factory, eventually, terminate
from tests.integration.money import CENT
from tests.monitoring import Monitor, Watched

QUICK = {"FACTORY_LEASE_SECONDS": "4", "FACTORY_HEARTBEAT_SECONDS": "1", "FACTORY_SWEEP_SECONDS": "0.5"}
pytestmark = pytest.mark.timeout(400)


@contextlib.asynccontextmanager
async def watched(
    factory: Factory, *names: str, tier: Tier = Tier.ENTERPRISE
) -> AsyncIterator[tuple[Watched, Monitor, Client]]:
    """A factory with one client and a template of one step, its Prometheus, and somebody who submits."""
    factory.environment.update(QUICK)
    await factory.client(tier=tier)
    await factory.template("one", [{"name": "work"}])
    async with (
        monitoring.watch(factory, names or ("coordinator",)) as (seen, monitor),
        factory.connect() as client,
    ):
        yield seen, monitor, client


async def test_an_execution_that_will_not_move_is_stuck(factory: Factory) -> None:
    async with watched(factory) as (seen, monitor, client):
        seen.coordinator()
        await client.submit("one")
        (accepted,) = await client.answered(messages.JobAccepted)

        async def running() -> bool:
            return await factory.statuses() == {"running": 1}

        await eventually(running, "the execution runs")
        # What no fault of the factory should ever do: a step that is under way is gone.
        await factory.fetch("DELETE FROM step_executions")
        await factory.fetch("UPDATE executions SET started_at = now() - interval '10 minutes'")
        await monitor.fires("ExecutionsStuck")
        command = CancelExecution(client="acme", execution_id=accepted.execution_id)
        await client.publish(encoding.encode(command), type_name="CancelExecution")
        await factory.all_over(1)
        await monitor.clears("ExecutionsStuck")


async def test_failures_burn_the_error_budget_and_leave_dead_letters(factory: Factory, tmp_path: Path) -> None:
    async with watched(factory, "coordinator", "worker") as (seen, monitor, client):
        await factory.template("failing", [{"name": "work", "parameters": {"fail": "'permanent'"}}])
        seen.coordinator()
        seen.worker()
        for _ in range(5):
            await client.submit("one")
        await factory.all_over(5)
        await monitor.collected()
        await monitor.calm()
        for _ in range(5):
            await client.submit("failing")
        await factory.all_over(10)
        await monitor.fires("ErrorBudgetBurnsFast")
        await monitor.fires("ErrorBudgetBurnsSlowly")
        await monitor.fires("DeadLettersGrow")
        assert await monitor.ask("factory:dead_letters:open") == [({"__name__": "factory:dead_letters:open"}, 5)]
        await Cli(factory, tmp_path / "home").run("dead", "discard", "--all", "--yes", "--note", "told to fail")
        for alert in ("ErrorBudgetBurnsFast", "ErrorBudgetBurnsSlowly", "DeadLettersGrow"):
            await monitor.clears(alert)


async def test_tasks_and_executions_wait_too_long_without_a_worker(factory: Factory) -> None:
    factory.environment["FACTORY_SLOTS"] = "1"
    async with watched(factory, "coordinator") as (seen, monitor, client):
        seen.coordinator()
        for _ in range(2):
            await client.submit("one")
        await monitor.fires("TasksWaitTooLong", tier="enterprise")
        await monitor.fires("ExecutionsWaitTooLong", tier="enterprise")
        queue = topology.stage_queue("effect", Tier.ENTERPRISE)
        await monitor.fires("QueueWithoutConsumer", queue=queue)
        factory.worker()
        await factory.all_over(2)
        await monitor.clears("TasksWaitTooLong")
        await monitor.clears("ExecutionsWaitTooLong")
        await monitor.clears("QueueWithoutConsumer", queue=queue)


async def test_a_coordinator_is_missing_and_its_work_piles_up(factory: Factory) -> None:
    async with watched(factory, tier=Tier.BASIC) as (seen, monitor, client):
        first = seen.coordinator()
        await monitor.collected()
        assert terminate(first) == 0
        await monitor.fires("CoordinatorMissing")
        await monitor.fires("ProcessDown", process="coordinator")
        for _ in range(1001):
            await client.submit("one")
        await monitor.fires("CoordinatorBehind")
        seen.coordinator()
        for alert in ("CoordinatorMissing", "ProcessDown", "CoordinatorBehind"):
            await monitor.clears(alert)
        await client.answered(messages.JobAccepted, 1001)


async def test_a_slow_or_silent_database_is_told(factory: Factory) -> None:
    parts = urlsplit(factory.settings.database_url)
    async with (
        watched(factory, "coordinator") as (seen, monitor, client),
        proxy.to(parts.hostname or "", parts.port or 0) as network,
    ):
        # So many steps, one after the other, that one leads to the next all the time.
        later = [{"name": f"s{n}", "depends_on": [f"s{n - 1}"]} for n in range(1, 120)]
        await factory.template("long", [{"name": "s0"}, *later])
        login = parts.netloc.rpartition("@")[0]
        slow = parts._replace(netloc=f"{login}@127.0.0.1:{network.port}").geturl()
        seen.coordinator(FACTORY_DATABASE_URL=slow)
        factory.worker()
        for _ in range(3):
            await client.submit("long")

        async def begun() -> bool:
            return len(factory.runs()) > 10

        await eventually(begun, "steps are done")
        network.pace = proxy.Pace(delay=0.05)
        await monitor.fires("HopsSlow")
        network.mend()
        await monitor.clears("HopsSlow")
        network.refuse()
        await monitor.fires("DatabaseSilent")
        network.mend()
        await monitor.clears("DatabaseSilent")


async def test_what_has_to_be_repaired_is_told(factory: Factory) -> None:
    async with watched(factory) as (seen, monitor, _):
        seen.coordinator()
        await monitor.collected()
        queue = topology.stage_queue("effect", Tier.BASIC)
        await levers.manage(factory.settings, "DELETE", f"queues/{{vhost}}/{queue}")
        await monitor.fires("RepairsMade", kind="queue")
        await monitor.clears("RepairsMade", kind="queue")


async def test_a_process_with_a_fault_is_not_ready(factory: Factory) -> None:
    async with watched(factory) as (seen, monitor, _):
        seen.coordinator()
        await monitor.collected()
        await levers.manage(factory.settings, "DELETE", "policies/{vhost}/factory")
        await monitor.fires("ProcessNotReady", process="coordinator")
        await provision.migrate(factory.settings)
        await monitor.clears("ProcessNotReady")


async def test_a_budget_comes_near_its_limit(factory: Factory) -> None:
    async with watched(factory) as (seen, monitor, client), serving() as service:
        parameters = {"service": f"'http://{service.address}/'", "amount": str(5 * CENT)}
        await factory.template("paid", [{"name": "ask", "stage": "paid_effect", "parameters": parameters}])
        async with factory.pool.acquire() as connection:
            assert await budgets.set_client(connection, "acme", 20 * CENT)
        seen.coordinator()
        factory.worker("paid_effect", FACTORY_FETCH_ALLOW=service.address)
        service.cost = 18 * CENT
        await monitor.collected()
        await monitor.calm()
        await client.submit("paid")
        await factory.all_over(1)
        await monitor.fires("BudgetNearLimit", tier="enterprise")
        async with factory.pool.acquire() as connection:
            assert await budgets.set_client(connection, "acme", 40 * CENT)
        await monitor.clears("BudgetNearLimit")


@dataclasses.dataclass(frozen=True)
class Alarm:
    """An alarm of the broker, and the commands that raise it and take it back."""

    alert: str
    on: tuple[str, ...]
    off: tuple[str, ...]


MEMORY = Alarm(
    "BrokerMemoryAlarm", ("set_vm_memory_high_watermark", "0.00001"), ("set_vm_memory_high_watermark", "0.4")
)
DISK = Alarm("BrokerDiskAlarm", ("set_disk_free_limit", "100000GB"), ("set_disk_free_limit", "1GB"))


@pytest.mark.parametrize("alarm", [MEMORY, DISK], ids=lambda alarm: alarm.alert)
async def test_a_broker_that_takes_nothing_is_told(factory: Factory, alarm: Alarm) -> None:
    pid = monitoring.broker_pid(factory.settings)
    async with monitoring.watch(factory) as (_, monitor):
        await levers.rabbitmqctl(pid, *alarm.on)
        try:
            await monitor.fires(alarm.alert)
        finally:
            await levers.rabbitmqctl(pid, *alarm.off)
        await monitor.clears(alarm.alert)
