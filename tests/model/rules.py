"""What a trim must retain and what it must delete, said as plainly as possible.

This is the oracle that the engine is tested against. It is slow, reads the whole
database, and was written from the safety rules (numbered as in docs/guarantees.md) and from
what LangGraph and its saver do, never from the engine's code. One function a rule.

    decision = decide(read_database(client), thread_id, Policy(keep_last=10), now)
    ... the engine trims ...
    assert not complaints(before, read_database(client), decision)

How a decision is made:

1. In the root namespace and in each one that counts by itself, the policy picks
   checkpoints, and what the `checkpoint_latest` pointer names is picked too (rule 1).
2. What a picked checkpoint needs to be read is retained: ancestors of delta channels (rule 4)
   and the parents of old formats (rule 5). What is retained for that needs nothing itself.
3. A namespace of an invocation is retained or deleted as a whole, with the root checkpoints
   that it names (rule 3).
4. Writes and registries share the fate of their checkpoint; what has none is an orphan,
   and its age decides (rule 7).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from tests.model.snapshot import (
    Checkpoint,
    Database,
    Entry,
    Place,
    Prefixes,
    Thread,
    difference,
    read_thread,
    without,
)

HOUR = 3600.0
LARGEST_DIFFERENCE_OF_CLOCKS = HOUR

OWN_KEYS = b"retention:"
"""What the engine's own keys begin with."""


# --------------------------------------------------------------------------------------
# What is asked and what is answered


@dataclass(frozen=True)
class Policy:
    """What to keep. A checkpoint is retained if any of these keeps it."""

    keep_last: int
    keep_within: float | None = None
    """Seconds."""
    keep_runs: int | None = None
    pinned: frozenset[str] = frozenset()
    """Checkpoint ids, of any namespace."""


class Fate(Enum):
    """What happens to a checkpoint document in a trim that knows everything."""

    REQUIRED = "required"
    """A safety rule retains it, whatever the policy says."""
    KEPT = "kept by policy"
    DELETED = "deleted"
    """Gone after the trim."""


class Must(Enum):
    """What has to be true of a key after the trim."""

    RETAIN = "retain"
    """There, and nothing about it changed."""
    DELETE = "delete"
    EITHER = "either"
    """The rules leave it open, or the key may be somebody else's."""


Reasons = Mapping[str, str]
"""Rule (`latest`, `delta`, `keep-last`, ...) to the reason in words."""


@dataclass(frozen=True)
class CheckpointDecision:
    checkpoint: Checkpoint
    required: Reasons
    kept_by_policy: Reasons

    @property
    def fate(self) -> Fate:
        if self.required:
            return Fate.REQUIRED
        return Fate.KEPT if self.kept_by_policy else Fate.DELETED


@dataclass(frozen=True)
class KeyDecision:
    must: Must
    why: str


@dataclass(frozen=True)
class ThreadDecision:
    """The decision on one thread. Keys that are not in `keys` are not the thread's."""

    thread_id: str
    prefixes: Prefixes
    thread: Thread
    checkpoints: Mapping[Place, CheckpointDecision]
    keys: Mapping[bytes, KeyDecision]
    """All keys of the thread: documents, writes, registries, stubs, pointers."""
    in_one_piece: frozenset[str] = field(default=frozenset())
    """Deleted namespaces that a *second* decision may not recognize as such.

    Their root checkpoint is deleted in this trim and is not older than the oldest one that
    is retained. Once its document is gone, it looks like one whose `put` is still to come.
    A trim that goes on after an interruption may therefore retain them.
    """

    def with_fate(self, *fates: Fate) -> set[Place]:
        return {place for place, decision in self.checkpoints.items() if decision.fate in fates}

    @property
    def retained(self) -> set[Place]:
        return self.with_fate(Fate.REQUIRED, Fate.KEPT)

    @property
    def deleted(self) -> set[Place]:
        return self.with_fate(Fate.DELETED)

    def that(self, must: Must) -> set[bytes]:
        return {key for key, decision in self.keys.items() if decision.must is must}


# --------------------------------------------------------------------------------------
# Time


