"""The engine against a reference model: random templates, and facts that come twice, late, out of order and never.

The model knows nothing of the engine's parts: one mutable record for each row, and the rules of the design in a few
lines. ``play`` checks on every fact that terminal rows stay, that only allowed edges are taken, that tasks go out for
exactly the rows that become dispatched, and that the counts of shards equal the rows.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
from hypothesis import strategies as st

from consumers.coordinator import effects, engine, facts
from contracts import messages, templates
from contracts.errors import ErrorClass
from contracts.messages import StageTask, TaskKey
from contracts.states import EXECUTION_OVER
from tests.unit import play
from tests.unit.play import Play

WORKERS = ("w1", "w2")
OVER = ("completed", "failed", "skipped", "cancelled")
OFFERED = ("dispatched", "running")

# --- Templates and schedules -----------------------------------------------------------------------------------------

CONDITIONS = {"true": True, "false": False, "1 < 2": True, "parameters.absent == 1": None, "1 + 1": None}
"""Conditions and whether they let a step run; None where they have no truth value."""


@st.composite
def graphs(draw: st.DrawFn) -> templates.Template:
    """A template of up to six steps with everything that the engine decides on."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 6)))]
    steps: list[dict[str, Any]] = []
    for index, name in enumerate(names):
        earlier = st.sampled_from(names[:index]) if index else st.nothing()
        needs = draw(st.lists(earlier, unique=True, max_size=3))
        plain = [need for need in needs if "fan_out" not in steps[names.index(need)]]
        step: dict[str, Any] = play.step(name, *needs, optional=draw(st.booleans()), stage="main")
        step["retry"] = {
            "attempts": draw(st.integers(1, 3)),
            "classes": draw(
                st.sampled_from([["transient", "timeout"], ["transient", "crash_loop"], ["invalid_input"]])
            ),
        }
        step["fallback"] = ["plan_b", "plan_c"][: draw(st.integers(0, 2))]
        step["when"] = draw(st.sampled_from([None, None, None, *CONDITIONS]))
        step["inputs"] = {f"in_{need}": need for need in needs if draw(st.booleans())}
        if plain and draw(st.booleans()):
            step["fan_out"] = {
                "over": plain,
                "field": "record",
                "window": draw(st.integers(1, 3)),
                "join": {
                    "policy": draw(st.sampled_from(["all", "any", "at_least", "percentage"])),
                    "value": draw(st.sampled_from([0, 1, 2, 50, 60])),
                },
            }
        steps.append(step)
    return templates.parse({"name": "played", "steps": steps})


@dataclasses.dataclass(frozen=True)
class Action:
    """What happens next: a kind of fact, about which row, told by which worker; ``commit`` ends the batch."""

    kind: str
    pick: int
    worker: int
    error_class: ErrorClass
    records: int
    commit: bool


KINDS = (
    *("completed",) * 6,
    *("failed",) * 3,
    *("accepted", "progressed", "lapsed", "lost", "replayed", "replayed", "due", "due", "prepared"),
    *("died", "late", "looped", "older", "newer", "epoch", "started", "cancelled"),
)

actions = st.builds(
    Action,
    kind=st.sampled_from(KINDS),
    pick=st.integers(0, 1000),
    worker=st.integers(0, 1),
    error_class=st.sampled_from(list(ErrorClass)),
    records=st.integers(0, 4),
    commit=st.sampled_from([True, True, False]),
)

# --- The reference model ---------------------------------------------------------------------------------------------


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


# --- Playing ---------------------------------------------------------------------------------------------------------


def about(game: Play, action: Action, heard: list[facts.Fact]) -> facts.Fact | None:
    """The fact that an action means in this state, None if there is nothing it could be about."""
    worker, key = WORKERS[action.worker], _key(game, action)
    if action.kind == "started":
        return facts.Started(game.execution.id)
    if action.kind == "cancelled":
        return facts.Cancelled(game.execution.id, "somebody") if action.pick % 8 == 0 else None
    if action.kind == "replayed":
        return heard[action.pick % len(heard)] if heard else None
    if key is None:
        return None
    keys = {
        "older": key._replace(attempt=max(1, key.attempt - 1)),
        "newer": key._replace(attempt=key.attempt + 1),
        "epoch": key._replace(epoch=2),
    }
    if action.kind in keys:
        return completed(keys[action.kind], worker, action.records)
    event = {"worker": worker, **key._asdict()}
    match action.kind:
        case "completed":
            return completed(key, worker, action.records)
        case "failed":
            return messages.StageFailed(**event, error_class=action.error_class, explanation="broke")
        case "accepted":
            return messages.StageAccepted(**event)
        case "progressed":
            return messages.StageProgress(**event, fraction=action.records / 4)
        case "lapsed":
            return facts.LeaseLapsed(key, game.rows[key.step, key.shard].worker or worker)
        case "prepared":
            return facts.Prepared(key, messages.Inputs(), None)
        case "looped":
            return facts.CrashLooped(key, 5)
    plain: dict[str, Callable[[TaskKey], facts.Fact]] = {
        "due": facts.RetryDue,
        "lost": facts.TaskLost,
        "died": facts.TaskDied,
        "late": facts.DeadlinePassed,
    }
    return plain[action.kind](key)


WANTED = {"due": ("waiting",), "prepared": ("ready",)}


