"""What a policy keeps, on examples of a few checkpoints, both ways."""

from __future__ import annotations

import redis

from tests.model.by_hand import (
    NODE,
    TASK,
    c1,
    c2,
    c3,
    c4,
    c5,
    c6,
    chain,
    decided,
    reasons,
    retained,
    subgraph,
)
from tests.model.rules import Fate, Policy, runs
from tests.model.threads import (
    NOW,
    MovePointer,
    Operation,
    PutCheckpoint,
    PutWrites,
    Vanish,
    ulid_at,
)


class TestKeepLast:
    def test_the_newest_are_retained(self, fake: redis.Redis) -> None:
        decision = decided(fake, chain(c1, c2, c3, c4), 2)
        assert retained(decision) == [c3, c4]
        assert reasons(decision, c3) == {"keep-last"}
        assert decision.checkpoints["", c1].fate is Fate.DELETED

    def test_fewer_than_n_are_all_retained(self, fake: redis.Redis) -> None:
        assert retained(decided(fake, chain(c1, c2), 10)) == [c1, c2]

    def test_stubs_are_not_counted(self, fake: redis.Redis) -> None:
        operations = [*chain(c1, c2, c3), PutWrites("", c5, TASK)]
        assert retained(decided(fake, operations, 2)) == [c2, c3]

    def test_the_order_is_that_of_the_ids_not_of_arrival(self, fake: redis.Redis) -> None:
        operations = [*chain(c1, c4), *chain(c2), MovePointer("", c4)]
        assert retained(decided(fake, operations, 1)) == [c4]

    def test_old_ulids_sort_before_uuids(self, fake: redis.Redis) -> None:
        old = ulid_at(NOW - 1000)
        assert retained(decided(fake, chain(old, c1, c2), 2)) == [c1, c2]

    def test_each_stateful_namespace_counts_by_itself(self, fake: redis.Redis) -> None:
        operations = [*chain(c2, c4), *subgraph("mem", c2, c1, c3, c5)]
        decision = decided(fake, operations, 2)
        assert retained(decision) == [c2, c4]
        assert retained(decision, "mem") == [c3, c5]


class TestKeepWithin:
    def test_what_is_young_enough_is_retained(self, fake: redis.Redis) -> None:
        decision = decided(fake, chain(c1, c2, c3, c4), Policy(1, keep_within=98.5))
        assert retained(decision) == [c2, c3, c4]
        assert reasons(decision, c2) == {"keep-within"}

    def test_the_time_is_that_of_the_id(self, fake: redis.Redis) -> None:
        copied = [PutCheckpoint("", c1, stored_at=NOW), *chain(c4)]
        assert retained(decided(fake, copied, Policy(1, keep_within=97))) == [c4]

    def test_without_a_time_in_the_id_that_of_the_put_counts(self, fake: redis.Redis) -> None:
        young = [PutCheckpoint("", "0-young", stored_at=NOW - 5), *chain(c4)]
        old = [PutCheckpoint("", "0-old", stored_at=NOW - 500)]
        decision = decided(fake, [*old, *young], Policy(1, keep_within=50))
        assert retained(decision) == ["0-young", c4]


class TestKeepRuns:
    OPERATIONS = (
        PutCheckpoint("", c1, source="input"),
        PutCheckpoint("", c2, c1),
        PutCheckpoint("", c3, c2, source="input"),
        PutCheckpoint("", c4, c3),
        PutCheckpoint("", c5, c2, source="fork"),
        PutCheckpoint("", c6, c5),
    )

    def test_the_ends_of_the_newest_runs_are_retained(self, fake: redis.Redis) -> None:
        decision = decided(fake, self.OPERATIONS, Policy(1, keep_runs=2))
        assert retained(decision) == [c4, c6]
        assert reasons(decision, c4) == {"keep-runs"}
        assert reasons(decision, c6) == {"latest", "keep-last", "keep-runs"}

    def test_all_runs_if_there_are_no_more(self, fake: redis.Redis) -> None:
        assert retained(decided(fake, self.OPERATIONS, Policy(1, keep_runs=9))) == [c2, c4, c6]

    def test_what_is_left_of_a_trimmed_run_is_a_run(self, fake: redis.Redis) -> None:
        operations: list[Operation] = [*self.OPERATIONS, Vanish("", c3)]
        thread = decided(fake, operations, 1).thread
        assert [[c.id for c in run] for run in runs(thread.namespace(""))] == [
            [c1, c2],
            [c4],
            [c5, c6],
        ]

    def test_subgraphs_have_no_runs(self, fake: redis.Redis) -> None:
        operations = [
            *chain(c1),
            PutCheckpoint("mem", c2, source="input"),
            PutCheckpoint("mem", c3, source="input"),
        ]
        assert retained(decided(fake, operations, Policy(1, keep_runs=5)), "mem") == [c3]


class TestPinned:
    def test_a_pinned_checkpoint_is_retained(self, fake: redis.Redis) -> None:
        decision = decided(fake, chain(c1, c2, c3), Policy(1, pinned=frozenset({c1})))
        assert retained(decision) == [c1, c3]
        assert reasons(decision, c1) == {"pinned"}

    def test_one_in_an_invocation_keeps_all_of_it(self, fake: redis.Redis) -> None:
        operations = [*chain(c1), *subgraph(NODE, c1, c2, c3), *chain(c4)]
        decision = decided(fake, operations, Policy(1, pinned=frozenset({c2})))
        assert retained(decision, NODE) == [c2, c3]
