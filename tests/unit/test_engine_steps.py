"""The life of a step: each fact about a task, in each state in which it may arrive."""

import pytest

from consumers.coordinator.engine import decisions, effects, facts
from consumers.coordinator.engine.effects import Change
from contracts.errors import ErrorClass
from contracts.states import ExecutionStatus, StepStatus
from tests.unit import play
from tests.unit.play import Play, fanned, step


def test_an_admitted_execution_offers_every_step_that_waits_for_nothing() -> None:
    game = Play(step("a"), step("b"), step("c", "a", "b")).start()
    assert game.execution.status == "running"
    assert game.statuses() == {"a": "dispatched", "b": "dispatched", "c": "pending"}
    assert [task.step for task in game.offered] == ["a", "b"]


def test_an_execution_starts_once() -> None:
    game = Play(step("a")).start()
    assert game.tell(facts.Started(game.execution.id)) == ["duplicate"]
    assert len(game.offered) == 1


def test_an_execution_that_was_cancelled_while_it_waited_does_not_start() -> None:
    game = Play(step("a"))
    game.tell(facts.Cancelled(game.execution.id, "operator"))
    assert game.tell(facts.Started(game.execution.id)) == ["duplicate"]
    assert game.rows == {}
    assert game.finished.status == "cancelled"


def test_a_worker_accepts_tells_its_progress_and_completes() -> None:
    game = Play(step("a", deliver=["json"])).start()
    game.tell(game.accepted("a"))
    row = game.row("a")
    assert (row.status, row.worker, row.starts) == ("running", play.WORKER, (play.WORKER,))
    game.tell(game.progressed("a", 0.5))
    assert (game.row("a").fraction, game.row("a").note) == (0.5, "on it")
    game.complete("a", summary={"found": 3}, metrics={"seconds": 1.5})
    row = game.row("a")
    assert (row.status, row.summary, row.metrics) == ("completed", {"found": 3}, {"seconds": 1.5})
    assert (row.fraction, row.note) == (None, None)
    assert game.execution.status == "completed"
    assert game.finished.deliverables[0].ref == row.output


def test_work_that_was_never_accepted_may_complete() -> None:
    game = Play(step("a")).start()
    assert game.complete("a") == []
    assert game.execution.status == "completed"


def test_progress_tells_who_works_even_if_the_acceptance_comes_late() -> None:
    game = Play(step("a")).start()
    late = game.accepted("a")
    game.tell(game.progressed("a", 0.5))
    assert (game.status("a"), game.row("a").worker, game.row("a").starts) == ("running", play.WORKER, ())
    assert game.tell(late) == []
    assert (game.row("a").fraction, game.row("a").starts) == (0.5, (play.WORKER,))


def test_a_redelivered_task_belongs_to_the_worker_that_began_last() -> None:
    game = Play(step("a")).start()
    for worker in ("first", "second", "first"):
        assert game.tell(game.accepted("a", worker=worker)) == []
        assert game.row("a").worker == worker
    assert game.row("a").starts == ("first", "second"), "each instance counts once"


@pytest.mark.parametrize(
    "kind", ["accepted", "progressed", "completed", "failed", "lapsed", "lost", "died", "late", "looped"]
)
def test_the_same_fact_counts_once(kind: str) -> None:
    game = Play(step("a", retry={"classes": ["transient", "timeout", "crash_loop"]}), step("b", "a")).start()
    if kind == "lapsed":
        game.tell(game.accepted("a"))
    told: dict[str, facts.Fact] = {
        "accepted": game.accepted("a"),
        "progressed": game.progressed("a", 0.3),
        "completed": game.completed("a"),
        "failed": game.failed("a"),
        "lapsed": facts.LeaseLapsed(game.key("a"), play.WORKER),
        "lost": facts.TaskLost(game.key("a")),
        "died": facts.TaskDied(game.key("a")),
        "late": facts.DeadlinePassed(game.key("a")),
        "looped": facts.CrashLooped(game.key("a"), 5),
    }
    assert game.tell(told[kind]) == []
    rows, tasks = dict(game.rows), len(game.offered)
    (reason,) = game.tell(told[kind])
    assert reason in ("duplicate", "stale")
    assert (game.rows, len(game.offered)) == (rows, tasks)