def _key(game: Play, action: Action) -> TaskKey | None:
    """The current attempt at a row that was offered before; mostly one in the state that the fact belongs to."""
    rows = [row for place, row in sorted(game.rows.items()) if row.status.value != "pending"]
    fitting = [row for row in rows if row.status.value in WANTED.get(action.kind, OFFERED) and row.shards is None]
    rows = fitting if fitting and action.pick % 5 else rows
    return rows[action.pick % len(rows)].key if rows else None


def completed(key: TaskKey, worker: str, records: int) -> messages.StageCompleted:
    """Success, with a document of so many records."""
    output = play.document(f"{key.step}-{key.shard}-{key.attempt}", records)
    return messages.StageCompleted(**key._asdict(), worker=worker, output=output, summary={"found": records})


def compare(game: Play, reference: Reference) -> None:
    """The engine's rows and the model's say the same."""
    assert game.execution.status.value == reference.status
    if reference.units:
        states = {place: (row.status.value, row.attempt, row.worker) for place, row in game.rows.items()}
        expected = {place: (unit.status, unit.attempt) for place, unit in reference.units.items()}
        assert {place: state[:2] for place, state in states.items()} == expected
        live = {
            place: unit.worker for place, unit in reference.units.items() if unit.status in OFFERED and not unit.shards
        }
        assert {place: states[place][2] for place in live} == live
        for place, unit in reference.units.items():
            if unit.shards and unit.status == "completed":
                assert (
                    game.rows[place].summary["found"] == unit.found
                    if "found" in game.rows[place].summary
                    else not unit.found
                )
                assert game.rows[place].summary["shards"] == unit.shards


def replay_is_ignored(game: Play, fact: facts.Fact) -> None:
    """A fact that has counted does not count again."""
    places = [(fact.key.step, fact.key.shard)] if not isinstance(fact, facts.Started | facts.Cancelled) else []
    assert play.ignored(engine.apply(game.snapshot(*places), fact, game.tools)), f"{fact} counted twice"


def batches(schedule: list[Action]) -> Iterator[list[Action]]:
    """The schedule, cut where something is committed."""
    batch: list[Action] = []
    for action in schedule:
        batch.append(action)
        if action.commit:
            yield batch
            batch = []


def end(game: Play, reference: Reference, worker: str = "w1") -> None:
    """Answers every task that is open, until none is."""
    for _ in range(1000):
        told: list[facts.Fact] = []
        for row in game.rows.values():
            if row.status.value == "waiting":
                told.append(facts.RetryDue(row.key))
            elif row.status.value == "ready":
                told.append(facts.Prepared(row.key, messages.Inputs(), None))
            elif row.status.value in OFFERED and row.shards is None:
                told.append(completed(row.key, worker, 2))
        if not told:
            return
        for fact in told:
            reference.tell(fact)
            game.tell(fact)
            compare(game, reference)
    raise AssertionError("the execution never ends")


@hypothesis.settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
@hypothesis.given(graphs(), st.lists(actions, min_size=15, max_size=60))
def test_whatever_happens_the_engine_does_what_the_model_says(
    template: templates.Template, schedule: list[Action]
) -> None:
    game, reference = Play(template=template), Reference(template)
    heard: list[facts.Fact] = []
    reference.tell(facts.Started(game.execution.id))
    game.start()
    compare(game, reference)
    for batch in batches(schedule):
        told = [fact for action in batch if (fact := about(game, action, heard)) is not None]
        counted = [reference.tell(fact) for fact in told]
        refused = game.tell(*told)
        assert len(refused) == counted.count(False), f"{told}: {refused}"
        compare(game, reference)
        heard += told
        if len(told) == 1 and counted == [True]:
            replay_is_ignored(game, told[0])
    end(game, reference)
    finished(game)


def finished(game: Play) -> None:
    """What holds of every execution whose tasks have all been answered."""
    assert game.execution.status in EXECUTION_OVER
    assert all(row.status.value in OVER for row in game.rows.values())
    assert len(game.found(effects.Finished)) == 1
    assert all(number == 1 for number in game.effective.values()), "at most one result for each step and shard"
    offered = [task.key for task in game.offered]
    assert len(offered) == len(set(offered)), "no attempt is offered twice"
    opened = [effect.parent.step for effect in game.found(effects.OpenShards)]
    assert len(opened) == len(set(opened)), "no fan-out opens twice"
    for fact in (facts.Started(game.execution.id), facts.Cancelled(game.execution.id, "late")):
        assert game.tell(fact)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(graphs(), st.randoms(use_true_random=False))
def test_the_order_of_answers_does_not_change_the_end(template: templates.Template, random: Any) -> None:
    """Every row that fails does so by its own fate, so that the end is the same in whatever order the answers come."""
    ends = set()
    for _ in range(3):
        game = Play(template=template).start()
        while tasks := [
            task for task in game.offered if game.rows[task.step, task.shard].key == task.key and _open(game, task)
        ]:
            task = random.choice(tasks)
            game.tell(completed(task.key, "w1", len(task.step) + task.shard % 2))
            for row in list(game.rows.values()):
                if row.status.value == "ready":
                    game.prepare(row.step)
        ends.add(
            (
                game.execution.status,
                tuple(sorted((p, r.status, r.output and r.output.uri) for p, r in game.rows.items())),
            )
        )
    if game.execution.status.value != "failed":
        assert len(ends) == 1


def _open(game: Play, task: StageTask) -> bool:
    return game.rows[task.step, task.shard].status.value in OFFERED
