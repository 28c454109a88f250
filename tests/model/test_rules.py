"""The model's own tests: every rule on an example of a few checkpoints, both ways.

A thread is a list of operations on a clock of one step a second; `c1`, `c2`, ... are the
ids of the root graph in the order of time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import fakeredis
import pytest
import redis
from hypothesis import HealthCheck, given, settings

from tests.model.rules import (
    Fate,
    Must,
    Policy,
    ThreadDecision,
    belongs_to_an_invocation,
    boundary_complaints,
    complaints,
    decide,
    has_task_id,
    id_time,
    runs,
    trimmed,
)
from tests.model.snapshot import (
    Checkpoint,
    Database,
    Entry,
    Prefixes,
    Thread,
    checkpoint_view,
    difference,
    read_database,
    read_thread,
    thread_view,
    without,
)
from tests.model.threads import (
    NOW,
    Example,
    Expire,
    MovePointer,
    Operation,
    PutCheckpoint,
    PutRegistry,
    PutShallow,
    PutWrites,
    Vanish,
    examples,
    task_id,
    timeless_id_at,
    ulid_at,
    uuid6_at,
    write_to,
)

TASK = task_id(7)
NODE = f"node:{task_id(1)}"


@pytest.fixture
def client() -> Iterator[redis.Redis]:
    with fakeredis.FakeRedis(server=fakeredis.FakeServer()) as fake:
        yield fake


def at(n: float) -> str:
    """The id of a checkpoint made at second `n`, of 100 before now."""
    return uuid6_at(NOW - 100 + n)


c1, c2, c3, c4, c5, c6 = (at(n) for n in range(1, 7))


def chain(*ids: str, ns: str = "", **fields: Any) -> list[Operation]:
    """Checkpoints, each the parent of the next."""
    parents = ("", *ids)
    return [PutCheckpoint(ns, cid, parents[n], **fields) for n, cid in enumerate(ids)]


def subgraph(ns: str, root: str | None, *ids: str) -> list[Operation]:
    """Checkpoints of a subgraph that started from this root checkpoint."""
    return chain(*ids, ns=ns, parents=(("", root),) if root else ())


def decided(
    client: redis.Redis, operations: Iterable[Operation], policy: Policy | int, now: float = NOW
) -> ThreadDecision:
    write_to(client, "t", operations)
    policy = Policy(policy) if isinstance(policy, int) else policy
    return decide(read_database(client), "t", policy, now)


def retained(decision: ThreadDecision, ns: str = "") -> list[str]:
    return sorted(cid for where, cid in decision.retained if where == ns)


def reasons(decision: ThreadDecision, checkpoint_id: str, ns: str = "") -> set[str]:
    one = decision.checkpoints[ns, checkpoint_id]
    return set(one.required) | set(one.kept_by_policy)


# --------------------------------------------------------------------------------------
# Policies


class TestKeepLast:
    def test_the_newest_are_retained(self, client: redis.Redis) -> None:
        decision = decided(client, chain(c1, c2, c3, c4), 2)
        assert retained(decision) == [c3, c4]
        assert reasons(decision, c3) == {"keep-last"}
        assert decision.checkpoints["", c1].fate is Fate.DELETED

    def test_fewer_than_n_are_all_retained(self, client: redis.Redis) -> None:
        assert retained(decided(client, chain(c1, c2), 10)) == [c1, c2]

    def test_stubs_are_not_counted(self, client: redis.Redis) -> None:
        operations = [*chain(c1, c2, c3), PutWrites("", c5, TASK)]
        assert retained(decided(client, operations, 2)) == [c2, c3]

    def test_the_order_is_that_of_the_ids_not_of_arrival(self, client: redis.Redis) -> None:
        operations = [*chain(c1, c4), *chain(c2), MovePointer("", c4)]
        assert retained(decided(client, operations, 1)) == [c4]

    def test_old_ulids_sort_before_uuids(self, client: redis.Redis) -> None:
        old = ulid_at(NOW - 1000)
        assert retained(decided(client, chain(old, c1, c2), 2)) == [c1, c2]

    def test_each_stateful_namespace_counts_by_itself(self, client: redis.Redis) -> None:
        operations = [*chain(c2, c4), *subgraph("mem", c2, c1, c3, c5)]
        decision = decided(client, operations, 2)
        assert retained(decision) == [c2, c4]
        assert retained(decision, "mem") == [c3, c5]


class TestKeepWithin:
    def test_what_is_young_enough_is_retained(self, client: redis.Redis) -> None:
        decision = decided(client, chain(c1, c2, c3, c4), Policy(1, keep_within=98.5))
        assert retained(decision) == [c2, c3, c4]
        assert reasons(decision, c2) == {"keep-within"}

    def test_the_time_is_that_of_the_id(self, client: redis.Redis) -> None:
        copied = [PutCheckpoint("", c1, stored_at=NOW), *chain(c4)]
        assert retained(decided(client, copied, Policy(1, keep_within=97))) == [c4]

    def test_without_a_time_in_the_id_that_of_the_put_counts(self, client: redis.Redis) -> None:
        young = [PutCheckpoint("", "0-young", stored_at=NOW - 5), *chain(c4)]
        old = [PutCheckpoint("", "0-old", stored_at=NOW - 500)]
        decision = decided(client, [*old, *young], Policy(1, keep_within=50))
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

    def test_the_ends_of_the_newest_runs_are_retained(self, client: redis.Redis) -> None:
        decision = decided(client, self.OPERATIONS, Policy(1, keep_runs=2))
        assert retained(decision) == [c4, c6]
        assert reasons(decision, c4) == {"keep-runs"}
        assert reasons(decision, c6) == {"latest", "keep-last", "keep-runs"}

    def test_all_runs_if_there_are_no_more(self, client: redis.Redis) -> None:
        assert retained(decided(client, self.OPERATIONS, Policy(1, keep_runs=9))) == [c2, c4, c6]

    def test_what_is_left_of_a_trimmed_run_is_a_run(self, client: redis.Redis) -> None:
        operations: list[Operation] = [*self.OPERATIONS, Vanish("", c3)]
        thread = decided(client, operations, 1).thread
        assert [[c.id for c in run] for run in runs(thread.namespace(""))] == [
            [c1, c2],
            [c4],
            [c5, c6],
        ]

    def test_subgraphs_have_no_runs(self, client: redis.Redis) -> None:
        operations = [
            *chain(c1),
            PutCheckpoint("mem", c2, source="input"),
            PutCheckpoint("mem", c3, source="input"),
        ]
        assert retained(decided(client, operations, Policy(1, keep_runs=5)), "mem") == [c3]


class TestPinned:
    def test_a_pinned_checkpoint_is_retained(self, client: redis.Redis) -> None:
        decision = decided(client, chain(c1, c2, c3), Policy(1, pinned=frozenset({c1})))
        assert retained(decision) == [c1, c3]
        assert reasons(decision, c1) == {"pinned"}

    def test_one_in_an_invocation_keeps_all_of_it(self, client: redis.Redis) -> None:
        operations = [*chain(c1), *subgraph(NODE, c1, c2, c3), *chain(c4)]
        decision = decided(client, operations, Policy(1, pinned=frozenset({c2})))
        assert retained(decision, NODE) == [c2, c3]


# --------------------------------------------------------------------------------------
# Rule 1: latest


class TestLatest:
    def test_the_target_of_the_pointer_is_retained_wherever_its_id_sorts(
        self, client: redis.Redis
    ) -> None:
        operations = [*chain(c1, c2, c3, c4), MovePointer("", c1)]
        decision = decided(client, operations, 2)
        assert retained(decision) == [c1, c3, c4]
        assert decision.checkpoints["", c1].fate is Fate.REQUIRED

    def test_in_a_stateful_namespace_too(self, client: redis.Redis) -> None:
        operations = [*subgraph("mem", c1, c2, c3, c4), MovePointer("mem", c2)]
        assert retained(decided(client, operations, 1), "mem") == [c2, c4]

    def test_not_in_an_invocation_that_is_over(self, client: redis.Redis) -> None:
        operations = [*chain(c1), *subgraph(NODE, c1, c2), *chain(c3)]
        decision = decided(client, operations, 1)
        assert retained(decision, NODE) == []
        assert decision.keys[Prefixes().pointer("t", NODE)].must is Must.DELETE

    def test_without_a_pointer_only_the_policy_counts(self, client: redis.Redis) -> None:
        operations = [*chain(c1, c2), MovePointer("", c1), Vanish("", c1, "pointer")]
        assert retained(decided(client, operations, 1)) == [c2]

    def test_pointers_are_retained_with_the_last_of_their_checkpoints(
        self, client: redis.Redis
    ) -> None:
        decision = decided(client, [*chain(c1, c2, c3), MovePointer("", c4)], 1)
        assert decision.keys[Prefixes().pointer("t", "")].must is Must.RETAIN


# --------------------------------------------------------------------------------------
# Rule 3: subgraphs


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

    def test_they_are_retained_with_their_root(self, client: redis.Redis) -> None:
        operations = [*chain(c1, c4), *subgraph(NODE, c1, c2, c3)]
        decision = decided(client, operations, 2)
        assert retained(decision, NODE) == [c2, c3]
        assert reasons(decision, c2, NODE) == {"subgraph"}

    def test_they_are_deleted_with_their_root(self, client: redis.Redis) -> None:
        operations = [*chain(c1, c4), *subgraph(NODE, c1, c2, c3)]
        decision = decided(client, operations, 1)
        assert retained(decision, NODE) == []

    def test_newer_ids_than_the_root_do_not_help(self, client: redis.Redis) -> None:
        operations = [*chain(c1, c2), *subgraph(NODE, c1, c3, c4, c5)]
        assert retained(decided(client, operations, 1), NODE) == []

    def test_one_living_root_of_several_keeps_all(self, client: redis.Redis) -> None:
        operations = [*chain(c1, c4), *subgraph(NODE, c1, c2), *subgraph(NODE, c4, c5)]
        assert retained(decided(client, operations, 1), NODE) == [c2, c5]

    def test_a_root_that_was_never_stored_may_still_be_written(self, client: redis.Redis) -> None:
        operations = [*chain(c1, c2), *subgraph(NODE, c4, c5)]
        assert retained(decided(client, operations, 1), NODE) == [c5]

    def test_unless_it_is_older_than_the_oldest_that_is_retained(self, client: redis.Redis) -> None:
        operations = [*chain(c2, c3), *subgraph(NODE, c1, c5)]
        assert retained(decided(client, operations, 1), NODE) == []

    def test_an_unknown_root_between_retained_ones_is_alive(self, client: redis.Redis) -> None:
        operations = [*chain(c1, c2, c4), *subgraph(NODE, c3, c5)]
        assert retained(decided(client, operations, 2), NODE) == [c5]
        assert retained(decided(client, operations, 1), NODE) == []

    def test_a_stub_of_the_root_is_not_a_document(self, client: redis.Redis) -> None:
        operations = [*chain(c1), PutWrites("", c2, TASK), *subgraph(NODE, c2, c3)]
        assert retained(decided(client, operations, 1), NODE) == [c3]

    def test_without_any_root_everything_unknown_is_alive(self, client: redis.Redis) -> None:
        assert retained(decided(client, subgraph(NODE, c1, c2, c3), 1), NODE) == [c2, c3]

    def test_a_root_that_is_retained_for_a_replay_is_alive(self, client: redis.Redis) -> None:
        operations = [*chain(c1, c4, counters=(("messages", (1, 1)),), values=())]
        decision = decided(client, [*operations, *subgraph(NODE, c1, c2)], 1)
        assert reasons(decision, c1) == {"delta"}
        assert retained(decision, NODE) == [c2]

    def test_without_recorded_parents_they_count_by_themselves(self, client: redis.Redis) -> None:
        operations = [*chain(c1, c2), *subgraph(NODE, None, c3, c4, c5)]
        decision = decided(client, operations, 1)
        assert not belongs_to_an_invocation(NODE, decision.thread.namespace(NODE))
        assert retained(decision, NODE) == [c5]

    def test_stateful_ones_outlive_their_roots(self, client: redis.Redis) -> None:
        operations = [*chain(c1, c4), *subgraph("mem", c1, c2, c3)]
        assert retained(decided(client, operations, 1), "mem") == [c3]

    def test_an_interrupted_trim_cannot_know_a_dead_root(self, client: redis.Redis) -> None:
        operations = [*chain(c1, c2, c4), MovePointer("", c1), *subgraph(NODE, c2, c3)]
        decision = decided(client, operations, 1)
        assert retained(decision) == [c1, c4]
        assert retained(decision, NODE) == []
        assert decision.in_one_piece == {NODE}
        root_went_first = without(read_database(client), [Prefixes().document("t", "", c2)])
        assert retained(decide(root_went_first, "t", Policy(1), NOW), NODE) == [c3]


# --------------------------------------------------------------------------------------
# Rule 4: delta channels


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

    def test_ancestors_are_retained_up_to_the_first_value(self, client: redis.Redis) -> None:
        decision = decided(client, self.thread(snapshots=[c1, c3]), 1)
        assert retained(decision) == [c3, c4, c5, c6]
        assert reasons(decision, c3) == {"delta"}
        assert decision.checkpoints["", c3].fate is Fate.REQUIRED

    def test_without_a_value_to_the_beginning(self, client: redis.Redis) -> None:
        assert len(retained(decided(client, self.thread(), 1))) == 6

    def test_its_own_value_needs_no_ancestors(self, client: redis.Redis) -> None:
        assert retained(decided(client, self.thread(snapshots=[c6]), 1)) == [c6]

    def test_no_delta_channels_no_ancestors(self, client: redis.Redis) -> None:
        assert retained(decided(client, chain(c1, c2, c3), 1)) == [c3]

    def test_the_walk_follows_parents_not_ids(self, client: redis.Redis) -> None:
        counters = (("log", (1, 1)),)
        versions = ("messages", "log")
        operations: list[Operation] = [
            PutCheckpoint("", c1, values=("log",), versions=versions),
            PutCheckpoint("", c2, c1, values=(), versions=versions, counters=counters),
            PutCheckpoint("", c3, c1, values=(), versions=versions, counters=counters),
            PutCheckpoint("", c4, c2, values=(), versions=versions, counters=counters),
        ]
        assert retained(decided(client, operations, 1)) == [c1, c2, c4]

    def test_each_channel_has_its_own_walk(self, client: redis.Redis) -> None:
        both = (("log", (1, 1)), ("notes", (1, 1)))
        versions = ("log", "notes")
        operations: list[Operation] = [
            PutCheckpoint("", c1, values=("notes",), versions=versions, counters=both[:1]),
            PutCheckpoint("", c2, c1, values=(), versions=versions, counters=both),
            PutCheckpoint("", c3, c2, values=("log",), versions=versions, counters=both[1:]),
            PutCheckpoint("", c4, c3, values=(), versions=versions, counters=both),
        ]
        assert retained(decided(client, operations, 1)) == [c1, c2, c3, c4]
        assert retained(decided(client, [*operations, *chain(c5)], 1)) == [c5]

    def test_ancestors_start_no_walks_of_their_own(self, client: redis.Redis) -> None:
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
        assert retained(decided(client, operations, 1)) == [c2, c3]

    def test_below_a_broken_chain_everything_is_retained(self, client: redis.Redis) -> None:
        operations = [*self.thread(snapshots=[c1]), Vanish("", c3)]
        assert retained(decided(client, operations, 1)) == [c1, c2, c4, c5, c6]

    def test_a_stub_in_the_chain_breaks_it(self, client: redis.Redis) -> None:
        operations = [*self.thread(), Vanish("", c3), PutWrites("", c3, TASK)]
        assert retained(decided(client, operations, 1)) == [c1, c2, c4, c5, c6]

    def test_a_break_above_the_value_does_not_matter(self, client: redis.Redis) -> None:
        operations = [*self.thread(snapshots=[c4]), Vanish("", c3)]
        assert retained(decided(client, operations, 1)) == [c4, c5, c6]

    def test_the_walk_ends_before_the_first_write(self, client: redis.Redis) -> None:
        decision = decided(client, self.thread(unversioned=[c1, c2, c3]), 1)
        assert retained(decision) == [c3, c4, c5, c6]

    def test_a_channel_that_was_never_written_needs_nothing(self, client: redis.Redis) -> None:
        decision = decided(client, self.thread(unversioned=[c1, c2, c3, c4, c5, c6]), 1)
        assert retained(decision) == [c6]

    def test_no_versions_at_all_say_nothing(self, client: redis.Redis) -> None:
        operations: list[Operation] = [
            PutCheckpoint("", c1, values=("log",)),
            PutCheckpoint("", c2, c1, values=(), versions=(), counters=(("log", (1, 1)),)),
            PutCheckpoint("", c3, c2, values=(), versions=(), counters=(("log", (1, 1)),)),
        ]
        assert retained(decided(client, operations, 1)) == [c1, c2, c3]

    def test_pinned_and_latest_start_walks_too(self, client: redis.Redis) -> None:
        operations = [*self.thread(snapshots=[c1, c3, c5]), MovePointer("", c2)]
        assert retained(decided(client, operations, Policy(1, pinned=frozenset({c4})))) == [
            c1,
            c2,
            c3,
            c4,
            c5,
            c6,
        ]

    def test_in_stateful_subgraphs_too(self, client: redis.Redis) -> None:
        operations = chain(
            c1, c2, c3, ns="mem", values=(), versions=("log",), counters=(("log", (1, 1)),)
        )
        assert retained(decided(client, operations, 1), "mem") == [c1, c2, c3]


# --------------------------------------------------------------------------------------
# Rule 5: pending sends


class TestPendingSends:
    def test_the_parent_of_an_old_format_is_retained_whole(self, client: redis.Redis) -> None:
        sends = PutWrites("", c2, TASK, ("__pregel_tasks",))
        decision = decided(client, [*chain(c1, c2, c3, v=3), sends], 1)
        assert retained(decision) == [c2, c3]
        assert reasons(decision, c2) == {"pending-sends"}
        write = Prefixes().write_document("t", "", c2, TASK, 0)
        assert decision.keys[write].must is Must.RETAIN

    def test_from_format_4_on_it_does_not(self, client: redis.Redis) -> None:
        assert retained(decided(client, chain(c1, c2, c3, v=4), 1)) == [c3]

    def test_nor_does_a_parent_that_has_sent_nothing(self, client: redis.Redis) -> None:
        others = PutWrites("", c2, TASK, ("messages", "__interrupt__"))
        assert retained(decided(client, [*chain(c1, c2, c3, v=3), others], 1)) == [c3]

    def test_it_is_the_parent_not_the_one_before(self, client: redis.Redis) -> None:
        sends = [PutWrites("", id, TASK, ("__pregel_tasks",)) for id in (c1, c2)]
        operations = [*chain(c1, c2, v=3), PutCheckpoint("", c3, c1, v=3), *sends]
        assert retained(decided(client, operations, 1)) == [c1, c3]


# --------------------------------------------------------------------------------------
# Rule 6: writes


class TestWrites:
    OPERATIONS = (
        *chain(c1, c2),
        PutWrites("", c1, TASK, ("messages", "log")),
        PutWrites("", c1, task_id(8), ("__interrupt__",), registered=False),
        PutWrites("", c2, TASK, ("__interrupt__",)),
        PutWrites("", c2, task_id(8), ("__error__",), registered=False),
    )

    def test_they_are_deleted_with_their_checkpoint_named_or_not(self, client: redis.Redis) -> None:
        decision = decided(client, self.OPERATIONS, 1)
        gone = checkpoint_view(read_database(client), "t", ("", c1))
        assert len(gone) == 5
        assert decision.that(Must.DELETE) == gone.keys()

    def test_they_are_retained_with_their_checkpoint_named_or_not(
        self, client: redis.Redis
    ) -> None:
        decision = decided(client, self.OPERATIONS, 1)
        left = checkpoint_view(read_database(client), "t", ("", c2))
        assert len(left) == 4
        assert decision.that(Must.RETAIN) == left.keys() | {Prefixes().pointer("t", "")}

    def test_indexes_of_interrupts_and_errors_are_negative(self, client: redis.Redis) -> None:
        write_to(client, "t", self.OPERATIONS)
        assert client.exists(f"checkpoint_write:t:__empty__:{c2}:{TASK}:-3")
        assert client.exists(f"checkpoint_write:t:__empty__:{c2}:{task_id(8)}:-1")


# --------------------------------------------------------------------------------------
# Rule 7: orphans


def days_ago(days: float) -> str:
    return uuid6_at(NOW - days * 86_400)


class TestLeftovers:
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
        self, client: redis.Redis
    ) -> None:
        newest = days_ago(9)
        operations = [*chain(days_ago(10), newest), PutWrites("", days_ago(8), TASK)]
        assert self.fates(decided(client, operations, 1), "", days_ago(8)) == {Must.RETAIN}

    @pytest.mark.parametrize("others", [(c2, c3), (c1, c3)], ids=["older than all", "in between"])
    def test_an_hour_and_the_difference_of_clocks_decide(
        self, client: redis.Redis, others: tuple[str, str]
    ) -> None:
        late = c1 if c1 not in others else c2
        operations = [*chain(*others), PutWrites("", late, TASK)]
        young = decided(client, operations, 2)
        assert self.fates(young, "", late) == {Must.RETAIN}
        old = decide(read_database(client), "t", Policy(2), NOW + 2 * 3600)
        assert self.fates(old, "", late) == {Must.DELETE}

    def test_each_of_the_three_by_itself(self, client: redis.Redis) -> None:
        operations: list[Operation] = [
            PutWrites("", c1, TASK, registered=False, merged=False),
            PutRegistry("", c2, TASK),
            PutWrites("", c3, TASK, registered=False),
            Vanish("", c3, "writes"),
            *chain(c4),
        ]
        decided(client, operations, 1)
        decision = decide(read_database(client), "t", Policy(1), NOW + 2 * 3600)
        assert [self.fates(decision, "", cid) for cid in (c1, c2, c3)] == [{Must.DELETE}] * 3

    def test_an_id_without_a_time_is_left_alone(self, client: redis.Redis) -> None:
        between = timeless_id_at(NOW - 86_400 * 2)
        operations = [*chain(days_ago(3), days_ago(1)), PutWrites("", between, TASK)]
        assert self.fates(decided(client, operations, 2), "", between) == {Must.RETAIN}

    def test_ulids_have_a_time(self, client: redis.Redis) -> None:
        ids = [ulid_at(NOW - 86_400 * n) for n in (3, 2, 1)]
        operations = [*chain(ids[0], ids[2]), PutWrites("", ids[1], TASK)]
        assert self.fates(decided(client, operations, 2), "", ids[1]) == {Must.DELETE}

    def test_a_namespace_without_checkpoints_compares_with_the_root(
        self, client: redis.Redis
    ) -> None:
        operations = [*chain(c2, c4), *(PutWrites(NODE, cid, TASK) for cid in (c1, c3, c5))]
        decided(client, operations, 2)
        decision = decide(read_database(client), "t", Policy(2), NOW + 2 * 3600)
        assert self.fates(decision, NODE, c1) == {Must.DELETE}
        assert self.fates(decision, NODE, c3) == {Must.DELETE}
        assert self.fates(decision, NODE, c5) == {Must.EITHER}

    def test_a_thread_without_checkpoints_has_only_the_hour(self, client: redis.Redis) -> None:
        operations = [PutWrites("", days_ago(1), TASK), PutWrites("", c1, TASK)]
        decision = decided(client, operations, 1)
        assert self.fates(decision, "", days_ago(1)) == {Must.DELETE}
        assert self.fates(decision, "", c1) == {Must.RETAIN}

    def test_what_a_shallow_saver_wrote_is_retained(self, client: redis.Redis) -> None:
        decision = decided(client, [PutShallow("", days_ago(9), TASK), *chain(c1, c2)], 1)
        assert len(decision.thread.shallow) == 3
        assert decision.thread.shallow <= decision.that(Must.RETAIN)


# --------------------------------------------------------------------------------------
# Rule 8: whose is it?


class TestOthers:
    def test_a_colon_away(self, client: redis.Redis) -> None:
        """`a` with namespace `b:x` and `a:b` with namespace `x` have keys alike."""
        write_to(client, "a", [*chain(c1, c3, ns="b:x"), PutWrites("b:x", c1, TASK)])
        write_to(client, "a:b", [*chain(c2, c4, ns="x"), PutWrites("x", c2, TASK)])
        database = read_database(client)
        a, b = read_thread(database, "a"), read_thread(database, "a:b")
        assert set(a.checkpoints) == {("b:x", c1), ("b:x", c3)}
        assert set(b.checkpoints) == {("x", c2), ("x", c4)}
        assert not a.unsure
        assert not b.unsure
        # They share one pointer; it is the one's that its target belongs to.
        assert not a.pointers
        assert b.targets == {"x": Prefixes().document("a:b", "x", c4)}

    def test_a_stub_with_two_readings_is_nobody_s_for_sure(self, client: redis.Redis) -> None:
        operations: list[Operation] = [
            PutWrites("b:x", c1, TASK, registered=False),
            Vanish("b:x", c1, "writes"),
            *chain(c2, c3, ns="b:x"),
        ]
        write_to(client, "a", operations)
        decision = decide(read_database(client), "a", Policy(1), NOW + 2 * 3600)
        assert decision.keys[Prefixes().document("a", "b:x", c1)].must is Must.EITHER

    def test_other_prefixes(self, client: redis.Redis) -> None:
        app = Prefixes("checkpoint:app", "checkpoint_write:app")
        operations = [*chain(c1, c2), PutWrites("", c1, TASK)]
        write_to(client, "t", operations, checkpoint_prefix=app.checkpoint, write_prefix=app.write)
        database = read_database(client)
        assert not read_thread(database, "t").keys
        assert not read_thread(database, "app").keys
        assert not read_thread(database, "app:t").keys
        assert thread_view(database, "t", app) == database

    def test_a_shared_registry_may_be_retained(self, client: redis.Redis) -> None:
        """The registry's prefix is a constant: two savers with the same ids share it."""
        operations = [*chain(c1, c2), PutWrites("", c1, TASK)]
        write_to(client, "t", operations)
        write_to(client, "t", operations, checkpoint_prefix="app", write_prefix="app_w")
        decision = decide(read_database(client), "t", Policy(1), NOW)
        assert decision.keys[Prefixes().registry("t", "", c1)].must is Must.EITHER

    def test_the_empty_thread_id(self, client: redis.Redis) -> None:
        write_to(client, "", chain(c1, c2))
        assert set(read_thread(read_database(client), "").checkpoints) == {("", c1), ("", c2)}


