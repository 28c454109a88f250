"""Threads without an index: the names of their root checkpoints wait until all keys are scanned."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

from redis_retention.layouts import Family, RootKey
from redis_retention.policies import is_eligible
from redis_retention.sans_io import Operation
from redis_retention.sources.sweep.orphans import Orphans
from redis_retention.sources.sweep.progress import Pace, Progress, Stage
from redis_retention.sources.sweep.shared import Shared

# Bytes of the names that wait for the end of the pass, about: more go into the indexes at once.
_MOST_BYTES = 25_000_000
_BYTES_PER_THREAD = 300


@dataclass(slots=True)
class _NewThread:
    """What a pass has met of a thread that has no index.

    Attributes:
        names: The ids of its root checkpoints, by the names of documents; each ends with NUL.
        keys: How many keys bear the name of a root checkpoint, the documents with them.
        pointer: The thread's latest pointer.
    """

    names: bytearray = field(default_factory=bytearray)
    keys: int = 0
    pointer: bytes | None = None

    def ids(self) -> list[bytes]:
        """The ids; a list of them takes more memory, so that none is held while they wait."""
        return bytes(self.names).split(b"\0")[:-1]


class NewThreads:
    """The threads that a pass has met for the first time."""

    def __init__(self, shared: Shared, orphans: Orphans, pace: Pace) -> None:
        self._shared = shared
        self._engine = shared.engine
        self._orphans = orphans
        self._pace = pace
        self._threads: dict[bytes, _NewThread] = {}
        self._bytes = 0
        # Whether some names did not wait.
        self._indexed = False

    def add(self, root: RootKey) -> None:
        """Let a key of a root checkpoint wait."""
        new = self._thread(root.thread)
        new.keys += 1
        if root.family is Family.CHECKPOINT:
            new.names += root.checkpoint_id + b"\0"
            self._bytes += len(root.checkpoint_id) + 1

    def add_pointer(self, thread: bytes, pointer: bytes) -> None:
        """Let the latest pointer of a thread wait."""
        self._thread(thread).pointer = pointer

    def _thread(self, thread: bytes) -> _NewThread:
        new = self._threads.get(thread)
        if new is None:
            new = self._threads[thread] = _NewThread()
            self._bytes += _BYTES_PER_THREAD + len(thread)
        return new

    def index_if_too_many(self) -> Operation[None]:
        """Add the names that wait to the indexes, if there are too many of them to wait."""
        if self._bytes >= _MOST_BYTES:
            yield from self._index_all()

    def _index_all(self) -> Operation[None]:
        for thread, new in self._threads.items():
            if new.names:
                operation = self._engine.add_roots(thread, new.ids())
                yield from self._shared.attempt(thread, operation, None)
        self._threads.clear()
        self._bytes = 0
        self._indexed = self._shared.needs_second_pass = True

    def work_off(self) -> Operation[None]:
        """Trim the threads: all names of each are known now."""
        if self._indexed and self._threads:
            yield from self._index_all()
        self._pace.begin()
        done, total = 0, sum(new.keys for new in self._threads.values())
        while self._threads:
            thread, new = self._threads.popitem()
            begun = perf_counter()
            yield from self._shared.attempt(thread, self._work_off(thread, new), None)
            done += new.keys
            calls = 1 + new.keys // self._engine.keys_per_call
            took = (perf_counter() - begun) / calls
            yield from self._pace.rest(took, Progress(done, total, Stage.TRIMMING))
        self._bytes = 0

    def _work_off(self, thread: bytes, new: _NewThread) -> Operation[None]:
        """Trim a thread, and find out by the number of keys whether that was all of it."""
        shared = self._shared
        # Newest first: a small sorted set is quickest filled from its end to its beginning.
        ids = sorted(new.ids(), reverse=True)
        if not ids:
            shared.needs_second_pass |= new.keys > 0
            if new.pointer is not None:
                yield from self._orphans.inspect([new.pointer])
            return
        rule = shared.rule(thread)
        if rule and is_eligible(len(ids), rule):
            trimmed = yield from shared.trim(thread, rule.policy, complete=True, names=ids)
            left, keys = trimmed.left, trimmed.deleted.keys + trimmed.keys_left
        else:
            yield from self._engine.read_roots(thread, ids)
            left, keys = yield from self._engine.count_with_keys(thread)
        # If not: a stub, writes without their checkpoint, or that its registry does not name.
        shared.needs_second_pass |= keys != new.keys
        shared.result.threads += left > 0
        shared.result.checkpoints_kept += left
