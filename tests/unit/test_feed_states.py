"""States of feeds, back-off, freshness and domains: what follows from recorded facts."""

import datetime
from collections.abc import Mapping

import pytest

from infra import domains, feed_states, freshness, registrable
from infra.feed_states import DAY, HOUR, Facts, Fault, State

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


def ago(days: float) -> datetime.datetime:
    return NOW - datetime.timedelta(days=days)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (Facts(ago(0)), "healthy"),
        (Facts(ago(9), ago(0), ago(1)), "healthy"),
        (Facts(ago(9), ago(1), ago(1), 2, ago(1), "failing"), "healthy"),
        (Facts(ago(9), ago(1), ago(1), 3, ago(1), "failing"), "degraded"),
        (Facts(ago(9), None, None, 3, ago(1), "unreadable"), "degraded"),
        (Facts(ago(900), ago(0), ago(89)), "healthy"),
        (Facts(ago(900), ago(0), ago(90)), "dormant"),
        (Facts(ago(900), ago(1), ago(90), 3, ago(1), "failing"), "degraded"),
        (Facts(ago(900), ago(1), ago(1), 1, ago(0), "gone"), "gone"),
        (Facts(ago(900), ago(1), ago(1), 9, ago(13), "missing"), "degraded"),
        (Facts(ago(900), ago(1), ago(1), 9, ago(14), "missing"), "gone"),
        (Facts(ago(900), ago(1), ago(1), 2, ago(30), "missing"), "healthy"),
        (Facts(ago(900), ago(1), ago(1), 99, ago(99), "failing"), "degraded"),
    ],
)
def test_the_state_of_a_feed_follows_from_what_was_seen(facts: Facts, state: State) -> None:
    assert feed_states.state(facts, NOW) == state


def test_facts_follow_each_other() -> None:
    facts = feed_states.succeeded(Facts(ago(3)), ago(3), renewed=ago(5))
    assert (facts.renewed_at, facts.failures) == (ago(5), 0)
    for days in (2.0, 1.5, 1.0):
        facts = feed_states.failed(facts, "failing", ago(days))
    assert (facts.failures, facts.failing_since, facts.succeeded_at) == (3, ago(2), ago(3))
    # For how long it is missing is counted from when it was missing first.
    facts = feed_states.failed(facts, "missing", ago(0.5))
    facts = feed_states.failed(facts, "missing", NOW)
    assert (facts.failures, facts.failing_since) == (5, ago(0.5))
    facts = feed_states.succeeded(facts, NOW, renewed=None)
    assert facts == Facts(ago(3), NOW, ago(5))


def test_the_date_of_an_entry_from_the_future_is_no_promise() -> None:
    facts = feed_states.succeeded(Facts(NOW), NOW, renewed=NOW + datetime.timedelta(days=300))
    assert facts.renewed_at == NOW


@pytest.mark.parametrize(
    ("failures", "fault", "most"),
    [
        (1, "failing", 15),
        (2, "failing", 30),
        (5, "unreadable", 240),
        (14, "failing", DAY),
        (10_000, "failing", DAY),
        (1, "gone", 1.25 * 7 * DAY),
    ],
)
def test_a_failing_feed_is_asked_less_and_less_and_never_never(failures: int, fault: Fault, most: float) -> None:
    facts = Facts(ago(900), ago(1), ago(1), failures, ago(1), fault)
    pauses = [feed_states.pause(facts, NOW, chance / 100) for chance in range(100)]
    assert pauses == sorted(pauses)
    assert 0.95 * most <= max(pauses) <= most
    # Spread over all of the time that there is, so that what failed together does not come again together.
    assert fault == "gone" or min(pauses) == 0


@pytest.mark.parametrize(
    ("state", "lifetime", "least", "conditional", "seconds"),
    [
        ("healthy", 0.0, 900.0, True, 900.0),
        ("healthy", 60.0, 900.0, True, 900.0),
        ("healthy", 3600.0, 900.0, True, 3600.0),
        ("healthy", 365 * DAY, 900.0, True, 6 * HOUR),
        ("healthy", 0.0, 900.0, False, 3600.0),
        ("dormant", 0.0, 900.0, True, 6 * HOUR),
        ("dormant", 0.0, 0.0, True, 0.0),
        ("healthy", 0.0, DAY, True, DAY),
    ],
)
def test_a_server_can_raise_the_interval_and_not_lower_it(
    state: State, lifetime: float, least: float, conditional: bool, seconds: float
) -> None:
    assert feed_states.interval(state, lifetime, least, conditional=conditional) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"cache-control": "max-age=600"}, 600),
        ({"cache-control": 'public, MAX-AGE = "600" , immutable'}, 600),
        ({"cache-control": "max-age=600, max-age=5"}, 600),
        ({"cache-control": "max-age=600", "age": "100"}, 500),
        ({"cache-control": "max-age=600", "age": "1000"}, 0),
        ({"cache-control": "max-age=600", "expires": "0"}, 600),
        ({"cache-control": "s-maxage=600"}, 0),
        ({"cache-control": "no-cache, max-age=600"}, 0),
        ({"cache-control": "max-age=600, no-store"}, 0),
        ({"cache-control": "max-age=-5"}, 0),
        ({"cache-control": "max-age=soon"}, 0),
        ({"cache-control": "max-age=" + "9" * 400}, 6 * HOUR),
        ({"expires": "Sun, 01 Mar 2026 12:10:00 GMT"}, 600),
        ({"expires": "Sun, 01 Mar 2026 12:10:00 GMT", "date": "Sun, 01 Mar 2026 12:05:00 GMT"}, 300),
        ({"expires": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0),
        ({"expires": "0"}, 0),
        ({"expires": "Sun, 99 Foo 2026 12:10:00 GMT"}, 0),
    ],
)
def test_an_answer_is_fresh_for_as_long_as_it_says_within_bounds(headers: Mapping[str, str], seconds: float) -> None:
    assert freshness.lifetime(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("www.bbc.co.uk", "bbc.co.uk"),
        ("BBC.co.uk.", "bbc.co.uk"),
        ("feeds.example.com", "example.com"),
        ("a.blogspot.com", "blogspot.com"),
        ("b.github.io", "github.io"),
        ("www.b\u00fccher.example", "xn--bcher-kva.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("localhost", "localhost"),
        ("co.uk", "co.uk"),
        ("", ""),
        ("a" * 300 + ".\u00e4", "a" * 300 + ".\u00e4"),
    ],
)
def test_hosts_of_one_registration_are_one_site(host: str, domain: str) -> None:
    assert registrable.domain(host) == domain


def test_a_site_is_left_alone_as_it_says_up_to_a_day_and_else_longer_and_longer() -> None:
    assert domains.hold_seconds(0, 120.0, 0.5) == 120
    assert domains.hold_seconds(9, 0.0, 0.5) == 0
    assert domains.hold_seconds(0, 10 * DAY, 0.5) == DAY
    assert [domains.hold_seconds(strikes, None, 0.5) for strikes in (0, 1, 2, 50)] == [30, 60, 120, DAY / 2]
