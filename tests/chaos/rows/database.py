"""Faults of Postgres."""

import asyncio
import contextlib

import asyncpg

from infra.local import postgres
from tests.chaos import levers, servers
from tests.chaos.matrix import row
from tests.chaos.trial import Trial

STALL_SECONDS = 20.0
SNAPSHOT_SECONDS = 45.0
SMALL_MEGABYTES = 64


@row("31", "postmaster killed, or stopped at once, under load", "kill -9, SIGQUIT", own=True, limit=30.0)
async def killed(trial: Trial) -> None:
    await trial.staff()
    async with trial.load():
        await trial.completed(40)
        pause = trial.chance.uniform(0.2, 5.0)
        trial.inject(f"kill -9 of Postgres for {pause:.1f} s")
        await trial.servers.kill(servers.POSTGRES)
        await asyncio.sleep(pause)
        await trial.servers.start(servers.POSTGRES)
        trial.heal()
        await trial.progress(20)
        trial.inject("stop and start of Postgres")
        await trial.servers.stop(servers.POSTGRES)
        await trial.servers.start(servers.POSTGRES)
        trial.heal()
        await trial.progress(20)


@row("32", "Postgres frozen for 30 s, all of it or the postmaster alone", "SIGSTOP, SIGCONT", own=True)
async def frozen(trial: Trial) -> None:
    await trial.staff()
    async with trial.load():
        await trial.completed(40)
        whole = trial.chance.random() < 0.7
        trial.inject(f"SIGSTOP of {'Postgres' if whole else 'the postmaster'} for 30 s")
        trial.servers.freeze(servers.POSTGRES, whole=whole)
        await asyncio.sleep(30.0)
        trial.servers.thaw(servers.POSTGRES)
        trial.heal()
        await trial.progress(40)


@row("33", "rows locked for 20 s, the table locked for 20 s, the table renamed for 10 s", "SQL beside the factory")
async def stalled(trial: Trial) -> None:
    await trial.staff()
    async with levers.session(trial.factory.settings.database_url) as other, trial.load(rate=3.0):
        for statement in (
            "SELECT id FROM executions FOR UPDATE",
            "LOCK TABLE step_executions IN ACCESS EXCLUSIVE MODE",
        ):
            await trial.progress(20)
            trial.inject(f"{statement}, held for {STALL_SECONDS:g} s")
            async with other.transaction():
                await other.execute(statement)
                await asyncio.sleep(STALL_SECONDS)
        await trial.progress(20)
        trial.inject("step_executions renamed for 10 s")
        await other.execute("ALTER TABLE step_executions RENAME TO step_executions_elsewhere")
        await asyncio.sleep(10.0)
        await other.execute("ALTER TABLE step_executions_elsewhere RENAME TO step_executions")
        trial.heal()
        await trial.progress(40)


@row("34", "connection slots exhausted, sessions terminated at random", "SQL beside the factory", own=True)
async def exhausted(trial: Trial) -> None:
    await trial.staff()
    url = trial.servers.postgres.url(postgres.SUPERUSER)
    victims = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'factory%' ORDER BY pid"
    async with levers.session(url) as boss, contextlib.AsyncExitStack() as hoard, trial.load():
        await trial.completed(40)
        trial.inject("every connection slot taken, sessions of the factory terminated for 15 s")
        taken = 0
        for _ in range(30):
            with contextlib.suppress(asyncpg.TooManyConnectionsError):
                for _ in range(200):
                    await hoard.enter_async_context(levers.session(trial.factory.settings.database_url))
                    taken += 1
            pids = [row_["pid"] for row_ in await boss.fetch(victims)]
            if pids:
                await boss.execute("SELECT pg_terminate_backend($1)", trial.chance.choice(pids))
            await asyncio.sleep(0.5)
        trial.injected.append(f"{taken} slots taken")
        await hoard.aclose()
        trial.heal()
        await trial.progress(40)


@row("35", "disk of the database full, then free again", "tablespace on a small tmpfs", own=True)
async def disk_full(trial: Trial) -> None:
    home = trial.servers.postgres.folder / f"small-{trial.seed}"
    home.mkdir(parents=True, exist_ok=True)
    account = trial.servers.postgres.data.stat()
    disk = trial.cleanup.enter_context(levers.small_disk(home, SMALL_MEGABYTES, (account.st_uid, account.st_gid)))
    name = trial.factory.settings.database_url.rpartition("/")[2]
    async with levers.session(trial.servers.postgres.url(postgres.SUPERUSER)) as boss:
        await boss.execute(f"CREATE TABLESPACE {name} LOCATION '{disk}'")
        await boss.execute(f"GRANT CREATE ON TABLESPACE {name} TO {postgres.OWNER}")
    trial.cleanup.push_async_callback(_drop_tablespace, trial, name)
    async with levers.session(trial.factory.settings.database_url) as owner:
        tables = "SELECT quote_ident(relname) AS name FROM pg_class WHERE relkind = 'r' AND relname IN "
        for row_ in await owner.fetch(tables + "('executions', 'step_executions', 'outbox', 'timers', 'deliverables')"):
            await owner.execute(f"ALTER TABLE {row_['name']} SET TABLESPACE {name}")
    await trial.staff()
    async with trial.load():
        await trial.completed(40)
        trial.inject("the disk of executions and steps is full for 10 s")
        ballast = levers.fill(disk)
        await asyncio.sleep(10.0)
        ballast.unlink()
        trial.heal()
        await trial.progress(40)


async def _drop_tablespace(trial: Trial, name: str) -> None:
    async with levers.session(trial.servers.postgres.url(postgres.SUPERUSER)) as boss:
        await boss.execute(f"DROP TABLESPACE {name}")


@row("36", "an old snapshot held under load", "REPEATABLE READ beside the factory")
async def old_snapshot(trial: Trial) -> None:
    await trial.staff()
    async with levers.session(trial.factory.settings.database_url) as other, trial.load(rate=4.0):
        await trial.completed(60)
        trial.inject(f"a snapshot held for {SNAPSHOT_SECONDS:g} s")
        async with other.transaction(isolation="repeatable_read"):
            await other.fetch("SELECT count(*) FROM executions")
            await asyncio.sleep(SNAPSHOT_SECONDS)
            trial.heal()
            await trial.progress(20)


@row("37", "result of a commit unknown: cut between COMMIT and its answer", "proxy, on the frame", quick=True, size=10)
async def commit_unknown(trial: Trial) -> None:
    await trial.staff(workers=1)
    async with trial.load(rate=4.0):
        await trial.completed(5)
        for _ in range(3):
            nth = trial.chance.randint(1, 10)
            trap = trial.proxies[servers.POSTGRES].trap(b"COMMIT;", nth)
            trial.inject(f"cut after COMMIT number {nth}")
            async with asyncio.timeout(60.0):
                await trap.sprung.wait()
        trial.heal()
        await trial.progress(10)
