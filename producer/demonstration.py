"""The whole pipeline on a folder of feeds served on loopback: brought up if need be, run, measured, told in full."""

import asyncio
import contextlib
import dataclasses
import datetime
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from uuid import UUID

from contracts import messages
from contracts.errors import FactoryError
from contracts.messages import Json
from contracts.states import ExecutionStatus, StepStatus
from contracts.templates import Template
from contracts.tiers import Tier
from infra import database, documents, identifiers, objects, settings, views
from infra.local import control
from infra.settings import Settings
from producer import (
    client,
    collection,
    definitions,
    delivering,
    feedserver,
    installation,
    metering,
    values,
    watching,
)
from producer.collection import Collection

TEMPLATE = "rss_intelligence"
LONGEST_SECONDS = 1800.0
PORT_HINT = "127.0.0.1:8117"

Show = Callable[[AsyncIterator[watching.Progress]], Awaitable[watching.Progress]]
"""Shows an execution while it runs and returns how it stood last."""


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What to demonstrate. With ``everything`` no feed is left out for fitting the topic badly."""

    topic: str
    collection: Collection
    template: str = TEMPLATE
    everything: bool = False
    keep: bool = False
    out: Path | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Read:
    """What came of one feed: how many entries it holds, before any cap, or why it could not be read."""

    entries: int | None
    error: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What a demonstration came to; ``seconds`` run from the submission of the job to its end."""

    execution_id: UUID
    status: ExecutionStatus
    seconds: float
    feeds: Mapping[str, Read]
    articles: int
    report: Mapping[str, Path]
    bytes: Mapping[str, int]
    largest_message: int


async def run(around: settings.Surroundings, request: Request, show: Show, say: Callable[[str], None]) -> Outcome:
    """Runs the pipeline in the factory of this home folder; one that was not up is up for as long as it takes."""
    was_up = installation.is_up(around.home)
    port = _admitted_port(around.home) if was_up else 0
    async with (
        feedserver.serve(request.collection.folder, port) as address,
        _factory(around, address, say, start=not was_up, keep=request.keep),
    ):
        return await _demonstrate(settings.load(around.environ), request, address, show)


@contextlib.asynccontextmanager
async def _factory(
    around: settings.Surroundings, address: str, say: Callable[[str], None], *, start: bool, keep: bool
) -> AsyncIterator[None]:
    if not start:
        say(f"using the factory of {around.home}, which is up")
        yield
        return
    say(f"starting a factory in {around.home}")
    specs = installation.process_specs(fetch_allow=around.fetch_allow | {address})
    starting = asyncio.create_task(asyncio.to_thread(control.up, around, specs))
    try:
        await asyncio.shield(starting)
        await installation.await_ready(around.home)
        yield
    finally:
        # A start that is under way cannot be called off, and what comes up after the stop would stay. One that failed
        # has left nothing, unless somebody else's start was in its way, and that is not to be stopped here.
        await asyncio.wait({starting})
        if keep:
            say("the factory stays up; stop it with 'factory down'")
        elif starting.exception() is None:
            say("stopping the factory")
            await asyncio.to_thread(installation.stop, around.home)


def _admitted_port(home: Path) -> int:
    """A free port of loopback that the running factory's workers may fetch from."""
    entries = sorted(entry for entry in installation.allowed(home) if entry.startswith("127.0.0.1:"))
    for entry in entries:
        port = int(entry.rpartition(":")[2])
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    found = f"may fetch from {', '.join(entries)} only, where a server listens already" if entries else "may not"
    raise FactoryError(
        f"a demonstration has its feeds fetched from loopback, and the running factory of {home} {found}; "
        f"stop it with 'factory down', or start it anew: FACTORY_FETCH_ALLOW={PORT_HINT} factory up"
    )


