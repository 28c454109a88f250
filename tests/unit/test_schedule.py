"""The next time to sweep: by the clock on the wall, on days on which it is set as well."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest

from redis_retention.service.schedule import Schedule, as_cron, as_zone, local_zone

BERLIN = ZoneInfo("Europe/Berlin")

# In 2026 the clocks of Berlin skip from 02:00 to 03:00 on March 29, at 01:00 UTC, and show the hour
# from 02:00 to 03:00 twice on October 25, the second time from 01:00 UTC on.


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def next_at(now: str, *times: str) -> datetime | None:
    return Schedule(at=times, zone=BERLIN).next_at(utc(now))


def test_a_time_of_day_is_today_or_tomorrow() -> None:
    assert next_at("2026-01-01T00:59:59", "02:00") == utc("2026-01-01T01:00:00")
    assert next_at("2026-01-01T01:00:00", "02:00") == utc("2026-01-02T01:00:00")
    assert next_at("2026-07-01T00:00:00", "2:30") == utc("2026-07-01T00:30:00")


def test_of_several_times_the_earliest_counts() -> None:
    assert next_at("2026-01-01T01:00:00", "02:00", "0 12 * * *") == utc("2026-01-01T11:00:00")
    assert next_at("2026-01-01T00:00:00", "0 12 * * *", "02:00") == utc("2026-01-01T01:00:00")


def test_without_times_there_is_none() -> None:
    assert next_at("2026-01-01T00:00:00") is None


def test_a_cron_expression_goes_by_days_of_the_week() -> None:
    friday_night = "2026-01-02T20:00:00"
    assert next_at(friday_night, "30 6 * * mon-fri") == utc("2026-01-05T05:30:00")


def test_a_time_that_the_clocks_skip_comes_right_after() -> None:
    skipped = utc("2026-03-29T01:00:00")
    assert next_at("2026-03-28T22:00:00", "02:30") == skipped
    assert next_at("2026-03-29T01:00:00", "02:30") == utc("2026-03-30T00:30:00")


def test_a_time_that_the_clocks_show_twice_comes_once() -> None:
    first = utc("2026-10-25T00:30:00")
    tomorrow = utc("2026-10-26T01:30:00")
    assert next_at("2026-10-24T22:00:00", "02:30") == first
    assert next_at("2026-10-25T00:30:00", "02:30") == tomorrow
    assert next_at("2026-10-25T01:10:00", "02:30") == tomorrow


def test_what_comes_every_so_often_goes_on_while_the_clocks_are_set() -> None:
    assert next_at("2026-10-25T00:55:00", "*/20 * * * *") == utc("2026-10-25T01:00:00")
    assert next_at("2026-10-25T01:10:00", "*/20 * * * *") == utc("2026-10-25T01:20:00")
    assert next_at("2026-03-29T00:50:00", "*/20 * * * *") == utc("2026-03-29T01:00:00")


@pytest.mark.parametrize(
    "text",
    ["", "25:00", "2:60", "2", "* * *", "0 0 0 2 * *", "61 * * * *", "*/0 * * * *", "a b c d e"],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither a time of day such as 02:00 nor a cron"):
        as_cron(text)


def test_a_time_that_never_comes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"30 2|never comes|day-of-month"):
        as_cron("0 0 30 2 *")


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "/etc/localtime", "../UTC", "Europe"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="there is no time zone"):
        as_zone(name)


@pytest.fixture
def zone_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    def zone_of(variable: str) -> str:
        monkeypatch.setenv("TZ", variable)
        return str(local_zone())

    return zone_of


def test_the_zone_of_the_process_is_what_tz_says(zone_of: Callable[[str], str]) -> None:
    assert zone_of("America/New_York") == "America/New_York"
    with pytest.raises(ValueError, match="cannot tell the time zone"):
        zone_of("Mars/Olympus")
