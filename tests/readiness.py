"""What a coordinator says of itself, and what an operator does to its broker."""

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import aiohttp

from tests.factories import Factory, eventually, free_port
from tests.launcher import Process

TIMEOUT = aiohttp.ClientTimeout(total=5)


class Coordinator:
    """A coordinator whose health the test reads."""

    def __init__(self, factory: Factory, **environment: str) -> None:
        self.port = free_port()
        self.process: Process = factory.start(
            "coordinator", "--health-port", str(self.port), **environment
        )

    async def faults(self) -> Mapping[str, str] | None:
        """What is wrong by its own account; None where it does not answer."""
        try:
            async with (
                aiohttp.ClientSession(timeout=TIMEOUT) as session,
                session.get(f"http://127.0.0.1:{self.port}/ready") as answer,
            ):
                found: Mapping[str, str] = (await answer.json())["faults"]
                assert (answer.status == 503) is bool(found)
                return found
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def ready(self) -> None:
        """Returns once nothing is wrong."""

        async def well() -> bool:
            return await self.faults() == {}

        await eventually(well, "the coordinator is ready", patience=120)

    async def names(self, part: str, text: str) -> str:
        """The fault of a part, once it is told with this text in it."""

        async def told() -> str | None:
            reason = (await self.faults() or {}).get(part, "")
            return reason if text in reason else None

        found: str = await eventually(told, f"the coordinator names {text!r} as a fault of {part}", patience=120)
        return found


async def operate(factory: Factory, method: str, path: str, body: object = None) -> None:
    """A request to the broker's management API; ``{vhost}`` in the path is the factory's virtual host."""
    parts = urlsplit(factory.settings.amqp_admin_url)
    headers = {"Authorization": aiohttp.encode_basic_auth(parts.username or "", parts.password or "")}
    vhost = quote(urlsplit(factory.settings.amqp_url).path.lstrip("/"), safe="")
    url = f"http://{parts.hostname}:{parts.port}/api/{path.replace('{vhost}', vhost)}"
    async with aiohttp.ClientSession(headers=headers) as session, session.request(method, url, json=body) as answer:
        answer.raise_for_status()
