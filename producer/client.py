"""Publishing jobs: each is submitted once however often its publish is repeated, and its answer and end are awaited."""

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator
from typing import TypeVar
from uuid import UUID

import structlog

from contracts import encoding, errors, messages, topology
from contracts.tiers import Tier
from infra import broker, exporter, faults, publisher, tracing
from infra.delivery import BrokerError, Delivery
from infra.settings import Settings
from infra.tracing import Kind

PREFETCH = 100
KEPT = 10_000
"""How many ends of executions are remembered for callers that have not asked for them yet."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0

T = TypeVar("T")

log = structlog.get_logger()


class JobRejectedError(errors.FactoryError):
    """The factory will not run the job; the text names the field, the value and the remedy."""

    def __init__(self, rejection: messages.JobRejected) -> None:
        super().__init__(f"{rejection.reason}: {rejection.explanation}")
        self.rejection = rejection


class NoAnswerError(errors.FactoryError):
    """Nothing came within the time-out. What was submitted may run all the same."""


def new_key() -> str:
    """A submit key that no other job has. Keep it: submitting again with it never runs the job twice."""
    return uuid.uuid4().hex


@dataclasses.dataclass(frozen=True)
class _Session:
    """One connection with its reply queue; ``lost`` fails when any part of it breaks."""

    user: str
    publisher: publisher.Publisher
    replies: str
    lost: asyncio.Task[None]
    listener: asyncio.Task[None]
    stack: contextlib.AsyncExitStack

    async def close(self) -> None:
        self.lost.cancel()
        self.listener.cancel()
        await asyncio.gather(self.lost, self.listener, return_exceptions=True)
        await self.stack.aclose()


class Client:
    """A producer's connection to the factory, made by ``connect`` and made anew when it breaks during a submit."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._opening = asyncio.Lock()
        self._session: _Session | None = None
        self._answers: dict[str, asyncio.Future[messages.Message]] = {}
        self._ends: dict[UUID, asyncio.Future[messages.ExecutionFinished]] = {}

    async def submit(
        self, job: messages.SubmitJob, *, tier: Tier, timeout: float = 30.0, traceparent: str | None = None
    ) -> messages.JobAccepted:
        """The acceptance of the job, which is stored by then and will run.

        A publish that is lost or not confirmed is repeated on a new connection; the submit key makes that one job.
        ``traceparent`` is the trace that it belongs to (W3C); what is no traceparent is left out.
        Raises JobRejectedError, NoAnswerError after ``timeout`` seconds, or UnroutableError where no factory is set up.
        """
        given = tracing.valid(traceparent)
        with tracing.start("submit", Kind.PRODUCER, given, _attributes(job, tier)) as span:
            accepted = await self._request(job, topology.job_key(tier), timeout, span.traceparent or given)
            if not isinstance(accepted, messages.JobAccepted):
                raise errors.FactoryError(
                    f"a job was answered with {type(accepted).__name__}; are client and factory alike?"
                )
            span.note({"factory.execution_id": str(accepted.execution_id)})
        return accepted

    async def finished(self, execution_id: UUID, timeout: float) -> messages.ExecutionFinished:
        """The end of an execution that this client submitted; ask once for each.

        Raises NoAnswerError after ``timeout`` seconds, and BrokerError if the connection that it was submitted on is
        gone: its end is then told to nobody here, and ``factory watch`` shows it.
        """
        session, end = self._session, self._ends.get(execution_id)
        if session is None or end is None:
            raise BrokerError(f"execution {execution_id} was not submitted on this connection; see 'factory watch'")
        try:
            async with asyncio.timeout(timeout):
                finished = await _unless_lost(end, session)
        except TimeoutError as error:
            raise NoAnswerError(f"execution {execution_id} is not over after {timeout:g} s; ask again later") from error
        self._ends.pop(execution_id, None)
        return finished

    async def close(self) -> None:
        """Leave the broker; answers that are still to come are lost."""
        session, self._session = self._session, None
        self._ends.clear()
        if session is not None:
            await session.close()

    async def _request(
        self, request: messages.SubmitJob, routing_key: str, timeout: float, traceparent: str | None
    ) -> messages.Message:
        pause, trouble = _FIRST_PAUSE, ""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        return await self._ask(request, routing_key, traceparent)
                    except BrokerError as error:
                        log.warning("submit_repeated", submit_key=request.submit_key, error=faults.told(error))
                        trouble = f" (last: {error})"
                    await asyncio.sleep(pause)
                    pause = min(_LONGEST_PAUSE, 2 * pause)
        except TimeoutError as error:
            raise NoAnswerError(
                f"no coordinator answered job '{request.submit_key}' within {timeout:g} s{trouble}; it may run all "
                "the same, so submit it again with the same submit_key"
            ) from error

    async def _ask(self, request: messages.SubmitJob, routing_key: str, traceparent: str | None) -> messages.Message:
        session = await self._connected()
        correlation = uuid.uuid4().hex
        answer: asyncio.Future[messages.Message] = asyncio.get_running_loop().create_future()
        self._answers[correlation] = answer
        try:
            await session.publisher.publish(
                topology.JOBS,
                routing_key,
                type(request).__name__,
                encoding.encode(request),
                correlation_id=correlation,
                reply_to=session.replies,
                user_id=session.user,
                traceparent=traceparent,
            )
            found = await _unless_lost(answer, session)
        finally:
            del self._answers[correlation]
        if isinstance(found, messages.JobRejected):
            raise JobRejectedError(found)
        return found

    async def _connected(self) -> _Session:
        async with self._opening:
            if self._session is not None and self._session.lost.done():
                await self.close()
            if self._session is None:
                self._session = await self._open()
            return self._session

    async def _open(self) -> _Session:
        async with contextlib.AsyncExitStack() as stack:
            connection = await stack.enter_async_context(broker.connect(self._url, name=self._name))
            inbox: asyncio.Queue[Delivery] = asyncio.Queue()
            replies = await connection.declare_reply_queue()
            await connection.consume(replies, inbox.put_nowait, prefetch=PREFETCH)
            return _Session(
                user=connection.user,
                publisher=await connection.publisher(),
                replies=replies,
                lost=asyncio.create_task(connection.watch()),
                listener=asyncio.create_task(self._listen(inbox)),
                stack=stack.pop_all(),
            )

    async def _listen(self, inbox: asyncio.Queue[Delivery]) -> None:
        while True:
            delivery = await inbox.get()
            try:
                self._take(delivery, encoding.decode(delivery.type, delivery.body))
            except errors.MessageError as error:
                log.warning("answer_not_understood", type=delivery.type, reason=error.reason.value)
            await delivery.ack()

    def _take(self, delivery: Delivery, message: messages.Message) -> None:
        answer = self._answers.get(delivery.correlation_id or "")
        if isinstance(message, messages.JobAccepted):
            self._end(message.execution_id)
        if isinstance(message, messages.ExecutionFinished):
            end = self._end(message.execution_id)
            if not end.done():
                end.set_result(message)
        elif answer is not None and not answer.done():
            answer.set_result(message)

    def _end(self, execution_id: UUID) -> asyncio.Future[messages.ExecutionFinished]:
        if execution_id not in self._ends:
            self._ends[execution_id] = asyncio.get_running_loop().create_future()
            while len(self._ends) > KEPT:
                del self._ends[next(iter(self._ends))]
        return self._ends[execution_id]


def _attributes(job: messages.SubmitJob, tier: Tier) -> dict[str, tracing.Value]:
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "send",
        "messaging.operation.name": "submit",
        "messaging.destination.name": f"{topology.JOBS}:{topology.job_key(tier)}",
        "factory.client": job.client,
        "factory.tier": tier.value,
        "factory.template": job.template,
    }


async def _unless_lost(future: asyncio.Future[T], session: _Session) -> T:
    """The future's result; raises BrokerError as soon as it cannot come any more."""
    either: set[asyncio.Future[T] | asyncio.Task[None]] = {future, session.lost}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not future.done():
        session.lost.result()
    return future.result()


@contextlib.asynccontextmanager
async def connect(url: str, *, name: str = "producer") -> AsyncIterator[Client]:
    """A client of the factory at an AMQP URL; connects with its first job."""
    client = Client(url, name)
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def of(settings: Settings, *, name: str = "producer") -> AsyncIterator[Client]:
    """A client of the factory that the settings name; where they want traces, its submissions are a part of them."""
    async with (
        exporter.exporting("producer", settings.traces_endpoint, settings.traces_ratio),
        connect(settings.amqp_url, name=name) as client,
    ):
        yield client
