"""Several storage formats in one database: none touches another's keys, and all are served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
import redis

from redis_retention import Policy, Retention
from redis_retention.layouts.names import AUTO
from redis_retention.operations.named import LookIn
from redis_retention.operations.plan import PlannedCheckpoint
from redis_retention.sources.sweep import SweepResult
from tests.layouts.formats import FORMATS, HOSTILE, Format, Keys, contents, keys

KEEP = 2
CHECKPOINTS = 5
POLICY = Policy(keep_last=KEEP)
TITLES = [one.title for one in FORMATS]
NAMED = [one for one in FORMATS if isinstance(one.layout, str)]
of_each = pytest.mark.parametrize("one", NAMED, ids=[one.title for one in NAMED])


def serving(client: redis.Redis, *formats: Format) -> Retention:
    """What serves these formats, or all of them by itself."""
    layouts = [one.layout for one in formats]
    own = [one.layout for one in FORMATS if not isinstance(one.layout, str)]
    return Retention(client, layout=layouts or [AUTO, *own], grace=timedelta(0))


@dataclass(frozen=True, slots=True)
class Filled:
    """A database with threads of the same ids in each format.

    Attributes:
        client: A client of it.
        threads: The keys of each checkpoint, by format and thread.
        before: What was in it at first.
    """

    client: redis.Redis
    threads: dict[tuple[str, str], list[Keys]]
    before: dict[bytes, object]

    def of_old_checkpoints(self, trimmed: Callable[[str, str], bool]) -> Keys:
        """The keys that a trim is to delete, of some threads by format and id."""
        return frozenset(
            key
            for (title, thread), added in self.threads.items()
            if trimmed(title, thread)
            for of_checkpoint in added[:-KEEP]
            for key in of_checkpoint
            # It came with the first checkpoint, and names the newest.
            if not key.startswith(b"checkpoint_latest:")
        )

    def check(self, trimmed: Callable[[str, str], bool], pinned: Keys | None = None) -> None:
        """What was trimmed has its newest checkpoints, all else is as it was, key by key."""
        after = contents(self.client, keys(self.client))
        gone = self.of_old_checkpoints(trimmed) - (pinned or frozenset())
        assert self.before.keys() - after.keys() == gone
        changed = {key for key in after if after[key] != self.before[key]}
        lists = {one.title: one.lists for one in FORMATS}
        assert changed == {
            key
            for title, thread in self.threads
            if trimmed(title, thread)
            for key in lists[title](thread)
        }
        sizes = {size(self.client, key) for key in changed}
        assert sizes <= ({KEEP} if pinned is None else {KEEP, KEEP + 1})


@pytest.fixture
def filled(stack: redis.Redis) -> Filled:
    threads = {
        (one.title, thread): one.fill(stack, thread, CHECKPOINTS)
        for thread in HOSTILE
        for one in FORMATS
        if not one.refuses(thread)
    }
    return Filled(stack, threads, contents(stack, keys(stack)))


def size(client: redis.Redis, name: bytes) -> int:
    """How many checkpoints a list has."""
    counted: int = client.zcard(name)
    return counted


@pytest.mark.parametrize("one", FORMATS, ids=TITLES)
@pytest.mark.parametrize("look_in", ["auto", "scan"])
def test_a_trim_of_a_named_thread_touches_no_other_format(
    filled: Filled, one: Format, look_in: LookIn
) -> None:
    for thread in HOSTILE:
        serving(filled.client, one).trim(thread, POLICY, look_in=look_in)
    filled.check(lambda title, _: title == one.title)


@pytest.mark.parametrize("one", FORMATS, ids=TITLES)
def test_a_sweep_of_one_touches_no_other(filled: Filled, one: Format) -> None:
    serving(filled.client, one).sweep(POLICY)
    filled.check(lambda title, _: title == one.title)


def test_one_sweep_serves_all_that_there_are(filled: Filled) -> None:
    result = serving(filled.client).sweep(POLICY)
    filled.check(lambda *_: True)
    assert set(result.layouts) == set(TITLES)
    for title, part in result.layouts.items():
        mine = [thread for kind, thread in filled.threads if kind == title]
        assert part.threads == part.threads_trimmed == len(mine)
        assert part.checkpoints_deleted == len(mine) * (CHECKPOINTS - KEEP)
    assert result.threads == len(filled.threads)


@of_each
def test_a_sweep_of_what_only_one_has_written_is_one_pass(stack: redis.Redis, one: Format) -> None:
    for thread in "abcdefgh":
        one.fill(stack, thread, KEEP)
    retention = serving(stack)
    retention.sweep(POLICY)
    result = retention.sweep(POLICY)
    assert isinstance(result, SweepResult)
    assert result.threads == 8
    assert result.keys_scanned < 1.5 * stack.dbsize()


@pytest.mark.parametrize("look_in", ["auto", "scan"])
def test_a_thread_in_all_formats_is_trimmed_in_all(filled: Filled, look_in: LookIn) -> None:
    result = serving(filled.client).trim("a:b", POLICY, look_in=look_in)
    filled.check(lambda _, thread: thread == "a:b")
    assert set(result.layouts) == set(TITLES)
    assert (result.threads, result.threads_trimmed) == (1, 1)
    assert result.checkpoints_deleted == len(FORMATS) * (CHECKPOINTS - KEEP)


def test_so_is_one_that_our_indexes_know(filled: Filled) -> None:
    serving(filled.client).sweep(Policy(keep_last=CHECKPOINTS))
    result = serving(filled.client).trim("a:b", POLICY, indexed_only=True)
    assert set(result.layouts) == set(TITLES)
    deleted = filled.before.keys() - keys(filled.client)
    # What checkpoints share is deleted with a look at the database only.
    gone = filled.of_old_checkpoints(lambda _, thread: thread == "a:b")
    assert {
        key for key in gone if not key.startswith((b"checkpoint_blob:", b"lg:blob:"))
    } == deleted


@pytest.mark.parametrize("dry_run", [False, True])
def test_only_what_there_is_is_named(stack: redis.Redis, dry_run: bool) -> None:
    first = FORMATS[0]
    first.fill(stack, "a", CHECKPOINTS)
    retention = serving(stack)
    assert list(retention.trim("a", POLICY, dry_run=dry_run).layouts) == [first.title]
    assert list(retention.sweep(POLICY, dry_run=dry_run).layouts) == [first.title]
    assert list(retention.stats().layouts) == ([] if dry_run else [first.title])


@of_each
def test_a_stored_policy_of_one_format_touches_no_threads_of_others(
    filled: Filled, one: Format
) -> None:
    retention = serving(filled.client)
    retention.set_policy(POLICY, "a:b", layout=one.title)
    retention.trim("a:b")
    filled.check(lambda *of: of == (one.title, "a:b"))

    retention.set_policy(POLICY, layout=one.title)
    retention.sweep()
    filled.check(lambda title, _: title == one.title)


@of_each
def test_it_wins_over_that_of_all_formats(filled: Filled, one: Format) -> None:
    retention = serving(filled.client)
    retention.set_policy(POLICY)
    retention.set_policy(Policy(keep_last=CHECKPOINTS), layout=one.title)
    retention.sweep()
    filled.check(lambda title, _: title != one.title)


@of_each
def test_a_pin_names_its_format_and_retains_nothing_of_others(filled: Filled, one: Format) -> None:
    retention = serving(filled.client)
    oldest = serving(filled.client, one).plan("a", Policy(keep_last=CHECKPOINTS)).checkpoints[0]
    retention.pin("a", oldest.checkpoint_id)
    serving(filled.client, one).pin("a:b")

    assert [pin.layout for pin in retention.pins("a")] == [one.title]
    retention.sweep(POLICY)

    pinned = filled.threads[one.title, "a"][0]
    filled.check(lambda *of: of != (one.title, "a:b"), pinned)
    left = _left(filled.client, one, "a")
    assert (left[0].checkpoint_id, len(left)) == (oldest.checkpoint_id, KEEP + 1)
    assert len(_left(filled.client, one, "a:b")) == CHECKPOINTS
    for other in NAMED:
        assert other is one or len(_left(filled.client, other, "a")) == KEEP


def _left(client: redis.Redis, one: Format, thread: str) -> list[PlannedCheckpoint]:
    """The checkpoints that a thread has in a format, the oldest first."""
    return serving(client, one).plan(thread, Policy(keep_last=CHECKPOINTS)).checkpoints


@of_each
def test_a_pinned_thread_is_so_in_all_formats(filled: Filled, one: Format) -> None:
    retention = serving(filled.client)
    retention.pin("a:b")
    serving(filled.client, one).unpin("a:b")
    retention.sweep(POLICY)
    filled.check(lambda *of: of[1] != "a:b" or of[0] == one.title)
