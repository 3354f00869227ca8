"""Fair admission: shares by weight between tiers, evenly between the clients of one, no credit for having been idle."""

import uuid
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.coordinator import admitting, fairness
from contracts.admission import Head, Share
from contracts.tiers import WEIGHTS, Tier

NO_CAP = dict.fromkeys(Tier, 1_000_000)


class Waiting:
    """Queued jobs by client, and the shares that admission has stored: rounds are run as the coordinator runs them."""

    def __init__(self, caps: Mapping[Tier, int] = NO_CAP) -> None:
        self.lines: dict[str, deque[Head]] = {}
        self.shares: dict[str, Share] = {}
        self.running: Counter[str] = Counter()
        self.caps = caps
        self.admitted: list[Head] = []
        self._numbers = count(1)

    def add(self, client: str, tier: Tier, jobs: int, cost: float = 1.0) -> None:
        """Queues jobs of a client."""
        line = self.lines.setdefault(client, deque())
        line.extend(Head(uuid.UUID(int=next(self._numbers)), client, tier, cost) for _ in range(jobs))

    def heads(self, depth: int) -> list[Head]:
        """The first jobs of each client, as the database gives them."""
        return [head for _, line in sorted(self.lines.items()) for head in list(line)[:depth]]

    def round(self, free: int) -> fairness.Grants:
        """One transaction of admission."""
        heads = self.heads(1)
        depth = max(1, -(-2 * free // len(heads))) if heads else 1
        heads = self.heads(depth)
        known = {flow: share for flow, share in self.shares.items() if flow in fairness.flows(heads)}
        grants = fairness.admit(heads, known, self.running, self.caps, free, depth)
        self.shares |= grants.shares
        for execution_id in grants.admitted:
            (head,) = [head for head in heads if head.execution_id == execution_id]
            self.lines[head.client].remove(head)
            self.running[head.client] += 1
            self.admitted.append(head)
        return grants

    def admit(self, slots: int) -> list[Head]:
        """Rounds until no slot is free or nobody may have one, each of a hundred at most; what they admitted."""
        before = len(self.admitted)
        more = True
        while more and (free := min(slots - self.running.total(), admitting.ROUND)) > 0:
            grants = self.round(free)
            more = grants.dry or len(grants.admitted) == admitting.ROUND
        return self.admitted[before:]

    def serve(self, number: int, slots: int = 1) -> list[Head]:
        """Admits ``number`` jobs with so many slots, of which the oldest job gives its own back each time."""
        before = len(self.admitted)
        while len(self.admitted) - before < number:
            assert self.admit(slots), "there is work and a free slot, so somebody is admitted"
            for head in self.admitted[-1:] if slots == 1 else self.admitted[-slots:]:
                self.running[head.client] -= 1
            self.running = +self.running
        return self.admitted[before : before + number]


def shares_of(heads: Iterable[Head], by: str = "tier") -> dict[Any, float]:
    """What part of the admitted cost each tier or client had."""
    costs: dict[Any, float] = {}
    for head in heads:
        costs[getattr(head, by)] = costs.get(getattr(head, by), 0.0) + head.cost
    total = sum(costs.values())
    return {name: cost / total for name, cost in costs.items()}


@pytest.mark.parametrize("clients", [1, 50])
@pytest.mark.parametrize("flooded", list(Tier))
@pytest.mark.parametrize("slots", [1, 7])
def test_tiers_share_by_weight_however_many_clients_one_has(clients: int, flooded: Tier, slots: int) -> None:
    waiting = Waiting()
    for tier in Tier:
        for number in range(clients if tier is flooded else 1):
            waiting.add(f"{tier}-{number}", tier, 400)
    shares = shares_of(waiting.serve(300, slots))
    for tier in Tier:
        assert shares[tier] == pytest.approx(WEIGHTS[tier] / 15, rel=0.1), shares


@pytest.mark.parametrize("clients", [2, 50])
def test_clients_of_a_tier_share_evenly_whoever_floods(clients: int) -> None:
    waiting = Waiting()
    waiting.add("flooder", Tier.STANDARD, 5000)
    for number in range(clients - 1):
        waiting.add(f"modest-{number}", Tier.STANDARD, 20)
    served = waiting.serve(10 * clients)
    assert set(Counter(head.client for head in served).values()) == {10}


def test_a_client_who_asks_for_dear_jobs_gets_fewer_of_them() -> None:
    waiting = Waiting()
    waiting.add("dear", Tier.BASIC, 100, cost=10.0)
    waiting.add("cheap", Tier.BASIC, 1000, cost=1.0)
    shares = shares_of(waiting.serve(440), "client")
    assert shares["dear"] == pytest.approx(0.5, rel=0.1)


def test_a_newcomer_waits_for_nobodys_backlog() -> None:
    waiting = Waiting()
    for number in range(3):
        waiting.add(f"old-{number}", Tier.BASIC, 1000)
    waiting.serve(500)
    waiting.add("new", Tier.BASIC, 5)
    assert [head.client for head in waiting.serve(8)].count("new") >= 2
    waiting.add("first", Tier.ENTERPRISE, 1)
    assert "first" in [head.client for head in waiting.serve(2)]


def test_a_tier_that_was_idle_has_saved_nothing_up() -> None:
    waiting = Waiting()
    waiting.add("busy", Tier.BASIC, 3000)
    waiting.serve(1000)
    waiting.add("idle", Tier.STANDARD, 3000)
    shares = shares_of(waiting.serve(300))
    assert shares[Tier.STANDARD] == pytest.approx(2 / 3, rel=0.1)


def test_a_client_that_was_idle_has_saved_nothing_up() -> None:
    waiting = Waiting()
    waiting.add("busy", Tier.BASIC, 3000)
    waiting.serve(1000)
    waiting.add("idle", Tier.BASIC, 3000)
    assert shares_of(waiting.serve(200), "client")["idle"] == pytest.approx(0.5, rel=0.05)


def test_a_client_who_changes_his_tier_neither_starves_nor_starves_others() -> None:
    waiting = Waiting()
    waiting.add("ada", Tier.BASIC, 1000, cost=5.0)
    waiting.add("bob", Tier.ENTERPRISE, 20)
    waiting.serve(500)
    assert len(waiting.lines["ada"]) > 0
    waiting.lines["ada"].clear()
    waiting.add("ada", Tier.ENTERPRISE, 1000)
    waiting.add("bob", Tier.ENTERPRISE, 1000)
    assert shares_of(waiting.serve(100), "client")["ada"] == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("first", list(Tier))
def test_nobody_starves_beside_a_heavier_tier(first: Tier) -> None:
    waiting = Waiting()
    for tier in Tier:
        waiting.add(tier.value, tier, 1000)
    served = waiting.serve(16)
    assert first in [head.tier for head in served], "each has its turn within a round of all weights"


jobs = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from(list(Tier)), st.integers(1, 30), st.floats(0.001, 100)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(jobs, st.integers(1, 120), st.integers(1, 8))
def test_neither_slots_nor_caps_are_exceeded_and_no_free_slot_is_left_to_waiting_work(
    asked: list[tuple[int, Tier, int, float]], slots: int, cap: int
) -> None:
    caps = dict.fromkeys(Tier, cap)
    waiting = Waiting(caps)
    tiers: dict[int, Tier] = {}
    for client, tier, number, cost in asked:
        waiting.add(f"c{client}", tiers.setdefault(client, tier), number, cost)
    waiting.admit(slots)
    assert waiting.running.total() <= slots
    assert max(waiting.running.values(), default=0) <= cap
    capped = all(waiting.running[client] >= cap for client, line in waiting.lines.items() if line)
    assert waiting.running.total() == slots or capped
    ids = [head.execution_id for head in waiting.admitted]
    assert len(ids) == len(set(ids))


@settings(max_examples=40, deadline=None)
@given(jobs, st.integers(1, 50))
def test_the_same_state_gives_the_same_grants(asked: list[tuple[int, Tier, int, float]], slots: int) -> None:
    outcomes = []
    for _ in range(2):
        waiting = Waiting()
        for client, tier, number, cost in asked:
            waiting.add(f"{tier}-{client}", tier, number, cost)
        waiting.admit(slots)
        outcomes.append((waiting.admitted, waiting.shares))
    assert outcomes[0] == outcomes[1]


@settings(max_examples=40, deadline=None)
@given(jobs, st.integers(1, 60))
def test_rounds_with_a_few_heads_grant_what_one_with_all_heads_would(
    asked: list[tuple[int, Tier, int, float]], slots: int
) -> None:
    waiting = Waiting()
    for client, tier, number, cost in asked:
        waiting.add(f"{tier}-{client}", tier, number, cost)
    deepest = max(len(line) for line in waiting.lines.values()) + 1
    whole = fairness.admit(waiting.heads(deepest), {}, {}, NO_CAP, slots, deepest)
    assert not whole.dry
    assert tuple(head.execution_id for head in waiting.admit(slots)) == whole.admitted


def test_a_clients_own_jobs_are_admitted_in_the_order_in_which_they_are_given() -> None:
    waiting = Waiting()
    waiting.add("ada", Tier.BASIC, 10)
    assert [head.execution_id.int for head in waiting.serve(10)] == list(range(1, 11))


def test_a_line_that_ran_dry_stops_the_round_before_others_take_its_turn() -> None:
    waiting = Waiting()
    waiting.add("ada", Tier.ENTERPRISE, 10)
    waiting.add("bob", Tier.BASIC, 10)
    grants = fairness.admit(waiting.heads(2), {}, {}, NO_CAP, 10, 2)
    assert grants.dry
    assert [waiting.heads(10)[i].client for i in (0, 1)] == ["ada", "ada"]
    assert len(grants.admitted) <= 3


def test_without_slots_or_waiting_work_nobody_is_admitted() -> None:
    waiting = Waiting()
    assert fairness.admit([], {}, {}, NO_CAP, 5, 1) == fairness.Grants((), {}, dry=False)
    waiting.add("ada", Tier.BASIC, 1)
    assert fairness.admit(waiting.heads(1), {}, {}, NO_CAP, 0, 1).admitted == ()


@pytest.mark.parametrize(("slots", "expected"), [(1, [1, 1, 1, 1]), (10, [2, 3, 4, 5]), (100, [20, 30, 40, 50])])
def test_the_cap_of_one_client_is_a_part_of_all_slots_by_tier(slots: int, expected: list[int]) -> None:
    assert [admitting.caps(slots)[tier] for tier in Tier] == expected


def test_many_clients_with_one_known_job_each_fill_a_round() -> None:
    heads = [Head(uuid.UUID(int=n), f"c{n:03}", Tier.BASIC, 1.0) for n in range(1, 201)]
    caps = dict.fromkeys(Tier, 10)
    grants = fairness.admit(heads, {}, {}, caps, 40, 1)
    assert len(grants.admitted) == 40
    assert not grants.dry, "forty others have their turn before anybody has a second one"


def test_the_turn_of_a_client_whose_further_jobs_are_not_known_ends_the_round() -> None:
    heads = [Head(uuid.UUID(int=n), f"c{n}", Tier.BASIC, 1.0) for n in range(1, 4)]
    grants = fairness.admit(heads, {}, {}, dict.fromkeys(Tier, 10), 40, 1)
    assert (len(grants.admitted), grants.dry) == (3, True)
