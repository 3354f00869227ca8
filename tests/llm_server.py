"""A language model on loopback that speaks the protocol, counts what it charges, and fails or obeys as a test wants.

Its answers are made of the data in the prompt, by simple rules and always the same, so that a run of the pipeline over
it gives a meaningful report.
"""

import asyncio
import collections
import contextlib
import dataclasses
import fractions
import json
import math
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import web

KEY = "test-key-secret"

PRICE = (fractions.Fraction(25, 100), fractions.Fraction(25, 1000), fractions.Fraction(2))
"""Dollars for a million tokens, so millionths of a dollar for one: read, read from its cache, written."""

PRICES = "0.25/0.025/2"
"""The same as FACTORY_LLM_PRICES has it."""

CHARACTERS_A_TOKEN = 4
_BLOCK = re.compile(r"^<<<(?P<mark>\w{16}) (?P<label>[\w.-]+)\n(?P<text>.*?)\n(?P=mark)>>>$", re.DOTALL | re.MULTILINE)
_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_MARKUP = re.compile(r"[<>\[\]{}`|\\*_#]|https?://\S+|\S*@\S*|\bwww\.\S+|\b[\w-]+\.(?:com|org|net|io|example)\b")

Blocks = dict[str, str]
Answer = dict[str, Any]

TOLD = ("answer", "truncated", "schema", "chatty", "refusal", "wrong_ids")
"""Faults and answers that the client is told the price of."""

FREE = ("limited", "overloaded", "rejected", "quota")
LOST = ("failed", "hang", "half", "garbage")
"""Faults after which the client cannot know what it has to pay; the first and the last cost nothing."""


_STATUS = {"limited": 429, "overloaded": 503, "rejected": 400, "quota": 429, "failed": 500}


@dataclasses.dataclass
class Call:
    """One request, how it was answered, and what it costs."""

    model: str
    name: str
    kind: str
    blocks: Blocks
    system: str
    cost: int


