"""Rule 1: what LangGraph resumes from is retained."""

from __future__ import annotations

import redis

from tests.model.by_hand import NODE, c1, c2, c3, c4, chain, decided, retained, subgraph
from tests.model.rules import Fate, Must
from tests.model.snapshot import Prefixes
from tests.model.threads import MovePointer, Vanish


class TestLatest:
    def test_the_target_of_the_pointer_is_retained_wherever_its_id_sorts(
        self, fake: redis.Redis
    ) -> None:
        operations = [*chain(c1, c2, c3, c4), MovePointer("", c1)]
        decision = decided(fake, operations, 2)
        assert retained(decision) == [c1, c3, c4]
        assert decision.checkpoints["", c1].fate is Fate.REQUIRED

    def test_in_a_stateful_namespace_too(self, fake: redis.Redis) -> None:
        operations = [*subgraph("mem", c1, c2, c3, c4), MovePointer("mem", c2)]
        assert retained(decided(fake, operations, 1), "mem") == [c2, c4]

    def test_not_in_an_invocation_that_is_over(self, fake: redis.Redis) -> None:
        operations = [*chain(c1), *subgraph(NODE, c1, c2), *chain(c3)]
        decision = decided(fake, operations, 1)
        assert retained(decision, NODE) == []
        assert decision.keys[Prefixes().pointer("t", NODE)].must is Must.DELETE

    def test_without_a_pointer_only_the_policy_counts(self, fake: redis.Redis) -> None:
        operations = [*chain(c1, c2), MovePointer("", c1), Vanish("", c1, "pointer")]
        assert retained(decided(fake, operations, 1)) == [c2]

    def test_pointers_are_retained_with_the_last_of_their_checkpoints(
        self, fake: redis.Redis
    ) -> None:
        decision = decided(fake, [*chain(c1, c2, c3), MovePointer("", c4)], 1)
        assert decision.keys[Prefixes().pointer("t", "")].must is Must.RETAIN