@pytest.mark.parametrize("epoch", [1, 2, 3])
@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_only_the_current_attempt_of_the_current_epoch_counts(epoch: int, attempt: int) -> None:
    game = Play(step("a"), epoch=2).start()
    game.tell(facts.TaskLost(game.key("a")))
    event = game.completed("a").model_copy(update={"epoch": epoch, "attempt": attempt})
    current = (epoch, attempt) == (2, 2)
    assert game.tell(event) == ([] if current else ["stale"])
    assert game.status("a") == ("completed" if current else "dispatched")


def test_facts_about_steps_or_shards_that_do_not_exist_are_unknown() -> None:
    game = Play(step("a")).start()
    event = game.completed("a")
    assert game.tell(event.model_copy(update={"shard": 1})) == ["unknown"]
    assert game.tell(event.model_copy(update={"step": "elsewhere"})) == ["unknown"]
    assert game.status("a") == "dispatched"


@pytest.mark.parametrize("shard", [0, 4])
def test_nothing_counts_when_the_execution_is_over(shard: int) -> None:
    game = Play(step("a"), fanned("b", "a")).start()
    game.complete("a", records=5)
    late = game.completed("b", shard)
    game.tell(facts.Cancelled(game.execution.id, "operator"))
    (reason,) = game.tell(late)
    assert reason in ("over", "fanned_out")
    assert set(game.statuses().values()) == {"completed", "cancelled"}
    assert game.shards("b") == "ccccc"


# --- Conditions ------------------------------------------------------------------------------------------------------


def test_a_step_whose_condition_is_false_is_skipped_and_what_follows_runs_without_it() -> None:
    game = Play(
        step("a"),
        step("b", "a", when="steps.a.found > 5"),
        step("c", "b", inputs={"given": "b"}, when="steps.b.status == 'skipped'"),
    ).start()
    game.complete("a", summary={"found": 5})
    assert game.statuses() == {"a": "completed", "b": "skipped", "c": "dispatched"}
    assert game.task("c").inputs.fields == {}
    game.complete("c")
    assert game.finished.status == "completed"


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("steps.a.found", "make it true or false"),
        ("steps.a.missing > 1", "missing"),
        ("1 / 0 == 1", "cannot be computed"),
    ],
)
@pytest.mark.parametrize("fields", [{}, {"fallback": ["plan_b"]}, {"retry": {"classes": ["invalid_input"]}}])
def test_a_condition_without_a_truth_value_fails_the_step_for_good(
    condition: str, told: str, fields: dict[str, object]
) -> None:
    game = Play(step("a"), step("b", "a", when=condition, **fields)).start()
    game.complete("a", summary={"found": 5})
    row = game.row("b")
    assert (row.status, row.error_class) == ("failed", "invalid_input")
    assert told in (row.error or "")
    assert len(game.offered) == 1, "neither another stage nor another attempt runs what the condition did not allow"
    assert game.execution.status == "failed"


def test_conditions_see_parameters_and_context() -> None:
    when = "parameters.topic == 'bees' && context.tier == 'premium' && context.quality == 'high'"
    game = Play(step("a", when=when), parameters={"topic": "bees"}).start()
    assert game.status("a") == "dispatched"


def test_a_chain_as_long_as_a_template_may_be_is_skipped_in_one_go() -> None:
    names = [f"s{number}" for number in range(200)]
    steps = [step(name, *names[i - 1 : i], when="false") for i, name in enumerate(names)]
    assert Play(*steps).start().finished.status == "completed"


@pytest.mark.parametrize("broken", ["steps.s0.missing == 1", "1"])
def test_a_chain_of_optional_steps_that_cannot_be_built_fails_in_one_go(broken: str) -> None:
    names = [f"s{number}" for number in range(200)]
    steps = [step(name, *names[i - 1 : i], when=broken if i else None, optional=True) for i, name in enumerate(names)]
    game = Play(*steps).start()
    game.complete("s0")
    assert game.finished.status == "partial"


