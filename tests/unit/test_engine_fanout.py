"""Fan-out and join: the window, the policies, and what the shards' outcomes make of the step."""

from typing import Any

import pytest

from consumers.coordinator.engine import effects, facts
from contracts.errors import ErrorClass
from tests.unit.play import Play, fanned, step


def opened(shards: int = 3, **fields: Any) -> Play:
    """A fan-out over that many records, with a step after it."""
    game = Play(step("a"), fanned("b", "a", **fields), step("c", "b")).start()
    game.complete("a", records=shards)
    return game


def test_there_is_a_shard_for_each_record() -> None:
    game = opened(3)
    assert (game.status("b"), game.row("b").shards, game.shards("b")) == ("running", 3, "ddd")
    assert [(task.step, task.shard) for task in game.offered] == [("a", 0), ("b", 1), ("b", 2), ("b", 3)]
    assert game.status("c") == "pending"


def test_only_a_window_of_shards_is_offered_at_a_time() -> None:
    game = opened(5, window=2)
    assert game.shards("b") == "ddppp"
    game.tell(game.accepted("b", 1))
    assert game.shards("b") == "rdppp", "a shard that runs keeps its place"
    game.complete("b", 2)
    assert game.shards("b") == "rcdpp"
    game.fail("b", ErrorClass.TRANSIENT, 3)
    assert game.shards("b") == "rcwpp", "so does one that waits to be tried again"
    game.fail("b", ErrorClass.PERMANENT, 1)
    assert game.status("b") == "failed"


def test_shards_that_end_together_make_room_for_as_many() -> None:
    game = opened(6, window=3)
    game.tell(*(game.completed("b", shard) for shard in (1, 2, 3)))
    assert game.shards("b") == "cccddd"


def test_the_step_is_over_with_its_last_shard_and_only_then_the_next_begins() -> None:
    game = opened(3)
    for shard in (2, 3, 1):
        assert game.status("c") == "pending"
        game.complete("b", shard)
    assert (game.status("b"), game.status("c")) == ("completed", "dispatched")
    assert game.row("b").summary == {"shards": 3, "completed": 3, "failed": 0}


def test_numbers_of_the_shards_summaries_are_added_up_and_labels_left_out() -> None:
    game = opened(3)
    for shard, found in ((1, 2), (2, 0.5), (3, 4)):
        game.complete("b", shard, summary={"found": found, "site": f"s{shard}", "new": True, "failed": 9})
    assert game.row("b").summary == {"found": 6.5, "shards": 3, "completed": 3, "failed": 0}


def test_only_completed_shards_count_in_the_sums() -> None:
    game = opened(2, join={"policy": "any"})
    game.complete("b", 1, summary={"found": 2})
    game.fail("b", shard=2)
    assert game.row("b").summary == {"found": 2, "shards": 2, "completed": 1, "failed": 1}
    assert (game.status("b"), game.status("c")) == ("completed", "dispatched")


@pytest.mark.parametrize(
    ("join", "needed"),
    [
        ({"policy": "all"}, 4),
        ({"policy": "any"}, 1),
        ({"policy": "at_least", "value": 2}, 2),
        ({"policy": "percentage", "value": 70}, 3),
        ({"policy": "percentage", "value": 75}, 3),
        ({"policy": "percentage", "value": 100}, 4),
        ({"policy": "percentage", "value": 0}, 0),
        ({"policy": "at_least", "value": 0}, 0),
    ],
)
@pytest.mark.parametrize("completed", range(5))
def test_the_join_completes_when_enough_shards_did(join: dict[str, Any], needed: int, completed: int) -> None:
    game = opened(4, join=join)
    for shard in range(1, 5):
        if shard <= completed:
            game.complete("b", shard)
        elif game.status("b") == "running":
            game.fail("b", shard=shard)
    assert game.status("b") == ("completed" if completed >= needed else "failed")
    assert game.execution.status == ("running" if completed >= needed else "failed")


def test_the_join_waits_for_shards_that_can_no_longer_change_its_outcome_for_the_better() -> None:
    game = opened(3, join={"policy": "any"})
    game.complete("b", 1)
    assert (game.status("b"), game.status("c")) == ("running", "pending"), "what the others find is wanted too"


def test_a_join_that_can_no_longer_succeed_fails_at_once_and_cancels_its_shards() -> None:
    game = opened(5, window=3, join={"policy": "at_least", "value": 4})
    game.fail("b", shard=1)
    assert game.status("b") == "running"
    game.fail("b", shard=3)
    assert (game.status("b"), game.shards("b")) == ("failed", "fcfcc")
    assert game.row("b").error == "2 of 5 shards failed; the join needs 4 to complete"
    assert game.execution.status == "failed"
    assert len(game.found(effects.CancelShards)) == 1


def test_an_optional_fan_out_may_fail() -> None:
    game = opened(2, optional=True)
    first, second = game.completed("b", 1), game.failed("b", ErrorClass.PERMANENT, 2)
    game.tell(second)
    assert game.statuses() == {"a": "completed", "b": "failed", "c": "dispatched"}
    assert game.tell(first) == ["duplicate"], "its shard was cancelled"
    game.complete("c")
    assert game.finished.status == "partial"


def test_shards_of_a_step_that_failed_within_the_batch_do_not_go_on() -> None:
    game = opened(3, optional=True)
    told: list[facts.Fact] = [
        game.failed("b", ErrorClass.PERMANENT, 1),
        game.completed("b", 2),
        facts.TaskLost(game.key("b", 3)),
    ]
    before = len(game.offered)
    assert game.tell(*told) == ["duplicate", "duplicate"]
    assert game.shards("b") == "fcc"
    assert [task.step for task in game.offered[before:]] == ["c"]


