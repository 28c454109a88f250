"""One thread whose keys were found by their names: trimmed, planned, or counted as if trimmed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from redis_retention.engine import (
    CHECKPOINTS,
    Decisions,
    Engine,
    OrphanGroup,
    Place,
    ThreadDocuments,
    Trimmed,
    unsupported_reason,
)
from redis_retention.engine.entries import newest_of_each_namespace
from redis_retention.layouts import Family, Layout
from redis_retention.policy import Policy
from redis_retention.results import ThreadResult
from redis_retention.sans_io import Operation


@dataclass(slots=True)
class Found:
    """The keys that may belong to one thread: their names begin like the thread's.

    Attributes:
        documents: Checkpoint documents, key by suffix.
        writes: Write documents, keys by the suffix of their checkpoint.
        registries: Suffixes that have a registry.
        pointers: Newest-checkpoint pointers.
        shared: Keys that several checkpoints name.
        has_more_shared: There are more of these.
        complete: These are all checkpoints of the thread.
    """

    documents: dict[bytes, bytes] = field(default_factory=dict)
    writes: dict[bytes, set[bytes]] = field(default_factory=dict)
    registries: set[bytes] = field(default_factory=set)
    pointers: set[bytes] = field(default_factory=set)
    shared: set[bytes] = field(default_factory=set)
    has_more_shared: bool = False
    complete: bool = True

    @property
    def empty(self) -> bool:
        """Whether nothing was found."""
        return not (
            self.documents or self.writes or self.registries or self.pointers or self.shared
        )

    def add(self, layout: Layout, family: Family, key: bytes, rest: bytes) -> None:
        """Take in one key; `rest` is the key without what its family's names begin with."""
        if family is Family.LATEST:
            self.pointers.add(key)
            return
        if family is Family.SHARED:
            self.shared.add(key)
            return
        suffix = layout.suffix(family, rest)
        if family is Family.CHECKPOINT:
            self.documents[suffix] = key
        elif family is Family.REGISTRY:
            self.registries.add(suffix)
        else:
            self.writes.setdefault(suffix, set()).add(key)

    def writes_seen(self) -> dict[bytes, int]:
        """For each document key the number of write documents that bear its name."""
        return {key: len(self.writes.get(s, ())) for s, key in self.documents.items()}

    def possible_orphans(self, statuses: dict[bytes, str]) -> list[bytes]:
        """Pointers, and documents that no saver with many checkpoints has put.

        Args:
            statuses: What the documents were found to be.
        """
        foreign = {key for key, status in statuses.items() if status == "foreign"}
        return sorted(self.pointers | foreign)

    def orphan_groups(
        self, statuses: dict[bytes, str], to_delete: Collection[bytes] | None = None
    ) -> list[OrphanGroup]:
        """What may be left of checkpoints that are gone, or were never there.

        Args:
            statuses: What the documents were found to be.
            to_delete: Suffixes of the checkpoints that a trim would delete; None after a trim.
        """
        known = {s: statuses.get(key) for s, key in self.documents.items()}
        candidates = {*self.writes, *self.registries, *(s for s, x in known.items() if x == "stub")}
        return [
            OrphanGroup(
                suffix,
                sorted(self.writes.get(suffix, ())),
                known.get(suffix) == "unregistered" if to_delete is None else suffix in to_delete,
            )
            for suffix in sorted(candidates)
            # A checkpoint whose registry names all its writes leaves nothing behind; one of
            # another thread is none of ours.
            if known.get(suffix) not in ("checkpoint", "other")
        ]


def trim(engine: Engine, thread: bytes, found: Found, policy: Policy) -> Operation[ThreadResult]:
    """Bring a thread's index up to date, trim it, and delete the orphans that writers left."""
    yield from engine.check_keys(thread)
    return (
        yield from engine.with_sound_index(thread, lambda: _trim(engine, thread, found, policy))
    )


def _trim(engine: Engine, thread: bytes, found: Found, policy: Policy) -> Operation[ThreadResult]:
    # Where runs begin, only documents say.
    by_names = not policy.keep_runs
    read = yield from engine.update_index(thread, found.writes_seen(), by_names=by_names)
    trimmed = yield from engine.trim(thread, policy, complete=found.complete)
    result = done(trimmed)
    if trimmed.unsupported is not None:
        result.left = checkpoints(read)
        return result
    orphans, stubs = yield from engine.delete_orphans(
        thread, found.orphan_groups(read.statuses), found.possible_orphans(read.statuses)
    )
    result.left = checkpoints(read) - trimmed.deleted.checkpoints + stubs
    result.deleted.add(orphans.checkpoints, orphans.keys)
    return result


def plan(engine: Engine, thread: bytes, found: Found, policy: Policy) -> Operation[Decisions]:
    """Say what `trim` would do to the checkpoints of a thread, without writing anything."""
    read = yield from engine.read(thread, found.writes_seen())
    return (
        yield from engine.plan(thread, policy, read.entries, describe=True, complete=found.complete)
    )


def dry_run(engine: Engine, thread: bytes, found: Found, policy: Policy) -> Operation[ThreadResult]:
    """Count what `trim` would do, orphans with it, without writing anything."""
    read = yield from engine.read(thread, found.writes_seen())
    decisions = yield from engine.plan(thread, policy, read.entries, complete=found.complete)
    result = would_be(decisions)
    result.left = checkpoints(read)
    if decisions.unsupported is not None:
        return result
    to_delete = {d.place for d in decisions.checkpoints if not d.reasons}
    suffixes = {
        engine.layout.checkpoint_suffix(thread, place.namespace, place.checkpoint_id)
        for place in to_delete
    }
    orphans, stubs = yield from engine.delete_orphans(
        thread,
        found.orphan_groups(read.statuses, suffixes),
        found.possible_orphans(read.statuses),
        entries=newest_of_each_namespace(read.entries, to_delete),
    )
    result.left += stubs - result.deleted.checkpoints
    result.deleted.add(orphans.checkpoints, orphans.keys)
    if found.shared:
        documents = [key for suffix, key in found.documents.items() if suffix not in suffixes]
        ids = {place.checkpoint_id for place in to_delete}
        shared, _ = yield from engine.delete_shared_keys(thread, documents, found.shared, ids)
        result.deleted.add(0, shared.keys)
    return result


def done(trimmed: Trimmed) -> ThreadResult:
    """The result of a trim by the index alone, which is all that it knows."""
    return ThreadResult(trimmed.deleted, trimmed.left, _why(trimmed.unsupported))


def would_be(decisions: Decisions) -> ThreadResult:
    """The result that a trim by the index alone would have."""
    result = ThreadResult(left_alone=_why(decisions.unsupported))
    for decision in decisions.checkpoints:
        result.deleted.add(decision.documents, decision.keys)
        result.left += bool(decision.reasons)
    return result


def checkpoints(read: ThreadDocuments) -> int:
    """How many checkpoints of the thread were found."""
    return sum(status in CHECKPOINTS for status in read.statuses.values())


def _why(unsupported: Place | None) -> str | None:
    return None if unsupported is None else unsupported_reason(unsupported)
