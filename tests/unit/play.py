"""An execution played against the engine: rows are kept and written as the coordinator keeps and writes them.

Every fact is checked against what must always hold, so that a test only says what should come of its own case.
"""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from consumers.coordinator import transitions, writing
from consumers.coordinator.engine import decisions, effects, facts, offers, tools
from consumers.coordinator.engine.snapshot import Place, Snapshot
from contracts import messages, refs, templates
from contracts.errors import ErrorClass
from contracts.executions import Execution, StepExecution
from contracts.messages import Inputs, StageTask, TaskKey
from contracts.refs import DataRef
from contracts.states import EXECUTION_OVER, STEP_OVER, ExecutionStatus, StepStatus
from contracts.tiers import OptimiseFor, Quality, Tier
from infra import expressions

WORKER = "worker-1"

EDGES: dict[str, set[str]] = {
    "pending": {"ready", "dispatched", "running", "completed", "skipped", "failed", "cancelled"},
    "ready": {"dispatched", "running", "completed", "failed", "cancelled"},
    "dispatched": {"dispatched", "running", "completed", "waiting", "failed", "cancelled"},
    "running": {"running", "dispatched", "completed", "waiting", "failed", "cancelled"},
    "waiting": {"dispatched", "failed", "cancelled"},
}


def step(name: str, *depends_on: str, **fields: Any) -> dict[str, Any]:
    """A step as a template's YAML has it."""
    return {"name": name, "stage": "work", "depends_on": list(depends_on), **fields}


def fanned(
    name: str, *over: str, join: Mapping[str, Any] | None = None, window: int = 200, **fields: Any
) -> dict[str, Any]:
    """A step that is fanned out over these others."""
    fan_out = {"over": list(over), "field": "record", "join": join or {}, "window": window}
    return step(name, *over, fan_out=fan_out, **fields)


def document(name: str, records: int | None = None) -> DataRef:
    """The reference of a stored document."""
    return DataRef(uri=f"s3://documents/{name}", sha256="0" * 64, size=5000, records=records)


