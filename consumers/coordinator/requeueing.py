"""Operations over dead letters, carried out letter by letter, each in a transaction of its own.

Any number of coordinators may do it. What a transaction has committed stays done, and what it owes is a row, so that
an operation goes on where it was after the death of whoever carried it out.
"""

import contextlib
import functools

import structlog

from consumers.coordinator import batching, marks, settling, transitions
from consumers.coordinator.desk import Desk
from consumers.coordinator.engine import facts
from consumers.coordinator.outcome import Outcome
from consumers.coordinator.transitions import State
from contracts import encoding, topology
from contracts.errors import FactoryError, MessageError
from infra import dead_letters, dead_operations, executions, faults, outbox
from infra.dead_letters import Unread
from infra.dead_operations import Due, Order, Work

log = structlog.get_logger()

SECONDS = 0.5
"""Between two looks for something to do."""

UNREAD_SECONDS = 60.0

TURN = 50
"""Letters of one operation before it is another one's turn."""

DISCARDS = 500

SETTLE_SECONDS = 5.0
"""How long a requeued task has to die again before it counts as used; workers do not say so themselves."""

UNREAD_LIMIT = 500
COORDINATOR = "coordinator"
OBSOLETE = "nothing was left to do: the step has been done again since"
DIRECT_REPLY = "amq.rabbitmq.reply-to"
"""An address that only the connection which first published the message could use."""


async def carry_out(desk: Desk) -> None:
    """Carries every operation as far as it may go by now."""
    busy = True
    while busy:
        busy = False
        async with desk.state.pool.acquire() as connection:
            active = await dead_operations.active(connection)
        for operation, status in active:
            if status == "canary":
                judged = await transitions.transact(desk.state, functools.partial(_judge, operation=operation))
                busy = busy or judged
            else:
                busy = await _turn(desk, operation) or busy


async def _turn(desk: Desk, operation: int) -> bool:
    """Deals with the next letters; True if there were any."""
    outcome, dealt = Outcome(), 0
    deal = functools.partial(_deal, state=desk.state, operation=operation)
    while dealt < TURN and (result := await transitions.transact(desk.state, deal)) is not None:
        outcome.add(result)
        dealt += 1
    await desk.deliver(outcome)
    if dealt:
        desk.admission.set()
    return dealt > 0


async def _deal(connection: transitions.Connection, state: State, operation: int) -> Outcome | None:
    """Deals with the next letter of an operation; None if there is none to deal with now."""
    work = await dead_operations.take(connection, operation, "running")
    if work is None:
        return None
    proving = work.canary > 0 and not work.proved
    if proving and await dead_operations.tried(connection, work.id, work.canary) >= work.canary:
        await dead_operations.move(connection, work.id, "canary")
        return None
    if work.action == "discard":
        outcome = await _discard(connection, work)
    else:
        letter = await dead_operations.next_letter(connection, work.id)
        outcome = None if letter is None else await _attempt(connection, state, work, letter)
    if outcome is None:
        if await dead_operations.owes(connection, work.id):
            return None  # what cannot be delivered becomes a letter again
        await dead_operations.move(connection, work.id, "canary" if proving else "done")
        log.info("dead_letters_done", operation=work.id, action=work.action, actor=work.actor)
        return None
    if work.rate is not None:
        await dead_operations.pace(connection, work.id)
    return outcome


async def _discard(connection: transitions.Connection, work: Work) -> Outcome | None:
    limit = DISCARDS if work.rate is None else 1
    return Outcome() if await dead_operations.discard(connection, work.id, limit, work.note) else None


async def _attempt(connection: transitions.Connection, state: State, work: Work, letter: Due) -> Outcome:
    """Requeues a letter, or notes why that cannot be done; then it stays open."""
    try:
        async with connection.transaction():
            return await _requeue(connection, state, work, letter)
    except executions.GuardError:
        raise
    except Exception as error:
        if not batching.may_be_data(error):
            raise
        problem = str(error) if isinstance(error, FactoryError) else repr(error)
        log.warning("dead_letter_not_requeued", letter=letter.id, operation=work.id, error=faults.told(error))
        await dead_operations.note_problem(connection, letter.id, problem[:2000])
        return Outcome()


