"""Rule 3: subgraphs live and die with their root."""

from __future__ import annotations

import pytest
import redis

from tests.model.by_hand import (
    NODE,
    TASK,
    c1,
    c2,
    c3,
    c4,
    c5,
    chain,
    decided,
    reasons,
    retained,
    subgraph,
)
from tests.model.rules import Policy, belongs_to_an_invocation, decide, has_task_id
from tests.model.snapshot import Prefixes, read_database, without
from tests.model.threads import NOW, MovePointer, PutWrites


class TestSubgraphs:
    @pytest.mark.parametrize(
        ("ns", "task"),
        [
            ("", False),
            ("mem", False),
            ("outer|deep", False),
            (NODE, True),
            (f"{NODE}|1", True),
            (f"{NODE}|mem", True),
            (f"a:{TASK}|b:{TASK}", True),
            (f"mem|node:{TASK}", True),
            (TASK, False),
            ("node:42", False),
        ],
    )
    def test_a_task_id_is_a_uuid_behind_a_colon(self, ns: str, task: bool) -> None:
        assert has_task_id(ns) is task

    def test_they_are_retained_with_their_root(self, fake: redis.Redis) -> None:
        operations = [*chain(c1, c4), *subgraph(NODE, c1, c2, c3)]
        decision = decided(fake, operations, 2)
        assert retained(decision, NODE) == [c2, c3]
        assert reasons(decision, c2, NODE) == {"subgraph"}

    def test_they_are_deleted_with_their_root(self, fake: redis.Redis) -> None:
        operations = [*chain(c1, c4), *subgraph(NODE, c1, c2, c3)]
        decision = decided(fake, operations, 1)
        assert retained(decision, NODE) == []

    def test_newer_ids_than_the_root_do_not_help(self, fake: redis.Redis) -> None:
        operations = [*chain(c1, c2), *subgraph(NODE, c1, c3, c4, c5)]
        assert retained(decided(fake, operations, 1), NODE) == []

    def test_one_living_root_of_several_keeps_all(self, fake: redis.Redis) -> None:
        operations = [*chain(c1, c4), *subgraph(NODE, c1, c2), *subgraph(NODE, c4, c5)]
        assert retained(decided(fake, operations, 1), NODE) == [c2, c5]

    def test_a_root_that_was_never_stored_may_still_be_written(self, fake: redis.Redis) -> None:
        operations = [*chain(c1, c2), *subgraph(NODE, c4, c5)]
        assert retained(decided(fake, operations, 1), NODE) == [c5]

    def test_unless_it_is_older_than_the_oldest_that_is_retained(self, fake: redis.Redis) -> None:
        operations = [*chain(c2, c3), *subgraph(NODE, c1, c5)]
        assert retained(decided(fake, operations, 1), NODE) == []

    def test_an_unknown_root_between_retained_ones_is_alive(self, fake: redis.Redis) -> None:
        operations = [*chain(c1, c2, c4), *subgraph(NODE, c3, c5)]
        assert retained(decided(fake, operations, 2), NODE) == [c5]
        assert retained(decided(fake, operations, 1), NODE) == []

    def test_a_stub_of_the_root_is_not_a_document(self, fake: redis.Redis) -> None:
        operations = [*chain(c1), PutWrites("", c2, TASK), *subgraph(NODE, c2, c3)]
        assert retained(decided(fake, operations, 1), NODE) == [c3]

    def test_without_any_root_everything_unknown_is_alive(self, fake: redis.Redis) -> None:
        assert retained(decided(fake, subgraph(NODE, c1, c2, c3), 1), NODE) == [c2, c3]

    def test_a_root_that_is_retained_for_a_replay_is_alive(self, fake: redis.Redis) -> None:
        operations = [*chain(c1, c4, counters=(("messages", (1, 1)),), values=())]
        decision = decided(fake, [*operations, *subgraph(NODE, c1, c2)], 1)
        assert reasons(decision, c1) == {"delta"}
        assert retained(decision, NODE) == [c2]

    def test_without_recorded_parents_they_count_by_themselves(self, fake: redis.Redis) -> None:
        operations = [*chain(c1, c2), *subgraph(NODE, None, c3, c4, c5)]
        decision = decided(fake, operations, 1)
        assert not belongs_to_an_invocation(NODE, decision.thread.namespace(NODE))
        assert retained(decision, NODE) == [c5]

    def test_stateful_ones_outlive_their_roots(self, fake: redis.Redis) -> None:
        operations = [*chain(c1, c4), *subgraph("mem", c1, c2, c3)]
        assert retained(decided(fake, operations, 1), "mem") == [c3]

    def test_an_interrupted_trim_cannot_know_a_dead_root(self, fake: redis.Redis) -> None:
        operations = [*chain(c1, c2, c4), MovePointer("", c1), *subgraph(NODE, c2, c3)]
        decision = decided(fake, operations, 1)
        assert retained(decision) == [c1, c4]
        assert retained(decision, NODE) == []
        assert decision.in_one_piece == {NODE}
        root_went_first = without(read_database(fake), [Prefixes().document("t", "", c2)])
        assert retained(decide(root_went_first, "t", Policy(1), NOW), NODE) == [c3]