# --------------------------------------------------------------------------------------
# Comparing


class TestComparing:
    OPERATIONS = (
        *chain(c1, c3),
        PutWrites("", c1, TASK, ("messages", "log")),
        *subgraph(NODE, c1, c2),
    )

    @pytest.fixture
    def before(self, client: redis.Redis) -> Database:
        write_to(client, "t", self.OPERATIONS)
        client.set("store:t", "x")
        return read_database(client)

    def test_a_perfect_trim(self, before: Database) -> None:
        decision = decide(before, "t", Policy(1), NOW)
        assert not complaints(before, trimmed(before, decision), decision)

    def test_too_little_too_much_and_somebody_else(self, before: Database) -> None:
        decision = decide(before, "t", Policy(1), NOW)
        after = without(before, [b"store:t", Prefixes().document("t", "", c3)])
        found = complaints(before, after, decision)
        assert f"must be retained: checkpoint:t:__empty__:{c3} (checkpoint required)" in found
        assert "must be retained: store:t (not the thread's)" in found
        assert f"must be deleted: checkpoint:t:__empty__:{c1} (checkpoint deleted)" in found

    def test_new_keys_and_other_ttls(self, before: Database) -> None:
        decision = decide(before, "t", Policy(9), NOW)
        key = Prefixes().document("t", "", c3)
        after = before | {
            key: Entry(before[key].kind, before[key].value, 5),
            b"tmp": Entry("string", b""),
            b"retention:t": Entry("string", b""),
        }
        assert complaints(before, after, decision) == [
            f"changed: checkpoint:t:__empty__:{c3} (checkpoint required)",
            "new: tmp",
        ]

    def test_between_two_calls_a_checkpoint_is_whole_or_gone(self, before: Database) -> None:
        decision = decide(before, "t", Policy(1), NOW)
        document = Prefixes().document("t", "", c1)
        write = Prefixes().write_document("t", "", c1, TASK, 0)
        assert not boundary_complaints(before, without(before, [document]), decision)
        assert boundary_complaints(before, without(before, [write]), decision) == [
            f"its document is still there: checkpoint_write:t:__empty__:{c1}:{TASK}:0"
        ]

    def test_between_two_calls_no_root_is_without_its_subgraph(self, before: Database) -> None:
        decision = decide(before, "t", Policy(1), NOW)
        inner = Prefixes().document("t", NODE, c2)
        root = Prefixes().document("t", "", c1)
        pointer = Prefixes().pointer("t", NODE)
        assert boundary_complaints(before, without(before, [inner, pointer]), decision) == [
            f"subgraph of {c1} is incomplete: checkpoint:t:{NODE}:{c2}"
        ]
        assert not boundary_complaints(before, without(before, [root, inner, pointer]), decision)

    def test_between_two_calls_no_checkpoint_is_without_its_pointer(self, before: Database) -> None:
        decision = decide(before, "t", Policy(1), NOW)
        pointer = Prefixes().pointer("t", NODE)
        assert boundary_complaints(before, without(before, [pointer]), decision) == [
            f"pointer before its checkpoints: checkpoint_latest:t:{NODE}"
        ]


