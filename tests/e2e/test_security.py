"""What must stay closed: the engine's tables to workers, our queues to answers, the machine's own servers to feeds."""

import datetime
from urllib.parse import urlsplit

import asyncpg
import pytest

from contracts import artifacts, messages, topology
from contracts.states import StepStatus
from contracts.tiers import Tier
from infra import documents, identifiers, objects, views
from producer import collection, feedserver, installation, preparation, values
from tests.factories import Factory, eventually

OURS = (
    topology.jobs_queue(Tier.BASIC),
    topology.events_queue(Tier.ENTERPRISE),
    topology.stage_queue("effect", Tier.BASIC),
    topology.DEAD_LETTERS,
    topology.HEARTBEATS,
    topology.CONTROL,
    topology.PROBE,
)
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


async def test_a_workers_database_user_reaches_no_table_of_the_engine(factory: Factory) -> None:
    rows = await factory.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    tables = [row["tablename"] for row in rows]
    assert {"executions", "step_executions", "dead_letters", "outbox", "deliverables"} <= set(tables)
    connection = await asyncpg.connect(factory.settings.worker_database_url)
    try:
        for table in tables:
            for statement in ("SELECT * FROM public.{}", "DELETE FROM public.{}", "TRUNCATE public.{}"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement.format(table))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SET ROLE factory")
    finally:
        await connection.close()


async def test_a_worker_does_without_the_engines_database(factory: Factory) -> None:
    await factory.client()
    await factory.template("plain", [{"name": "only"}])
    factory.coordinator()
    factory.worker(FACTORY_DATABASE_URL=NOWHERE)
    async with factory.connect() as client:
        await client.submit("plain")
        (finished,) = await client.answered(messages.ExecutionFinished)
    assert finished.status == "completed"


async def test_no_answer_is_written_into_a_queue_of_ours(factory: Factory) -> None:
    await factory.client()
    await factory.template("plain", [{"name": "only"}])
    factory.coordinator()
    factory.worker()
    async with factory.connect() as client:
        for queue in OURS:
            job = messages.SubmitJob(submit_key=queue, client="acme", template="plain")
            await client.publish(job.model_dump_json().encode(), reply_to=queue)
        await client.submit("plain")
        await client.answered(messages.ExecutionFinished)

        async def kept() -> bool:
            return len(await factory.fetch("SELECT 1 FROM dead_letters")) == len(OURS)

        await eventually(kept, "every such job is a dead letter")
    dead = await factory.fetch("SELECT reason, explanation FROM dead_letters ORDER BY id")
    assert {row["reason"] for row in dead} == {"invalid_reply_to"}
    assert all(any(queue in row["explanation"] for row in dead) for queue in OURS)
    assert await factory.statuses() == {"completed": 1}


async def test_a_feed_address_inside_is_a_failure_of_its_shard(factory: Factory) -> None:
    await preparation.prepare(factory.settings)
    management = urlsplit(factory.settings.amqp_admin_url).port
    inside = {
        f"http://127.0.0.1:{management}/api/overview": "refused",
        f"http://localhost:{management}/": "refused",
        "http://127.0.0.1/": "this machine's own address",
        "http://169.254.169.254/latest/meta-data/": "a link-local address",
        "http://[::ffff:169.254.169.254]/": "an embedded IPv4 address",
        factory.settings.s3_endpoint + "/": "refused",
    }
    served = collection.samples()
    async with feedserver.serve(served.folder) as address, factory.connect() as client:
        factory.coordinator()
        factory.worker(installation.FETCHER, FACTORY_FETCH_ALLOW=address)
        factory.worker("rss_librarian", "topic_researcher", "content_classifier")
        factory.worker("report_writer", "citation_checker", "citation_quoter", "report_builder")
        public = served.catalogue(address).records
        entries = [
            artifacts.CatalogueEntry(url=url, title=f"Battery news {n}", site=url) for n, url in enumerate(inside)
        ]
        catalogue = artifacts.Catalogue(records=(*public, *entries))
        number = len(catalogue.records)
        parameters = {
            "topic": "battery recycling",
            "catalogue": await _stored(factory, catalogue),
            "max_sources": number,
            "per_site": number,
            "minimum_score": 0,
            "minimum_sources": 0,
            "ask_platforms": False,
        }
        await client.submit("rss_intelligence", installation.CLIENT, parameters=parameters)
        (finished,) = await client.answered(messages.ExecutionFinished)
    assert finished.status == "completed"
    async with factory.pool.acquire() as connection:
        shards = await views.shards(connection, finished.execution_id, "fetch_feeds")
    failed = {shard.error_details["url"]: shard for shard in shards if shard.status is StepStatus.FAILED}
    assert failed.keys() == inside.keys()
    assert all(reason in (failed[url].error or "") for url, reason in inside.items())
    assert len(shards) - len(failed) == len(public)


async def _stored(factory: Factory, catalogue: artifacts.Catalogue) -> messages.Json:
    key = messages.TaskKey(identifiers.new(), 1, "parameters", 0, 1)
    place = documents.Place(installation.CLIENT, datetime.datetime.now(datetime.UTC).date(), key)
    found = factory.settings
    async with objects.connect(found.s3_endpoint, found.s3_access_key, found.s3_secret_key, found.s3_bucket) as store:
        ref = await values.put(catalogue, place, store)
    stored: messages.Json = ref.model_dump(mode="json", exclude_none=True)
    return stored
