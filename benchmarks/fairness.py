"""Fairness: what a flood costs others, whether tiers are served by their weights, whether slots are ever exceeded.

Executions of a single step that takes a fixed time. Slots bound them and workers do not, so that a wait is a wait for
admission. All times are the database's: stored, started and finished as the rows of the executions say.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import math
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import factory
from benchmarks.use import STORED, Client, Site, Times
from contracts.tiers import CLIENT_SHARE, WEIGHTS, Tier
from infra.local import stack as servers
from infra.settings import Settings
from tests import factories

SERVICE_SECONDS = 0.2
SLOTS = 40
FLOOD = 100_000
FURTHER_FLOODS = 4
"""One client of the lowest tier may hold a fifth of the slots; five that flood fill all of them."""

ARRIVING = 10
"""Jobs of each client that arrives in a flood."""

POINTS = 200
SPARE = 1.4
"""More jobs than fit into a window, so that no tier runs dry in it."""

QUEUED = "SELECT tier, count(*)::integer AS n FROM executions WHERE status = 'queued' GROUP BY tier"
OVER = "SELECT count(*) FROM executions WHERE client_id = ANY ($1::text[]) AND status = 'completed'"

T = TypeVar("T")
Figures = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Variant:
    """How the tiers are saturated. In each tier one client may call all its jobs urgent; a coordinator may be killed in
    the middle and another one started."""

    name: str
    clients: int
    urgent: bool = False
    restart: bool = False
    coordinators: int = 1


VARIANTS = (
    Variant("one client a tier", 1),
    Variant("50 clients a tier", 50),
    Variant("one client of ten calls everything urgent", 10, urgent=True),
    Variant("the coordinator is killed and restarted", 10, restart=True),
    Variant("three coordinators", 10, coordinators=3),
)


# --- A flood ---------------------------------------------------------------------------------------------------------


async def flood(stack: Settings, number: int = FLOOD) -> Figures:
    """How long ten jobs of an enterprise and of a basic client wait: on an idle factory, while another basic client's
    flood is being taken in, while it is worked off, and while five such clients' floods are."""
    floods = [Client(f"flood-{each}", Tier.BASIC) for each in range(1 + FURTHER_FLOODS)]
    async with Site.open(stack, SLOTS, SERVICE_SECONDS, steps=1) as site:
        await site.add(floods)
        with site.processes(factory.commands(2, concurrency=str(SLOTS))):
            await _arrive(site, "warm")
            found = {"idle": await _arrive(site, "idle")}
            others = 4 * ARRIVING
            async with asyncio.TaskGroup() as group:
                group.create_task(site.submit([floods[0]] * number))
                await site.stored(number // 20 + others)
                found["flood arrives"] = await _arrive(site, "arriving")
            await site.stored(number + others + 2 * ARRIVING)
            found["flood is worked off"] = await _arrive(site, "one")
            await site.submit(floods[1:] * (number // 20))
            await site.stored(number + others + 4 * ARRIVING + FURTHER_FLOODS * (number // 20))
            found["five floods are worked off"] = await _arrive(site, "five")
            left = await site.pool.fetchval(STORED + " WHERE status = 'queued'")
    return {
        "jobs": number,
        "slots": SLOTS,
        "service_seconds": SERVICE_SECONDS,
        "queued_at_the_end": left,
        "arrivals": [
            _waits(phase, tier, rows[tier], found["idle"][tier]) for phase, rows in found.items() for tier in rows
        ],
    }


async def _arrive(site: Site, phase: str) -> dict[Tier, list[dict[str, float]]]:
    """Ten jobs of each client, submitted now: seconds from there until stored, from stored to started, and in all."""
    clients = [Client(f"{phase}-{tier}", tier) for tier in (Tier.ENTERPRISE, Tier.BASIC)]
    names = [client.name for client in clients]
    await site.add(clients)
    began = await site.now()
    await site.submit(clients * ARRIVING)

    async def over() -> bool:
        return bool(await site.pool.fetchval(OVER, names) == len(clients) * ARRIVING)

    await factories.eventually(over, "what arrived is done", 600)
    found: dict[Tier, list[dict[str, float]]] = {client.tier: [] for client in clients}
    for row in await site.times(names):
        moments = {
            "stored": row["created_at"] - began,
            "wait": row["started_at"] - row["created_at"],
            "whole": row["finished_at"] - began,
        }
        found[Tier(row["tier"])].append({name: took.total_seconds() for name, took in moments.items()})
    return found


def _waits(phase: str, tier: Tier, rows: list[dict[str, float]], alone: list[dict[str, float]]) -> Figures:
    """Seconds, and what they are more than on the idle factory."""
    figures: Figures = {"phase": phase, "tier": tier.value}
    for name in ("wait", "stored", "whole"):
        here, there = sorted(row[name] for row in rows), sorted(row[name] for row in alone)
        added = [mine - other for mine, other in zip(here, there, strict=True)]
        figures[name] = {"median": round(statistics.median(here), 3), "longest": round(here[-1], 3)}
        figures[f"added_{name}"] = {"median": round(statistics.median(added), 3), "longest": round(max(added), 3)}
    figures["added_service_times"] = round(figures["added_wait"]["longest"] / SERVICE_SECONDS, 2)
    figures["waits"] = [round(row["wait"], 3) for row in rows]
    return figures


# --- All tiers saturated ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(slots=True)
class Window:
    """What was seen while every tier had work waiting."""

    began: datetime
    ended: datetime
    times: Times
    queued: dict[str, int]
    looks: list[int]

    def starts(self) -> Times:
        """Those that started in the window, in that order."""
        return [row for row in self.times if self.began <= row["started_at"] < self.ended]


async def shares(stack: Settings, variant: Variant, seconds: float) -> Figures:
    """Who was started how often while all tiers were saturated for so many seconds."""
    window = await _saturated(stack, variant, seconds)
    starts = window.starts()
    by_tier = Counter(row["tier"] for row in starts)
    share = {tier.value: round(by_tier[tier] / max(1, len(starts)), 4) for tier in Tier}
    plain, capped = expected(math.inf), expected(variant.clients)
    figures: Figures = {
        "variant": variant.name,
        "clients_per_tier": variant.clients,
        "coordinators": variant.coordinators,
        "seconds": round((window.ended - window.began).total_seconds(), 1),
        "starts": {tier.value: by_tier[tier] for tier in Tier},
        "share": share,
        "off_by": round(max(abs(share[tier] / plain[tier] - 1) for tier in Tier), 4),
        "off_by_with_caps": round(max(abs(share[tier] / capped[tier] - 1) for tier in Tier), 4),
        "left_queued": window.queued,
        "clients": {tier.value: evenness(starts, tier, variant.clients) for tier in Tier},
        "longest_pause": {"basic": pause(starts, Tier.BASIC), "any": pause(starts, None)},
        "slots": _slots(window),
        "points": _cumulative(starts, window.began),
    }
    return figures


def expected(clients: float) -> dict[Tier, float]:
    """The shares by weight, where no client may hold more than its cap: what one tier may not take the others get."""
    caps = {tier: CLIENT_SHARE[tier] * clients for tier in Tier}
    found: dict[Tier, float] = {}
    while len(found) < len(Tier):
        rest = [tier for tier in Tier if tier not in found]
        unit = (1 - sum(found.values())) / sum(WEIGHTS[tier] for tier in rest)
        bound = {tier: caps[tier] for tier in rest if WEIGHTS[tier] * unit > caps[tier]}
        found |= bound or {tier: WEIGHTS[tier] * unit for tier in rest}
    return found


def evenness(starts: Times, tier: Tier, clients: int) -> Figures:
    """Jain's index of the starts of a tier's clients, 1 where all have the same, and the fewest and most of one."""
    counted = Counter({_name(tier, number): 0 for number in range(clients)})
    counted.update(row["client_id"] for row in starts if row["tier"] == tier)
    numbers = list(counted.values())
    jain = sum(numbers) ** 2 / max(1, len(numbers) * sum(number**2 for number in numbers))
    return {"jain": round(jain, 4), "fewest": min(numbers), "most": max(numbers), "urgent": counted[_name(tier, 0)]}


def pause(starts: Times, tier: Tier | None) -> float:
    """The longest time between two starts of a tier, of any if none is named."""
    moments = [row["started_at"] for row in starts if tier in (None, row["tier"])]
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    return round(max(gaps, default=timedelta()).total_seconds(), 3)


def _slots(window: Window) -> Figures:
    """How many ran at once: as looks during the run saw it, which is what was granted, and as the rows' times have it.

    The latter tells a start by the statement that wrote it, and an end likewise.
    """
    moments: list[tuple[datetime, int]] = []
    for row in window.times:
        moments += [(row["started_at"], 1), (row["finished_at"] or window.ended, -1)]
    running = most = 0
    # At the same time, what ends makes room for what begins.
    for _, change in sorted(moments):
        running += change
        most = max(most, running)
    return {"slots": SLOTS, "looks": len(window.looks), "most_seen": max(window.looks), "most_by_times": most}


def _cumulative(starts: Times, began: datetime) -> list[list[float]]:
    """Seconds, and how many had been started by then, for each tier from the lowest."""
    counted: Counter[str] = Counter()
    points: list[list[float]] = []
    for row in starts:
        counted[row["tier"]] += 1
        points.append([round((row["started_at"] - began).total_seconds(), 3), *(counted[tier] for tier in Tier)])
    return sampled(points)


def sampled(points: Sequence[T]) -> list[T]:
    """At most 200 of them, evenly, the last among them."""
    step = max(1, -(-len(points) // POINTS))
    return list(points[::-1][::step][::-1])


def _name(tier: Tier, number: int) -> str:
    return f"{tier}-{number}"


def _owners(variant: Variant, seconds: float) -> list[Client]:
    """Whose jobs to submit, in this order: the tiers mixed by weight, clients of a tier alike."""
    rate = SPARE * SLOTS / SERVICE_SECONDS / sum(WEIGHTS.values())
    found: list[tuple[float, Client]] = []
    for tier in Tier:
        each = math.ceil(rate * seconds * WEIGHTS[tier] / variant.clients) + 1
        for number in range(variant.clients):
            client = Client(_name(tier, number), tier, 9 if variant.urgent and number == 0 else 5)
            found += [((turn + number / variant.clients) / each, client) for turn in range(each)]
    return [client for _, client in sorted(found, key=lambda item: item[0])]


async def _saturated(stack: Settings, variant: Variant, seconds: float) -> Window:
    """Has all jobs stored before the first worker starts, and watches from the first execution that is finished."""
    coordinator, worker = factory.commands(1, concurrency=str(2 * SLOTS))
    async with Site.open(stack, SLOTS, SERVICE_SECONDS, steps=1) as site:
        owners = _owners(variant, seconds)
        await site.add(list(dict.fromkeys(owners)))
        with site.processes([coordinator] * variant.coordinators) as coordinators:
            await site.submit(owners)
            await site.stored(len(owners))
            with contextlib.ExitStack() as further:
                further.enter_context(site.processes([worker]))
                began = await site.first()
                looks = await site.looks(seconds / 2)
                if variant.restart:
                    coordinators[0].kill()
                    further.enter_context(site.processes([coordinator]))
                looks += await site.looks(seconds / 2)
                ended = await site.now()
                queued = {row["tier"]: row["n"] for row in await site.pool.fetch(QUEUED)}
        return Window(began, ended, await site.times(), queued, looks)


async def measure(stack: Settings, number: int = FLOOD, seconds: float = 20.0) -> Figures:
    """A flood of so many jobs, and each variant of saturation for so many seconds."""
    flooded = await flood(stack, number)
    found = [await shares(stack, variant, seconds) for variant in VARIANTS]
    slots = {figures["variant"]: figures.pop("slots") for figures in found}
    return {"flood": flooded, "shares": found, "slots": slots}


def main() -> None:
    """Measures on servers of its own and prints it; arguments: the jobs of the flood, the seconds of each window."""
    number, seconds = int(sys.argv[1]) if len(sys.argv) > 1 else FLOOD, float((sys.argv[2:3] or ["20"])[0])
    with tempfile.TemporaryDirectory() as folder, servers.temporary(Path(folder) / "servers") as stack:
        sys.stdout.write(json.dumps(asyncio.run(measure(stack, number, seconds)), indent=1) + "\n")


if __name__ == "__main__":
    main()
