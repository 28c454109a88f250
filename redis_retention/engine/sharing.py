"""The deletion of keys that checkpoints share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice

from redis_retention.batches import batched
from redis_retention.engine.deletion import ORPHAN_AGE_MS
from redis_retention.engine.entries import is_shared_mark
from redis_retention.engine.index import IndexCalls
from redis_retention.engine.results import Deleted
from redis_retention.errors import RetentionError
from redis_retention.sans_io import Argument, Operation, command

# Ids that a call that deletes is told: the newest ones, whose own time is no proof yet.
_MOST_GONE = 5_000


class SharedKeyCalls(IndexCalls):
    """What deletes shared keys, a bounded number by each call."""

    def delete_shared_keys(
        self,
        thread: bytes,
        documents: Sequence[bytes],
        shared: Collection[bytes],
        gone: Collection[bytes] = (),
        *,
        older_than_ms: int = ORPHAN_AGE_MS,
        counting: bool = False,
    ) -> Operation[tuple[Deleted, int]]:
        """Delete the shared keys of a thread that none of its checkpoints needs.

        Args:
            thread: The thread as it stands in the keys.
            documents: All checkpoint documents whose names begin like the thread's, found by a look
                that has begun when what was deleted of it was gone.
            shared: The shared keys in question.
            gone: Ids of checkpoints that were there, and have been deleted.
            older_than_ms: Milliseconds, by the time in its id, after which a checkpoint is not on
                its way any more that has no document.
            counting: Count only. What `gone` names is to be deleted.

        Returns:
            What was deleted, and how many are left because they may be in use soon.
        """
        unnamed = yield from self._unnamed(thread, documents, shared)
        if unnamed is None:
            return Deleted(), len(shared)
        newest_gone = b"\0".join(islice(sorted(gone, reverse=True), _MOST_GONE))
        head: list[Argument] = [thread, *self.layout.arguments(), older_than_ms, int(counting)]
        # Most ids say themselves that they are old: the list is sent where one does not.
        told = newest_gone if counting else b""
        deleted, waiting = Deleted(), 0
        # Those of one version are most often of one checkpoint, ...
        unnamed.sort(key=lambda key: key.rpartition(b":")[2])
        for some in batched(unnamed, self.keys_per_call):
            # ... and the names of one channel are quickest read together.
            left: Sequence[bytes] = sorted(some)
            while left:
                keys, young, not_yet, freed = yield from self.call(
                    "sweep/shared_keys", [self.index_key(thread)], [*head, told, *left]
                )
                deleted.add(0, keys, freed if self._estimate_memory else 0)
                if young and told != newest_gone:
                    told = newest_gone
                else:
                    waiting += young
                    left = not_yet
        return deleted, waiting

    def _unnamed(
        self, thread: bytes, documents: Sequence[bytes], shared: Collection[bytes]
    ) -> Operation[list[bytes] | None]:
        """Those of some shared keys that no document names; None when one cannot be understood."""
        unnamed = set(shared)
        for some in batched(documents, self.layout.documents_per_call):
            keys = [self.index_key(thread), *some]
            named = yield from self.call("sweep/shared_names", keys, self.layout.arguments())
            if named is None:
                return None
            unnamed.difference_update(named)
        return list(unnamed)

    def shared_marks(self, threads: Sequence[bytes]) -> Operation[dict[bytes, bytes]]:
        """The marks in the indexes of threads of which shared keys may be left."""
        found = yield from self.index_entries(threads, 1)
        return {
            thread: entries[0]
            for thread, entries in zip(threads, found, strict=True)
            if not isinstance(entries, RetentionError) and is_shared_mark(entries)
        }

    def unmark_shared(self, thread: bytes, mark: bytes) -> Operation[None]:
        """Remove a mark, unless a later one has taken its place."""
        yield from command("ZREM", self.index_key(thread), mark)
