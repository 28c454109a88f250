"""Rule 4: delta channels are retained with what they are replayed from."""

from __future__ import annotations

from collections.abc import Sequence

import redis

from tests.model.by_hand import TASK, c1, c2, c3, c4, c5, c6, chain, decided, reasons, retained
from tests.model.rules import Fate, Policy
from tests.model.threads import MovePointer, Operation, PutCheckpoint, PutWrites, Vanish


class TestDelta:
    def thread(self, **by_id: Sequence[str]) -> list[Operation]:
        """A chain of six with one delta channel, and snapshots where told."""
        parents = ("", c1, c2, c3, c4, c5)
        snapshots = by_id.get("snapshots", ())
        bare = by_id.get("unversioned", ())
        return [
            PutCheckpoint(
                "",
                cid,
                parents[n],
                values=("messages", "log") if cid in snapshots else ("messages",),
                versions=("messages",) if cid in bare else ("messages", "log"),
                counters=() if cid in snapshots else (("log", (1, 1)),),
            )
            for n, cid in enumerate((c1, c2, c3, c4, c5, c6))
        ]

    def test_ancestors_are_retained_up_to_the_first_value(self, fake: redis.Redis) -> None:
        decision = decided(fake, self.thread(snapshots=[c1, c3]), 1)
        assert retained(decision) == [c3, c4, c5, c6]
        assert reasons(decision, c3) == {"delta"}
        assert decision.checkpoints["", c3].fate is Fate.REQUIRED

    def test_without_a_value_to_the_beginning(self, fake: redis.Redis) -> None:
        assert len(retained(decided(fake, self.thread(), 1))) == 6

    def test_its_own_value_needs_no_ancestors(self, fake: redis.Redis) -> None:
        assert retained(decided(fake, self.thread(snapshots=[c6]), 1)) == [c6]

    def test_no_delta_channels_no_ancestors(self, fake: redis.Redis) -> None:
        assert retained(decided(fake, chain(c1, c2, c3), 1)) == [c3]

    def test_the_walk_follows_parents_not_ids(self, fake: redis.Redis) -> None:
        counters = (("log", (1, 1)),)
        versions = ("messages", "log")
        operations: list[Operation] = [
            PutCheckpoint("", c1, values=("log",), versions=versions),
            PutCheckpoint("", c2, c1, values=(), versions=versions, counters=counters),
            PutCheckpoint("", c3, c1, values=(), versions=versions, counters=counters),
            PutCheckpoint("", c4, c2, values=(), versions=versions, counters=counters),
        ]
        assert retained(decided(fake, operations, 1)) == [c1, c2, c4]

    def test_each_channel_has_its_own_walk(self, fake: redis.Redis) -> None:
        both = (("log", (1, 1)), ("notes", (1, 1)))
        versions = ("log", "notes")
        operations: list[Operation] = [
            PutCheckpoint("", c1, values=("notes",), versions=versions, counters=both[:1]),
            PutCheckpoint("", c2, c1, values=(), versions=versions, counters=both),
            PutCheckpoint("", c3, c2, values=("log",), versions=versions, counters=both[1:]),
            PutCheckpoint("", c4, c3, values=(), versions=versions, counters=both),
        ]
        assert retained(decided(fake, operations, 1)) == [c1, c2, c3, c4]
        assert retained(decided(fake, [*operations, *chain(c5)], 1)) == [c5]

    def test_ancestors_start_no_walks_of_their_own(self, fake: redis.Redis) -> None:
        operations: list[Operation] = [
            PutCheckpoint("", c1, values=("notes",), versions=("log", "notes")),
            PutCheckpoint(
                "",
                c2,
                c1,
                values=("log",),
                versions=("log", "notes"),
                counters=(("notes", (1, 1)),),
            ),
            PutCheckpoint(
                "", c3, c2, values=(), versions=("log", "notes"), counters=(("log", (0, 1)),)
            ),
        ]
        assert retained(decided(fake, operations, 1)) == [c2, c3]

    def test_below_a_broken_chain_everything_is_retained(self, fake: redis.Redis) -> None:
        operations = [*self.thread(snapshots=[c1]), Vanish("", c3)]
        assert retained(decided(fake, operations, 1)) == [c1, c2, c4, c5, c6]

    def test_a_stub_in_the_chain_breaks_it(self, fake: redis.Redis) -> None:
        operations = [*self.thread(), Vanish("", c3), PutWrites("", c3, TASK)]
        assert retained(decided(fake, operations, 1)) == [c1, c2, c4, c5, c6]

    def test_a_break_above_the_value_does_not_matter(self, fake: redis.Redis) -> None:
        operations = [*self.thread(snapshots=[c4]), Vanish("", c3)]
        assert retained(decided(fake, operations, 1)) == [c4, c5, c6]

    def test_the_walk_ends_before_the_first_write(self, fake: redis.Redis) -> None:
        decision = decided(fake, self.thread(unversioned=[c1, c2, c3]), 1)
        assert retained(decision) == [c3, c4, c5, c6]

    def test_a_channel_that_was_never_written_needs_nothing(self, fake: redis.Redis) -> None:
        decision = decided(fake, self.thread(unversioned=[c1, c2, c3, c4, c5, c6]), 1)
        assert retained(decision) == [c6]

    def test_no_versions_at_all_say_nothing(self, fake: redis.Redis) -> None:
        operations: list[Operation] = [
            PutCheckpoint("", c1, values=("log",)),
            PutCheckpoint("", c2, c1, values=(), versions=(), counters=(("log", (1, 1)),)),
            PutCheckpoint("", c3, c2, values=(), versions=(), counters=(("log", (1, 1)),)),
        ]
        assert retained(decided(fake, operations, 1)) == [c1, c2, c3]

    def test_pinned_and_latest_start_walks_too(self, fake: redis.Redis) -> None:
        operations = [*self.thread(snapshots=[c1, c3, c5]), MovePointer("", c2)]
        assert retained(decided(fake, operations, Policy(1, pinned=frozenset({c4})))) == [
            c1,
            c2,
            c3,
            c4,
            c5,
            c6,
        ]

    def test_in_stateful_subgraphs_too(self, fake: redis.Redis) -> None:
        operations = chain(
            c1, c2, c3, ns="mem", values=(), versions=("log",), counters=(("log", (1, 1)),)
        )
        assert retained(decided(fake, operations, 1), "mem") == [c1, c2, c3]
