"""What `factory doctor` asks of a factory beyond its servers: tables, queues, policy, workers, dead letters."""

import re
from collections.abc import Awaitable, Callable, Sequence

from contracts import registry, topology
from contracts.errors import FactoryError
from infra import broker, database, dead_letters, management, migration, settings, views
from infra.delivery import NotFoundError
from infra.local.doctor import Check

Look = Callable[[settings.Settings], Awaitable[list[Check]]]


async def checks(known: settings.Settings) -> Sequence[Check]:
    """One check for each thing; what cannot be looked at because its server is away is left to that server's check."""
    found: list[Check] = []
    for look in (_version, _queues, _policy, _work):
        try:
            found.extend(await look(known))
        except (FactoryError, database.Failure, *database.UNAVAILABLE) as error:
            name = look.__name__.strip("_")
            found.append(Check(name, False, f"cannot be looked at: {error}", "mend what is reported above first"))
    return found


async def _version(known: settings.Settings) -> list[Check]:
    current, head = await migration.current(known.database_url), migration.head()
    remedy = "" if current == head else "run `factory migrate`"
    return [Check("database version", current == head, f"{current or 'none'}, this code needs {head}", remedy)]


async def _queues(known: settings.Settings) -> list[Check]:
    missing = []
    wanted = topology.queues(registry.specs())
    async with broker.connect(known.amqp_url, name="factory doctor") as connection:
        for queue in wanted:
            try:
                await connection.inspect(queue.name)
            except NotFoundError:
                missing.append(queue.name)
    shown = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
    detail = f"missing: {shown}" if missing else f"{len(wanted)} there"
    return [Check("queues", not missing, detail, "run `factory migrate`" if missing else "")]


async def _policy(known: settings.Settings) -> list[Check]:
    if not known.amqp_admin_url:
        return []
    names = [queue.name for queue in topology.queues(registry.specs())]
    governed = [name for name in names if re.search(topology.POLICY_PATTERN, name)]
    async with management.connect(known.amqp_admin_url, known.amqp_url) as api:
        problems = await api.policy_problems(governed)
    detail = problems[0] if problems else f"in force for {len(governed)} queues"
    return [Check("policy", not problems, detail, "run `factory migrate`" if problems else "")]


async def _work(known: settings.Settings) -> list[Check]:
    async with (
        database.connect(known.database_url, application="factory doctor", size=1) as pool,
        pool.acquire() as connection,
    ):
        workers = await views.workers(connection, views.SILENT_SECONDS)
        letters = await dead_letters.count_open(connection)
    served = {stage for worker in workers for stage in worker.stages}
    idle = sorted(set(registry.specs()) - served)
    look = "run `factory dead list`"
    remedy = f"start one: `factory worker {' '.join(idle)}`, or `factory up`"
    detail = f"no worker for: {', '.join(idle)}" if idle else f"{len(workers)} alive, every stage has one"
    return [
        Check("workers", not idle, detail, remedy if idle else ""),
        Check("dead letters", letters == 0, f"{letters} open", look if letters else ""),
    ]
