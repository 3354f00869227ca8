"""The local stack on real servers: each is used, killed and started again, and nothing is left when it went down."""

import asyncio
import io
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aio_pika
import asyncpg
import minio
import psutil
import pytest

from infra import settings
from infra.local import (
    control,
    doctor,
    identity,
    plan,
    postgres,
    processes,
    rabbitmq,
    record,
    s3,
    servers,
    stack,
    supervisor,
)

SLEEPER = (sys.executable, "-c", "import signal; signal.pause()")
# Named by the environment, so that `up` starts none of them; nothing connects to these addresses.
NAMED = {
    "FACTORY_AMQP_URL": "amqp://broker.test",
    "FACTORY_DATABASE_URL": "postgresql://owner@database.test/factory",
    "FACTORY_WORKER_DATABASE_URL": "postgresql://worker@database.test/factory",
    "FACTORY_S3_ENDPOINT": "http://objects.test",
    "FACTORY_S3_ACCESS_KEY": "access",
    "FACTORY_S3_SECRET_KEY": "secret",
}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home folder of which nothing runs after the test."""
    folder = tmp_path / "home"
    yield folder
    control.down(folder)
    assert processes.left(folder) == []


def around(home: Path, **environ: str) -> settings.Surroundings:
    return settings.survey({"PATH": servers.PROGRAMS, "FACTORY_HOME": str(home), **environ})


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def row(home: Path, name: str) -> record.Row:
    return next(found for found in control.status(home) if found.name == name)


async def store_in_postgres(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept (word text)")
    await connection.execute("INSERT INTO kept VALUES ('kept')")
    await connection.close()


async def read_from_postgres(url: str) -> object:
    connection = await asyncpg.connect(url)
    word = await connection.fetchval("SELECT word FROM kept")
    await connection.close()
    return word


async def publish(url: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(b"kept", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept")


async def consume(url: str) -> bytes:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue("kept")
        message = await queue.get(timeout=10)
        await message.ack()
        return message.body


def store(variables: settings.Settings) -> minio.Minio:
    endpoint = variables.s3_endpoint.removeprefix("http://")
    return minio.Minio(
        endpoint,
        access_key=variables.s3_access_key,
        secret_key=variables.s3_secret_key,
        secure=False,
        region="us-east-1",
    )


def test_the_shared_stack_answers_to_its_settings(stack: settings.Settings) -> None:
    assert asyncio.run(fetch_user(stack.database_url)) == "factory"
    assert asyncio.run(fetch_user(stack.worker_database_url)) == "factory_worker"
    asyncio.run(publish(stack.amqp_url))
    assert asyncio.run(consume(stack.amqp_url)) == b"kept"
    store(stack).put_object(stack.s3_bucket, "a/b", io.BytesIO(b"kept"), 4)
    with store(stack).get_object(stack.s3_bucket, "a/b") as answer:
        assert answer.read() == b"kept"


async def fetch_user(url: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval("SELECT current_user")
    finally:
        await connection.close()


async def test_the_database_refuses_a_wrong_password(stack: settings.Settings) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(stack.database_url.replace("factory:", "factory:wrong"))


async def test_the_worker_role_cannot_make_tables(stack: settings.Settings) -> None:
    connection = await asyncpg.connect(stack.worker_database_url)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("CREATE TABLE mine (word text)")
    await connection.close()


def test_postgres_keeps_its_data_through_a_kill(tmp_path: Path) -> None:
    server = postgres.Postgres(tmp_path / "postgres", tmp_path / "postgres.log")
    try:
        server.start()
        url = server.url(postgres.OWNER)
        asyncio.run(store_in_postgres(url))
        server.kill()
        assert not server.alive()
        assert processes.left(tmp_path) == []
        server.start()
        assert asyncio.run(read_from_postgres(url)) == "kept"
    finally:
        server.stop()
    assert processes.left(tmp_path) == []


async def as_superuser(server: postgres.Postgres, *statements: str) -> None:
    connection = await asyncpg.connect(server.url(postgres.SUPERUSER))
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def reads(url: str) -> tuple[object, object]:
    connection = await asyncpg.connect(url)
    found = await connection.fetchval("SELECT current_user"), await connection.fetchval("SHOW statement_timeout")
    await connection.close()
    return found


def test_a_data_folder_of_before_there_was_a_reader_gets_one_when_it_is_used_again(tmp_path: Path) -> None:
    server = postgres.Postgres(tmp_path / "postgres", tmp_path / "postgres.log")
    kept = tmp_path / "postgres" / identity.FILE
    try:
        server.start()
        gone = (f"REVOKE CONNECT ON DATABASE factory FROM {postgres.READER}", f"DROP ROLE {postgres.READER}")
        asyncio.run(as_superuser(server, *gone))
        asyncio.run(store_in_postgres(server.url(postgres.OWNER)))
        server.stop()
        told = json.loads(kept.read_text())
        del told["passwords"][postgres.READER]
        kept.write_text(json.dumps(told))
        server.start()
        assert asyncio.run(reads(server.url(postgres.READER))) == (postgres.READER, "30s")
        assert asyncio.run(read_from_postgres(server.url(postgres.OWNER))) == "kept"

        # A migration by an owner who may make roles makes one that cannot log in.
        asyncio.run(as_superuser(server, f"ALTER ROLE {postgres.READER} NOLOGIN PASSWORD NULL"))
        server.kill()
        server.start()
        assert asyncio.run(reads(server.url(postgres.READER))) == (postgres.READER, "30s")
    finally:
        server.stop()
    assert processes.left(tmp_path) == []


def test_rabbitmq_keeps_its_messages_through_a_kill_and_leaves_no_port_mapper(tmp_path: Path) -> None:
    server = rabbitmq.RabbitMQ(tmp_path / "rabbitmq", tmp_path / "rabbitmq.log")
    try:
        server.start()
        url = server.variables["FACTORY_AMQP_URL"]
        asyncio.run(publish(url))
        # RabbitMQ 3.10 writes the name of a new queue down a moment after it confirmed the declaration: a node killed
        # in that moment finds the queue again without a leader.
        names = next((tmp_path / "rabbitmq" / "mnesia").glob("*/quorum/*/names.dets"))
        eventually(lambda: b"kept" in names.read_bytes())
        server.kill()
        assert processes.left(tmp_path) == []
        server.start()
        assert asyncio.run(consume(url)) == b"kept"
    finally:
        server.stop()
    assert processes.left(tmp_path) == []


def test_s3_keeps_its_objects_through_a_kill(tmp_path: Path) -> None:
    server = s3.S3(tmp_path / "s3", tmp_path / "s3.log")
    try:
        server.start()
        found = settings.load({**NAMED, **server.variables, "FACTORY_HOME": str(tmp_path)})
        store(found).put_object("factory", "kept", io.BytesIO(b"kept"), 4)
        server.kill()
        server.start()
        with store(found).get_object("factory", "kept") as answer:
            assert answer.read() == b"kept"
    finally:
        server.stop()
    assert processes.left(tmp_path) == []


def test_two_servers_of_a_kind_run_side_by_side(tmp_path: Path) -> None:
    every: list[servers.Server] = [
        s3.S3(tmp_path / "one", tmp_path / "one.log"),
        s3.S3(tmp_path / "two", tmp_path / "two.log"),
        postgres.Postgres(tmp_path / "three", tmp_path / "three.log"),
        postgres.Postgres(tmp_path / "four", tmp_path / "four.log"),
    ]
    try:
        for server in every:
            server.start()
        addresses = [value for server in every for value in server.variables.values() if "://" in value]
        assert len(set(addresses)) == 8
        assert all(server.alive() for server in every)
    finally:
        for server in every:
            server.stop()


def test_a_port_that_someone_else_took_is_replaced(tmp_path: Path) -> None:
    first = identity.recall(tmp_path, ["s3"], ["secret"])
    assert identity.recall(tmp_path, ["s3"], ["secret"]) == first
    with socket.create_server(("127.0.0.1", first.ports["s3"])):
        second = identity.recall(tmp_path, ["s3"], ["secret"])
    assert second.ports != first.ports
    assert second.passwords == first.passwords


def test_up_starts_the_servers_that_nobody_named_and_down_leaves_nothing(home: Path) -> None:
    named = {name: NAMED[name] for name in NAMED if name.startswith("FACTORY_AMQP")}
    where = home.with_name("stack.txt")
    migrate = plan.ProcessSpec("migrate", ("/bin/sh", "-c", f"cat {home}/stack.env > {where}"), order=1, once=True)
    sleeper = plan.ProcessSpec("sleeper", SLEEPER, count=2, order=2)
    control.up(around(home, **named), [sleeper, migrate])
    assert "FACTORY_DATABASE_URL" in where.read_text()
    rows = {found.name: found for found in control.status(home)}
    assert set(rows) == {"supervisor", "postgres", "s3", "sleeper-1", "sleeper-2"}
    assert all(found.state in ("up", "running") for found in rows.values())
    found = settings.load({**named, "FACTORY_HOME": str(home)})
    assert asyncio.run(fetch_user(found.database_url)) == "factory"

    control.up(around(home, **named), [sleeper, migrate])
    assert {found.pid for found in control.status(home)} == {found.pid for found in rows.values()}

    control.down(home)
    assert not any(psutil.pid_exists(found.pid) for found in rows.values() if found.pid and not zombie(found.pid))
    assert control.status(home) == []
    assert not (home / settings.STACK_FILE).exists()


def zombie(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_what_dies_is_started_again_with_growing_pauses(home: Path) -> None:
    crash = "import time; time.sleep(1.2); raise SystemExit(3)"
    specs = [plan.ProcessSpec("crasher", (sys.executable, "-c", crash)), plan.ProcessSpec("sleeper", SLEEPER)]
    control.up(around(home, **NAMED), specs)
    first = row(home, "sleeper").pid
    assert first
    os.kill(first, signal.SIGKILL)
    eventually(lambda: row(home, "sleeper").state == "running" and row(home, "sleeper").pid not in (None, first))
    eventually(lambda: row(home, "crasher").restarts >= 2)
    log = (home / "log" / "supervisor.log").read_text()
    pauses = [line.rsplit("in ", 1)[1] for line in log.splitlines() if "crasher ended" in line]
    assert pauses[:2] == ["0.5 s", "1 s"]
    assert row(home, "sleeper").restarts == 1


def test_a_supervisor_killed_leaves_processes_that_down_finds(home: Path) -> None:
    control.up(around(home, **NAMED), [plan.ProcessSpec("sleeper", SLEEPER)])
    overseer, sleeper = row(home, "supervisor").pid, row(home, "sleeper").pid
    assert overseer
    assert sleeper
    os.kill(overseer, signal.SIGKILL)
    os.waitpid(overseer, 0)
    assert row(home, "supervisor").state == "gone"
    assert row(home, "sleeper").state == "unsupervised"
    assert control.down(home) == ["sleeper"]
    assert processes.left(home) == []


def test_up_after_a_killed_supervisor_replaces_what_is_left(home: Path) -> None:
    specs = [plan.ProcessSpec("sleeper", SLEEPER)]
    control.up(around(home, **NAMED), specs)
    overseer, before = row(home, "supervisor").pid, row(home, "sleeper").pid
    assert overseer
    os.kill(overseer, signal.SIGKILL)
    os.waitpid(overseer, 0)
    control.up(around(home, **NAMED), specs)
    assert row(home, "sleeper").pid not in (None, before)
    assert len(processes.left(home)) == 1


def test_a_process_that_cannot_start_fails_up_with_the_end_of_its_log(home: Path) -> None:
    broken = plan.ProcessSpec("broken", (sys.executable, "-c", "raise SystemExit('no such queue')"))
    with pytest.raises(processes.StackError, match=r"(?s)broken ended with status 1.*no such queue"):
        control.up(around(home, **NAMED), [plan.ProcessSpec("sleeper", SLEEPER), broken])
    assert processes.left(home) == []


def test_a_setting_that_is_wrong_fails_up_with_its_name(home: Path) -> None:
    with pytest.raises(processes.StackError, match="FACTORY_SLOTS=none is not a whole number"):
        control.up(around(home, **NAMED, FACTORY_SLOTS="none"), [])


def test_only_one_supervisor_runs_in_a_home(home: Path) -> None:
    control.up(around(home, **NAMED), [])
    with pytest.raises(processes.StackError, match="is supervised already"):
        control.up(around(home, **NAMED), [], foreground=True)


def test_processes_stop_in_the_reverse_order_of_their_start(home: Path) -> None:
    home.mkdir()
    told = home / "told"
    program = (
        "import signal, sys\n"
        "def leave(*_):\n"
        f"    open({str(told)!r}, 'a').write(sys.argv[1] + ' ')\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "while True: signal.pause()\n"
    )
    specs = [
        plan.ProcessSpec(name, (sys.executable, "-c", program, name), order=order)
        for name, order in (("coordinator", 1), ("worker", 2))
    ]
    control.up(around(home, **NAMED), specs)
    control.down(home)
    assert told.read_text() == "worker coordinator "


def test_a_stack_that_belongs_to_a_process_dies_with_it(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys\n"
        "from infra.local import s3\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "s3.S3(folder / 's3', folder / 's3.log', bound=True).start()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    holder = processes.Process(
        "holder",
        [sys.executable, "-c", program, str(tmp_path)],
        {"PYTHONPATH": str(Path.cwd())},
        folder=tmp_path / "holder",
        log=tmp_path / "holder.log",
    )
    holder.launch()
    eventually(lambda: not holder.alive())
    assert holder.status == -signal.SIGKILL
    eventually(lambda: processes.left(tmp_path) == [])


def test_a_log_is_capped_while_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with log.open("a") as writer:
        writer.write("old\n" * 100)
        writer.flush()
        supervisor.cap(log, limit=100)
        writer.write("new\n")
    assert log.read_text() == "new\n"
    assert (tmp_path / "worker.log.1").read_text() == "old\n" * 100


def test_a_server_whose_port_is_taken_while_it_starts_is_started_at_another(tmp_path: Path) -> None:
    server = s3.S3(tmp_path / "s3", tmp_path / "s3.log")
    try:
        server.launch()
        os.kill(server.pid or 0, signal.SIGSTOP)
        first = server.variables["FACTORY_S3_ENDPOINT"]
        with socket.create_server(("127.0.0.1", int(first.rpartition(":")[2]))):
            os.kill(server.pid or 0, signal.SIGCONT)
            stack.settle(server)
            found = settings.load({**NAMED, **server.variables, "FACTORY_HOME": str(tmp_path)})
            assert found.s3_endpoint != first
            assert store(found).bucket_exists("factory")
    finally:
        server.stop()


def test_the_recorded_state_is_complete_json_at_any_moment(home: Path) -> None:
    control.up(around(home, **NAMED), [plan.ProcessSpec("sleeper", SLEEPER)])
    assert json.loads((home / record.FILE).read_text())["phase"] == "up"
    assert stack.servers_for(around(home, **NAMED)) == []


async def test_the_doctor_finds_a_running_stack_well(stack: settings.Settings) -> None:
    found = await doctor.checks(around(stack.home))
    assert [check for check in found if not check.ok] == []
    assert {"python", "disk space", "database", "worker role", "broker", "management API", "objects"} <= {
        check.name for check in found
    }


async def test_the_doctor_names_a_remedy_for_what_does_not_answer(home: Path) -> None:
    dead = {
        **NAMED,
        "FACTORY_AMQP_URL": "amqp://name:password@127.0.0.1:1",
        "FACTORY_AMQP_ADMIN_URL": "http://name:password@127.0.0.1:1",
        "FACTORY_DATABASE_URL": "postgresql://name:password@127.0.0.1:1/factory",
        "FACTORY_WORKER_DATABASE_URL": "postgresql://name:password@127.0.0.1:1/factory",
        "FACTORY_S3_ENDPOINT": "http://127.0.0.1:1",
    }
    found = {check.name: check for check in await doctor.checks(around(home, **dead))}
    for name in ("database", "worker role", "broker", "management API", "objects"):
        assert not found[name].ok
        assert "factory up" in found[name].remedy
        assert "password" not in found[name].detail


async def test_the_doctor_says_what_is_missing_before_anything_was_started(home: Path) -> None:
    last = (await doctor.checks(around(home)))[-1]
    assert not last.ok
    assert "FACTORY_AMQP_URL is not set" in last.detail