async def _demonstrate(configured: Settings, request: Request, address: str, show: Show) -> Outcome:
    async with (
        database.connect(configured.database_url, application="factory demo", size=2) as pool,
        pool.acquire() as connection,
        objects.of(configured) as store,
        metering.measure(configured.amqp_url) as meter,
        client.of(configured, name="factory demo") as producer,
    ):
        template = await definitions.find(connection, request.template)
        parameters = await _parameters(template, request, address, store)
        job = messages.SubmitJob(
            submit_key=client.new_key(),
            client=installation.CLIENT,
            template=template.name,
            parameters=parameters,
        )
        accepted = await producer.submit(job, tier=Tier.ENTERPRISE)
        last = await show(watching.follow(configured, connection, accepted.execution_id))
        finished = await producer.finished(accepted.execution_id, LONGEST_SECONDS)
        tally = await meter.total(accepted, finished)
        folder = request.out or delivering.folder_of(configured.home, accepted.execution_id)
        return Outcome(
            execution_id=accepted.execution_id,
            status=finished.status,
            seconds=round(finished.seconds, 3),
            feeds=await _feeds(connection, template, request.collection, accepted.execution_id),
            articles=_articles(last),
            report=await delivering.save(last.deliverables, store, folder),
            bytes={"broker": tally.size, "documents": sum(tally.documents.values())},
            largest_message=tally.largest,
        )


async def _parameters(template: Template, request: Request, address: str, store: objects.Objects) -> dict[str, Json]:
    """The topic and the catalogue, and what keeps every feed in where that is asked for."""
    declared = {parameter.name: parameter for parameter in template.parameters}
    for name in ("topic", "catalogue"):
        if name not in declared:
            raise FactoryError(f"template '{template.name}' has no parameter '{name}', which a demonstration sets")
    catalogue = request.collection.catalogue(address)
    task = messages.TaskKey(identifiers.new(), 1, "parameters", 0, 1)
    place = documents.Place(installation.CLIENT, datetime.datetime.now(datetime.UTC).date(), task)
    ref = await values.put(catalogue, place, store)
    given: dict[str, Json] = {"topic": request.topic, "catalogue": ref.model_dump(mode="json", exclude_none=True)}
    if "ask_platforms" in declared:
        given["ask_platforms"] = False  # a demonstration reads the feeds of its folder and nothing beyond this machine
    return given | (_everything(template, len(catalogue.records)) if request.everything else {})


def _everything(template: Template, number: int) -> dict[str, Json]:
    """The parameters with which the librarian leaves out none of so many feeds."""
    declared = {parameter.name: parameter for parameter in template.parameters}
    wanted = {"max_sources": number, "per_site": number, "minimum_score": 0, "minimum_sources": 0}
    if missing := wanted.keys() - declared.keys():
        raise FactoryError(
            f"version {template.version} of template '{template.name}' has no parameter '{min(missing)}', so that some "
            "feeds would be left out; apply the template that comes with this version of the project"
        )
    most = declared["max_sources"].maximum
    if most is not None and number > most:
        raise FactoryError(f"the folder holds {number} feeds, and '{template.name}' reads {most:g} at most")
    per_site = declared["per_site"].maximum
    return {**wanted, "per_site": number if per_site is None else min(number, int(per_site))}


async def _feeds(
    connection: database.Connection, template: Template, served: Collection, execution_id: UUID
) -> dict[str, Read]:
    """What the shards of the fetching steps say of each feed of the folder."""
    found = {feed.path: Read(None, "not chosen for this topic") for feed in served.feeds}
    for step in template.steps:
        if step.stage != installation.FETCHER:
            continue
        for shard in await views.shards(connection, execution_id, step.name):
            if shard.status is StepStatus.COMPLETED:
                url = str(shard.summary.get("source", ""))
                read = Read(int(shard.summary.get("entries", 0)), None)
            else:
                url = shard.error_details.get("url", "")
                read = Read(0, shard.error or str(shard.status))
            found[collection.path_of(url) or f"shard {shard.shard}"] = read
    return found


def _articles(last: watching.Progress) -> int:
    """How many distinct articles were judged: the first count of articles that a step after the fetching tells."""
    told = [step.summary["articles"] for step in last.steps if not step.fanned_out and "articles" in step.summary]
    return int(told[0]) if told else 0