class TestSnapshot:
    def test_every_type_is_read_whole(self, client: redis.Redis) -> None:
        client.set("string", "a\r\n")
        client.hset("hash", "field", "value")
        client.zadd("zset", {"b": 2, "a": 1})
        client.sadd("set", "x", "y")
        client.rpush("list", "1", "2")
        client.json().set("json", "$", {"a": 1.0})
        client.expire("json", 100)
        database = read_database(client)
        assert {key: entry.kind for key, entry in database.items()} == {
            kind.encode(): kind for kind in ("string", "hash", "zset", "set", "list", "json")
        }
        assert database[b"zset"].value == ((b"a", 1.0), (b"b", 2.0))
        assert database[b"json"].expires_at is not None
        assert not difference(database, read_database(client))

    def test_a_change_of_one_byte_or_of_the_ttl_shows(self, client: redis.Redis) -> None:
        write_to(client, "t", [*chain(c1, c2), Expire("", c1)])
        before = read_database(client)
        client.persist(f"checkpoint:t:__empty__:{c1}")
        client.json().set(f"checkpoint:t:__empty__:{c2}", "$.has_writes", True)
        changed = difference(before, read_database(client)).changed
        assert changed == {Prefixes().document("t", "", cid) for cid in (c1, c2)}


def test_times_in_ids() -> None:
    assert id_time(uuid6_at(NOW)) == pytest.approx(NOW)
    assert id_time(ulid_at(NOW)) == pytest.approx(NOW)
    assert id_time(timeless_id_at(NOW)) is None
    assert id_time("checkpoint-1") is None


