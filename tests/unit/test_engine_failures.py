"""Failure, loss and passing time: what is tried again, what falls back, and what ends a step for good."""

import pytest

from consumers.coordinator.engine import effects, facts
from contracts.errors import ErrorClass
from contracts.states import StepStatus
from tests.unit import play
from tests.unit.play import Play, step


def recorded(game: Play) -> list[tuple[str, str | None, int | None]]:
    return [(found.kind, found.step, found.attempt) for found in game.found(effects.Recorded)]


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
    assert [fact.detail["stage"] for fact in game.found(effects.Recorded)] == ["work", "work", "plan_b", "plan_c"]


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
    assert {fact.detail["stage"] for fact in game.found(effects.Recorded)} == {"work"}
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
    assert len(game.row("a").starts) == 5, "whoever looks into it sees which workers died"
    assert [stop.steps for stop in game.found(effects.StopWork)] == [("a",)], "a copy in the queue would kill again"


@pytest.mark.parametrize("fields", [{"fallback": ["plan_b"]}, {"retry": {"classes": ["crash_loop"]}}])
def test_after_a_crash_loop_another_stage_or_attempt_begins_without_its_deaths(fields: dict[str, object]) -> None:
    game = Play(step("a", **fields)).start()
    for number in range(5):
        game.tell(game.accepted("a", worker=f"w{number}"))
    game.tell(facts.CrashLooped(game.key("a"), 5))
    assert game.row("a").starts == (), "or the next attempt would be taken for a crash loop before it starts"
    assert game.found(effects.StopWork) == [], "or the next attempt would be stopped"


def test_a_start_that_ended_with_a_failure_did_not_end_with_a_death() -> None:
    game = Play(step("a")).start()
    game.tell(game.accepted("a", worker="dies"))
    game.tell(game.accepted("a", worker="tells"))
    game.fail("a", ErrorClass.TRANSIENT, worker="tells")
    assert game.row("a").starts == ("dies",)


@pytest.mark.parametrize("status", ["pending", "ready", "waiting"])
def test_a_row_that_is_not_offered_can_be_neither_lost_nor_completed(status: str) -> None:
    game = Play(step("a"), step("b", "a")).start()
    game.rows["a", 0] = game.row("a")._replace(status=StepStatus(status))
    for fact in (facts.TaskLost(game.key("a")), facts.DeadlinePassed(game.key("a")), game.completed("a")):
        assert game.tell(fact) == ["duplicate"]


def test_a_delay_is_over_only_for_a_row_that_waits() -> None:
    game = Play(step("a")).start()
    assert game.tell(facts.RetryDue(game.key("a"))) == ["duplicate"]
    assert len(game.offered) == 1
