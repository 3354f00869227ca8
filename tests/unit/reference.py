"""What the design says should come of facts: one mutable record for each row, and its rules in a few lines."""

import dataclasses
import math

from consumers.coordinator.engine import facts
from contracts import messages, templates
from contracts.errors import ErrorClass
from contracts.states import PauseReason

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
    epoch: int = 1
    degraded: bool = False
    remade: int = 0


class Reference:
    """What the design says should come of the facts."""

    def __init__(self, template: templates.Template) -> None:
        self.template = template
        self.status = "queued"
        self.epoch = 1
        self.reason: PauseReason | None = None
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
            for step in self.template.steps:
                self.units.setdefault((step.name, 0), Unit(stages_left=len(step.fallback)))
            self._go_on()
            return True
        if isinstance(fact, facts.Reopened):
            return self._reopen(fact)
        if self.status in ("completed", "partial", "failed", "cancelled"):
            return False
        match fact:
            case facts.Cancelled():
                self._end("cancelled")
            case facts.TimeUp():
                self._end_early()
            case facts.Paused(reason=reason):
                if self.status == "paused" and (reason is self.reason or reason is not PauseReason.OPERATOR):
                    return False
                self.status, self.reason = "paused", reason
            case facts.Resumed(reason=reason):
                if self.status != "paused" or reason not in (None, self.reason):
                    return False
                self.status = "queued"
            case _:
                return self._about_a_task(fact)
        return True

    def _about_a_task(self, fact: facts.TaskFact) -> bool:
        unit = self.units.get((fact.key.step, fact.key.shard))
        if unit is not None and isinstance(fact, messages.StageAccepted) and fact.attempt < unit.attempt:
            if fact.epoch != unit.epoch or unit.epoch != self.units[fact.step, 0].epoch or unit.shards is not None:
                return False
            counts = unit.status in OFFERED and fact.worker not in unit.starts
            unit.starts |= {fact.worker} if counts else set()
            return counts
        if unit is None or (fact.key.epoch, fact.key.attempt) != (unit.epoch, unit.attempt):
            return False
        if unit.shards is not None or unit.epoch != self.units[fact.key.step, 0].epoch:
            return False
        return self._move(fact.key.step, fact.key.shard, unit, fact)

    def _go_on(self) -> None:
        for step in self.template.steps:
            self._over(step.name, 0)

    def _reopen(self, fact: facts.Reopened) -> bool:
        names = {s.name for s in self.template.steps} if fact.steps is None else set(fact.steps)
        if not self.units:
            return False
        only_if = fact.only_if
        if only_if is not None and only_if[1::3] != (
            self.units[only_if.step, 0].epoch,
            self.units[only_if.step, 0].attempt,
        ):
            return False
        undone = ("failed", "cancelled", "waiting")
        if fact.kind in ("retry", "requeue") and any(self.units[name, 0].status not in undone for name in names):
            return False
        bad = {s.name: ("cancelled",) if s.optional else ("cancelled", "failed") for s in self.template.steps}
        lacking = {name for name, statuses in bad.items() if self.units[name, 0].status in statuses}
        self._renew(self._after(names | lacking), lacking - names | (names if fact.keep else set()))
        return True

    def _after(self, names: set[str]) -> set[str]:
        while more := {s.name for s in self.template.steps if names & set(s.depends_on)} - names:
            names = names | more
        return names

    def _renew(self, names: set[str], keep: set[str]) -> None:
        self.epoch += 1
        if self.status in ("completed", "partial", "failed", "cancelled"):
            self.status = "queued"
        for step in self.template.steps:
            unit = self.units[step.name, 0]
            if step.name not in names:
                continue
            if unit.status == "pending":
                unit.epoch = self.epoch
                continue
            shards = [u for (n, s), u in self.units.items() if n == step.name and s and u.epoch == unit.epoch]
            if step.name in keep and unit.shards is not None and not names & set(step.depends_on):
                unit.status, unit.degraded = "running", False
                for shard in shards:
                    shard.epoch = self.epoch
                    if shard.status != "completed":
                        vars(shard).update(vars(Unit(attempt=shard.attempt + 1, epoch=self.epoch)))
                        shard.stages_left = len(step.fallback)
            else:
                for shard in shards:
                    shard.status = shard.status if shard.status in OVER else "cancelled"
                fresh = Unit(attempt=unit.attempt, stages_left=len(step.fallback), remade=unit.remade)
                vars(unit).update(vars(fresh))
            unit.attempt, unit.epoch = unit.attempt + 1, self.epoch
        if self.status == "running":
            self._go_on()

    def _vanished(self, step: str, uri: str) -> bool:
        """Makes a vanished document anew, where somebody upstream made it and that does not happen too often."""
        name = uri.split("/")[-2] if uri else ""
        if (name, 0) not in self.units or step not in self._after({name}) or self.units[name, 0].remade >= 2:
            return False
        self.units[name, 0].remade += 1
        undone = {n for n in self._after({name}) if self.units[n, 0].status not in ("completed", "skipped")}
        self._renew({name} | undone, set())
        return True

    def _send(self, unit: Unit) -> None:
        unit.status = "dispatched" if self.status == "running" else "waiting"
        unit.attempt, unit.worker, unit.told = unit.attempt + 1, None, None

    def _move(self, step: str, shard: int, unit: Unit, fact: facts.TaskFact) -> bool:
        match fact:
            case facts.RetryDue() | facts.Prepared() if self.status != "running":
                return False
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
                uri = fact.details.get("uri", "")
                if fact.outage:
                    unit.status, unit.attempt, unit.worker, unit.told = "waiting", unit.attempt + 1, None, None
                    unit.starts = unit.starts - {fact.worker}
                elif fact.error_class is not ErrorClass.INPUT_GONE or not self._vanished(step, uri):
                    self._fail(step, shard, unit, fact.error_class, fact.worker)
            case facts.DeadlinePassed():
                self._fail(step, shard, unit, ErrorClass.TIMEOUT, unit.worker)
            case facts.CrashLooped():
                self._fail(step, shard, unit, ErrorClass.CRASH_LOOP, None)
            case facts.LeaseLapsed() | facts.TaskLost() if getattr(fact, "worker", None) != unit.worker:
                return False
            case _:
                self._send(unit)
        return True

    def _fail(self, step: str, shard: int, unit: Unit, error_class: ErrorClass, worker: str | None) -> None:
        retry = self.template.step(step).retry or templates.Retry()
        unit.told = None
        if error_class is ErrorClass.BUDGET and (self.template.on_budget != "degrade" or not unit.degraded):
            unit.starts = frozenset()
            if self.template.on_budget == "stop":
                self._lose_money(step, unit)
                return
            if self.template.on_budget == "pause" and self.status != "paused":
                self.status, self.reason = "paused", PauseReason.BUDGET
            unit.degraded = self.template.on_budget == "degrade"
            self._send(unit)
            return
        unit.starts = frozenset() if error_class is ErrorClass.CRASH_LOOP else unit.starts - {worker or ""}
        if error_class in retry.classes and unit.charged + 1 < retry.attempts:
            unit.status, unit.attempt, unit.charged, unit.worker = "waiting", unit.attempt + 1, unit.charged + 1, None
        elif unit.stages_left:
            self._send(unit)
            unit.charged, unit.stages_left, unit.starts = 0, unit.stages_left - 1, frozenset()
        else:
            self._lose(step, shard, unit)

    def _lose(self, step: str, shard: int, unit: Unit) -> None:
        unit.status = "failed"
        if shard:
            self._over(step, shard)
        elif not self.template.step(step).optional:
            self._end("failed")

    def _lose_money(self, step: str, unit: Unit) -> None:
        unit.status = "failed"
        for (name, shard), other in self.units.items():
            if name == step and shard and other.status not in OVER:
                other.status = "cancelled"
        self.units[step, 0].status = "failed"
        self._end_early()

    def _end_early(self) -> None:
        has = any(self.units and s.deliver and self.units[s.name, 0].status == "completed" for s in self.template.steps)
        self._end("partial" if has else "failed")

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
            attempt = self.units[name, shard].attempt + 1 if (name, shard) in self.units else 1
            self.units[name, shard] = Unit(attempt=attempt, epoch=unit.epoch, stages_left=len(step.fallback))
        self._over(name, 0)

    def _over(self, name: str, shard: int) -> None:
        """A shard is over, or there are new ones: joins, or offers the next that the window has room for."""
        parent, fan_out = self.units[name, 0], self.template.step(name).fan_out
        if fan_out is None or parent.shards is None or parent.status != "running":
            return
        mine = sorted(place for place in self.units if place[0] == name and place[1])
        shards = [self.units[place] for place in mine if self.units[place].epoch == parent.epoch]
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
            if self.status != "running":
                return
            busy = sum(unit.status in (*OFFERED, "waiting") for unit in shards)
            for unit in [unit for unit in shards if unit.status == "pending"][: fan_out.window - busy]:
                unit.status = "dispatched"