# --------------------------------------------------------------------------------------
# Random threads, and the real saver


def database_of(example: Example) -> tuple[redis.Redis, Database]:
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    example.write(client)
    return client, read_database(client)


random_threads = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@given(examples())
@random_threads
def test_a_second_trim_finds_nothing(example: Example) -> None:
    """A second trim by the same policy retains what the first one retained.

    `keep-runs` is left out: next to pins, what is left of a run may count as one more.
    """
    _, before = database_of(example)
    p = example.policy
    policy = Policy(p.keep_last, p.keep_within, None, p.pinned)
    first = decide(before, example.thread_id, policy, example.now, example.prefixes)
    after = trimmed(before, first)
    assert not complaints(before, after, first)
    assert not boundary_complaints(before, after, first)
    second = decide(after, example.thread_id, policy, example.now, example.prefixes)
    assert second.retained == first.retained
    assert not second.deleted


@given(examples())
@random_threads
def test_every_key_has_one_decision_and_only_those_of_the_thread_have(example: Example) -> None:
    _, before = database_of(example)
    decision = decide(before, example.thread_id, example.policy, example.now, example.prefixes)
    assert decision.keys.keys() == decision.thread.keys <= before.keys()
    for other in example.bystanders:
        sure = read_thread(before, other.thread_id, other.prefixes)
        assert not (sure.keys - sure.unsure) & (decision.that(Must.DELETE))


