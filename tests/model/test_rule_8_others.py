"""Rule 8: nothing else is touched."""

from __future__ import annotations

import redis

from tests.model.by_hand import TASK, c1, c2, c3, c4, chain
from tests.model.rules import Must, Policy, decide
from tests.model.snapshot import Prefixes, read_database, read_thread, thread_view
from tests.model.threads import NOW, Operation, PutWrites, Vanish, write_to


class TestOthers:
    def test_a_colon_away(self, fake: redis.Redis) -> None:
        """`a` with namespace `b:x` and `a:b` with namespace `x` have keys alike."""
        write_to(fake, "a", [*chain(c1, c3, ns="b:x"), PutWrites("b:x", c1, TASK)])
        write_to(fake, "a:b", [*chain(c2, c4, ns="x"), PutWrites("x", c2, TASK)])
        database = read_database(fake)
        a, b = read_thread(database, "a"), read_thread(database, "a:b")
        assert set(a.checkpoints) == {("b:x", c1), ("b:x", c3)}
        assert set(b.checkpoints) == {("x", c2), ("x", c4)}
        assert not a.unsure
        assert not b.unsure
        # They share one pointer; it is the one's that its target belongs to.
        assert not a.pointers
        assert b.targets == {"x": Prefixes().document("a:b", "x", c4)}

    def test_a_stub_with_two_readings_is_nobody_s_for_sure(self, fake: redis.Redis) -> None:
        operations: list[Operation] = [
            PutWrites("b:x", c1, TASK, registered=False),
            Vanish("b:x", c1, "writes"),
            *chain(c2, c3, ns="b:x"),
        ]
        write_to(fake, "a", operations)
        decision = decide(read_database(fake), "a", Policy(1), NOW + 2 * 3600)
        assert decision.keys[Prefixes().document("a", "b:x", c1)].must is Must.EITHER

    def test_other_prefixes(self, fake: redis.Redis) -> None:
        app = Prefixes("checkpoint:app", "checkpoint_write:app")
        operations = [*chain(c1, c2), PutWrites("", c1, TASK)]
        write_to(fake, "t", operations, checkpoint_prefix=app.checkpoint, write_prefix=app.write)
        database = read_database(fake)
        assert not read_thread(database, "t").keys
        assert not read_thread(database, "app").keys
        assert not read_thread(database, "app:t").keys
        assert thread_view(database, "t", app) == database

    def test_a_shared_registry_may_be_retained(self, fake: redis.Redis) -> None:
        """The registry's prefix is a constant: two savers with the same ids share it."""
        operations = [*chain(c1, c2), PutWrites("", c1, TASK)]
        write_to(fake, "t", operations)
        write_to(fake, "t", operations, checkpoint_prefix="app", write_prefix="app_w")
        decision = decide(read_database(fake), "t", Policy(1), NOW)
        assert decision.keys[Prefixes().registry("t", "", c1)].must is Must.EITHER

    def test_the_empty_thread_id(self, fake: redis.Redis) -> None:
        write_to(fake, "", chain(c1, c2))
        assert set(read_thread(read_database(fake), "").checkpoints) == {("", c1), ("", c2)}
