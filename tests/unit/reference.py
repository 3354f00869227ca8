"""What the design says should come of facts: one mutable record for each row, and its rules in a few lines."""

import dataclasses
import math

from consumers.coordinator import facts
from contracts import messages, templates
from contracts.errors import ErrorClass

OVER = ("completed", "failed", "skipped", "cancelled")
OFFERED = ("dispatched", "running")

CONDITIONS = {"true": True, "false": False, "1 < 2": True, "parameters.absent == 1": None, "1 + 1": None}
"""Conditions and whether they let a step run; None where they have no truth value."""


@dataclasses.dataclass
class Unit:
    """One row."""

    status: str = "pending"
    attempt: int = 1
    charged: int = 0
    stages_left: int = 0
    worker: str | None = None
    starts: frozenset[str] = frozenset()
    told: tuple[float, str] | None = None
    shards: int | None = None
    records: int = 0
    found: int = 0


class Reference:
    """What the design says should come of the facts."""

    def __init__(self, template: templates.Template) -> None:
        self.template = template
        self.status = "queued"
        self.units: dict[tuple[str, int], Unit] = {}

    def tell(self, fact: facts.Fact) -> bool:
        """Takes a fact in; says whether it counted."""
        counted = self._take(fact)
        while self.status == "running" and self._begin_one():
            pass
        steps = [unit for (_, shard), unit in self.units.items() if not shard]
        if self.status == "running" and all(unit.status in OVER for unit in steps):
            self.status = "partial" if any(unit.status == "failed" for unit in steps) else "completed"
        return counted

    def _take(self, fact: facts.Fact) -> bool:
        if isinstance(fact, facts.Started):
            if self.status != "queued":
                return False
            self.status = "running"
            self.units = {(s.name, 0): Unit(stages_left=len(s.fallback)) for s in self.template.steps}
            return True
        if isinstance(fact, facts.Cancelled):
            if self.status not in ("queued", "running"):
                return False
            self._end("cancelled")
            return True
        unit = self.units.get((fact.key.step, fact.key.shard))
        if unit is None or self.status != "running" or (fact.key.epoch, fact.key.attempt) != (1, unit.attempt):
            return False
        if unit.shards is not None:
            return False
        return self._move(fact.key.step, fact.key.shard, unit, fact)

    def _move(self, step: str, shard: int, unit: Unit, fact: facts.TaskFact) -> bool:
        match fact:
            case facts.RetryDue() if unit.status == "waiting":
                unit.status = "dispatched"
            case facts.Prepared() if unit.status == "ready":
                self._dispatch(step, unit)
            case facts.RetryDue() | facts.Prepared():
                return False
            case _ if unit.status not in OFFERED:
                return False
            case messages.StageAccepted(worker=worker):
                if (unit.status, unit.worker) == ("running", worker) and worker in unit.starts:
                    return False
                unit.status, unit.worker, unit.starts = "running", worker, unit.starts | {worker}
            case messages.StageProgress(worker=worker, fraction=fraction, note=note):
                if (unit.status, unit.worker, unit.told) == ("running", worker, (fraction, note)):
                    return False
                unit.status, unit.worker, unit.told = "running", worker, (fraction, note)
            case messages.StageCompleted():
                unit.status = "completed"
                unit.records, unit.found = fact.output.records or 0, int(fact.summary["found"])
                self._over(step, shard)
            case messages.StageFailed():
                self._fail(step, shard, unit, fact.error_class, fact.worker)
            case facts.DeadlinePassed():
                self._fail(step, shard, unit, ErrorClass.TIMEOUT, unit.worker)
            case facts.CrashLooped():
                self._fail(step, shard, unit, ErrorClass.CRASH_LOOP, None)
            case facts.LeaseLapsed() | facts.TaskLost() if getattr(fact, "worker", None) != unit.worker:
                return False
            case _:
                unit.status, unit.attempt, unit.worker, unit.told = "dispatched", unit.attempt + 1, None, None
        return True

    def _fail(self, step: str, shard: int, unit: Unit, error_class: ErrorClass, worker: str | None) -> None:
        retry = self.template.step(step).retry or templates.Retry()
        unit.told = None
        unit.starts = frozenset() if error_class is ErrorClass.CRASH_LOOP else unit.starts - {worker or ""}
        if error_class in retry.classes and unit.charged + 1 < retry.attempts:
            unit.status, unit.attempt, unit.charged, unit.worker = "waiting", unit.attempt + 1, unit.charged + 1, None
        elif unit.stages_left:
            unit.status, unit.attempt, unit.charged, unit.worker = "dispatched", unit.attempt + 1, 0, None
            unit.stages_left, unit.starts = unit.stages_left - 1, frozenset()
        else:
            self._lose(step, shard, unit)

    def _lose(self, step: str, shard: int, unit: Unit) -> None:
        unit.status = "failed"
        if shard:
            self._over(step, shard)
        elif not self.template.step(step).optional:
            self._end("failed")

    def _end(self, status: str) -> None:
        self.status = status
        for unit in self.units.values():
            if unit.status not in OVER:
                unit.status = "cancelled"

    def _begin_one(self) -> bool:
        for step in self.template.steps:
            unit = self.units[step.name, 0]
            if unit.status == "pending" and all(self._tolerable(need) for need in step.depends_on):
                wanted = True if step.when is None else CONDITIONS[step.when]
                if wanted is None:
                    self._lose(step.name, 0, unit)
                elif not wanted:
                    unit.status = "skipped"
                elif any(self.template.step(source).fan_out for source in step.inputs.values()):
                    unit.status = "ready"
                else:
                    self._dispatch(step.name, unit)
                return True
        return False

    def _tolerable(self, need: str) -> bool:
        status = self.units[need, 0].status
        return status in ("completed", "skipped") or (status == "failed" and self.template.step(need).optional)

    def _dispatch(self, name: str, unit: Unit) -> None:
        step = self.template.step(name)
        if step.fan_out is None:
            unit.status = "dispatched"
            return
        done = [self.units[over, 0] for over in step.fan_out.over]
        unit.status, unit.shards = "running", sum(up.records for up in done if up.status == "completed")
        for shard in range(1, unit.shards + 1):
            self.units[name, shard] = Unit(stages_left=len(step.fallback))
        self._over(name, 0)

    def _over(self, name: str, shard: int) -> None:
        """A shard is over, or there are new ones: joins, or offers the next that the window has room for."""
        parent, fan_out = self.units[name, 0], self.template.step(name).fan_out
        if fan_out is None or parent.shards is None or parent.status != "running":
            return
        shards = [unit for (step, number), unit in sorted(self.units.items()) if step == name and number]
        completed, lost = (sum(unit.status == status for unit in shards) for status in ("completed", "failed"))
        parent.found = sum(unit.found for unit in shards if unit.status == "completed")
        needed = {
            "all": len(shards),
            "any": min(1, len(shards)),
            "at_least": int(fan_out.join.value),
            "percentage": math.ceil(len(shards) * fan_out.join.value / 100),
        }[fan_out.join.policy]
        if len(shards) - lost < needed:
            for unit in shards:
                unit.status = unit.status if unit.status in OVER else "cancelled"
            self._lose(name, 0, parent)
        elif completed + lost == len(shards):
            parent.status = "completed"
        else:
            busy = sum(unit.status in (*OFFERED, "waiting") for unit in shards)
            for unit in [unit for unit in shards if unit.status == "pending"][: fan_out.window - busy]:
                unit.status = "dispatched"
