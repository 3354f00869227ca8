"""RabbitMQ's management API: the policy that arguments cannot carry, and the look at what is really in force."""

import contextlib
import re
from collections.abc import AsyncIterator, Iterable
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import aiohttp

from contracts import topology
from contracts.errors import FactoryError

TIMEOUT = aiohttp.ClientTimeout(total=15)


class ManagementError(FactoryError):
    """The management API of FACTORY_AMQP_ADMIN_URL cannot be used."""


class Management:
    """The API of one broker, for one virtual host."""

    def __init__(self, session: aiohttp.ClientSession, base: str, vhost: str) -> None:
        self._session = session
        self._base = base
        self._vhost = quote(vhost, safe="")

    async def _request(self, method: str, path: str, body: Any = None) -> Any:
        try:
            async with self._session.request(method, f"{self._base}/api/{path}", json=body) as answer:
                if answer.status == 404:
                    return None
                if answer.status >= 400:
                    raise ManagementError(
                        f"{method} {path} was answered {answer.status}: {(await answer.text())[:300]}"
                    )
                return await answer.json() if answer.content_type == "application/json" else None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ManagementError(f"the management API of FACTORY_AMQP_ADMIN_URL does not answer: {error!r}") from error

    async def install_policy(self) -> None:
        """Puts the factory's policy in force."""
        definition = {
            "pattern": topology.POLICY_PATTERN,
            "apply-to": "queues",
            "priority": 10,
            "definition": topology.POLICY_DEFINITION,
        }
        await self._request("PUT", f"policies/{self._vhost}/{topology.POLICY}", definition)

    async def remove_policy(self) -> None:
        """Takes the factory's policy out of force."""
        await self._request("DELETE", f"policies/{self._vhost}/{topology.POLICY}")

    async def policy_problems(self, names: Iterable[str]) -> list[str]:
        """Which of these queues the factory's policy does not govern, and what does instead.

        At most one policy governs a queue, the one of the highest priority whose pattern matches. It is worked out
        here, because what the API says of each queue lags behind by seconds.
        """
        policies = await self._request("GET", f"policies/{self._vhost}") or []
        problems = []
        for name in names:
            matching = [p for p in policies if p["apply-to"] in ("all", "queues") and re.search(p["pattern"], name)]
            ruling = max(matching, key=lambda p: int(p["priority"]), default=None)
            definition = ruling["definition"] if ruling else {}
            lacking = [key for key, value in topology.POLICY_DEFINITION.items() if definition.get(key) != value]
            if lacking:
                title = f"policy '{ruling['name']}'" if ruling else "no policy"
                problems.append(
                    f"queue '{name}' is governed by {title}, so {', '.join(lacking)} is not as the factory needs it; "
                    "run 'factory migrate', or remove the policy that takes precedence"
                )
        return problems

    async def bindings(self) -> set[tuple[str, str, str]]:
        """The bindings of queues: exchange, queue and routing key."""
        found = await self._request("GET", f"bindings/{self._vhost}") or []
        return {(b["source"], b["destination"], b["routing_key"]) for b in found if b["destination_type"] == "queue"}

    async def unacknowledged(self) -> dict[str, int]:
        """How many messages of each queue are with a consumer and not settled; the API lags some seconds behind."""
        found = await self._request("GET", f"queues/{self._vhost}?columns=name,messages_unacknowledged") or []
        return {queue["name"]: int(queue.get("messages_unacknowledged") or 0) for queue in found}

    async def put_user(self, name: str, password: str) -> None:
        """A broker user who may use everything in the virtual host."""
        await self._request("PUT", f"users/{quote(name, safe='')}", {"password": password, "tags": ""})
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        await self._request("PUT", f"permissions/{self._vhost}/{quote(name, safe='')}", rights)

    async def version(self) -> str:
        """The broker's version."""
        overview = await self._request("GET", "overview")
        return str(overview["rabbitmq_version"])


@contextlib.asynccontextmanager
async def connect(admin_url: str, amqp_url: str) -> AsyncIterator[Management]:
    """The management API for the virtual host that the AMQP URL names."""
    parts = urlsplit(admin_url)
    user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    headers = {"Authorization": aiohttp.encode_basic_auth(user, password)}
    base = f"{parts.scheme}://{parts.hostname}:{parts.port or 15672}{parts.path.rstrip('/')}"
    path = urlsplit(amqp_url).path
    vhost = path[1:] if len(path) > 1 else "/"
    async with aiohttp.ClientSession(headers=headers, timeout=TIMEOUT) as session:
        yield Management(session, base, vhost)
