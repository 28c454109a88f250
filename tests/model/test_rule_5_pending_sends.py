"""Rule 5: pending sends of old checkpoints."""

from __future__ import annotations

import redis

from tests.model.by_hand import TASK, c1, c2, c3, chain, decided, reasons, retained
from tests.model.rules import Must
from tests.model.snapshot import Prefixes
from tests.model.threads import PutCheckpoint, PutWrites


class TestPendingSends:
    def test_the_parent_of_an_old_format_is_retained_whole(self, fake: redis.Redis) -> None:
        sends = PutWrites("", c2, TASK, ("__pregel_tasks",))
        decision = decided(fake, [*chain(c1, c2, c3, v=3), sends], 1)
        assert retained(decision) == [c2, c3]
        assert reasons(decision, c2) == {"pending-sends"}
        write = Prefixes().write_document("t", "", c2, TASK, 0)
        assert decision.keys[write].must is Must.RETAIN

    def test_from_format_4_on_the_parent_is_deleted(self, fake: redis.Redis) -> None:
        assert retained(decided(fake, chain(c1, c2, c3, v=4), 1)) == [c3]

    def test_a_parent_that_has_sent_nothing_is_deleted(self, fake: redis.Redis) -> None:
        others = PutWrites("", c2, TASK, ("messages", "__interrupt__"))
        assert retained(decided(fake, [*chain(c1, c2, c3, v=3), others], 1)) == [c3]

    def test_it_is_the_parent_not_the_one_before(self, fake: redis.Redis) -> None:
        sends = [PutWrites("", id, TASK, ("__pregel_tasks",)) for id in (c1, c2)]
        operations = [*chain(c1, c2, v=3), PutCheckpoint("", c3, c1, v=3), *sends]
        assert retained(decided(fake, operations, 1)) == [c1, c3]