# --- Ends ------------------------------------------------------------------------------------------------------------


def test_cancelling_stops_what_runs_and_tells_who_and_why() -> None:
    game = Play(step("a"), step("b"), step("c", "a")).start()
    game.complete("b")
    game.tell(facts.Cancelled(game.execution.id, "ada", "changed my mind"))
    assert game.statuses() == {"a": "cancelled", "b": "completed", "c": "cancelled"}
    assert (game.finished.status, game.finished.explanation) == ("cancelled", "changed my mind")
    assert len(game.found(effects.StopWork)) == 1
    (told,) = game.found(effects.Recorded)
    assert (told.kind, told.actor, told.detail) == ("cancelled", "ada", {"note": "changed my mind"})
    assert game.tell(facts.Cancelled(game.execution.id, "ada")) == ["over"]


def test_workers_are_not_disturbed_by_an_end_that_left_no_work() -> None:
    game = Play(step("a")).start()
    game.complete("a")
    assert game.found(effects.StopWork) == []
    waiting = Play(step("a")).start()
    waiting.fail("a", ErrorClass.TRANSIENT)
    waiting.tell(facts.Cancelled(waiting.execution.id, "ada"))
    assert waiting.found(effects.StopWork) == []


def test_a_required_failure_cancels_its_siblings() -> None:
    game = Play(step("a"), step("b"), step("c", "a", "b")).start()
    game.tell(game.accepted("b"))
    game.fail("a")
    assert game.statuses() == {"a": "failed", "b": "cancelled", "c": "cancelled"}
    assert len(game.found(effects.StopWork)) == 1
    assert len(game.found(effects.Finished)) == 1


def test_several_facts_of_one_batch_are_taken_in_their_order() -> None:
    game = Play(step("a"), step("b", "a")).start()
    accepted, completed = game.accepted("a"), game.completed("a")
    assert game.tell(completed, accepted, completed) == ["duplicate", "duplicate"]
    assert game.statuses() == {"a": "completed", "b": "dispatched"}


def test_a_task_that_is_overtaken_within_its_batch_is_not_published() -> None:
    game = Play(step("a"), step("b")).start()
    failed, lost = game.failed("b", ErrorClass.PERMANENT), facts.TaskLost(game.key("a"))
    game.tell(lost, failed)
    assert [task.key.attempt for task in game.offered] == [1, 1]
    assert game.status("a") == "cancelled"


def test_deliverables_are_the_formats_that_the_step_names_and_made() -> None:
    game = Play(step("a", deliver=["html", "json", "pdf"]), step("b", "a")).start()
    files = {"html": play.document("page"), "text": play.document("text")}
    game.complete("a", files=files)
    told = [found.deliverable for found in game.found(effects.Delivered)]
    assert [(item.step, item.format) for item in told] == [("a", "html"), ("a", "json")]
    assert (told[0].ref, told[1].ref) == (files["html"], game.row("a").output)
    game.complete("b")
    assert game.finished.deliverables == tuple(told)


def test_deliverables_too_large_for_a_message_are_left_to_the_database() -> None:
    names = [f"s{number}" for number in range(10)]
    game = Play(*(step(name, deliver=["json"]) for name in names)).start()
    for name in names:
        game.complete(name, output=play.inline(size=4000))
    assert len(game.found(effects.Delivered)) == 10
    assert (game.finished.status, game.finished.deliverables) == ("completed", ())


def test_a_paused_execution_takes_results_in_and_begins_nothing() -> None:
    game = Play(step("a"), step("b", "a")).start()
    game.execution = game.execution._replace(status=ExecutionStatus.PAUSED)
    assert game.complete("a") == []
    assert game.statuses() == {"a": "completed", "b": "pending"}
    resumed = game.execution._replace(status=ExecutionStatus.RUNNING)
    change = decisions.advance(Change(game.snapshot()._replace(execution=resumed)), game.tools)
    assert change.snapshot.step("b").status is StepStatus.DISPATCHED
