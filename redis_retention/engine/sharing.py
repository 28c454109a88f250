"""The deletion of keys that checkpoints share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any

from redis_retention.batches import batched
from redis_retention.engine.deletion import ORPHAN_AGE_MS
from redis_retention.engine.entries import is_shared_mark
from redis_retention.engine.index import IndexCalls
from redis_retention.engine.results import Deleted
from redis_retention.errors import RetentionError
from redis_retention.sans_io import Argument, Operation, command

# Documents whose names of shared keys are read by one call, some 6 microseconds each.
_DOCUMENTS_PER_CALL = 100
# Shared keys that it compares these with, a microsecond each.
_KEYS_PER_QUESTION = 1_000
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
        newest_gone = b"\0".join(islice(sorted(gone, reverse=True), _MOST_GONE))
        deleted, waiting = Deleted(), 0

        def call(what: str, page: Sequence[bytes], keys: Sequence[bytes]) -> Operation[Any]:
            head: list[Argument] = [thread, *self.layout.arguments(), older_than_ms, what]
            index_key = self.index_key(thread)
            return self.call("sweep/shared_keys", [index_key, *page], [*head, newest_gone, *keys])

        unnamed: list[bytes] = []
        for some in batched(sorted(shared), _KEYS_PER_QUESTION):
            left: Sequence[bytes] = some
            for page in batched(documents, _DOCUMENTS_PER_CALL):
                _, unclear, left, _ = yield from call("ask", page, left)
                waiting += unclear
            unnamed += left
        # Those of one version are most often of one checkpoint.
        unnamed.sort(key=lambda key: key.rpartition(b":")[2])
        for some in batched(unnamed, self.keys_per_call):
            left = some
            while left:
                what = "count" if counting else "delete"
                keys, young, left, freed = yield from call(what, (), left)
                deleted.add(0, keys, freed if self._estimate_memory else 0)
                waiting += young
        return deleted, waiting

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