def real_saver(client: redis.Redis, prefixes: Prefixes | None = None) -> Any:
    """`RedisSaver` on fakeredis: no `setup`, which needs search indexes."""
    saver_module = pytest.importorskip("langgraph.checkpoint.redis")
    registry_module = pytest.importorskip("langgraph.checkpoint.redis.key_registry")
    prefixes = prefixes or Prefixes()
    saver = saver_module.RedisSaver(
        redis_client=client,
        checkpoint_prefix=prefixes.checkpoint,
        checkpoint_write_prefix=prefixes.write,
    )
    saver._key_registry = registry_module.SyncCheckpointKeyRegistry(client)
    return saver


def readings(client: redis.Redis, example: Example, decision: ThreadDecision) -> dict[Any, Any]:
    """All that LangGraph reads of the retained checkpoints."""
    saver = real_saver(client, example.prefixes)
    found: dict[Any, Any] = {}
    for ns, cid in decision.retained:
        one = decision.checkpoints[ns, cid]
        where = {"thread_id": example.thread_id, "checkpoint_ns": ns, "checkpoint_id": cid}
        config = {"configurable": where}
        read = saver.get_tuple(config)._asdict()
        if (one.checkpoint.v or 0) >= 4:
            read["checkpoint"] = {**read["checkpoint"], "pending_sends": None}
        found[ns, cid] = read
        # What is there for a replay only is not resumed from (rules 4 and 5). LangGraph walks
        # round and round where a checkpoint is its own ancestor.
        is_resumed = one.kept_by_policy or one.required.keys() & {"latest", "subgraph"}
        if is_resumed and not is_own_ancestor(decision.thread, one.checkpoint):
            replayed = [
                channel
                for channel in one.checkpoint.counters & one.checkpoint.versions
                if channel not in one.checkpoint.values
            ]
            history = saver.get_delta_channel_history(config=config, channels=sorted(replayed))
            found[ns, cid, "history"] = history
    for ns in {ns for ns, _ in decision.retained}:
        # What a thread resumes from; a pointer at nothing reads as nothing anyway.
        decision_here = [v for v in decision.checkpoints.values() if v.checkpoint.ns == ns]
        if decision.thread.targets.get(ns) in {v.checkpoint.key for v in decision_here}:
            where = {"thread_id": example.thread_id, "checkpoint_ns": ns}
            read = saver.get_tuple({"configurable": where})
            found[ns, "latest"] = read and (read.checkpoint["id"], read.metadata)
    return found


