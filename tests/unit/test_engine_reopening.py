"""Pausing, doing again, vanished documents, and money that is used up, one execution at a time."""

from typing import Any

import pytest

from consumers.coordinator.engine import effects, facts
from contracts import templates
from contracts.errors import ErrorClass
from contracts.states import PauseReason
from tests.unit.play import Play, fanned, step


def resume(game: Play, reason: PauseReason | None = None) -> list[str]:
    """Resumes the execution and gives it a slot."""
    return [*game.tell(facts.Resumed(game.execution.id, reason)), *game.tell(facts.Started(game.execution.id))]


def reopen(game: Play, kind: Any, *steps: str, **fields: Any) -> list[str]:
    """Reopens steps, all of them if none is named, and gives the execution a slot if it needs one."""
    refused = game.tell(facts.Reopened(game.execution.id, steps or None, kind, **fields))
    if game.execution.status.value == "queued":
        game.tell(facts.Started(game.execution.id))
    return refused


def gone(game: Play, name: str, made_by: str, shard: int = 0) -> list[str]:
    """A worker finds that a document of another step is gone."""
    uri = f"s3://documents/acme/2026-11-21/{game.execution.id}/{made_by}/0-1-abc.json.zst"
    return game.fail(name, ErrorClass.INPUT_GONE, shard, details={"uri": uri})


def test_a_pause_holds_what_would_begin_and_counts_what_ends() -> None:
    game = Play(step("a"), step("b", "a")).start()
    game.tell(facts.Paused(game.execution.id, PauseReason.OPERATOR))
    game.complete("a")
    assert (game.execution.status, game.status("b")) == ("paused", "pending")
    assert len(game.found(effects.HoldTimers)) == 1
    resume(game)
    assert (game.status("b"), len(game.found(effects.WakeTimers))) == ("dispatched", 1)


def test_a_pause_lets_no_attempt_follow_another() -> None:
    game = Play(step("a", fallback=["plan_b"]), step("b"), step("c")).start()
    game.tell(facts.Paused(game.execution.id, PauseReason.OPERATOR))
    game.fail("a", ErrorClass.PERMANENT)
    game.fail("b", ErrorClass.TRANSIENT)
    game.tell(facts.TaskDied(game.key("c")))
    assert set(game.statuses().values()) == {"waiting"}
    assert game.tell(facts.RetryDue(game.key("a"))) == ["paused"]
    resume(game)
    game.tell(*(facts.RetryDue(game.key(name)) for name in "abc"))
    assert set(game.statuses().values()) == {"dispatched"}
    assert game.task("a").stage == "plan_b"


def test_only_the_reason_of_a_pause_ends_it_or_a_person() -> None:
    game = Play(step("a")).start()
    game.tell(facts.Paused(game.execution.id, PauseReason.CLIENT))
    assert game.tell(facts.Resumed(game.execution.id, PauseReason.DELAY)) == ["stale"]
    game.tell(facts.Paused(game.execution.id, PauseReason.OPERATOR))
    assert game.tell(facts.Resumed(game.execution.id, PauseReason.CLIENT)) == ["stale"]
    assert resume(game) == []
    assert game.execution.status == "running"


def test_retrying_a_step_opens_with_it_what_was_cancelled_and_leaves_what_completed() -> None:
    game = Play(step("a"), step("b", "a"), step("c", "b"), step("other", "a")).start()
    game.complete("a")
    game.fail("b")
    assert game.statuses() == {"a": "completed", "b": "failed", "c": "cancelled", "other": "cancelled"}
    assert reopen(game, "retry", "a") == ["not_failed"]
    assert reopen(game, "retry", "b", keep=True) == []
    assert game.statuses() == {"a": "completed", "b": "dispatched", "c": "pending", "other": "dispatched"}
    assert (game.row("a").epoch, game.row("b").epoch, game.row("b").attempt) == (1, 2, 2)
    for name in ("b", "other", "c"):
        game.complete(name)
    assert game.execution.status == "completed"


def test_a_step_above_that_failed_is_opened_with_the_step_that_is_wanted() -> None:
    game = Play(step("a"), step("b", "a")).start()
    game.fail("a")
    reopen(game, "requeue", "b")
    assert game.statuses() == {"a": "dispatched", "b": "pending"}


def test_doing_again_what_runs_refuses_the_work_of_before_and_stops_it() -> None:
    game = Play(step("a"), step("b", "a")).start()
    late = game.completed("a")
    reopen(game, "rerun", "a")
    assert game.tell(late) == ["stale"]
    (stop,) = game.found(effects.StopWork)
    assert (stop.epoch, stop.steps) == (1, ("a", "b"))
    game.complete("a")
    assert game.task("b").epoch == 2, "what is yet to begin belongs to the new epoch, and is not stopped with the old"


