"""How much a worker holds: enough for its slots, and no more than a heartbeat can name."""

import asyncio
import uuid
from pathlib import Path

import pytest

from consumers import worker_process
from consumers.runtime import supply
from contracts import encoding
from contracts.messages import TaskKey, WorkerHeartbeat
from contracts.model import Artifact, Model
from contracts.stages import MOST_AT_ONCE, StageSpec
from contracts.tiers import Tier
from infra import settings
from tests.unit.test_settings import environment


def spec(typical: float, timeout: float = 60.0) -> StageSpec:
    return StageSpec(name="work", input=Model, output=Artifact, typical_seconds=typical, timeout=timeout)


@pytest.mark.parametrize(
    ("typical", "slots", "held"), [(1.0, 8, 10), (0.5, 16, 23), (0.002, 8, 60), (0.002, 64, 60), (1.0, 200, 60)]
)
def test_one_tier_fills_the_slots_and_a_buffer_as_far_as_a_heartbeat_reaches(
    typical: float, slots: int, held: int
) -> None:
    assert supply.prefetch(spec(typical), slots, supply.share([spec(typical)], slots)) == held


@pytest.mark.parametrize(("short", "slow"), [(1, 0), (2, 0), (5, 0), (10, 0), (1, 1), (2, 3), (0, 5)])
@pytest.mark.parametrize("slots", [1, 8, 64, MOST_AT_ONCE])
def test_a_heartbeat_can_name_all_that_a_worker_may_hold(slots: int, short: int, slow: int) -> None:
    most = supply.share([spec(0.001)] * short + [spec(9.0)] * slow, slots)
    number = len(Tier) * short * supply.prefetch(spec(0.001), slots, most)
    number += slots + len(Tier) * slow if slow else 0
    held = tuple(TaskKey(uuid.uuid4(), 9999, "s" * 63, shard, 9999) for shard in range(number))
    beat = WorkerHeartbeat(
        worker="w" * 100, sequence=10**6, stages=("s" * 63,), capacity=slots, in_flight=slots, held=held
    )
    assert len(encoding.encode(beat)) <= encoding.LIMIT


@pytest.mark.parametrize(("timeout", "typical", "slow"), [(60.0, 1.0, False), (61.0, 1.0, True), (60.0, 5.0, True)])
def test_a_slow_stage_takes_only_what_it_can_start(timeout: float, typical: float, slow: bool) -> None:
    assert supply.is_slow(spec(typical, timeout)) is slow


@pytest.mark.parametrize(("given", "name"), [(500, "--concurrency=500"), (None, "FACTORY_WORKER_CONCURRENCY=201")])
async def test_more_at_once_than_a_heartbeat_names_is_refused(tmp_path: Path, given: int | None, name: str) -> None:
    configured = settings.load(environment(tmp_path, FACTORY_WORKER_CONCURRENCY="201"))
    with pytest.raises(settings.SettingsError, match=f"{name} is out of range: give 1 to 200"):
        await worker_process.run(configured, None, asyncio.Event(), [], given)
