"""Policies that are stored, on the command line and in Python."""

from __future__ import annotations

from datetime import timedelta

import pytest
import redis
from fakeredis import FakeAsyncRedis, FakeRedis

from redis_retention import (
    AsyncRetention,
    InvalidPolicy,
    NoPolicy,
    Policy,
    Retention,
    RetentionError,
)
from tests.cli.conftest import Run, documents, fill

KEY = "retention:policies:checkpoint"


@pytest.fixture
def retention() -> Retention:
    return Retention(FakeRedis())


def test_the_most_specific_pattern_wins(retention: Retention) -> None:
    ordered = [
        b"a\\*",
        b"user-eu-7",
        b"user-eu-*",
        b"user-[ab]*",
        b"user-*",
        b"*user-*",
        b"?",
        b"*",
    ]
    for pattern in reversed(ordered):
        retention.set_policy(Policy(keep_last=3), pattern)
    assert [rule.pattern for rule in retention.policies()] == [
        b"user-eu-7",
        b"a\\*",
        b"user-eu-*",
        b"user-*",
        b"*user-*",
        b"user-[ab]*",
        b"*",
        b"?",
    ]


@pytest.mark.parametrize(
    ("thread", "winner"),
    [
        ("user-eu-7", b"user-eu-7"),
        ("user-eu-77", b"user-eu-*"),
        ("user-us-7", b"user-*"),
        ("User-us-7", b"*"),
        (b"\xff\n", b"*"),
    ],
)
def test_whose_policy_counts(retention: Retention, thread: str | bytes, winner: bytes) -> None:
    for pattern in (b"*", b"user-*", b"user-eu-7", b"user-eu-*"):
        retention.set_policy(Policy(keep_last=3), pattern)
    assert retention.policies_for(thread)[0].pattern == winner


@pytest.mark.parametrize("pattern", ["", "a[]", "[^]", "[z-a]", "a" * 257])
def test_patterns_that_are_none(retention: Retention, pattern: str) -> None:
    with pytest.raises(InvalidPolicy):
        retention.set_policy(Policy(), pattern)
    assert retention.policies() == []


def test_everything_is_stored(retention: Retention) -> None:
    policy = Policy(
        keep_last=5,
        keep_within=timedelta(hours=1.5),
        keep_runs=2,
        expire_after=timedelta(milliseconds=1500),
        expire_waiting=True,
    )
    rule = retention.set_policy(policy, "a", trigger=9)
    assert retention.policies() == [rule]
    assert (rule.policy, rule.trigger) == (policy, 9)


def test_the_trigger_is_not_less_than_what_the_policy_keeps(retention: Retention) -> None:
    with pytest.raises(InvalidPolicy, match="trigger"):
        retention.set_policy(Policy(keep_last=10), trigger=9)


@pytest.mark.parametrize("stored", ["[]", "{", '{"keep_last": 0}', '{"keep_sundays": 1}'])
def test_a_policy_that_cannot_be_read_is_not_passed_over(stored: str) -> None:
    client = FakeRedis()
    client.hset(KEY, "a*", stored)
    with pytest.raises(RetentionError, match=r"policy stored for 'a\*'"):
        Retention(client).trim("a")


async def test_policies_are_stored_found_and_removed_without_blocking() -> None:
    retention = AsyncRetention(FakeAsyncRedis())
    with pytest.raises(NoPolicy):
        await retention.trim("a")
    await retention.set_policy(Policy(keep_last=3), "a*", trigger=7)
    assert [rule.trigger for rule in await retention.policies_for("ab")] == [7]
    assert await retention.remove_policy("a*")
    assert await retention.policies() == []


def test_set_get_list_remove(run: Run) -> None:
    assert run("policy", "list").out.startswith("No policy is stored")
    assert run("policy", "list", "--json").json == {"policies": []}
    said = run("policy", "set", "--keep-last", "10", "--trigger", "30", "--json").json
    default = {
        "pattern": "*",
        "expire_after": None,
        "expire_waiting": False,
        "keep_last": 10,
        "keep_runs": None,
        "keep_within": None,
        "layout": None,
        "trigger": 30,
    }
    assert said == default
    run("policy", "set", "vip-*", "--keep-within", "7d", "--expire-threads-after", "2w")
    assert [one["pattern"] for one in run("policy", "list", "--json").json["policies"]] == [
        "vip-*",
        "*",
    ]
    assert "the newest one, what is younger than 7d; expire after 14d" in run("policy", "list").out
    got = run("policy", "get", "vip-1", "--json").json
    assert (got["policy"]["keep_within"], got["overruled"]) == (604_800, [default])
    assert "it is more specific than *" in run("policy", "get", "vip-1").out
    assert run("policy", "remove", "vip-*", "--json").json == {"pattern": "vip-*", "removed": True}
    assert run("policy", "remove", "vip-*", "--json").json["removed"] is False
    assert run("policy", "get", "vip-1", "--json").json["policy"] == default


def test_get_when_nothing_matches(run: Run) -> None:
    assert run("policy", "get", "a").out == "No stored policy matches a.\n"
    assert run("policy", "get", "a", "--json").json["policy"] is None


def test_expiry_alone_keeps_all_the_rest(run: Run) -> None:
    assert "keep everything" in run("policy", "set", "--expire-threads-after", "30d").out


def test_trim_and_plan_take_the_stored_ones(run: Run, stack: redis.Redis) -> None:
    for thread in ("a", "vip", "other"):
        fill(stack, thread, 5)
    run("policy", "set", "a", "--keep-last", "1")
    run("policy", "set", "v*", "--keep-last", "3")
    assert run("plan", "vip", "--json").json["checkpoints_kept"] == 3
    said = run("trim", "a", "vip", "other", "--json").json
    assert (said["threads"], said["checkpoints_deleted"]) == (2, 6)
    assert said["left_alone"] == [
        {"thread": "other", "reason": "no stored policy matches its id", "layout": None}
    ]
    assert [len(documents(stack, thread)) for thread in ("a", "vip", "other")] == [1, 3, 5]
    assert run("trim", "vip", "--keep-last", "2", "--json").json["checkpoints_deleted"] == 1


def test_without_any_policy(run: Run, stack: redis.Redis) -> None:
    fill(stack, "a", 5)
    run("policy", "set", "b", "--keep-last", "1")
    for command in ("trim", "plan"):
        outcome = run(command, "a")
        assert outcome.code == 2
        assert "--keep-last" in outcome.error
    assert len(documents(stack, "a")) == 5
    assert run("policy", "set", "a").code == 2
