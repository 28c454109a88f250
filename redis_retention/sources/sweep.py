"""Works off backlogs: one pass over the database, whatever its size, within a bound of memory.

Each page of SCAN is held against what the indexes of its threads say, here and not on the server:
a key that is in order costs the server no more than the SCAN itself. Of threads that were never
seen the names of the root checkpoints are collected, since most of these are about to go, and
handed to one trim when all have come by. What the names cannot tell, the server looks at
(``lua/inspect.lua``).

A second pass is made only if the first has met something that it could not bring to an end. What
was written meanwhile is found by the next sweep, and a sweep that was interrupted is simply begun
anew.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from time import perf_counter
from typing import TypeVar

from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as NoReplyError

from redis_retention import glob
from redis_retention.engine import (
    DOCUMENTS_PER_CALL,
    LEFTOVER_AGE_MS,
    Engine,
    Refusals,
    Remains,
    RetentionError,
    Rule,
    Tally,
    Trimmed,
    chunks,
    is_of_one_thread,
    is_script_error,
)
from redis_retention.layouts import LONGEST_KEY, Family, Layout, RootKey, too_long, too_long_id
from redis_retention.policies import rule_for
from redis_retention.policy import Policy
from redis_retention.sans_io import (
    Nodes,
    Operation,
    Sleep,
    command,
)
from redis_retention.sources.listing import threads_of
from redis_retention.sources.scan import each_page

T = TypeVar("T")

# What one call looks at: a millisecond or so.
_KEYS_PER_LOOK = 100
_THREADS_PER_STEP = 250
# Indexes with more entries are not remembered, and neither are any when there are so many of them:
# then the server looks at the keys of those threads.
_LARGE = 1000
_NO_ID = len(b"s\0\0!")
_MOST_CHECKPOINTS = 500_000
# Bytes of the names that wait for the end of the pass, about: more go into the indexes at once.
_MOST_HELD = 25_000_000
_HELD_THREAD = 300
# Leftovers are cleaned up at the end, or when there are this many of them.
_REMEMBERED = 10_000
# A page or a call takes a millisecond or two. One that takes this long has waited for others.
_BUSY_SECONDS = 0.05
_REST_PER_SECOND_BUSY = 2.0
_LONGEST_REST_SECONDS = 2.0


@dataclass(slots=True)
class SweepResult:
    """What a sweep has done.

    Attributes:
        threads: Threads that have an index.
        threads_trimmed: Threads of which something was deleted.
        checkpoints_deleted: Checkpoint documents deleted, in all namespaces.
        checkpoints_kept: Checkpoints left in those threads.
        keys_deleted: All keys of the saver that are gone, the documents with them.
        bytes_deleted: The memory that trims have freed, estimated, if the engine weighs it.
        keys_scanned: Keys of the database that were looked at.
        refused: Threads with which the server has refused something, and what it says.
        elapsed_ms: How long it took, in milliseconds.
    """

    threads: int = 0
    threads_trimmed: int = 0
    checkpoints_deleted: int = 0
    checkpoints_kept: int = 0
    keys_deleted: int = 0
    bytes_deleted: int = 0
    keys_scanned: int = 0
    refused: dict[bytes, str] = field(default_factory=dict)
    elapsed_ms: float = 0.0


class Stage(Enum):
    """What a sweep is doing; the last two are left out where they are not needed."""

    LOOKING = "looking"
    """All keys of the database come by."""
    TRIMMING = "trimming new threads"
    """Threads are trimmed that have come by for the first time."""
    LOOKING_AGAIN = "looking again"
    """All keys come by once more."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sweep has come: keys worked off in this stage, of about `total`."""

    keys: int
    total: int
    stage: Stage


class _State(Enum):
    """What a pass knows of a thread."""

    NEW = auto()
    """It has no index: the first pass collects the names of its root checkpoints."""
    KNOWN = auto()
    """Its root checkpoints are remembered."""
    ASK = auto()
    """The server knows."""
    UNWANTED = auto()
    """It is not to be looked at."""


