"""The life of a step: each fact about a task, in each state in which it may arrive."""

import dataclasses

import pytest

from consumers.coordinator import effects, engine, facts
from consumers.coordinator.effects import Change
from contracts.errors import ErrorClass
from contracts.states import ExecutionStatus, StepStatus
from tests.unit import play
from tests.unit.play import Play, fanned, step


def recorded(game: Play) -> list[tuple[str, str | None, int | None]]:
    return [(found.kind, found.step, found.attempt) for found in game.found(effects.Recorded)]


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


# --- Failure ---------------------------------------------------------------------------------------------------------


def test_a_failure_of_a_class_that_is_tried_again_waits_and_is_offered_as_the_next_attempt() -> None:
    game = Play(step("a", retry={"attempts": 3, "base": 4.0})).start()
    game.tell(game.accepted("a"))
    game.fail("a", ErrorClass.TRANSIENT, details={"host": "x"})
    row = game.row("a")
    assert (row.status, row.attempt, row.retries, row.wait, row.worker) == ("waiting", 2, 1, 2.0, None)
    assert (row.error_class, row.error, row.error_details) == ("transient", "a broke", {"host": "x"})
    assert recorded(game) == [("retry", "a", 1)]
    game.tell(facts.RetryDue(game.key("a")))
    assert (game.status("a"), game.row("a").wait, game.task("a").attempt) == ("dispatched", None, 2)
    game.complete("a")
    row = game.row("a")
    assert (row.status, row.error_class, row.error, row.error_details) == ("completed", None, None, {})
    assert game.finished.status == "completed"


def test_the_wait_doubles_and_is_never_shorter_than_the_other_side_asked() -> None:
    game = Play(step("a", retry={"attempts": 9, "base": 2.0, "cap": 5.0})).start()
    waits = []
    for after in (None, None, None, 60.0):
        game.fail("a", ErrorClass.TRANSIENT, after=after)
        waits.append(game.row("a").wait)
        game.tell(facts.RetryDue(game.key("a")))
    assert waits == [1.0, 2.0, 2.5, 60.0], "half of 2, 4 and the cap of 5, then what was asked"


def test_when_the_attempts_are_used_up_the_step_fails_and_a_person_is_told() -> None:
    game = Play(step("a", retry={"attempts": 2}), step("b", "a")).start()
    game.fail("a", ErrorClass.TRANSIENT)
    game.tell(facts.RetryDue(game.key("a")))
    game.fail("a", ErrorClass.TIMEOUT, worker="worker-2")
    assert game.statuses() == {"a": "failed", "b": "cancelled"}
    assert game.execution.status == "failed"
    (died,) = game.found(effects.StepDied)
    assert (died.row.step, died.row.attempt, died.row.worker, died.row.error_class) == ("a", 2, "worker-2", "timeout")
    assert "a broke" in game.finished.explanation


@pytest.mark.parametrize("error_class", list(ErrorClass))
def test_only_the_classes_of_the_policy_are_tried_again(error_class: ErrorClass) -> None:
    game = Play(step("a")).start()
    game.fail("a", error_class)
    again = error_class in (ErrorClass.TRANSIENT, ErrorClass.TIMEOUT)
    assert game.status("a") == ("waiting" if again else "failed")


def test_a_step_falls_back_to_other_stages_each_with_its_own_attempts() -> None:
    game = Play(step("a", fallback=["plan_b", "plan_c"], retry={"attempts": 2})).start()
    game.fail("a", ErrorClass.TRANSIENT)
    game.tell(facts.RetryDue(game.key("a")))
    game.fail("a", ErrorClass.TRANSIENT)
    assert (game.task("a").stage, game.task("a").attempt, game.row("a").retries) == ("plan_b", 3, 0)
    game.fail("a", ErrorClass.PERMANENT)
    assert (game.task("a").stage, game.task("a").attempt) == ("plan_c", 4)
    game.fail("a", ErrorClass.TRANSIENT)
    assert (game.status("a"), game.row("a").stage) == ("waiting", "plan_c")
    assert [kind for kind, _, _ in recorded(game)] == ["retry", "fallback", "fallback", "retry"]


def test_without_an_optional_step_the_execution_is_partial() -> None:
    game = Play(step("a", optional=True), step("b", "a", inputs={"given": "a"}, deliver=["json"])).start()
    game.fail("a")
    assert game.task("b").inputs.fields == {}, "what failed gives no input"
    game.complete("b")
    assert (game.finished.status, game.finished.explanation) == ("partial", "without a")
    assert [item.step for item in game.finished.deliverables] == ["b"]
    assert game.found(effects.StepDied) == []


