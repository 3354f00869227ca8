"""The engine against a reference model: random templates, and facts that come twice, late, out of order and never.

``reference`` knows nothing of the engine's parts. ``play`` checks on every fact that terminal rows stay, that only
allowed edges are taken, that tasks go out for exactly the rows that become dispatched, and that the counts of shards
equal the rows.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from consumers.coordinator import transitions
from consumers.coordinator.engine import decisions, effects, facts
from contracts import messages, templates
from contracts.errors import ErrorClass
from contracts.messages import StageTask, TaskKey
from contracts.states import EXECUTION_OVER, PauseReason
from tests.unit import play
from tests.unit.play import Play
from tests.unit.reference import CONDITIONS, OFFERED, OVER, Reference

WORKERS = ("w1", "w2")

# --- Templates and schedules -----------------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> templates.Template:
    """A template of up to six steps with everything that the engine decides on."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 6)))]
    steps: list[dict[str, Any]] = []
    for index, name in enumerate(names):
        needs: list[str] = draw(st.lists(st.sampled_from(names[:index]), unique=True, max_size=3)) if index else []
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
        booleans = st.booleans()
        step["inputs"] = {f"in_{need}": need for need in needs if draw(booleans)}
        if draw(booleans) and plain:
            step["fan_out"] = {
                "over": plain,
                "field": "record",
                "window": draw(st.integers(1, 3)),
                "join": {
                    "policy": draw(st.sampled_from(["all", "any", "at_least", "percentage"])),
                    "value": draw(st.sampled_from([0, 1, 2, 50, 60])),
                },
            }
        elif draw(booleans):
            step["deliver"] = ["json"]
        steps.append(step)
    return templates.parse(
        {"name": "played", "steps": steps, "on_budget": draw(st.sampled_from(["degrade", "pause", "stop"]))}
    )


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
    *("died", "late", "looped", "older", "newer", "epoch", "started", "started", "cancelled", "time_up"),
    *("paused", "resumed", "resumed", "retry", "rerun", "restart", "requeue", "gone", "gone", "outage", "late_start"),
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

# --- Playing ---------------------------------------------------------------------------------------------------------


def about(game: Play, action: Action, heard: list[facts.Fact]) -> facts.Fact | None:
    """The fact that an action means in this state, None if there is nothing it could be about."""
    worker, key = WORKERS[action.worker], _key(game, action)
    if action.kind in STEERING:
        return steering(game, action)
    if action.kind == "replayed":
        return heard[action.pick % len(heard)] if heard else None
    if key is None:
        return None
    keys = {
        "older": key._replace(attempt=max(1, key.attempt - 1)),
        "newer": key._replace(attempt=key.attempt + 1),
        "epoch": key._replace(epoch=key.epoch + 1),
    }
    if action.kind == "late_start":
        return messages.StageAccepted(**keys["older"]._asdict(), worker=worker)
    if action.kind in keys:
        return completed(keys[action.kind], worker, action.records)
    event = {"worker": worker, **key._asdict()}
    match action.kind:
        case "completed":
            return completed(key, worker, action.records)
        case "failed":
            return messages.StageFailed(**event, error_class=action.error_class, explanation="broke")
        case "outage":
            away = ErrorClass.TRANSIENT
            return messages.StageFailed(**event, error_class=away, explanation="no store", outage=True)
        case "gone":
            made_by = game.template.steps[action.pick % len(game.template.steps)].name
            details = {"uri": f"s3://bucket/acme/2026-11-21/{game.execution.id}/{made_by}/0-1-abc.json"}
            gone = ErrorClass.INPUT_GONE
            return messages.StageFailed(**event, error_class=gone, explanation="vanished", details=details)
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


STEERING = {"started", "cancelled", "paused", "resumed", "time_up", "retry", "rerun", "restart", "requeue"}


def steering(game: Play, action: Action) -> facts.Fact | None:
    """What is told about the whole execution; what ends it is rare."""
    execution_id, name = game.execution.id, game.template.steps[action.pick % len(game.template.steps)].name
    reason = list(PauseReason)[action.records % len(PauseReason)]
    match action.kind:
        case "started":
            return facts.Started(execution_id)
        case "cancelled":
            return facts.Cancelled(execution_id, "somebody") if action.pick % 8 == 0 else None
        case "time_up":
            return facts.TimeUp(execution_id) if action.pick % 8 == 0 else None
        case "paused":
            return facts.Paused(execution_id, reason)
        case "resumed":
            return facts.Resumed(execution_id, reason if action.worker else None)
        case "restart":
            return facts.Reopened(execution_id, None, "restart") if action.pick % 4 == 0 else None
        case "rerun":
            return facts.Reopened(execution_id, (name,), "rerun") if action.pick % 4 == 0 else None
        case "retry":
            return facts.Reopened(execution_id, (name,), "retry", keep=action.worker == 0)
    key = game.rows[name, 0].key if game.rows else None
    return facts.Reopened(execution_id, (name,), "requeue", keep=True, only_if=key)


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
    if isinstance(fact, facts.Reopened) and fact.only_if is None:
        return
    places = [(fact.key.step, fact.key.shard)] if not isinstance(fact, facts.ExecutionFact) else []
    snapshot = game.snapshot(*places, whole=transitions.opens_shards(fact))
    assert play.ignored(decisions.apply(snapshot, fact, game.tools)), f"{fact} counted twice"


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
        if game.execution.status.value == "paused":
            told.append(facts.Resumed(game.execution.id))
        if game.execution.status.value in ("paused", "queued"):
            told.append(facts.Started(game.execution.id))
        for row in game.rows.values():
            if told or row.epoch != game.rows[row.step, 0].epoch:
                continue
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
            if game.execution.status.value != "running":
                break
    raise AssertionError("the execution never ends")


@pytest.mark.timeout(600)
@hypothesis.settings(
    max_examples=300,
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
    assert len(game.found(effects.Finished)) >= 1
    assert all(number == 1 for number in game.effective.values()), "at most one result for each step and shard"
    offered = [task.key for task in game.offered]
    assert len(offered) == len(set(offered)), "no attempt is offered twice"
    opened = [(effect.parent.step, effect.parent.epoch) for effect in game.found(effects.OpenShards)]
    assert len(opened) == len(set(opened)), "no fan-out opens twice in an epoch"
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