def test_a_wish_that_is_told_twice_counts_once() -> None:
    game = Play(step("a")).start()
    game.fail("a")
    key = game.key("a")
    assert reopen(game, "requeue", "a", only_if=key) == []
    game.fail("a")
    assert reopen(game, "requeue", "a", only_if=key) == ["duplicate"]


def test_a_fan_out_that_shrank_is_done_with_its_new_shards() -> None:
    game = Play(step("a"), fanned("b", "a")).start()
    game.complete("a", records=4)
    old = [game.completed("b", shard) for shard in range(1, 5)]
    reopen(game, "rerun", "a")
    game.complete("a", records=2)
    assert game.tell(*old) == ["stale"] * 4
    for shard in (1, 2):
        assert game.row("b", shard).attempt == 2
        game.complete("b", shard)
    assert (game.status("b"), game.execution.status, game.status("b", 4)) == ("completed", "completed", "cancelled")


def test_a_vanished_document_is_made_again_with_what_needs_it_and_is_not_done() -> None:
    game = Play(step("a"), step("done", "a"), step("b", "a"), step("c", "b")).start()
    game.complete("a")
    game.complete("done")
    gone(game, "b", "a")
    assert game.statuses() == {"a": "dispatched", "done": "completed", "b": "pending", "c": "pending"}
    game.complete("a")
    gone(game, "b", "a")
    game.complete("a")
    gone(game, "b", "a")
    assert (game.execution.status, game.row("b").error_class) == ("failed", ErrorClass.INPUT_GONE)


def test_a_document_that_no_step_made_cannot_be_made_again() -> None:
    game = Play(step("a"), step("b", "a")).start()
    game.complete("a")
    gone(game, "b", "elsewhere")
    assert game.execution.status == "failed"


def poor(policy: str, *steps: dict[str, Any]) -> Play:
    """An execution of a template that has this to say about its budget."""
    document = {"name": "poor", "steps": list(steps), "on_budget": policy}
    return Play(template=templates.parse(document)).start()


def test_without_money_the_work_goes_on_degraded_once() -> None:
    game = poor("degrade", step("a"), fanned("b", "a"))
    game.fail("a", ErrorClass.BUDGET)
    assert (game.status("a"), game.task("a").context.degraded, game.row("a").retries) == ("dispatched", True, 0)
    game.complete("a", records=2)
    game.fail("b", ErrorClass.BUDGET, 1)
    assert game.task("b", 1).context.degraded
    game.fail("b", ErrorClass.BUDGET, 1)
    assert game.execution.status == "failed"


def test_without_money_the_work_waits_for_somebody() -> None:
    game = poor("pause", step("a"), step("b"))
    game.fail("a", ErrorClass.BUDGET)
    game.fail("b", ErrorClass.BUDGET)
    assert (game.execution.status, game.execution.pause_reason) == ("paused", PauseReason.BUDGET)
    resume(game)
    game.tell(facts.RetryDue(game.key("a")), facts.RetryDue(game.key("b")))
    assert set(game.statuses().values()) == {"dispatched"}


@pytest.mark.parametrize(("delivers", "status"), [(["json"], "partial"), ([], "failed")])
def test_without_money_the_execution_ends_with_what_it_has(delivers: list[str], status: str) -> None:
    game = poor("stop", step("a", deliver=delivers), fanned("b", "a"))
    game.complete("a", records=3)
    game.fail("b", ErrorClass.BUDGET, 2)
    assert (game.execution.status, game.status("b")) == (status, "failed")
    assert [effect.row.step for effect in game.found(effects.StepDied)] == ["b"]
    assert game.shards("b") == "cfc"
    assert [stop.steps for stop in game.found(effects.StopWork)] == [("b",)], "its neighbours may be at work"


def test_at_its_deadline_an_execution_ends_with_what_it_has() -> None:
    game = Play(step("a", deliver=["json"]), step("b", "a")).start()
    game.complete("a")
    game.tell(facts.TimeUp(game.execution.id))
    assert (game.execution.status, game.finished.explanation) == ("partial", "its deadline has passed")
    assert game.tell(facts.TimeUp(game.execution.id)) == ["over"]


def test_who_begins_a_copy_of_an_earlier_attempt_may_die_of_it_and_that_counts() -> None:
    game = Play(step("a")).start()
    copy = game.accepted("a", worker="w1")
    game.tell(facts.TaskLost(game.key("a")))
    assert (game.row("a").attempt, game.tell(copy)) == (2, [])
    assert (game.status("a"), game.row("a").starts) == ("dispatched", ("w1",))
    assert game.tell(copy) == ["stale"]
