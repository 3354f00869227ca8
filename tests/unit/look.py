"""Looks at a factory as tests want them."""

import dataclasses
import datetime
from typing import Any
from uuid import UUID

from contracts.states import ExecutionStatus, PauseReason, StepStatus
from contracts.tiers import Tier
from infra import overview, views
from infra.pauses import Pause
from producer.depths import Depth
from producer.overview import Snapshot, Standing, Work

NOW = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)
EVIL = "[red]\x1b[2J\x07\u202eno[/red]"
IDS = (UUID(int=1), UUID(int=2))

ROW = overview.UnderWay(
    IDS[0], "acme", Tier.PREMIUM, "daily", 1, ExecutionStatus.RUNNING, None, 130.0, 125.0, 6, 3,
    (overview.Present("fetch", StepStatus.RUNNING, None, "half way", 40, 12),),
)  # fmt: skip
WORKER = views.Worker("vm-1-ab", ("fetch", "build"), 8, 3, NOW, 1.0)
WORK = Work((), 0, 0, 0.0, overview.Ended(0, 0, 0, 0), (), (WORKER,), (), ())


def queues(**changed: Any) -> list[Depth]:
    """The queues of two stages and of the coordinator; ``changed`` are fields of those of ``fetch`` and tier basic."""
    found = []
    for family in ("fetch", "build", None):
        for tier in Tier:
            name = f"stage.{family}.{tier}" if family else f"jobs.{tier}"
            row = Depth(name, family, tier, 0, None, 2, 0)
            found.append(dataclasses.replace(row, **changed) if (family, tier) == ("fetch", Tier.BASIC) else row)
    return [*found, Depth("dead-letters", None, None, 0, None, 1, 0), Depth("heartbeats", None, None, 0, None, 1, 0)]


def snapshot(**fields: Any) -> Snapshot:
    """A healthy factory but for these fields of what the database knows, or ``queues`` and ``away``."""
    rows, away = fields.pop("queues", queues()), fields.pop("away", {})
    return Snapshot(NOW, dataclasses.replace(WORK, **fields), rows, away)


BUSY = snapshot(
    executions=(
        Standing("queued", "basic", 12, 41.0),
        Standing("running", "basic", 3, None),
        Standing("running", "premium", 1, None),
    ),
    ended=overview.Ended(6, 1, 40, 2),
    under_way=(
        ROW,
        dataclasses.replace(
            ROW, id=IDS[1], status=ExecutionStatus.PAUSED, pause_reason=PauseReason.OPERATOR, present=(), client="bee"
        ),
    ),
    letters=(overview.Letters("failed", "permanent", "fetch", 2, 7200.0, 90.0),),
    pauses=(Pause("stage", "build", "ann", "new model", NOW),),
    queues=queues(depth=12, oldest=250.0, unacknowledged=3),
)
EVIL_LOOK = snapshot(
    under_way=(
        dataclasses.replace(
            ROW,
            client=EVIL,
            template=EVIL,
            present=(overview.Present(EVIL, StepStatus.RUNNING, None, EVIL, None, None),),
        ),
    ),
    letters=(overview.Letters(EVIL, EVIL, EVIL, 1, 1.0, 1.0),),
    pauses=(Pause("client", EVIL, EVIL, EVIL, NOW),),
    workers=(dataclasses.replace(WORKER, id=EVIL, silent=40.0, stages=(EVIL,)),),
)