@pytest.mark.parametrize("policy", ["all", "any", "percentage"])
def test_a_fan_out_over_no_records_completes_at_once(policy: str) -> None:
    game = opened(0, join={"policy": policy, "value": 50})
    assert game.row("b").summary == {"shards": 0, "completed": 0, "failed": 0}
    assert game.statuses() == {"a": "completed", "b": "completed", "c": "dispatched"}
    assert game.found(effects.OpenShards) == []


def test_a_fan_out_that_needs_more_shards_than_there_are_fails_at_once() -> None:
    game = opened(2, join={"policy": "at_least", "value": 3})
    assert game.execution.status == "failed"
    assert game.row("b").error == "0 of 2 shards failed; the join needs 3 to complete"
    assert [task.step for task in game.offered] == ["a"]
    assert game.shards("b") == "cc"


def test_a_chain_of_empty_fan_outs_runs_through_in_one_go() -> None:
    names = [f"s{number}" for number in range(200)]
    game = Play(
        step("s0"),
        *(
            fanned(name, names[i]) if i % 2 == 0 else step(name, names[i], when="false")
            for i, name in enumerate(names[1:])
        ),
    ).start()
    game.complete("s0", records=0)
    assert game.finished.status == "completed"


def test_a_fan_out_takes_the_union_of_several_steps_and_the_records_in_their_order() -> None:
    game = Play(step("a"), step("b"), step("c"), fanned("d", "c", "a", "b")).start()
    game.complete("a", records=2)
    game.complete("b", records=0)
    game.complete("c", records=1)
    inputs = [game.task("d", shard).shard_input for shard in (1, 2, 3)]
    assert [(i.field, i.ref.uri, i.index) for i in inputs if i] == [
        ("record", "s3://documents/c-0", 0),
        ("record", "s3://documents/a-0", 0),
        ("record", "s3://documents/a-0", 1),
    ]


@pytest.mark.parametrize("missing", ["skipped", "failed"])
def test_a_fan_out_over_several_steps_does_without_those_that_made_nothing(missing: str) -> None:
    game = Play(
        step("a"), step("b", when="false" if missing == "skipped" else None, optional=True), fanned("c", "a", "b")
    ).start()
    if missing == "failed":
        game.fail("b")
    game.complete("a", records=2)
    assert game.shards("c") == "dd"
    for shard in (1, 2):
        game.complete("c", shard)
    assert game.finished.status == ("completed" if missing == "skipped" else "partial")


def test_a_fan_out_over_a_skipped_step_alone_has_no_shards() -> None:
    game = Play(step("a", when="false"), fanned("b", "a")).start()
    assert game.finished.status == "completed"
    assert game.row("b").shards == 0


def test_shards_are_tried_again_and_fall_back_each_by_itself() -> None:
    game = opened(2, fallback=["plan_b"], retry={"attempts": 2})
    game.fail("b", ErrorClass.TRANSIENT, 1)
    assert game.shards("b") == "wd"
    game.tell(facts.RetryDue(game.key("b", 1)))
    game.fail("b", ErrorClass.PERMANENT, 1)
    task = game.task("b", 1)
    assert (task.stage, task.attempt, task.shard_input and task.shard_input.index) == ("plan_b", 3, 0)
    assert (game.task("b", 2).stage, game.row("b", 2).attempt) == ("work", 1)
    game.complete("b", 1)
    game.complete("b", 2)
    assert game.status("b") == "completed"


def test_the_step_itself_has_no_task_that_could_end_it() -> None:
    game = opened(2)
    for fact in (
        game.completed("b", 0),
        game.failed("b", ErrorClass.PERMANENT, 0),
        game.accepted("b", 0),
        facts.TaskLost(game.key("b")),
        facts.DeadlinePassed(game.key("b")),
    ):
        assert game.tell(fact) == ["fanned_out"]
    assert (game.status("b"), game.shards("b")) == ("running", "dd")


def test_shards_of_an_older_epoch_are_no_part_of_a_reopened_step() -> None:
    game = opened(2)
    old = game.completed("b", 2)
    for place in (("b", 0), ("b", 1)):
        game.rows[place] = game.rows[place]._replace(epoch=2)
    game.rows["b", 0] = game.rows["b", 0]._replace(shards=1)
    assert game.tell(old) == ["stale"]
    game.complete("b", 1)
    assert game.status("b") == "completed"


def test_cancelling_ends_shards_that_are_open_and_keeps_those_that_are_done() -> None:
    game = opened(4, window=2)
    game.complete("b", 1)
    game.tell(facts.Cancelled(game.execution.id, "ada"))
    assert game.shards("b") == "cccc"
    assert [game.status("b", shard) for shard in (1, 2)] == ["completed", "cancelled"]
    assert len(game.found(effects.StopWork)) == 1


def test_an_execution_that_ends_within_the_batch_that_opens_a_fan_out_offers_none_of_it() -> None:
    game = Play(step("a"), step("z"), fanned("b", "a")).start()
    game.tell(game.completed("a", records=3), game.failed("z", ErrorClass.PERMANENT))
    assert game.shards("b") == "ccc"
    assert [task.step for task in game.offered] == ["a", "z"]


@pytest.mark.parametrize("kind", ["rerun", "restart"])
def test_a_fan_out_that_is_opened_anew_within_the_batch_fills_its_window_once(kind: Any) -> None:
    game = Play(step("a"), fanned("b", "a", window=1)).start()
    game.complete("a", records=3)
    steps = ("b",) if kind == "rerun" else None
    game.tell(game.completed("b", 1), facts.Reopened(game.execution.id, steps, kind))
    if kind == "restart":
        game.complete("a", records=3)
    assert game.shards("b") == "dpp", "what ended before had room for one more, which is not there any more"
