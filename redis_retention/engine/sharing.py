"""The deletion of keys that checkpoints share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import NamedTuple

from redis_retention.batches import batched
from redis_retention.engine.deletion import ORPHAN_AGE_MS
from redis_retention.engine.index import IndexCalls
from redis_retention.engine.results import Deleted
from redis_retention.sans_io import Argument, Nodes, Operation, command

# Threads of which one call says which mark they have.
_MARKS_PER_CALL = 100
# Ids that a call that deletes is told: the newest ones, whose own time is no proof yet.
_MOST_GONE = 5_000


class Mark(NamedTuple):
    """The entry in a thread's index that says that shared keys may be left.

    Attributes:
        entry: The entry.
        is_new: It was set for this look: nothing was known to be left.
    """

    entry: bytes
    is_new: bool


class SharedKeyCalls(IndexCalls):
    """What deletes shared keys, a bounded number by each call."""

    def delete_shared_keys(
        self,
        thread: bytes,
        documents: Sequence[bytes],
        shared: Collection[bytes],
        gone: Collection[bytes] = (),
        *,
        mark: bytes | None = None,
        older_than_ms: int = ORPHAN_AGE_MS,
    ) -> Operation[tuple[Deleted, int]]:
        """Delete the shared keys of a thread that none of its checkpoints needs.

        Args:
            thread: The thread as it stands in the keys.
            documents: All checkpoint documents whose names begin like the thread's, found by a look
                at the whole database.
            shared: The shared keys in question.
            gone: Ids of checkpoints that were there, and have been deleted.
            mark: What `begin_look` has returned before that look. Nothing is deleted if a
                checkpoint of the thread has been since. Without it the keys are only counted, and
                what `gone` names is to be deleted.
            older_than_ms: Milliseconds, by the time in its id, after which a checkpoint is not on
                its way any more that has no document.

        Returns:
            What was deleted, and how many are left because they may be in use soon.
        """
        unnamed = yield from self.unnamed(thread, documents, shared)
        if unnamed is None:
            return Deleted(), len(shared)
        counting = mark is None
        newest_gone = b"\0".join(islice(sorted(gone, reverse=True), _MOST_GONE))
        head: list[Argument] = [thread, *self.layout.arguments(), older_than_ms]
        head += [int(counting), mark or b""]
        # Most ids say themselves that they are old: the list is sent where one does not.
        told = newest_gone if counting else b""
        deleted, waiting = Deleted(), 0
        # Those of one version are most often of one checkpoint, ...
        unnamed.sort(key=lambda key: key.rpartition(b":")[2])
        for some in batched(unnamed, self.keys_per_call):
            # ... and the names of one channel are quickest read together.
            left: Sequence[bytes] = sorted(some)
            while left:
                reply = yield from self.call(
                    "sweep/shared_keys", [self.index_key(thread)], [*head, told, *left]
                )
                if reply is None:
                    return deleted, len(unnamed)
                keys, young, not_yet, freed = reply
                deleted.add(0, keys, freed if self._estimate_memory else 0)
                if young and told != newest_gone:
                    told = newest_gone
                else:
                    waiting += young
                    left = not_yet
        return deleted, waiting

    def unnamed(
        self, thread: bytes, documents: Sequence[bytes], shared: Collection[bytes]
    ) -> Operation[list[bytes] | None]:
        """Those of some shared keys that no document names; None when one cannot be understood."""
        unnamed = set(shared)
        if not unnamed:
            return []
        for some in batched(documents, self.layout.documents_per_call):
            keys = [self.index_key(thread), *some]
            named = yield from self.call("sweep/shared_names", keys, self.layout.arguments())
            if named is None:
                return None
            unnamed.difference_update(named)
        return list(unnamed)

    def begin_look(self, threads: Sequence[bytes]) -> Operation[dict[bytes, Mark]]:
        """Have the indexes of threads marked, before a look for their shared keys.

        Returns:
            The mark of each, except where a key of another type is in the index's place.
        """
        # In a cluster each index may be elsewhere.
        per_call = _MARKS_PER_CALL if (yield Nodes()) == [None] else 1
        marks: dict[bytes, Mark] = {}
        for some in batched(threads, per_call):
            keys = [self.index_key(thread) for thread in some]
            for thread, found in zip(
                some, (yield from self.call("sweep/begin_look", keys, ())), strict=True
            ):
                if found:
                    marks[thread] = Mark(found[0], is_new=bool(found[1]))
        return marks

    def unmark(self, thread: bytes, mark: Mark) -> Operation[None]:
        """Remove a mark, unless a later one has taken its place."""
        yield from command("ZREM", self.index_key(thread), mark.entry)
