"""What one attempt at a task asks of models: from the cache, or paid; repaired once; the next model; or not at all."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TypeVar

import structlog

from contracts.analysis import ModelUse
from contracts.errors import BudgetError, OutageError
from contracts.llm import LlmError, Question
from contracts.model import Model
from contracts.stages import Budget, Cache, Reservation, Usage
from infra import faults, metrics
from infra.llm import prices, requests
from infra.llm.endpoint import Endpoint, Reply
from infra.llm.faults import CallError, GivenUpError, Outcome, Tokens, UnusableError
from infra.llm.limits import LONGEST_WAIT, Limits, Turn
from infra.llm.options import Options
from infra.llm.prices import Price

A = TypeVar("A", bound=Model)

CACHED_SECONDS = 30 * 24 * 3600.0
"""How long an answer is kept: as long as a report that comes again may ask the same."""

LEFT_FOR_OTHERS = 10.0
"""Seconds at the end of an attempt in which no model is asked: what is then left to do is done without."""

TRIES_WHERE_LIMITED = 3
"""Calls that the service may turn away unanswered before the next model is asked; they cost nothing."""

log = structlog.get_logger()


class Asker:
    """The Llm of one attempt."""

    closed = ""

    def __init__(
        self,
        endpoint: Endpoint,
        limits: Limits,
        options: Options,
        price: Mapping[str, Price],
        budget: Budget,
        cache: Cache,
        remaining: Callable[[], float],
        degraded: bool,
    ) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._options = options
        self._price = price
        self._budget = budget
        self._cache = cache
        self._remaining = remaining
        self._degraded = degraded
        self._used: dict[str, ModelUse] = {}
        self._under_way = 0
        self._settled = asyncio.Event()

    def used(self) -> tuple[ModelUse, ...]:
        """What was asked so far, by model in the order of their first use."""
        return tuple(self._used.values())

    async def ask(self, question: Question[A]) -> A:
        """A kept answer of any model, or that of the first one that gives one."""
        request = requests.of(question, self._options.thinking_tokens)
        for model in self._options.models:
            if (kept := await self._kept(model, request, question)) is not None:
                return kept
        if self._degraded:
            raise BudgetError(f"'{question.prompt}' would be a paid call, and this attempt is to go without")
        reasons = []
        for model in self._options.models:
            try:
                return await self._answer(model, request, question)
            except GivenUpError as reason:
                reasons.append(f"{model}: {reason}")
        raise LlmError(f"no model gave a usable answer ({'; '.join(reasons)})")

    async def _kept(self, model: str, request: requests.Request, question: Question[A]) -> A | None:
        kept = await self._cache.get(_key(model, request, question))
        if not isinstance(kept, str):
            return None
        try:
            answer = requests.parse(kept, question)
        except UnusableError:
            # The rules are stricter by now.
            return None
        metrics.LLM_CALLS.labels(model, "cached").inc()
        self._note(model, question.prompt, cached=1)
        return answer

    async def _answer(self, model: str, request: requests.Request, question: Question[A]) -> A:
        """The model's answer, mended once if it has to be. Raises GivenUpError."""
        reply = await self._call(model, request, question)
        try:
            answer = self._read(model, reply, question)
        except UnusableError as problem:
            if not problem.mendable:
                raise GivenUpError("it declined to answer") from problem
            reply = await self._call(model, request.mending(reply.text, str(problem)), question)
            try:
                answer = self._read(model, reply, question)
            except UnusableError as again:
                raise GivenUpError("its answers could not be used") from again
        try:
            await self._cache.put(_key(model, request, question), answer.model_dump_json(), CACHED_SECONDS)
        except OutageError as error:
            # It is paid for and good; only the next run would have to pay again.
            log.warning("llm_answer_not_kept", model=model, prompt=question.prompt, error=faults.told(error))
        return answer

    def _read(self, model: str, reply: Reply, question: Question[A]) -> A:
        try:
            answer = requests.read(reply, question)
        except UnusableError as problem:
            self._tell(model, question.prompt, problem.outcome, str(problem))
            raise
        metrics.LLM_CALLS.labels(model, Outcome.ANSWERED.value).inc()
        return answer

    async def _call(self, model: str, request: requests.Request, question: Question[A]) -> Reply:
        """A reply, after another try where the model is asked too often. Raises GivenUpError."""
        reason = ""
        for _ in range(TRIES_WHERE_LIMITED):
            patience = self._patience(model)
            if patience <= 0:
                raise GivenUpError("no time was left to ask it")
            try:
                async with self._limits.turn(model, request.about_tokens, patience) as turn:
                    return await self._paid(model, request, question.prompt, turn)
            except CallError as fault:
                self._tell(model, question.prompt, fault.outcome, str(fault))
                if fault.after is not None:
                    await self._limits.leave_alone(model, fault.after)
                reason = str(fault)
                if fault.outcome is not Outcome.LIMITED:
                    break
        raise GivenUpError(reason)

    def _patience(self, model: str) -> float:
        """Seconds to wait for a turn: what is left besides the call, or less where another model may be free."""
        left = self._remaining() - LEFT_FOR_OTHERS
        left -= min(self._options.seconds, left / 2)
        return left if model == self._options.models[-1] else min(left, LONGEST_WAIT)

    async def _paid(self, model: str, request: requests.Request, prompt: str, turn: Turn) -> Reply:
        price = self._price[model]
        most = max(1, price.most(request.most_input_tokens, request.most_tokens))
        async with self._reserved(most, f"{prompt} by {model}") as reservation:
            seconds = min(self._options.seconds, self._remaining() - LEFT_FOR_OTHERS)
            if seconds <= 0:
                raise GivenUpError("no time was left to ask it")
            reservation.begin()
            self._note(model, prompt, calls=1)
            try:
                reply = await self._endpoint.complete(
                    model, request.messages, request.shape, request.most_tokens, seconds
                )
            except CallError as fault:
                if fault.free:
                    turn.used(0)
                    await reservation.void()
                else:
                    await self._settle(reservation, model, prompt, fault.tokens, most, turn)
                raise
            await self._settle(reservation, model, prompt, reply.tokens, most, turn)
            return reply

    @contextlib.asynccontextmanager
    async def _reserved(self, most: int, purpose: str) -> AsyncIterator[Reservation]:
        """Money for a call. What other calls of this attempt have reserved is mostly given back, so they are awaited
        before it is said that there is not enough."""
        while True:
            settled = self._settled
            try:
                reservation = await self._budget.reserve(most, purpose)
                break
            except BudgetError:
                if not self._under_way:
                    raise
            await settled.wait()
        self._under_way += 1
        try:
            async with reservation:
                yield reservation
        finally:
            self._under_way -= 1
            self._settled.set()
            self._settled = asyncio.Event()

    async def _settle(
        self, reservation: Reservation, model: str, prompt: str, tokens: Tokens | None, most: int, turn: Turn
    ) -> None:
        """Posts what the service counted. Where it did not tell, the reservation is left as it is, and is spent."""
        if tokens is None:
            turn.used(None)
            self._note(model, prompt, cost=most)
            return
        turn.used(tokens.input + tokens.output)
        cost = self._price[model].of(tokens.input, tokens.cached, tokens.output)
        self._note(model, prompt, input_tokens=tokens.input, output_tokens=tokens.output, cost=cost)
        await reservation.post(cost, Usage(model, tokens.input, tokens.output))

    def _tell(self, model: str, prompt: str, outcome: Outcome, explanation: str) -> None:
        metrics.LLM_CALLS.labels(model, outcome.value).inc()
        log.warning("llm_call", model=model, prompt=prompt, outcome=outcome.value, explanation=explanation[:300])

    def _note(self, model: str, prompt: str, **more: int) -> None:
        known = self._used.get(model) or ModelUse(model=model, prompts=())
        sums = {name: getattr(known, name) + number for name, number in more.items()}
        self._used[model] = known.model_copy(update={**sums, "prompts": tuple(sorted({*known.prompts, prompt}))})


def _key(model: str, request: requests.Request, question: Question[A]) -> str:
    return f"{model} {question.prompt} {request.key}"


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """The models of one worker process."""

    endpoint: Endpoint
    limits: Limits
    options: Options
    price: Mapping[str, Price]

    def asker(self, budget: Budget, cache: Cache, remaining: Callable[[], float], *, degraded: bool = False) -> Asker:
        """What an attempt asks with, which may spend that much and has so many seconds left; if it is degraded, it only
        gets what is kept."""
        return Asker(self.endpoint, self.limits, self.options, self.price, budget, cache, remaining, degraded)


def priced(options: Options) -> dict[str, Price]:
    """The price of each model; one that nobody knows is taken to cost what the dearest of all costs, and told."""
    found = {}
    for model in options.models:
        price = prices.find(model, options.prices)
        if price is None:
            price = prices.dearest()
            log.warning(
                "llm_price_unknown", model=model, remedy=f"FACTORY_LLM_PRICES={model}=INPUT/CACHED/OUTPUT", taken=price
            )
        found[model] = price
    return found