class Play:
    """One execution with all its rows, and everything that followed from the facts it was told."""

    def __init__(self, *steps: dict[str, Any], template: templates.Template | None = None, **fields: Any) -> None:
        parameters: dict[str, messages.Json] = fields.pop("parameters", {})
        declared = [{"name": name, "type": "string"} for name in parameters]
        self.template = template or templates.parse({"name": "played", "steps": list(steps), "parameters": declared})
        values: dict[str, Any] = {
            "id": uuid.UUID(int=7),
            "client": "acme",
            "submit_key": "key",
            "template": self.template.name,
            "template_version": 1,
            "parameters": parameters,
            "tier": Tier.PREMIUM,
            "quality": Quality.HIGH,
            "optimise_for": OptimiseFor.SPEED,
            "epoch": 1,
            "status": ExecutionStatus.QUEUED,
        }
        self.execution = Execution(**(values | fields))
        self.rows: dict[Place, StepExecution] = {}
        self.tools = tools.Tools(evaluate=expressions.value, random=lambda: 0.5)
        self.change = effects.Change(self.snapshot())
        self.effects: list[effects.Effect] = []
        self.offered: list[StageTask] = []
        self.effective: Counter[tuple[str, int, int]] = Counter()

    # --- What stands ---------------------------------------------------------------------------------------------

    def snapshot(self, *places: Place, whole: bool = False) -> Snapshot:
        """The execution as the coordinator loads it: every step, the shards that are named, and their steps' counts."""
        rows = {place: row for place, row in self.rows.items() if not place[1] or place in places}
        counts = {name: self.counts(name) for name, shard in places if shard and (name, shard) in self.rows}
        if whole:
            counts |= {n: self.counts(n) for (n, shard), r in self.rows.items() if not shard and r.shards is not None}
        return Snapshot(self.execution, self.template, rows, counts)

    def counts(self, name: str) -> dict[StepStatus, int]:
        """How many shards of a step stand in each status."""
        epoch = self.rows[name, 0].epoch
        own = [row for (owner, shard), row in self.rows.items() if owner == name and shard and row.epoch == epoch]
        return dict(Counter(row.status for row in own))

    def row(self, name: str, shard: int = 0) -> StepExecution:
        """One row."""
        return self.rows[name, shard]

    def status(self, name: str, shard: int = 0) -> str:
        """The status of one row."""
        return self.rows[name, shard].status.value

    def statuses(self) -> dict[str, str]:
        """The status of every step."""
        return {name: row.status.value for (name, shard), row in self.rows.items() if not shard}

    def shards(self, name: str) -> str:
        """The statuses of a step's shards, by their first letters."""
        return "".join(r.status.value[0] for (n, s), r in sorted(self.rows.items()) if n == name and s)

    def task(self, name: str, shard: int = 0) -> StageTask:
        """The task that was offered last for a row."""
        return [task for task in self.offered if (task.step, task.shard) == (name, shard)][-1]

    def found(self, kind: type[Any]) -> list[Any]:
        """The effects of one kind, in their order."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    @property
    def finished(self) -> messages.ExecutionFinished:
        """The one message that tells of the end."""
        (found,) = self.found(effects.Finished)
        message: messages.ExecutionFinished = found.message
        return message

    # --- What happens --------------------------------------------------------------------------------------------

    def tell(self, *told: facts.Fact) -> list[str]:
        """Applies facts as one batch and commits; returns the reasons of those that did not count."""
        places: list[Place] = [(f.key.step, f.key.shard) for f in told if not isinstance(f, facts.ExecutionFact)]
        if not self.rows and self.execution.status is ExecutionStatus.QUEUED:
            fresh = decisions.initial_rows(self.snapshot()) if any(isinstance(f, facts.Started) for f in told) else []
            self.rows = {(row.step, row.shard): row for row in fresh}
        before = self.snapshot(*places, whole=any(transitions.opens_shards(fact) for fact in told))
        self.change = effects.Change(before)
        for fact in told:
            change = decisions.apply(self.change.snapshot, fact, self.tools)
            check_transition(self.change.snapshot, change)
            if isinstance(fact, messages.StageCompleted) and not ignored(change):
                self.effective[fact.step, fact.shard, fact.epoch] += 1
            self.change = effects.Change(change.snapshot, self.change.effects + change.effects)
        self._commit(before)
        return [effect.reason for effect in self.change.effects if isinstance(effect, effects.Ignored)]

    def _commit(self, before: Snapshot) -> None:
        """Writes in the order in which the coordinator does: rows, then shards opened and cancelled, then released."""
        after = self.change.snapshot
        old = dict(self.rows)
        self.rows |= after.rows
        tasks = [offer.task for offer in writing.live_offers(after, self.change.effects)]
        for effect in self.change.effects:
            if isinstance(effect, effects.OpenShards):
                self._open(effect.parent)
            elif isinstance(effect, effects.CancelShards):
                self._cancel(effect.step, effect.epoch)
            elif isinstance(effect, effects.KeepShards):
                self._keep(effect.parent, effect.old_epoch)
        for name, number in writing.releases(self.change.effects).items():
            if after.step(name).status is StepStatus.RUNNING:
                tasks += self._release(after, effects.ReleaseShards(name, number))
        self.execution = after.execution
        self._check_offers(old, tasks)
        self._check_counts(after)
        self.offered += tasks
        self.effects += self.change.effects

    def _open(self, parent: StepExecution) -> None:
        for shard in range(1, (parent.shards or 0) + 1):
            fresh = StepExecution(
                execution_id=parent.execution_id,
                step=parent.step,
                shard=shard,
                epoch=parent.epoch,
                attempt=1,
                status=StepStatus.PENDING,
                stage=parent.stage,
            )
            old = self.rows.get((parent.step, shard))
            assert old is None or old.epoch < parent.epoch, "shards are opened once in an epoch"
            self.rows[parent.step, shard] = fresh if old is None else fresh._replace(attempt=old.attempt + 1)

    def _keep(self, parent: StepExecution, old_epoch: int) -> None:
        for place, row in self.rows.items():
            if place[0] == parent.step and place[1] and row.epoch == old_epoch:
                kept = row._replace(epoch=parent.epoch)
                undone = parent._replace(shard=row.shard, attempt=row.attempt + 1, shards=None, summary={})
                undone = undone._replace(status=StepStatus.PENDING, retries=0, fallback=0, starts=())
                self.rows[place] = kept if row.status is StepStatus.COMPLETED else undone

    def _cancel(self, name: str, epoch: int) -> None:
        for place, row in self.rows.items():
            if place[0] == name and place[1] and row.epoch == epoch and row.status not in STEP_OVER:
                self.rows[place] = row._replace(status=StepStatus.CANCELLED)

    def _release(self, after: Snapshot, effect: effects.ReleaseShards) -> list[StageTask]:
        pending = sorted(
            p
            for p, r in self.rows.items()
            if p[0] == effect.step and p[1] and r.status is StepStatus.PENDING and r.epoch == after.step(p[0]).epoch
        )
        assert len(pending) >= effect.number, "no more shards are released than are pending"
        for place in pending[: effect.number]:
            self.rows[place] = self.rows[place]._replace(status=StepStatus.DISPATCHED)
        return [offers.build(after, self.rows[place], self.tools.evaluate) for place in pending[: effect.number]]

    def _check_offers(self, old: Mapping[Place, StepExecution], tasks: Sequence[StageTask]) -> None:
        dispatched = [
            row.key
            for place, row in self.rows.items()
            if row.status is StepStatus.DISPATCHED
            and (place not in old or (old[place].status, old[place].attempt) != (row.status, row.attempt))
        ]
        assert sorted(task.key for task in tasks) == sorted(dispatched), "tasks go out for exactly the dispatched rows"

    def _check_counts(self, after: Snapshot) -> None:
        for name, counts in after.counts.items():
            assert {s: n for s, n in counts.items() if n} == self.counts(name) or self.row(name).shards is None, (
                f"the shards of {name} are counted right"
            )

    # --- What workers and time say -------------------------------------------------------------------------------

    def start(self) -> "Play":
        """Admits the execution."""
        self.tell(facts.Started(self.execution.id))
        return self

    def key(self, name: str, shard: int = 0) -> TaskKey:
        """The current attempt at a row."""
        return self.rows[name, shard].key

    def accepted(self, name: str, shard: int = 0, worker: str = WORKER) -> messages.StageAccepted:
        """The event that says that a worker has begun."""
        return messages.StageAccepted(**self.key(name, shard)._asdict(), worker=worker)

    def progressed(self, name: str, fraction: float, shard: int = 0, worker: str = WORKER) -> messages.StageProgress:
        """The event that says how far a worker is."""
        return messages.StageProgress(**self.key(name, shard)._asdict(), worker=worker, fraction=fraction, note="on it")

    def completed(
        self, name: str, shard: int = 0, records: int | None = None, **fields: Any
    ) -> messages.StageCompleted:
        """The event that says that an attempt succeeded."""
        given = {"output": document(f"{name}-{shard}", records), "worker": WORKER, **fields}
        return messages.StageCompleted(**self.key(name, shard)._asdict(), **given)

    def failed(
        self, name: str, error_class: ErrorClass = ErrorClass.TRANSIENT, shard: int = 0, **fields: Any
    ) -> messages.StageFailed:
        """The event that says that an attempt failed."""
        given = {"worker": WORKER, "explanation": f"{name} broke", **fields}
        return messages.StageFailed(**self.key(name, shard)._asdict(), error_class=error_class, **given)

    def complete(self, name: str, shard: int = 0, records: int | None = None, **fields: Any) -> list[str]:
        """A worker succeeds with the current attempt."""
        return self.tell(self.completed(name, shard, records, **fields))

    def fail(
        self, name: str, error_class: ErrorClass = ErrorClass.PERMANENT, shard: int = 0, **fields: Any
    ) -> list[str]:
        """A worker fails with the current attempt."""
        return self.tell(self.failed(name, error_class, shard, **fields))

    def prepare(self, name: str, inputs: Inputs | None = None, manifest: DataRef | None = None) -> list[str]:
        """The inputs of a step are gathered."""
        return self.tell(facts.Prepared(self.key(name), inputs or Inputs(), manifest))


def ignored(change: effects.Change) -> bool:
    """Whether a fact did not count."""
    return any(isinstance(effect, effects.Ignored) for effect in change.effects)


def check_transition(before: Snapshot, change: effects.Change) -> None:
    """What must hold of every transition, whatever the fact."""
    after = change.snapshot
    if ignored(change):
        assert len(change.effects) == 1, "what does not count has no other effect"
        assert after == before, "what does not count changes nothing"
    if after.execution.epoch > before.execution.epoch:
        check_reopening(before, after)
        return
    if before.execution.status in EXECUTION_OVER:
        assert after.execution == before.execution, "the end is final"
    for place, old in before.rows.items():
        new = after.rows[place]
        assert new.attempt >= old.attempt, "attempts only rise"
        assert new.epoch == old.epoch, "no row changes its epoch"
        if old.status in STEP_OVER:
            assert new == old, f"{place} is over and stays what it is"
        elif new is not old:
            assert new.status.value in EDGES[old.status.value], f"{place}: {old.status} to {new.status}"
    if after.execution.status in EXECUTION_OVER:
        assert all(row.status in STEP_OVER for row in after.rows.values()), "what is over has no open rows"


def check_reopening(before: Snapshot, after: Snapshot) -> None:
    """What must hold of every transition that raises the epoch."""
    assert after.execution.epoch == before.execution.epoch + 1, "the epoch rises by one"
    for place, old in before.rows.items():
        new = after.rows[place]
        if new.epoch != old.epoch:
            assert new.epoch == after.execution.epoch, "what is reopened belongs to the new epoch"
            begun = old.status is not StepStatus.PENDING
            assert new.attempt == old.attempt + begun, "attempts never restart"
        elif old.status in STEP_OVER:
            assert new == old, f"{place} was not reopened and stays what it is"
        elif place[1] and new.epoch < after.rows[place[0], 0].epoch:
            assert new.status is StepStatus.CANCELLED, "shards that are left behind are wanted no more"


def inline(records: int = 0, size: int = 10) -> DataRef:
    """A document that travels in its reference."""
    return refs.inline(b"x" * size, content_type="text/plain", records=records)
