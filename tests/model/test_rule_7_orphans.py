"""Rule 7: writers do not wait, and what they leave is deleted when it is old."""

from __future__ import annotations

import pytest
import redis

from tests.model.by_hand import NODE, TASK, c1, c2, c3, c4, c5, chain, decided
from tests.model.rules import Must, Policy, ThreadDecision, decide
from tests.model.snapshot import read_database
from tests.model.threads import (
    NOW,
    Operation,
    PutRegistry,
    PutShallow,
    PutWrites,
    Vanish,
    timeless_id_at,
    ulid_at,
    uuid6_at,
)


def days_ago(days: float) -> str:
    return uuid6_at(NOW - days * 86_400)


class TestOrphans:
    def fates(self, decision: ThreadDecision, ns: str, cid: str) -> set[Must]:
        """The decisions on the stub, the writes and the registry of one id."""
        keys = decision.thread
        return {
            decision.keys[key].must
            for part in (keys.stubs, keys.writes, keys.registries)
            for key, place in part.items()
            if place == (ns, cid)
        }

    def test_newer_than_the_newest_belongs_to_a_checkpoint_still_to_come(
        self, fake: redis.Redis
    ) -> None:
        newest = days_ago(9)
        operations = [*chain(days_ago(10), newest), PutWrites("", days_ago(8), TASK)]
        assert self.fates(decided(fake, operations, 1), "", days_ago(8)) == {Must.RETAIN}

    @pytest.mark.parametrize("others", [(c2, c3), (c1, c3)], ids=["older than all", "in between"])
    def test_an_hour_and_the_difference_of_clocks_decide(
        self, fake: redis.Redis, others: tuple[str, str]
    ) -> None:
        late = c1 if c1 not in others else c2
        operations = [*chain(*others), PutWrites("", late, TASK)]
        young = decided(fake, operations, 2)
        assert self.fates(young, "", late) == {Must.RETAIN}
        old = decide(read_database(fake), "t", Policy(2), NOW + 2 * 3600)
        assert self.fates(old, "", late) == {Must.DELETE}

    def test_each_of_the_three_by_itself(self, fake: redis.Redis) -> None:
        operations: list[Operation] = [
            PutWrites("", c1, TASK, registered=False, merged=False),
            PutRegistry("", c2, TASK),
            PutWrites("", c3, TASK, registered=False),
            Vanish("", c3, "writes"),
            *chain(c4),
        ]
        decided(fake, operations, 1)
        decision = decide(read_database(fake), "t", Policy(1), NOW + 2 * 3600)
        assert [self.fates(decision, "", cid) for cid in (c1, c2, c3)] == [{Must.DELETE}] * 3

    def test_an_id_without_a_time_is_left_alone(self, fake: redis.Redis) -> None:
        between = timeless_id_at(NOW - 86_400 * 2)
        operations = [*chain(days_ago(3), days_ago(1)), PutWrites("", between, TASK)]
        assert self.fates(decided(fake, operations, 2), "", between) == {Must.RETAIN}

    def test_ulids_have_a_time(self, fake: redis.Redis) -> None:
        ids = [ulid_at(NOW - 86_400 * n) for n in (3, 2, 1)]
        operations = [*chain(ids[0], ids[2]), PutWrites("", ids[1], TASK)]
        assert self.fates(decided(fake, operations, 2), "", ids[1]) == {Must.DELETE}

    def test_a_namespace_without_checkpoints_compares_with_the_root(
        self, fake: redis.Redis
    ) -> None:
        operations = [*chain(c2, c4), *(PutWrites(NODE, cid, TASK) for cid in (c1, c3, c5))]
        decided(fake, operations, 2)
        decision = decide(read_database(fake), "t", Policy(2), NOW + 2 * 3600)
        assert self.fates(decision, NODE, c1) == {Must.DELETE}
        assert self.fates(decision, NODE, c3) == {Must.DELETE}
        assert self.fates(decision, NODE, c5) == {Must.EITHER}

    def test_a_thread_without_checkpoints_has_only_the_hour(self, fake: redis.Redis) -> None:
        operations = [PutWrites("", days_ago(1), TASK), PutWrites("", c1, TASK)]
        decision = decided(fake, operations, 1)
        assert self.fates(decision, "", days_ago(1)) == {Must.DELETE}
        assert self.fates(decision, "", c1) == {Must.RETAIN}

    def test_what_a_shallow_saver_wrote_is_retained(self, fake: redis.Redis) -> None:
        decision = decided(fake, [PutShallow("", days_ago(9), TASK), *chain(c1, c2)], 1)
        assert len(decision.thread.shallow) == 3
        assert decision.thread.shallow <= decision.that(Must.RETAIN)