@dataclass(slots=True)
class _Known:
    """What the indexes of the threads say that a pass has met.

    Attributes:
        states: The threads.
        checkpoints: Hashes of what the keys of a root checkpoint have in common.
    """

    states: dict[bytes, _State] = field(default_factory=dict)
    checkpoints: set[int] = field(default_factory=set)

    @property
    def full(self) -> bool:
        """Whether no more threads are to be remembered."""
        return len(self.checkpoints) + len(self.states) >= _MOST_CHECKPOINTS

    def set(self, thread: bytes, state: _State) -> None:
        """Remember what is known of a thread, if there is room."""
        if not self.full:
            self.states[thread] = state

    def remember(self, layout: Layout, thread: bytes, members: Sequence[bytes]) -> None:
        """Take in all that the index of a thread says."""
        if self.full:
            return
        roots = _roots(members)
        if not roots or len(members) >= _LARGE:
            self.set(thread, _State.ASK if members else _State.NEW)
            return
        self.set(thread, _State.KNOWN)
        start = layout.checkpoint_suffix(thread, b"", b"")
        self.checkpoints.update([hash(start + root[2:].split(b"\0", 1)[0]) for root in roots])


@dataclass(slots=True)
class _Held:
    """What a pass has met of a thread that has no index.

    Attributes:
        names: The ids of its root checkpoints, by the names of documents; each ends with NUL.
        keys: How many keys bear the name of a root checkpoint, the documents with them.
        pointer: The thread's newest-checkpoint pointer.
    """

    names: bytearray = field(default_factory=bytearray)
    keys: int = 0
    pointer: bytes | None = None

    def ids(self) -> list[bytes]:
        """The ids, of which there may be many for a long time, as a list."""
        return bytes(self.names).split(b"\0")[:-1]


@dataclass(slots=True)
class _Page:
    """The keys of one page of SCAN that are of interest.

    Attributes:
        roots: Names that can only be a root checkpoint's, with what they say.
        pointers: Latest pointers of the root, with what their names say.
        others: Other keys of the saver.
        threads: Threads that the names speak of.
        indexed: Those whose index is among the keys.
    """

    roots: list[tuple[RootKey, bytes]] = field(default_factory=list)
    pointers: list[tuple[RootKey, bytes]] = field(default_factory=list)
    others: list[bytes] = field(default_factory=list)
    threads: dict[bytes, None] = field(default_factory=dict)
    indexed: dict[bytes, None] = field(default_factory=dict)