async def _requeue(connection: transitions.Connection, state: State, work: Work, letter: Due) -> Outcome:
    if letter.kind == "step":
        return await _requeue_step(connection, state, work, letter)
    owed = await outbox.insert(connection, [_message(letter)])
    await dead_operations.resolve(connection, letter.id, "requeued", work.note)
    return Outcome(owed=owed)


async def _requeue_step(connection: transitions.Connection, state: State, work: Work, letter: Due) -> Outcome:
    """Reopens the execution of a step, unless the step has been done again in the meantime."""
    key = letter.key
    if key is None:
        raise FactoryError(f"dead letter {letter.id} does not name a whole task; discard it")
    reopened = facts.Reopened(
        key.execution_id, (key.step,), "requeue", keep=True, only_if=key, actor=work.actor, note=work.note
    )
    outcome = await transitions.apply(connection, state, [reopened])
    if outcome.ignored["unknown"]:
        raise FactoryError(f"execution {key.execution_id} with step '{key.step}' is not there any more; discard it")
    if outcome.ignored:
        await dead_operations.resolve(connection, letter.id, "discarded", OBSOLETE)
    else:
        await dead_operations.resolve(connection, letter.id, "requeued", work.note)
    return outcome


def _message(letter: Due) -> outbox.Owed:
    """The message of a letter for the queue in which it died, and for no other that its exchange feeds."""
    exchange, routing_key = "", letter.queue or ""
    if not letter.queue or letter.queue == topology.DEAD_LETTERS:
        exchange, routing_key = letter.exchange or "", letter.routing_key or ""
        if exchange in ("", topology.DEAD):
            raise FactoryError(f"dead letter {letter.id} does not say where it came from; export and publish it")
    if letter.body is None:
        raise FactoryError(f"dead letter {letter.id} has no body; discard it")
    reply_to, correlation_id = letter.headers.get("reply_to"), letter.headers.get("correlation_id")
    return outbox.Owed(
        exchange,
        routing_key,
        letter.message_type or "",
        letter.body,
        correlation_id=correlation_id if isinstance(correlation_id, str) else None,
        traceparent=letter.traceparent,
        reply_to=reply_to if isinstance(reply_to, str) and reply_to != DIRECT_REPLY else None,
        headers=marks.headers(letter.id, letter.headers),
    )


async def _judge(connection: transitions.Connection, operation: int) -> bool:
    """Decides whether the rest may follow the canary; True if it may."""
    work = await dead_operations.take(connection, operation, "canary")
    if work is None:
        return False
    verdict = await dead_operations.verdict(connection, work.id, SETTLE_SECONDS)
    if verdict.badly:
        await dead_operations.move(connection, work.id, "canary_failed")
        log.warning("canary_failed", operation=work.id, badly=verdict.badly)
        return False
    if verdict.waiting:
        return False
    await dead_operations.move(connection, work.id, "running")
    return True


class Unreadable:
    """Messages that no reader knew when they came: requeued once the code that runs now can read them."""

    def __init__(self) -> None:
        self._from = self._until = 0

    async def requeue(self, desk: Desk) -> None:
        """Looks at what came since the look before the last one; letters do not appear in the order of their ids."""
        after, self._from = self._from, self._until
        while unread := await self._next(desk, after):
            after = unread[-1].id
            if found := [letter.id for letter in unread if _fits(letter)]:
                order = Order("requeue", COORDINATOR, {"ids": list(found)}, "this version can read them")
                async with desk.state.pool.acquire() as connection:
                    # Another coordinator may have been quicker.
                    with contextlib.suppress(dead_operations.NothingSelectedError):
                        await dead_operations.start(connection, order)
        self._until = max(self._until, after)

    async def _next(self, desk: Desk, after: int) -> list[Unread]:
        async with desk.state.pool.acquire() as connection:
            return await dead_letters.readable(connection, after, list(encoding.ALL), UNREAD_LIMIT)


def _fits(letter: Unread) -> bool:
    """Whether the message can be read, and is of a kind that its queue takes."""
    wanted = settling.COMMANDS if letter.queue.startswith("jobs.") else settling.EVENTS
    try:
        return isinstance(encoding.decode(letter.message_type, letter.body), wanted)
    except MessageError:
        return False