_UUID6 = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-6([0-9a-f]{3})-[0-9a-f]{4}-[0-9a-f]{12}", re.I)
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.I)
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_GREGORIAN = 0x01B21DD213814000
"""100 ns intervals between 1582-10-15 and 1970-01-01."""


def id_time(checkpoint_id: str) -> float | None:
    """The Unix time in a UUIDv6 or ULID, None in anything else."""
    if found := _UUID6.fullmatch(checkpoint_id):
        high, middle, low = found.groups()
        return (int(high + middle + low, 16) - _GREGORIAN) / 1e7
    if _ULID.fullmatch(checkpoint_id):
        milliseconds = 0
        for letter in checkpoint_id[:10].upper():
            milliseconds = milliseconds * 32 + _CROCKFORD.index(letter)
        return milliseconds / 1000
    return None


def checkpoint_time(checkpoint: Checkpoint) -> float | None:
    """The time in the id; else the time of the `put`, which a copy would change."""
    by_id = id_time(checkpoint.id)
    return checkpoint.stored_at if by_id is None else by_id


# --------------------------------------------------------------------------------------
# Namespaces (rule 3)


_TASK_ID = re.compile(r".*:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.S)


def has_task_id(ns: str) -> bool:
    """Rule 3: `node:{uuid}` in any of the segments between `|` names one task."""
    return any(_TASK_ID.fullmatch(segment) for segment in ns.split("|"))


def belongs_to_an_invocation(ns: str, checkpoints: Iterable[Checkpoint]) -> bool:
    """Rule 3: a task id in the namespace, and a root that its checkpoints name.

    Everything else counts by itself: the root graph, stateful subgraphs (`mem`,
    `outer|deep`), whose state must outlive the run that began it, and namespaces
    without recorded parents, of which nobody can say when they are over.
    """
    return has_task_id(ns) and any(checkpoint.root for checkpoint in checkpoints)


def root_is_alive(root: str, known: Collection[str], surviving: Collection[str]) -> bool:
    """Rule 3: a retained root is alive, and so is one that is unknown but not old.

    The `put` of an unknown root may be on the way; one older than the oldest root
    checkpoint there is was trimmed long ago. `known` are the real root checkpoints
    before the trim: one of them that does not survive is dead.
    """
    if root in surviving:
        return True
    if root in known:
        return False
    return not surviving or root.encode() >= min(r.encode() for r in surviving)


def alive_roots(
    checkpoints: Iterable[Checkpoint], known: Collection[str], surviving: Collection[str]
) -> list[str]:
    """Rule 3: the living roots that the checkpoints of an invocation name.

    The namespace is one unit: while one of its roots lives, all of it is retained, because
    resuming needs any of its checkpoints.
    """
    roots = {checkpoint.root for checkpoint in checkpoints if checkpoint.root}
    return sorted(root for root in roots if root_is_alive(root, known, surviving))


# --------------------------------------------------------------------------------------
# Policies: each returns the checkpoints that it keeps, with the reason


Kept = dict[str, str]
"""Checkpoint id to reason, within one namespace."""


def keep_last(ordered: list[Checkpoint], policy: Policy) -> Kept:
    """`keep-last N`: the newest N real checkpoints. Stubs are not counted (rule 7)."""
    newest_first = ordered[::-1][: policy.keep_last]
    return {c.id: f"number {n} of the newest" for n, c in enumerate(newest_first, 1)}


def keep_within(ordered: list[Checkpoint], policy: Policy, now: float) -> Kept:
    """`keep-within T`: not older than T. What has no time at all is left alone."""
    if policy.keep_within is None:
        return {}
    retained = {}
    for checkpoint in ordered:
        time = checkpoint_time(checkpoint)
        if time is None:
            retained[checkpoint.id] = "of unknown age"
        elif now - time <= policy.keep_within:
            retained[checkpoint.id] = f"{now - time:.0f} s old"
    return retained


def runs(ordered: list[Checkpoint]) -> list[list[Checkpoint]]:
    """The root checkpoints by run, oldest run first.

    A run begins with an `input` or a `fork`. What is left of a run whose beginning was
    trimmed begins with a checkpoint whose parent is gone.
    """
    known = {checkpoint.id for checkpoint in ordered}
    found: list[list[Checkpoint]] = []
    for checkpoint in ordered:
        orphan = bool(checkpoint.parent) and checkpoint.parent not in known
        if not found or checkpoint.source in ("input", "fork") or orphan:
            found.append([])
        found[-1].append(checkpoint)
    return found


def keep_runs(ordered: list[Checkpoint], policy: Policy) -> Kept:
    """`keep-runs N`: the last checkpoint of each of the newest N runs, root graph only.

    A pinned one is retained anyway. It does not use up one of the N: it may be all that is left
    of a run of which it was not the end.
    """
    retained: dict[str, str] = {}
    counted = 0
    for run in reversed(runs(ordered)):
        if counted == (policy.keep_runs or 0):
            break
        retained[run[-1].id] = f"ends a run, after {counted} newer ones"
        counted += run[-1].id not in policy.pinned
    return retained


def pinned(ordered: list[Checkpoint], policy: Policy) -> Kept:
    """Pinned checkpoints are retained until they are unpinned."""
    return {c.id: "pinned" for c in ordered if c.id in policy.pinned}


def by_policy(ordered: list[Checkpoint], policy: Policy, now: float) -> dict[str, Kept]:
    """Everything that the policy keeps in a namespace that counts by itself."""
    is_root = bool(ordered) and ordered[0].ns == ""
    return {
        "keep-last": keep_last(ordered, policy),
        "keep-within": keep_within(ordered, policy, now),
        "keep-runs": keep_runs(ordered, policy) if is_root else {},
        "pinned": pinned(ordered, policy),
    }


# --------------------------------------------------------------------------------------
# Safety rules: each returns the checkpoints that it requires, with the reason


def latest(ordered: list[Checkpoint], target: bytes | None) -> Kept:
    """Rule 1: what `checkpoint_latest` points at is retained, wherever its id sorts.

    It is what the thread resumes from, and the clocks of several hosts differ.
    """
    return {c.id: "checkpoint_latest points at it" for c in ordered if c.key == target}


def delta_ancestors(checkpoint: Checkpoint, ordered: list[Checkpoint]) -> Kept:
    """Rule 4: the ancestors whose writes and snapshots make up its delta channels."""
    retained: Kept = {}
    for channel in sorted(checkpoint.counters):
        retained |= delta_ancestors_for(channel, checkpoint, ordered)
    return retained


def delta_ancestors_for(channel: str, checkpoint: Checkpoint, ordered: list[Checkpoint]) -> Kept:
    """Rule 4 for one channel: the walk that `get_delta_channel_history` does.

    It follows `parent_checkpoint_id`, not the order of ids, because there are forks, and
    ends with the first ancestor that has a value. LangGraph does not walk at all for a
    channel that the checkpoint has a value of, or no version of. An ancestor without a
    version of the channel is from before its first write: nothing further up matters,
    but its own pending writes are the first.

    Where a parent is missing, nobody knows how the chain went on: all that is older
    than the break in this namespace might belong to it and is retained.
    """
    retained: Kept = {}
    reason = f"{checkpoint.id} replays {channel}"
    documents = {c.id: c for c in ordered}
    here = checkpoint
    while not _ends_the_walk(here, channel):
        if here.parent == "":
            return retained
        parent = documents.get(here.parent)
        if parent is None or parent.id in retained or parent is checkpoint:
            broken = {c.id: f"{reason}; chain broken" for c in ordered if c.order < here.order}
            return broken | retained
        retained[parent.id] = reason
        here = parent
    return retained


def _ends_the_walk(checkpoint: Checkpoint, channel: str) -> bool:
    """Rule 4: nothing above this checkpoint matters to the channel."""
    never_written = bool(checkpoint.versions) and channel not in checkpoint.versions
    return channel in checkpoint.values or never_written


def old_format_parent(checkpoint: Checkpoint, ordered: list[Checkpoint]) -> Kept:
    """Rule 5: before format 4, the pending sends are among the writes of the parent, if any."""
    if checkpoint.v is not None and checkpoint.v >= 4:
        return {}
    reason = f"{checkpoint.id} is of format {checkpoint.v}"
    return {c.id: reason for c in ordered if c.id == checkpoint.parent and c.sends}


def by_safety(
    ordered: list[Checkpoint], target: bytes | None, policy_keeps: Collection[str]
) -> dict[str, Kept]:
    """Rules 1, 4 and 5 in a namespace that counts by itself.

    Rules 4 and 5 apply to what the policy or rule 1 keeps, not to what they keep
    themselves: an ancestor is there for a replay and is not itself resumed from.
    """
    pointed_at = latest(ordered, target)
    delta: Kept = {}
    sends: Kept = {}
    for checkpoint in ordered:
        if checkpoint.id in policy_keeps or checkpoint.id in pointed_at:
            delta |= delta_ancestors(checkpoint, ordered)
            sends |= old_format_parent(checkpoint, ordered)
    return {"latest": pointed_at, "delta": delta, "pending-sends": sends}


# --------------------------------------------------------------------------------------
# Checkpoints


def decide_checkpoints(
    thread: Thread, policy: Policy, now: float
) -> dict[Place, CheckpointDecision]:
    """The decision on every checkpoint document of the thread."""
    decisions: dict[Place, CheckpointDecision] = {}
    invocations = invocation_namespaces(thread)
    for ns in thread.namespaces():
        if ns not in invocations:
            ordered = thread.namespace(ns)
            policy_keeps = by_policy(ordered, policy, now)
            chosen = {cid for kept in policy_keeps.values() for cid in kept}
            required = by_safety(ordered, thread.targets.get(ns), chosen)
            for c in ordered:
                decisions[c.place] = CheckpointDecision(
                    c, _reasons(required, c), _reasons(policy_keeps, c)
                )
    known = root_ids(decisions.values())
    surviving = root_ids(v for v in decisions.values() if v.fate is not Fate.DELETED)
    for ns in invocations:
        ordered = thread.namespace(ns)
        roots = alive_roots(ordered, known, surviving)
        alive = {"subgraph": f"of {', '.join(roots)}"} if roots else {}
        pins = pinned(ordered, policy)
        # One unit: a pinned checkpoint in it keeps all of it.
        pin = {"pinned": f"with {', '.join(sorted(pins))}"} if pins else {}
        for c in ordered:
            decisions[c.place] = CheckpointDecision(c, alive, pin)
    return decisions


def invocation_namespaces(thread: Thread) -> set[str]:
    return {ns for ns in thread.namespaces() if belongs_to_an_invocation(ns, thread.namespace(ns))}


def root_ids(decisions: Iterable[CheckpointDecision]) -> set[str]:
    return {v.checkpoint.id for v in decisions if v.checkpoint.ns == ""}


def _reasons(rules: Mapping[str, Kept], checkpoint: Checkpoint) -> dict[str, str]:
    return {rule: kept[checkpoint.id] for rule, kept in rules.items() if checkpoint.id in kept}


# --------------------------------------------------------------------------------------
# Orphans (rule 7)


def orphan(checkpoint_id: str, newest: str | None, now: float) -> KeyDecision:
    """Rule 7: stubs, writes and registries of a checkpoint that has no document.

    `put_writes` may run before its `put`: what is newer than the newest real checkpoint
    belongs to one that is still to come. So may anything else until it is an hour old, by a
    clock that may lag by another hour.
    """
    time = id_time(checkpoint_id)
    if newest is not None and checkpoint_id.encode() > newest.encode():
        return KeyDecision(Must.RETAIN, "its checkpoint may be still to come")
    if time is None:
        return KeyDecision(Must.RETAIN, "of unknown age")
    if now - time < HOUR + LARGEST_DIFFERENCE_OF_CLOCKS:
        return KeyDecision(Must.RETAIN, "not old enough")
    return KeyDecision(Must.DELETE, "old enough")


def decide_orphan(
    place: Place, decisions: Mapping[Place, CheckpointDecision], now: float
) -> KeyDecision:
    """Rule 7 per namespace; where there is no real checkpoint, by the root namespace or by none.

    A namespace that this very trim empties may be taken as it was before or as it is
    after; where that matters, either is right, and the next trim sees only the latter.
    """
    ns, checkpoint_id = place
    before = {p for p in decisions if p[0] == ns}
    after = {p for p in before if decisions[p].fate is not Fate.DELETED}
    root_before = {p for p in decisions if p[0] == ""}
    root_after = {p for p in root_before if decisions[p].fate is not Fate.DELETED}
    compared = [before or root_before, after or root_after]
    if not after:
        compared.append(set())
    readings = {orphan(checkpoint_id, _newest(real), now) for real in compared}
    if len({reading.must for reading in readings}) == 1:
        return min(readings, key=lambda reading: reading.why)
    return KeyDecision(Must.EITHER, " or ".join(sorted(r.why for r in readings)))


def _newest(real: set[Place]) -> str | None:
    return max((cid for _, cid in real), key=str.encode, default=None)


# --------------------------------------------------------------------------------------
# Keys


def decide_pointer(ns: str, decisions: Mapping[Place, CheckpointDecision]) -> KeyDecision:
    """Rules 1 and 3: a pointer is left as it is, unless its namespace is emptied."""
    here = [decision.fate for place, decision in decisions.items() if place[0] == ns]
    if not here:
        return KeyDecision(Must.EITHER, "pointer of a namespace that was empty before")
    if all(fate is Fate.DELETED for fate in here):
        return KeyDecision(Must.DELETE, "pointer of an emptied namespace")
    return KeyDecision(Must.RETAIN, "pointer")


def decide_keys(
    thread: Thread, decisions: Mapping[Place, CheckpointDecision], now: float
) -> dict[bytes, KeyDecision]:
    """The decision on every key of the thread."""
    keys: dict[bytes, KeyDecision] = {}
    for decision in decisions.values():
        gone = decision.fate is Fate.DELETED
        keys[decision.checkpoint.key] = KeyDecision(
            Must.DELETE if gone else Must.RETAIN, f"checkpoint {decision.fate.value}"
        )
    for attached in (thread.writes, thread.registries, thread.stubs):
        for key, place in attached.items():
            if place in decisions:
                # Rule 6: writes carry what is done, interrupts and errors.
                document = keys[decisions[place].checkpoint.key]
                keys[key] = KeyDecision(document.must, f"belongs to a {document.why}")
            else:
                keys[key] = decide_orphan(place, decisions, now)
    for key, ns in thread.pointers.items():
        keys[key] = decide_pointer(ns, decisions)
    for key in set(thread.targets.values()) & thread.stubs.keys():
        # Rule 1 says never, rule 7 says orphan; a reader finds nothing either way.
        if keys[key].must is Must.DELETE:
            keys[key] = KeyDecision(Must.EITHER, "stub that checkpoint_latest points at")
    for key in thread.unsure & keys.keys():
        # Rule 8: it may be another thread's or another saver's.
        if keys[key].must is Must.DELETE:
            keys[key] = KeyDecision(Must.EITHER, f"{keys[key].why}, if it is ours")
    for key in thread.shallow:
        keys[key] = KeyDecision(Must.RETAIN, "a shallow saver's")
    for key, checkpoint_id in thread.replaced.items():
        if orphan(checkpoint_id, None, now).must is Must.DELETE:
            keys[key] = KeyDecision(Must.EITHER, "of a checkpoint that a shallow saver replaced")
    return keys


def decide(
    database: Database,
    thread_id: str,
    policy: Policy,
    now: float,
    prefixes: Prefixes | None = None,
) -> ThreadDecision:
    """What a trim of this thread must do to this database."""
    prefixes = prefixes or Prefixes()
    thread = read_thread(database, thread_id, prefixes)
    decisions = decide_checkpoints(thread, policy, now)
    return ThreadDecision(
        thread_id=thread_id,
        prefixes=prefixes,
        thread=thread,
        checkpoints=decisions,
        keys=decide_keys(thread, decisions, now),
        in_one_piece=frozenset(_in_one_piece(thread, decisions)),
    )


def _in_one_piece(thread: Thread, decisions: Mapping[Place, CheckpointDecision]) -> Iterable[str]:
    surviving = root_ids(v for v in decisions.values() if v.fate is not Fate.DELETED)
    for ns in invocation_namespaces(thread):
        ordered = thread.namespace(ns)
        deleted = all(decisions[c.place].fate is Fate.DELETED for c in ordered)
        if deleted and alive_roots(ordered, (), surviving):
            yield ns


# --------------------------------------------------------------------------------------
# Comparing with what an engine did


def trimmed(database: Database, decision: ThreadDecision) -> Database:
    """The snapshot as a perfect trim would leave it, with everything that may be retained."""
    return without(database, decision.that(Must.DELETE))


def complaints(
    before: Mapping[bytes, Entry],
    after: Mapping[bytes, Entry],
    decision: ThreadDecision,
    *,
    complete: bool = True,
) -> list[str]:
    """What a finished trim did wrong. `complete=False`: retaining too much is allowed.

    Rule 8: whatever is not the thread's must be as it was, and no key may be new, the
    engine's own excepted.
    """
    change = difference(_not_own(before), _not_own(after))
    must = {key: one.must for key, one in decision.keys.items()}
    wrong = [f"new: {_show(key)}" for key in change.new]
    wrong += [
        f"changed: {_show(key)}{_why(decision, key)}"
        for key in change.changed
        if must.get(key, Must.RETAIN) is Must.RETAIN
    ]
    wrong += [
        f"must be retained: {_show(key)}{_why(decision, key)}"
        for key in change.gone
        if must.get(key, Must.RETAIN) is Must.RETAIN
    ]
    if complete:
        wrong += [
            f"must be deleted: {_show(key)}{_why(decision, key)}"
            for key in decision.that(Must.DELETE) & after.keys()
        ]
    return sorted(wrong)


def boundary_complaints(
    before: Mapping[bytes, Entry], after: Mapping[bytes, Entry], decision: ThreadDecision
) -> list[str]:
    """What is wrong between two calls of a trim that is not finished.

    Everything that must be retained is there at any moment, and a reader that comes now finds
    no checkpoint without its writes, no root without its subgraphs, and no namespace
    without its pointer.
    """
    thread = decision.thread
    there = {place for place, c in thread.checkpoints.items() if c.key in after}
    wrong = complaints(before, after, decision, complete=False)
    wrong += _half_deleted(before, after, thread, there)
    wrong += _subgraphs_before_roots(thread, there)
    wrong += [
        f"pointer before its checkpoints: {_show(key)}"
        for key, ns in thread.pointers.items()
        if key not in after and ns in {where for where, _ in there}
    ]
    return sorted(set(wrong))


def _half_deleted(
    before: Mapping[bytes, Entry], after: Mapping[bytes, Entry], thread: Thread, there: set[Place]
) -> list[str]:
    """Document first: no reader finds a checkpoint with half of its writes."""
    parts = {thread.checkpoints[place].key: place for place in there}
    parts |= {key: place for key, place in thread.writes.items() if place in there}
    parts |= {key: place for key, place in thread.registries.items() if place in there}
    return [
        f"its document is still there: {_show(key)}"
        for key in parts
        if key not in thread.unsure and after.get(key) != before[key]
    ]


def _subgraphs_before_roots(thread: Thread, there: set[Place]) -> list[str]:
    """Rule 3 at this moment: the namespace of an invocation is whole while a root is.

    A root that had a document when the trim began and has none any more is dead; one
    that never had is alive unless older than the oldest root there is now.
    """
    known = {c.id for c in thread.namespace("")}
    now_there = {cid for ns, cid in there if ns == ""}
    wrong = []
    for ns in sorted(invocation_namespaces(thread)):
        ordered = thread.namespace(ns)
        if roots := alive_roots(ordered, known, now_there):
            wrong += [
                f"subgraph of {', '.join(roots)} is incomplete: {_show(c.key)}"
                for c in ordered
                if c.place not in there
            ]
    return wrong


def _not_own(database: Mapping[bytes, Entry]) -> dict[bytes, Entry]:
    return {key: entry for key, entry in database.items() if not key.startswith(OWN_KEYS)}


def _show(key: bytes) -> str:
    return key.decode("utf-8", "replace")


def _why(decision: ThreadDecision, key: bytes) -> str:
    one = decision.keys.get(key)
    return f" ({one.why})" if one else " (not the thread's)"
