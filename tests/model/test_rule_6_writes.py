"""Rule 6: all writes of a retained checkpoint are retained."""

from __future__ import annotations

import redis

from tests.model.by_hand import TASK, c1, c2, chain, decided
from tests.model.rules import Must
from tests.model.snapshot import Prefixes, checkpoint_view, read_database
from tests.model.threads import PutWrites, task_id, write_to


class TestWrites:
    OPERATIONS = (
        *chain(c1, c2),
        PutWrites("", c1, TASK, ("messages", "log")),
        PutWrites("", c1, task_id(8), ("__interrupt__",), registered=False),
        PutWrites("", c2, TASK, ("__interrupt__",)),
        PutWrites("", c2, task_id(8), ("__error__",), registered=False),
    )

    def test_they_are_deleted_with_their_checkpoint_named_or_not(self, fake: redis.Redis) -> None:
        decision = decided(fake, self.OPERATIONS, 1)
        gone = checkpoint_view(read_database(fake), "t", ("", c1))
        assert len(gone) == 5
        assert decision.that(Must.DELETE) == gone.keys()

    def test_they_are_retained_with_their_checkpoint_named_or_not(self, fake: redis.Redis) -> None:
        decision = decided(fake, self.OPERATIONS, 1)
        left = checkpoint_view(read_database(fake), "t", ("", c2))
        assert len(left) == 4
        assert decision.that(Must.RETAIN) == left.keys() | {Prefixes().pointer("t", "")}

    def test_indexes_of_interrupts_and_errors_are_negative(self, fake: redis.Redis) -> None:
        write_to(fake, "t", self.OPERATIONS)
        assert fake.exists(f"checkpoint_write:t:__empty__:{c2}:{TASK}:-3")
        assert fake.exists(f"checkpoint_write:t:__empty__:{c2}:{task_id(8)}:-1")
