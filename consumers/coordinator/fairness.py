"""Who is admitted next: start-time fair queueing, first between tiers by weight, then between the clients of a tier.

A flow's job starts at the later of the flow's last finish and the time that the system has reached, and finishes its
cost over its weight later; the flow whose job starts first is served (Goyal, Vin and Cheng, "Start-time Fair Queueing",
1996). Whoever was idle gains no credit, and whoever floods waits for nobody but himself.
"""

import dataclasses
from collections import deque
from collections.abc import Mapping, Sequence
from uuid import UUID

from contracts.admission import Head, Share
from contracts.tiers import WEIGHTS, Tier

FACTORY = "factory"


def tier_flow(tier: Tier) -> str:
    """The name of a tier's flow."""
    return f"tier:{tier}"


def client_flow(tier: Tier, client: str) -> str:
    """The name of a client's flow within a tier; times of one tier mean nothing in another."""
    return f"client:{tier}:{client}"


def flows(heads: Sequence[Head]) -> set[str]:
    """The flows whose virtual times decide between these heads."""
    return {FACTORY} | {tier_flow(h.tier) for h in heads} | {client_flow(h.tier, h.client) for h in heads}


@dataclasses.dataclass(frozen=True, slots=True)
class Grants:
    """Who is admitted, in that order, and the virtual times afterwards.

    ``dry`` says that it is the turn of a client whose known heads ran out, and who may have more: look again before
    admitting others.
    """

    admitted: tuple[UUID, ...]
    shares: Mapping[str, Share]
    dry: bool


def admit(
    heads: Sequence[Head],
    shares: Mapping[str, Share],
    running: Mapping[str, int],
    caps: Mapping[Tier, int],
    free: int,
    depth: int,
) -> Grants:
    """Gives up to ``free`` slots to the heads of the clients' lines, of which at most ``depth`` each are known."""
    lines: dict[tuple[Tier, str], deque[Head]] = {}
    for head in heads:
        lines.setdefault((head.tier, head.client), deque()).append(head)
    known = {flow: len(line) for flow, line in lines.items()}
    held = dict(running)
    times = dict(shares)
    admitted: list[UUID] = []
    while len(admitted) < free:
        ready = [
            (tier, client)
            for (tier, client), line in lines.items()
            if (line or known[tier, client] >= depth) and held.get(client, 0) < caps[tier]
        ]
        if not ready:
            break
        tier, client = _next(ready, times)
        if not lines[tier, client]:
            return Grants(tuple(admitted), times, dry=True)
        head = lines[tier, client].popleft()
        _charge(times, head)
        admitted.append(head.execution_id)
        held[client] = held.get(client, 0) + 1
    return Grants(tuple(admitted), times, dry=False)


def _start(times: Mapping[str, Share], flow: str, reached: float) -> float:
    return max(reached, times.get(flow, Share()).finish)


def _next(ready: Sequence[tuple[Tier, str]], times: Mapping[str, Share]) -> tuple[Tier, str]:
    reached = times.get(FACTORY, Share()).virtual_time
    tiers = {tier for tier, _ in ready}
    tier = min(tiers, key=lambda t: (_start(times, tier_flow(t), reached), -WEIGHTS[t]))
    inside = times.get(tier_flow(tier), Share()).virtual_time
    clients = [client for t, client in ready if t is tier]
    return tier, min(clients, key=lambda c: (_start(times, client_flow(tier, c), inside), c))


def _charge(times: dict[str, Share], head: Head) -> None:
    factory = times.get(FACTORY, Share())
    tier = times.get(tier_flow(head.tier), Share())
    client = times.get(client_flow(head.tier, head.client), Share())
    tier_start = max(factory.virtual_time, tier.finish)
    client_start = max(tier.virtual_time, client.finish)
    times[FACTORY] = dataclasses.replace(factory, virtual_time=tier_start)
    times[tier_flow(head.tier)] = Share(tier_start + head.cost / WEIGHTS[head.tier], client_start)
    times[client_flow(head.tier, head.client)] = dataclasses.replace(client, finish=client_start + head.cost)