def is_own_ancestor(thread: Thread, checkpoint: Checkpoint) -> bool:
    """Whether the way up from a checkpoint has no end. The saver reads a stub as its own parent."""
    stubs = set(thread.stubs.values())
    passed: set[str] = set()
    found = checkpoint
    while found.id not in passed:
        passed.add(found.id)
        place = (found.ns, found.parent)
        if place in stubs:
            return True
        if not found.parent or place not in thread.checkpoints:
            return False
        found = thread.checkpoints[place]
    return True


@given(examples())
@random_threads
def test_langgraph_reads_the_same_before_and_after(example: Example) -> None:
    """The golden rule, by the real saver: the rules as read here are enough."""
    logging.getLogger("langgraph.checkpoint.redis").setLevel(logging.ERROR)
    client, before = database_of(example)
    decision = decide(before, example.thread_id, example.policy, example.now, example.prefixes)
    expected = readings(client, example, decision)
    for key in decision.that(Must.DELETE) | decision.that(Must.EITHER):
        client.delete(key)
    assert readings(client, example, decision) == expected


def test_threads_are_stored_as_the_saver_stores_them(client: redis.Redis) -> None:
    """The same keys, fields and values in the same order; only the times of the puts differ."""
    saver = real_saver(client)
    config: Any = {"configurable": {"thread_id": "real", "checkpoint_ns": NODE}}
    for n, cid in enumerate((c1, c2)):
        checkpoint = {  # in the order in which LangGraph fills it
            "v": 4,
            "ts": "",
            "id": cid,
            "channel_values": {"messages": [f"messages at {cid}"]},
            "channel_versions": {"messages": f"{n + 2:032}.0.5000000000000000"},
            "versions_seen": {"__input__": {}},
            "updated_channels": ["messages"],
        }
        metadata = {
            "source": "loop",
            "step": n,
            "parents": {"": c1},
            "run_id": "r",
            "counters_since_delta_snapshot": {"log": (1, 2)},
        }
        config = saver.put(config, checkpoint, metadata, {})
    saver.put_writes(config, [("messages", ["0007 wrote messages"])], TASK, "path")
    saver.put_writes(config, [("__interrupt__", ["0007 wrote __interrupt__"])], TASK, "path")

    fields: dict[str, Any] = {
        "parents": (("", c1),),
        "counters": (("log", (1, 2)),),
        "run_id": "r",
    }
    ours: list[Operation] = [
        PutCheckpoint(NODE, c1, step=0, **fields),
        PutCheckpoint(NODE, c2, c1, step=1, **fields),
        PutWrites(NODE, c2, TASK, ("messages",), "path"),
        PutWrites(NODE, c2, TASK, ("__interrupt__",), "path"),
    ]
    write_to(client, "ours", ours)

    def shape(thread: str) -> dict[str, Any]:
        shapes: dict[str, Any] = {}
        for key, entry in read_database(client).items():
            name = key.decode()
            if f":{thread}:" in name:
                value: Any = entry.value
                if entry.kind == "json":
                    value = client.json().get(name)
                    value.pop("checkpoint_ts", None)
                    value.get("checkpoint", {}).pop("ts", None)
                shapes[name.replace(f":{thread}:", ":T:")] = (
                    entry.kind,
                    str(value).replace(f":{thread}:", ":T:").replace(f"'{thread}'", "'T'"),
                )
        return shapes

    assert shape("ours") == shape("real")