class Server:
    """The models of one test. ``faults`` are the kinds of the next answers; when there are none left, ``fault_of`` says
    the kind by the number of the question, and whether it was asked before, of whichever model.

    ``obey`` replaces the well-behaved answer: it is what a model writes that does what its data say.
    """

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[Call] = []
        self.faults: collections.deque[str] = collections.deque()
        self.fault_of: Callable[[int, bool], str] = lambda number, again: "answer"
        self.faults_of_model: dict[str, str] = {}
        self.obey: Callable[[Call, Answer], Any] | None = None
        self.wrong_requests: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.retry_after = "0"
        self.delay = 0.0
        self._seen: set[str] = set()
        self._asked: dict[str, int] = {}

    @property
    def spent(self) -> int:
        """What all calls cost, in millionths of a dollar, by the server's own count."""
        return sum(call.cost for call in self.calls)

    def cost_of(self, kinds: tuple[str, ...]) -> int:
        """What the calls cost that ended in one of these ways."""
        return sum(call.cost for call in self.calls if call.kind in kinds)

    def kinds(self) -> collections.Counter[str]:
        """How many calls ended in which way."""
        return collections.Counter(call.kind for call in self.calls)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """One chat completion."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.delay:
                await asyncio.sleep(self.delay)
            return await self._completed(request)
        finally:
            self.at_once -= 1

    async def _completed(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": {"message": "wrong key"}}, status=401)
        asked = await request.json()
        self.wrong_requests += _wrong(asked)
        system, user = asked["messages"][0]["content"], asked["messages"][1]["content"]
        blocks = {found["label"]: found["text"] for found in _BLOCK.finditer(user)}
        name = asked["response_format"]["json_schema"]["name"]
        model = asked["model"]
        again = user in self._asked
        number = self._asked.setdefault(user, len(self._asked))
        kind = self.faults.popleft() if self.faults else self.fault_of(number, again)
        kind = self.faults_of_model.get(model, kind)
        call = Call(model, name, kind, blocks, system, 0)
        self.calls.append(call)
        answer: Any = _ANSWERS[name](blocks)
        if self.obey:
            answer = self.obey(call, answer)
        if status := _STATUS.get(kind):
            headers = {"Retry-After": self.retry_after} if kind in ("limited", "overloaded") else {}
            error = {"message": kind, "code": "insufficient_quota" if kind == "quota" else kind}
            return web.json_response({"error": error}, status=status, headers=headers)
        if kind == "garbage":
            return web.Response(text="<html>a proxy's own page</html>", content_type="text/html")
        content, finish, refusal = _spoilt(kind, answer if isinstance(answer, str) else json.dumps(answer), answer)
        usage = self._usage(asked, content)
        call.cost = _cost(usage)
        body = _completion(model, content, finish, refusal, usage)
        if kind == "hang":
            await asyncio.Event().wait()
        if kind == "half":
            return await _half(request, body)
        return web.Response(body=body, content_type="application/json")

    def _usage(self, asked: dict[str, Any], content: str) -> dict[str, Any]:
        prompt = "".join(message["content"] for message in asked["messages"]) + json.dumps(asked["response_format"])
        tokens = math.ceil(len(prompt) / CHARACTERS_A_TOKEN)
        system = asked["messages"][0]["content"]
        cached = len(system) // CHARACTERS_A_TOKEN if system in self._seen else 0
        self._seen.add(system)
        written = math.ceil(len(content) / CHARACTERS_A_TOKEN)
        return {
            "prompt_tokens": tokens,
            "completion_tokens": written,
            "total_tokens": tokens + written,
            "prompt_tokens_details": {"cached_tokens": cached},
        }


def _cost(usage: dict[str, Any]) -> int:
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    read, kept, written = PRICE
    exact = (usage["prompt_tokens"] - cached) * read + cached * kept + usage["completion_tokens"] * written
    return math.ceil(fractions.Fraction(exact))


def _wrong(asked: dict[str, Any]) -> list[str]:
    """What a request must not or must have, as far as a real service would mind or an attacker profit."""
    shape = asked.get("response_format", {}).get("json_schema", {})
    schema = shape.get("schema", {})
    found = []
    if asked.keys() & {"tools", "functions", "stream", "web_search_options"}:
        found.append("tools are offered")
    if not shape.get("strict") or schema.get("additionalProperties") is not False:
        found.append("the schema is not strict")
    for part in (schema, *schema.get("$defs", {}).values()):
        if sorted(part.get("required", [])) != sorted(part.get("properties", {})):
            found.append("a field is not required")
    if not asked.get("max_completion_tokens"):
        found.append("the answer has no limit")
    return found


def _spoilt(kind: str, content: str, answer: Any) -> tuple[str, str, str | None]:
    """Content, reason of its end and refusal of an answer of a kind."""
    match kind:
        case "truncated":
            return content[: len(content) // 2], "length", None
        case "schema":
            return json.dumps({"something": "else"}), "stop", None
        case "chatty":
            return f"Here is the JSON that you asked for:\n```json\n{content}\n```", "stop", None
        case "refusal":
            return "", "stop", "I cannot help with that."
        case "wrong_ids":
            return json.dumps(_with_labels(answer, "ffffffff")), "stop", None
    return content, "stop", None


def _with_labels(answer: Any, label: str) -> Any:
    """The answer with every label in it replaced."""
    if isinstance(answer, dict):
        return {
            key: label if key == "label" else [label] if key == "evidence" else _with_labels(value, label)
            for key, value in answer.items()
        }
    return [_with_labels(item, label) for item in answer] if isinstance(answer, list) else answer


def _completion(model: str, content: str, finish: str, refusal: str | None, usage: dict[str, Any]) -> bytes:
    message = {"role": "assistant", "content": None if refusal else content, "refusal": refusal}
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
            "usage": usage,
        }
    ).encode()


async def _moved(request: web.Request) -> web.Response:
    raise web.HTTPTemporaryRedirect("/v1/chat/completions")


async def _half(request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport:
        request.transport.close()
    return response


# --- What a well-behaved model answers ------------------------------------------------------------------------------


def plain(text: str) -> str:
    """The text as a model that follows its instructions would write it."""
    return " ".join(_MARKUP.sub(" ", text).split())


def _texts(blocks: Blocks) -> Blocks:
    return {label: text for label, text in blocks.items() if label != "topic"}


def _words(blocks: Blocks) -> Answer:
    topic = _WORD.findall(blocks["topic"])
    return {"words": [f"{word} {end}" for word in topic for end in ("research", "market", "policy")][:18]}


def _relevance(blocks: Blocks) -> Answer:
    topic = {word.lower() for word in _WORD.findall(blocks["topic"]) if len(word) > 3}
    shares = {
        label: len(topic & {word.lower() for word in _WORD.findall(text)}) for label, text in _texts(blocks).items()
    }
    return {"verdicts": [{"label": label, "relevance": min(10, 3 * share)} for label, share in shares.items()]}


def _telling(blocks: Blocks) -> Answer:
    sources = [(label, text.split("\n", 2)) for label, text in _texts(blocks).items()]
    happened = []
    for label, (title, _, *body) in sources[:2]:
        sentence = plain(_SENTENCE.split(body[0])[0] if body and body[0].strip() else title)[:300]
        happened.append({"text": sentence or "Nothing is told.", "evidence": [label]})
    return {"title": plain(sources[0][1][0])[:120], "happened": happened, "matters": None, "differences": []}


def _brief(blocks: Blocks) -> Answer:
    most = int(_WORD.findall(blocks["topic"])[-2])
    sentences = [
        {"text": plain(text.partition("\n")[2]), "evidence": [label]} for label, text in _texts(blocks).items()
    ]
    return {"sentences": sentences[:most]}


_ANSWERS: dict[str, Callable[[Blocks], Answer]] = {
    "words": _words,
    "relevance": _relevance,
    "telling": _telling,
    "brief": _brief,
}


@contextlib.asynccontextmanager
async def serve() -> AsyncIterator[Server]:
    """A server on a port of its own while the context lasts."""
    server = Server()
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_post("/v1/chat/completions", server.complete)
    app.router.add_post("/moved/chat/completions", _moved)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()
