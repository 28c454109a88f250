"""What a policy may be."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from redis_retention import InvalidPolicy, Policy
from redis_retention.engine import Engine


@pytest.mark.parametrize("count", [0, -1, 1.5, "3", True])
def test_a_count_is_a_whole_number_of_at_least_one(count: Any) -> None:
    with pytest.raises(InvalidPolicy, match="keep_last"):
        Policy(keep_last=count)


def test_everything_is_retained_only_where_threads_expire() -> None:
    with pytest.raises(InvalidPolicy, match="nothing would ever go"):
        Policy(keep_last=None)
    assert Policy(keep_last=None, expire_after=timedelta(seconds=1)).arguments()[0] == -1


@pytest.mark.parametrize("field", ["keep_within", "expire_after"])
@pytest.mark.parametrize("span", [timedelta(0), timedelta(days=-1), 7, "7d"])
def test_a_time_is_positive(field: str, span: Any) -> None:
    with pytest.raises(InvalidPolicy, match=field):
        Policy(**{field: span})


def test_the_scripts_get_milliseconds_and_minus_one_for_what_is_not_set() -> None:
    assert Policy(keep_last=3).arguments() == [3, -1, 0, -1, 0]
    everything = Policy(
        keep_last=2,
        keep_within=timedelta(days=1),
        keep_runs=4,
        expire_after=timedelta(seconds=1.5),
        expire_waiting=True,
    )
    assert everything.arguments() == [2, 86_400_000, 4, 1500, 1]


@pytest.mark.parametrize("keys", [-1, 0, 9, 5_001])
def test_a_call_deletes_a_whole_checkpoint_and_no_more_than_lua_can_count(keys: int) -> None:
    with pytest.raises(ValueError, match="from 10 to 5000"):
        Engine(keys_per_call=keys)


def test_our_keys_need_a_prefix() -> None:
    with pytest.raises(ValueError, match="prefix"):
        Engine(prefix="")