# --- Time and loss ---------------------------------------------------------------------------------------------------


def test_lost_work_is_offered_anew_and_not_charged() -> None:
    game = Play(step("a", retry={"attempts": 1})).start()
    game.tell(game.accepted("a"))
    game.tell(facts.LeaseLapsed(game.key("a"), play.WORKER))
    game.tell(facts.TaskLost(game.key("a")))
    game.tell(facts.TaskDied(game.key("a")))
    row = game.row("a")
    assert (row.status, row.attempt, row.retries, row.worker) == ("dispatched", 4, 0, None)
    assert [kind for kind, _, _ in recorded(game)] == ["lease_lapsed", "task_lost", "task_died"]
    assert [task.attempt for task in game.offered] == [1, 2, 3, 4]


def test_a_lease_lapses_only_for_the_worker_that_holds_it() -> None:
    game = Play(step("a")).start()
    game.tell(game.accepted("a", worker="second"))
    assert game.tell(facts.LeaseLapsed(game.key("a"), "first")) == ["stale"]
    assert game.tell(facts.TaskLost(game.key("a"))) == ["stale"], "somebody holds it, so it is not lost"
    assert game.tell(facts.LeaseLapsed(game.key("a"), "second")) == []


def test_the_zombie_of_a_lapsed_lease_is_refused() -> None:
    game = Play(step("a"), step("b", "a")).start()
    game.tell(game.accepted("a"))
    zombie = game.completed("a", summary={"by": "zombie"})
    game.tell(facts.LeaseLapsed(game.key("a"), play.WORKER))
    assert game.tell(zombie) == ["stale"]
    game.complete("a", summary={"by": "heir"})
    assert game.tell(zombie) == ["stale"]
    assert game.row("a").summary == {"by": "heir"}


def test_a_task_that_is_held_too_long_is_charged_as_a_time_out() -> None:
    game = Play(step("a")).start()
    game.tell(game.accepted("a"))
    game.tell(facts.DeadlinePassed(game.key("a")))
    row = game.row("a")
    assert (row.status, row.error_class, row.retries) == ("waiting", "timeout", 1)


def test_a_task_that_keeps_killing_its_workers_fails_and_says_how_often() -> None:
    game = Play(step("a")).start()
    for number in range(5):
        game.tell(game.accepted("a", worker=f"w{number}"))
    game.tell(facts.CrashLooped(game.key("a"), 5))
    assert (game.status("a"), game.row("a").error_class) == ("failed", "crash_loop")
    assert "5 starts" in (game.row("a").error or "")


@pytest.mark.parametrize("fields", [{"fallback": ["plan_b"]}, {"retry": {"classes": ["crash_loop"]}}])
def test_after_a_crash_loop_another_stage_or_attempt_begins_without_its_deaths(fields: dict[str, object]) -> None:
    game = Play(step("a", **fields)).start()
    for number in range(5):
        game.tell(game.accepted("a", worker=f"w{number}"))
    game.tell(facts.CrashLooped(game.key("a"), 5))
    assert game.row("a").starts == (), "or the next attempt would be taken for a crash loop before it starts"


def test_a_start_that_ended_with_a_failure_did_not_end_with_a_death() -> None:
    game = Play(step("a")).start()
    game.tell(game.accepted("a", worker="dies"))
    game.tell(game.accepted("a", worker="tells"))
    game.fail("a", ErrorClass.TRANSIENT, worker="tells")
    assert game.row("a").starts == ("dies",)


@pytest.mark.parametrize("status", ["pending", "ready", "waiting"])
def test_a_row_that_is_not_offered_can_be_neither_lost_nor_completed(status: str) -> None:
    game = Play(step("a"), step("b", "a")).start()
    game.rows["a", 0] = dataclasses.replace(game.row("a"), status=StepStatus(status))
    for fact in (facts.TaskLost(game.key("a")), facts.DeadlinePassed(game.key("a")), game.completed("a")):
        assert game.tell(fact) == ["duplicate"]


def test_a_delay_is_over_only_for_a_row_that_waits() -> None:
    game = Play(step("a")).start()
    assert game.tell(facts.RetryDue(game.key("a"))) == ["duplicate"]
    assert len(game.offered) == 1


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
    game.execution = dataclasses.replace(game.execution, status=ExecutionStatus.PAUSED)
    assert game.complete("a") == []
    assert game.statuses() == {"a": "completed", "b": "pending"}
    resumed = dataclasses.replace(game.execution, status=ExecutionStatus.RUNNING)
    change = engine.advance(Change(dataclasses.replace(game.snapshot(), execution=resumed)), game.tools)
    assert change.snapshot.step("b").status is StepStatus.DISPATCHED
