"""How many keys a call may delete, by what calls have taken on a clock that the test makes up."""

from __future__ import annotations

import pytest

from redis_retention.pace import Pace

MS = 0.001


def after(pace: Pace, calls: int, seconds_per_key: float, away: float = 0.0) -> int:
    """The number of keys after so many calls, each of which was bounded by it."""
    for _ in range(calls):
        seconds = away + pace.keys * seconds_per_key
        if pace.needs_round_trip(seconds):
            pace.note_round_trip(away)
        pace.note_call(seconds, bounded=True)
    return pace.keys


@pytest.mark.parametrize(("most", "first"), [(1_000, 200), (100, 100)])
def test_it_begins_with_few(most: int, first: int) -> None:
    assert Pace(most).keys == first


@pytest.mark.parametrize(
    ("microseconds", "keys"), [(2, 500), (5, 200), (8, 125), (20, 100), (100, 100), (0.5, 1_000)]
)
def test_a_call_deletes_what_the_server_deletes_in_that_time(
    microseconds: float, keys: int
) -> None:
    assert after(Pace(1_000), 20, microseconds / 1e6) == pytest.approx(keys, abs=1)


def test_twice_the_time_is_twice_the_keys() -> None:
    assert after(Pace(1_000, 2.0), 20, 5e-6) == pytest.approx(400, abs=1)


def test_a_server_that_is_far_away_does_not_count_as_a_slow_one() -> None:
    assert after(Pace(1_000), 20, 5e-6, away=40 * MS) == pytest.approx(200, abs=1)


def test_a_near_one_is_not_asked_how_far_away_it_is() -> None:
    pace = Pace(1_000)

    assert not pace.needs_round_trip(0.9 * MS)
    assert pace.needs_round_trip(1.1 * MS)


def test_a_call_that_was_quicker_than_a_round_trip_says_how_quick_these_can_be() -> None:
    pace = Pace(1_000)
    pace.note_round_trip(50 * MS)
    pace.note_call(2 * MS, bounded=True)
    pace.note_call(4 * MS, bounded=True)

    assert pace.keys == 150  # more after the first, less after the second


def test_one_call_that_had_to_wait_costs_no_more_than_half() -> None:
    pace = Pace(1_000)
    pace.note_call(1.0, bounded=True)

    assert pace.keys == 100


def test_the_last_call_of_a_trim_says_nothing_about_more_keys() -> None:
    pace = Pace(1_000)
    pace.note_call(0.1 * MS, bounded=False)

    assert pace.keys == 200


def test_a_slow_one_that_was_the_last_is_not_judged_without_a_round_trip() -> None:
    pace = Pace(1_000)
    pace.note_call(5 * MS, bounded=False)

    assert pace.keys == 200


def test_without_a_time_each_call_deletes_the_most() -> None:
    pace = Pace(300, None)
    pace.note_call(1.0, bounded=True)

    assert pace.keys == 300
    assert not pace.needs_round_trip(1.0)


@pytest.mark.parametrize(("most", "stall"), [(9, 1.0), (5_001, 1.0), (200, 0.0), (200, -1.0)])
def test_what_means_nothing_is_refused(most: int, stall: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        Pace(most, stall)