class Sweeper:
    """One sweep.

    Args:
        engine: What to do with a thread.
        rules: The first whose pattern matches a thread counts for it; threads that none matches
            are indexed and left alone.
        match: A glob for the threads to look at.
        max_keys_per_second: Look at no more keys than this.
        older_than_ms: Milliseconds after which what writers left behind goes.
        progress: Is told how far the sweep has come.
    """

    def __init__(
        self,
        engine: Engine,
        rules: Sequence[Rule],
        *,
        match: bytes = b"*",
        max_keys_per_second: int | None = None,
        older_than_ms: int = LEFTOVER_AGE_MS,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._engine = engine
        self._rules = rules
        self._match = match
        self._max_keys_per_second = max_keys_per_second
        self._older_than_ms = older_than_ms
        self._progress = progress
        # Whether something was met that only a second pass can bring to an end.
        self._again = False
        self._second_pass = False
        self._known = _Known()
        self._held: dict[bytes, _Held] = {}
        self._held_bytes = 0
        self._flushed = False
        # Threads that can only be trimmed to the end when it is sure that their indexes are whole.
        self._unfinished: list[bytes] = []
        self._remains: list[list[bytes]] = []
        self._pointers: list[list[bytes]] = []
        # Trimmed before a document was found that no index knew: that comes early or not at all.
        self._trimmed: set[bytes] = set()
        self._refusals = Refusals()
        self._result = SweepResult(refused=self._refusals.reasons)
        # The pattern, as what matches names.
        self._wanted = glob.parse(match)
        self._index_start = engine.index_key(b"")
        starts = {family: start for start, family in engine.layout.families().items()}
        # How names begin, and from where on they are the same for all keys of a checkpoint.
        families = Family.CHECKPOINT, Family.WRITE, Family.REGISTRY
        beginnings = [starts[family] for family in families if family in starts]
        self._beginnings = [(start, len(start) - 1) for start in beginnings]
        self._pins_start = engine.pins_key(b"")
        self._pinned: set[bytes] = set()
        # Threads that have been met whose format lists their checkpoints.
        self._listed: set[bytes] = set()
        self._starts = (*starts.values(), self._index_start, self._pins_start)

    def sweep(self) -> Operation[SweepResult]:
        """Sweep once.

        Raises:
            RetentionError: The server is a cluster, in which a script may not look at all keys.
        """
        begun = perf_counter()
        yield from refuse_cluster()
        yield from self._engine.check_server()
        yield from self._pass()
        if self._again:
            self._second_pass = True
            yield from self._pass()
        self._result.elapsed_ms = (perf_counter() - begun) * 1000
        return self._result

    def _pass(self) -> Operation[None]:
        self._result.threads = self._result.checkpoints_kept = 0
        self._known = _Known()
        total = yield from command("DBSIZE")
        seen, begun = 0, perf_counter()

        def work_off(keys: Sequence[bytes], took: float) -> Operation[None]:
            nonlocal seen
            yield from self._look_at(keys)
            seen += len(keys)
            self._result.keys_scanned += 0 if self._second_pass else len(keys)
            stage = Stage.LOOKING_AGAIN if self._second_pass else Stage.LOOKING
            self._tell(Progress(seen, max(int(total), seen), stage))
            yield from self._rest(took, seen, perf_counter() - begun)

        yield from each_page(work_off)
        yield from self._work_off_held()
        yield from self._finish()
        # Not before: what is on its way is told by the newest checkpoint that the index knows.
        yield from self._clean()
        yield from self._retire()

    # --- what a page needs ---------------------------------------------------------------------

    def _look_at(self, keys: Sequence[bytes]) -> Operation[None]:
        if self._engine.layout.lists_itself:
            yield from self._look_at_lists(keys)
            return
        page = self._sorted(keys)
        yield from self._meet(page)
        known, states, others = self._known.checkpoints, self._known.states, page.others
        for root, key in page.roots:
            state = states.get(root.thread, _State.ASK)
            if state is _State.NEW and not self._second_pass:
                self._hold_key(root.thread, root.checkpoint_id, root.family is Family.CHECKPOINT)
            elif state is not _State.UNWANTED and hash(root.suffix) not in known:
                others.append(key)
        for root, key in page.pointers:
            state = states.get(root.thread, _State.ASK)
            if state is _State.NEW and not self._second_pass:
                self._hold(root.thread).pointer = key
            elif state not in (_State.KNOWN, _State.UNWANTED):
                # What it points at in a thread that has checkpoints is not for a sweep to judge.
                others.append(key)
        for some in chunks(others, _KEYS_PER_LOOK):
            yield from self._each_alone(some, self._ask)
        if self._held_bytes >= _MOST_HELD:
            yield from self._flush()

    def _sorted(self, keys: Sequence[bytes]) -> _Page:
        page, root_key, states = _Page(), self._engine.layout.root_key, self._known.states
        held = self._held
        for key in self._unknown(keys):
            if len(key) > LONGEST_KEY:
                self._note_too_long(key)
                continue
            root = root_key(key)
            if root is not None and root.certain:
                if root.family is Family.LATEST:
                    page.pointers.append((root, key))
                elif root.thread in held:
                    is_document = root.family is Family.CHECKPOINT
                    self._hold_key(root.thread, root.checkpoint_id, is_document)
                else:
                    if root.thread not in states:
                        page.threads[root.thread] = None
                    page.roots.append((root, key))
            elif key.startswith(self._starts):
                self._sort_other(page, key)
        return page

    def _unknown(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        """The keys that are not known to belong to a root checkpoint that an index knows."""
        known = self._known.checkpoints
        if not known:
            return keys
        (document, document_end), (write, write_end), (registry, registry_end) = self._beginnings
        write_parts = self._engine.layout.write_parts
        # This is where a sweep with nothing to do spends its time: no call of our own for a key.
        return [
            key
            for key in keys
            if hash(
                key[write_end:].rsplit(b":", write_parts)[0]
                if key.startswith(write)
                else key[document_end:]
                if key.startswith(document)
                else key[registry_end:]
                if key.startswith(registry)
                else key
            )
            not in known
        ]

    def _sort_other(self, page: _Page, key: bytes) -> None:
        if key.startswith(self._index_start):
            thread = key[len(self._index_start) :]
            if thread not in self._known.states:
                page.threads[thread] = page.indexed[thread] = None
            return
        if key.startswith(self._pins_start):
            if len(self._pinned) < _REMEMBERED:
                self._pinned.add(key[len(self._pins_start) :])
            return
        page.others.append(key)

    def _ask(self, keys: Sequence[bytes]) -> Operation[None]:
        look = yield from self._engine.look(keys, self._match)
        for documents in chunks(look.documents, DOCUMENTS_PER_CALL):
            yield from self._each_alone(documents, self._take)
        self._remains.extend(look.remains)
        self._pointers.extend(look.pointers)
        if len(self._remains) + len(self._pointers) > _REMEMBERED:
            yield from self._clean()

    def _take(self, documents: Sequence[bytes]) -> Operation[None]:
        taken = yield from self._engine.take(documents)
        # Their indexes may not have been whole when their threads were met.
        self._again |= taken.checkpoints > 0
        for thread, reason in taken.refused.items():
            self._refuse(thread, reason)

    def _look_at_lists(self, keys: Sequence[bytes]) -> Operation[None]:
        """Trim the threads whose lists are among the keys, where something may have to go."""
        new = threads_of(self._engine, keys) - self._listed
        self._listed |= new
        for key in keys:
            # What is ours of threads that may be gone.
            for start in (self._index_start, self._pins_start):
                if key.startswith(start) and len(self._pinned) < _REMEMBERED:
                    self._pinned.add(key[len(start) :])
        for some in chunks(filter(self._wanted.matches, sorted(new)), _THREADS_PER_STEP):
            counts = yield from self._engine.counts(some)
            for thread, count in zip(some, counts, strict=True):
                if excess := too_long_id(thread):
                    self._refuse(thread, excess)
                    continue
                rule, left = rule_for(self._rules, thread), count
                # A list without checkpoints of its own may name some that are gone.
                if rule and (not count or may_have_to_go(count, rule)):
                    left = (yield from self._trim(thread, rule.policy, complete=True)).left
                self._result.threads += left > 0
                self._result.checkpoints_kept += left

    # --- the threads that a pass meets ---------------------------------------------------------

    def _meet(self, page: _Page) -> Operation[None]:
        """Read the indexes of threads that come by for the first time, and trim what is over."""
        wanted = []
        for thread in page.threads:
            if not self._wanted.matches(thread):
                self._known.set(thread, _State.UNWANTED)
            elif excess := too_long_id(thread):
                self._refuse(thread, excess)
            elif not self._known.full or thread in page.indexed:
                wanted.append(thread)
        for some in chunks(wanted, _THREADS_PER_STEP):
            yield from self._work_off(some)

    def _alone(self, thread: bytes, operation: Operation[T], otherwise: T) -> Operation[T]:
        """What is wrong with one thread is no other's matter, unless it is wrong with all."""
        result = yield from self._refusals.tried(
            thread, self._dropping(thread, operation), otherwise
        )
        if thread in self._result.refused:
            self._known.set(thread, _State.UNWANTED)
        return result

    def _dropping(self, thread: bytes, operation: Operation[T]) -> Operation[T]:
        """Drop an index of which the scripts can make nothing: the next sweep builds it anew."""
        try:
            return (yield from operation)
        except ResponseError as error:
            if is_script_error(error):
                yield from self._engine.drop_index(thread)
            raise

    def _each_alone(
        self, items: Sequence[bytes], do: Callable[[Sequence[bytes]], Operation[None]]
    ) -> Operation[None]:
        """Do something with keys of several threads; one that fails costs the others nothing."""
        try:
            yield from do(items)
        except (ResponseError, NoReplyError, RetentionError) as error:
            if not is_of_one_thread(error):
                raise
            if len(items) == 1:
                yield from self._refusals.tried(items[0], do(items), None)
                return
            middle = len(items) // 2
            yield from self._each_alone(items[:middle], do)
            yield from self._each_alone(items[middle:], do)

    def _note_too_long(self, key: bytes) -> None:
        excess = too_long(key)
        if excess is not None and key.startswith(self._starts):
            self._refusals.add(*excess)

    def _refuse(self, thread: bytes, reason: str) -> None:
        self._refusals.add(thread, reason)
        self._known.set(thread, _State.UNWANTED)

    def _work_off(self, threads: Sequence[bytes]) -> Operation[None]:
        indexes = yield from self._indexes(threads)
        self._result.threads += sum(map(bool, indexes.values()))
        for thread in (yield from self._stale(indexes)):
            yield from self._alone(thread, self._mend(thread), None)
            indexes |= yield from self._indexes([thread])
        indexed = [thread for thread, members in indexes.items() if members]
        # An index to which this sweep may still add is left to the second pass.
        if self._second_pass or not self._again:
            over = yield from self._over(indexes)
            for thread, rule in over.items():
                yield from self._trim(thread, rule.policy, complete=self._second_pass)
            indexes |= yield from self._indexes(list(over))
            for thread in indexed:
                unread = _unread(indexes[thread])
                if unread:
                    operation = self._engine.read_up(thread, unread)
                    yield from self._alone(thread, operation, None)
                    indexes |= yield from self._indexes([thread])
            self._unfinished += [thread for thread in over if _has_old_subgraph(indexes[thread])]
        for thread, members in indexes.items():
            if thread in self._result.refused:
                continue
            self._known.remember(self._engine.layout, thread, members)
        for thread in indexed:
            self._result.checkpoints_kept += yield from self._count(thread, indexes[thread])

    def _finish(self) -> Operation[None]:
        """Trim once more what had to wait, now that no document was met that no index knew."""
        threads, self._unfinished = self._unfinished, []
        for thread in threads if self._second_pass or not self._again else []:
            rule = rule_for(self._rules, thread)
            if rule:
                trimmed = yield from self._trim(thread, rule.policy, complete=True)
                self._result.checkpoints_kept -= trimmed.deleted.checkpoints

    # --- the threads that a pass has met for the first time --------------------------------------

    def _hold(self, thread: bytes) -> _Held:
        held = self._held.get(thread)
        if held is None:
            held = self._held[thread] = _Held()
            self._held_bytes += _HELD_THREAD + len(thread)
        return held

    def _hold_key(self, thread: bytes, checkpoint_id: bytes, is_document: bool) -> None:
        held = self._hold(thread)
        held.keys += 1
        if is_document:
            held.names += checkpoint_id + b"\0"
            self._held_bytes += len(checkpoint_id) + 1

    def _flush(self) -> Operation[None]:
        """Take the names that are held into the indexes: there are too many of them to wait."""
        for thread, held in self._held.items():
            if held.names:
                yield from self._alone(thread, self._engine.note(thread, held.ids()), None)
        self._held.clear()
        self._held_bytes = 0
        self._flushed = self._again = True

    def _work_off_held(self) -> Operation[None]:
        if self._flushed and self._held:
            yield from self._flush()
        begun, done = perf_counter(), 0
        total = sum(held.keys for held in self._held.values())
        while self._held:
            thread, held = self._held.popitem()
            thread_begun = perf_counter()
            yield from self._alone(thread, self._work_off_new(thread, held), None)
            done += held.keys
            self._tell(Progress(done, total, Stage.TRIMMING))
            now = perf_counter()
            calls = 1 + held.keys // self._engine.keys_per_call
            yield from self._rest((now - thread_begun) / calls, done, now - begun)
        self._held_bytes = 0

    def _work_off_new(self, thread: bytes, held: _Held) -> Operation[None]:
        """Trim a thread of which all names are known, and see whether that was all of it."""
        # Newest first: a small sorted set is quickest filled from its end to its beginning.
        ids = sorted(held.ids(), reverse=True)
        if not ids:
            self._again |= held.keys > 0
            if held.pointer is not None:
                yield from self._each_alone([held.pointer], self._ask)
            return
        rule = rule_for(self._rules, thread)
        if rule and may_have_to_go(len(ids), rule):
            trimmed = yield from self._trim(thread, rule.policy, complete=True, names=ids)
            left, keys = trimmed.left, trimmed.deleted.keys + trimmed.keys_left
        else:
            yield from self._engine.read_names(thread, ids)
            left, keys = yield from self._engine.count(thread)
        # If not: a stub, writes without their checkpoint, or that its registry does not name.
        self._again |= keys != held.keys
        self._result.threads += left > 0
        self._result.checkpoints_kept += left

    def _indexes(self, threads: Sequence[bytes]) -> Operation[dict[bytes, list[bytes]]]:
        if not threads:
            return {}
        found: dict[bytes, list[bytes]] = {}
        for thread, members in zip(
            threads, (yield from self._engine.members(threads, _LARGE)), strict=True
        ):
            if isinstance(members, RetentionError):
                self._refuse(thread, str(members))
            else:
                found[thread] = members
        return found

    def _count(self, thread: bytes, members: Sequence[bytes]) -> Operation[int]:
        if len(members) >= _LARGE:
            return (yield from self._engine.count(thread))[0]
        return len(_between(members, b"s", b"u"))

    def _stale(self, indexes: dict[bytes, list[bytes]]) -> Operation[set[bytes]]:
        """The threads of which the oldest checkpoint is gone, or all are."""
        oldest, stale = {}, set()
        for thread, members in indexes.items():
            checkpoints = _between(members, b"s", b"t")
            if checkpoints:
                oldest[thread] = self._engine.document(thread, checkpoints[0])
            elif members:
                subgraphs = _between(members, b"t", b"u")
                if subgraphs:
                    oldest[thread] = self._engine.document(thread, subgraphs[0])
                else:
                    stale.add(thread)
        if oldest and (yield from command("EXISTS", *oldest.values())) < len(oldest):
            for thread, key in oldest.items():
                if not (yield from command("EXISTS", key)):
                    stale.add(thread)
        return stale

    def _over(self, indexes: dict[bytes, list[bytes]]) -> Operation[dict[bytes, Rule]]:
        """The threads of which something may have to go, each with its rule."""
        over = {}
        for thread, members in indexes.items():
            rule = rule_for(self._rules, thread) if members else None
            if rule and may_have_to_go((yield from self._count(thread, members)), rule):
                over[thread] = rule
        return over

    def _trim(
        self,
        thread: bytes,
        policy: Policy,
        *,
        complete: bool,
        names: Sequence[bytes] | None = None,
    ) -> Operation[Trimmed]:
        operation = self._engine.trim(thread, policy, complete=complete, names=names)
        trimmed = yield from self._alone(thread, operation, Trimmed())
        self._result.checkpoints_deleted += trimmed.deleted.checkpoints
        self._result.keys_deleted += trimmed.deleted.keys
        self._result.bytes_deleted += trimmed.deleted.bytes
        if trimmed.deleted.keys and thread not in self._trimmed:
            self._result.threads_trimmed += 1
            if not self._second_pass:
                self._trimmed.add(thread)
        return trimmed

    def _mend(self, thread: bytes) -> Operation[None]:
        """Take out of an index what others have deleted."""
        documents = yield from self._engine.entries(thread)
        for some in chunks(documents, DOCUMENTS_PER_CALL):
            yield from self._engine.forget(some)

    def _retire(self) -> Operation[None]:
        """Delete the pins of threads that are gone: by now, all others have an index."""
        while self._pinned:
            thread = self._pinned.pop()
            if self._wanted.matches(thread):
                yield from self._alone(thread, self._engine.retire(thread), None)

    # --- what is left of checkpoints that are gone -----------------------------------------------

    def _clean(self) -> Operation[None]:
        remains: defaultdict[bytes, dict[bytes, list[bytes]]] = defaultdict(dict)
        for thread, suffix, *writes in self._remains:
            remains[thread].setdefault(suffix, []).extend(writes)
        pointers: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for thread, pointer in self._pointers:
            pointers[thread].append(pointer)
        self._remains.clear()
        self._pointers.clear()
        for thread in remains.keys() | pointers.keys():
            groups = [Remains(suffix, writes) for suffix, writes in remains[thread].items()]
            operation = self._engine.clean(
                thread, groups, pointers[thread], older_than_ms=self._older_than_ms
            )
            cleaned, _ = yield from self._alone(thread, operation, (Tally(), 0))
            self._result.checkpoints_deleted += cleaned.checkpoints
            self._result.keys_deleted += cleaned.keys

    # --- how far it has come, and at what pace -----------------------------------------------

    def _tell(self, progress: Progress) -> None:
        if self._progress is not None:
            self._progress(progress)

    def _rest(self, took: float, seen: int, elapsed: float) -> Operation[None]:
        seconds = 0.0
        if took > _BUSY_SECONDS:
            seconds = min(took * _REST_PER_SECOND_BUSY, _LONGEST_REST_SECONDS)
        if self._max_keys_per_second is not None:
            seconds = max(seconds, seen / self._max_keys_per_second - elapsed)
        if seconds > 0:
            yield Sleep(seconds)


# Of an index the sweeper knows these entries; all stand in the order of bytes
# (``lua/include/entry.lua``).


def _between(members: Sequence[bytes], start: bytes, end: bytes) -> Sequence[bytes]:
    """The entries from `start` on and before `end`."""
    return members[bisect_left(members, start) : bisect_left(members, end)]


def _roots(members: Sequence[bytes]) -> Sequence[bytes]:
    """The entries of root checkpoints, oldest first."""
    return _between(members, b"s\0", b"s\1")


def _unread(members: Sequence[bytes]) -> list[bytes]:
    """The entries of checkpoints that have not been read."""
    return [root for root in _roots(members) if root.endswith(b"\0!") and len(root) > _NO_ID]


def _has_old_subgraph(members: Sequence[bytes]) -> bool:
    """Whether a subgraph says that it was started before the oldest root checkpoint."""
    oldest = next((root[2:].split(b"\0", 1)[0] for root in _roots(members)), b"")
    return any(m[1:].split(b"\0", 1)[0] < oldest for m in _between(members, b"p", b"q"))


def refuse_cluster() -> Operation[None]:
    """Make sure that the server is a single one.

    Raises:
        RetentionError: It is a cluster, in which a script may not look at all keys.
    """
    if (yield Nodes()) != [None]:
        raise RetentionError("a cluster cannot be swept: trim its threads by name")


def may_have_to_go(checkpoints: int, rule: Rule) -> bool:
    """Whether a trim could find anything: it costs ten times as much as a look.

    Args:
        checkpoints: How many the thread has.
        rule: What to keep of it; without a trigger, more than that is too many.
    """
    if rule.policy.expire_after is not None:
        return True
    allowed = rule.policy.keep_last if rule.trigger is None else rule.trigger
    return allowed is not None and checkpoints > allowed
