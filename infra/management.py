"""RabbitMQ's management API: the policy that arguments cannot carry, and the look at what is really in force."""

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any
from urllib.parse import quote, urlsplit

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
                    raise ManagementError(f"{method} {path} was answered {answer.status}: {(await answer.text())[:300]}")
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

    async def policy_problems(self, names: Iterable[str]) -> list[str]:
        """Which of these queues the factory's policy does not govern, and what does instead."""
        queues = await self._request("GET", f"queues/{self._vhost}?disable_stats=true&enable_queue_totals=true") or []
        found = {queue["name"]: queue for queue in queues}
        problems = []
        for name in names:
            if name not in found:
                problems.append(f"queue '{name}' does not exist; run 'factory migrate'")
                continue
            effective = found[name].get("effective_policy_definition") or {}
            wrong = [k for k, v in topology.POLICY_DEFINITION.items() if effective.get(k) != v]
            if wrong:
                policy = found[name].get("policy") or "none"
                problems.append(
                    f"queue '{name}' is governed by policy '{policy}', which lacks {', '.join(wrong)}; run 'factory migrate', "
                    "or remove the policy that takes precedence"
                )
        return problems

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
    auth = aiohttp.BasicAuth(parts.username or "guest", parts.password or "guest")
    base = f"{parts.scheme}://{parts.hostname}:{parts.port or 15672}{parts.path.rstrip('/')}"
    path = urlsplit(amqp_url).path
    vhost = path[1:] if len(path) > 1 else "/"
    async with aiohttp.ClientSession(auth=auth, timeout=TIMEOUT) as session:
        yield Management(session, base, vhost)
