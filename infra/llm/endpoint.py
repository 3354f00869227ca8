"""One call to an endpoint that speaks the chat completions of OpenAI."""

import asyncio
import datetime
import email.utils
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self, cast

import httpx2
import openai
import pydantic
from openai.types.chat import ChatCompletionMessageParam
from openai.types.shared_params import ResponseFormatJSONSchema

from infra.llm.faults import CallError, Outcome, Tokens

LEFT_ALONE = 20.0
"""Seconds for which a model is left alone that asks for it and does not say for how long."""

LONGEST_LEFT_ALONE = 600.0
UNUSABLE_SECONDS = 60.0
"""Seconds for which a model is left alone that the service does not have, or not for this key."""

CONNECT_SECONDS = 10.0
UNUSABLE = frozenset({401, 403, 404})
NO_MONEY = "insufficient_quota"
"""Comes with status 429 where the account at the service is empty: waiting does not help."""

_NOTHING_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)


class Reply(NamedTuple):
    """An answer as it came: its text, whether it was cut off or declined, and what the service counted, if it told."""

    text: str
    truncated: bool
    declined: bool
    tokens: Tokens | None


class _Loose(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="ignore")


class _Details(_Loose):
    cached_tokens: pydantic.NonNegativeInt | None = None


class _Usage(_Loose):
    prompt_tokens: pydantic.NonNegativeInt
    completion_tokens: pydantic.NonNegativeInt
    prompt_tokens_details: _Details | None = None


class _Message(_Loose):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Loose):
    message: _Message
    finish_reason: str | None = None


class _Completion(_Loose):
    choices: tuple[_Choice, ...] = pydantic.Field(min_length=1)


class Endpoint:
    """Connections to the service; an async context manager.

    TLS is verified, no redirect is followed, no proxy is used, and nothing is tried again: every call is paid.
    """

    def __init__(self, key: str, url: str) -> None:
        self._client = openai.AsyncOpenAI(
            api_key=key,
            base_url=url,
            max_retries=0,
            http_client=httpx2.AsyncClient(
                follow_redirects=False, trust_env=False, timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS)
            ),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def complete(
        self,
        model: str,
        messages: Sequence[Mapping[str, str]],
        shape: Mapping[str, Any],
        most_tokens: int,
        seconds: float,
    ) -> Reply:
        """The model's answer of this shape, a ``json_schema`` of the protocol. Raises CallError."""
        try:
            async with asyncio.timeout(seconds):
                answer = await self._client.chat.completions.with_raw_response.create(
                    model=model,
                    messages=cast(Sequence[ChatCompletionMessageParam], messages),
                    response_format=cast(ResponseFormatJSONSchema, {"type": "json_schema", "json_schema": shape}),
                    max_completion_tokens=most_tokens,
                    timeout=httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
                )
                return _read(answer.content)
        except openai.APIStatusError as error:
            raise _refused(error.response) from error
        except openai.APIConnectionError as error:
            raise _broken(error) from error
        except TimeoutError as error:
            raise CallError(Outcome.LOST, f"it did not answer within {seconds:.0f} s") from error


def _read(body: bytes) -> Reply:
    tokens = _tokens(body)
    try:
        choice = _Completion.model_validate_json(body).choices[0]
    except pydantic.ValidationError as error:
        raise CallError(
            Outcome.LOST, "its answer is not one of the protocol, or only half of one", tokens=tokens
        ) from error
    message = choice.message
    declined = bool(message.refusal) or choice.finish_reason == "content_filter"
    return Reply(message.content or "", choice.finish_reason == "length", declined, tokens)


def _tokens(body: bytes) -> Tokens | None:
    """What the service counted for a call, whatever else it says."""
    try:
        told = json.loads(body)
        usage = _Usage.model_validate(told.get("usage")) if isinstance(told, dict) else None
    except ValueError:
        return None
    if usage is None:
        return None
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None
    return Tokens(usage.prompt_tokens, cached or 0, usage.completion_tokens)


def _refused(response: httpx2.Response) -> CallError:
    """What a status says. One below 500 refuses the request before any work, and so does 503 (RFC 9110, 15.5 and
    15.6.4); whether another one of 500 and above comes before or after the work, nobody knows."""
    status = response.status_code
    tokens = _tokens(response.content)
    free = tokens is None and (status < 500 or status == 503)
    if status in (429, 503) and _code(response.content) != NO_MONEY:
        wait = _left_alone(response.headers)
        return CallError(
            Outcome.LIMITED, f"it takes no more calls for {wait:.0f} s", free=free, tokens=tokens, after=wait
        )
    if status < 500:
        after = UNUSABLE_SECONDS if status in UNUSABLE or status == 429 else None
        return CallError(
            Outcome.REJECTED, f"it refuses the call (status {status})", free=free, tokens=tokens, after=after
        )
    return CallError(Outcome.FAILED, f"it failed (status {status})", free=free, tokens=tokens)


def _code(body: bytes) -> object:
    """The service's own word for what is wrong, if it gives one."""
    try:
        told = json.loads(body)
    except ValueError:
        return None
    error = told.get("error") if isinstance(told, dict) else None
    return error.get("code") if isinstance(error, dict) else None


def _left_alone(headers: Mapping[str, str]) -> float:
    """Seconds by Retry-After, which is a number of seconds or a date (RFC 9110, 10.2.3)."""
    told = headers.get("retry-after", "").strip()
    try:
        wait = float(told)
    except ValueError:
        try:
            wait = (email.utils.parsedate_to_datetime(told) - datetime.datetime.now(datetime.UTC)).total_seconds()
        except (TypeError, ValueError):
            wait = LEFT_ALONE
    return min(max(wait, 0.0), LONGEST_LEFT_ALONE) if wait == wait else LEFT_ALONE


def _broken(error: openai.APIConnectionError) -> CallError:
    if isinstance(error.__cause__, _NOTHING_SENT):
        return CallError(Outcome.UNREACHABLE, "it cannot be reached", free=True)
    if isinstance(error, openai.APITimeoutError):
        return CallError(Outcome.LOST, "it did not answer in time")
    return CallError(Outcome.LOST, "the connection broke before its answer was complete")
