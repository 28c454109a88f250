"""What names cannot tell: the server inspects it, and orphans are deleted in the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from redis_retention.batches import batched
from redis_retention.engine import DOCUMENTS_PER_CALL, Deleted, OrphanGroup
from redis_retention.sans_io import Operation
from redis_retention.sources.sweep.shared import Shared

# What one call inspects: a millisecond or so.
_KEYS_PER_CALL = 100
# Orphans are deleted at the end, or when there are this many of them.
_MOST_WAITING = 10_000


class Orphans:
    """Inspects keys: adds documents to the indexes, and collects what has no checkpoint.

    Args:
        shared: What the sweep shares.
        older_than_ms: Milliseconds after which an orphan is deleted.
    """

    def __init__(self, shared: Shared, older_than_ms: int) -> None:
        self._shared = shared
        self._engine = shared.engine
        self._older_than_ms = older_than_ms
        self._groups: list[list[bytes]] = []
        self._pointers: list[list[bytes]] = []

    def inspect(self, keys: Iterable[bytes]) -> Operation[None]:
        """Let the server inspect keys of any threads."""
        for some in batched(keys, _KEYS_PER_CALL):
            yield from self._shared.attempt_each(some, self._inspect)

    def _inspect(self, keys: Sequence[bytes]) -> Operation[None]:
        inspection = yield from self._engine.inspect(keys, self._shared.match)
        for documents in batched(inspection.documents, DOCUMENTS_PER_CALL):
            yield from self._shared.attempt_each(documents, self._index)
        self._groups.extend(inspection.orphans)
        self._pointers.extend(inspection.pointers)
        for thread in inspection.sharing:
            self._shared.shared_keys_left.add(thread)
        if len(self._groups) + len(self._pointers) > _MOST_WAITING:
            yield from self.delete()

    def _index(self, documents: Sequence[bytes]) -> Operation[None]:
        added = yield from self._engine.add(documents)
        # Their indexes may not have been whole when their threads were met.
        self._shared.needs_second_pass |= added.checkpoints > 0
        for thread, reason in added.refused.items():
            self._shared.refuse(thread, reason)

    def delete(self) -> Operation[None]:
        """Delete the orphans that were collected, thread by thread."""
        groups: defaultdict[bytes, dict[bytes, list[bytes]]] = defaultdict(dict)
        for thread, suffix, *writes in self._groups:
            groups[thread].setdefault(suffix, []).extend(writes)
        pointers: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for thread, pointer in self._pointers:
            pointers[thread].append(pointer)
        self._groups.clear()
        self._pointers.clear()
        for thread in groups.keys() | pointers.keys():
            operation = self._engine.delete_orphans(
                thread,
                [OrphanGroup(suffix, writes) for suffix, writes in groups[thread].items()],
                pointers[thread],
                older_than_ms=self._older_than_ms,
            )
            deleted, _ = yield from self._shared.attempt(thread, operation, (Deleted(), 0))
            self._shared.result.checkpoints_deleted += deleted.checkpoints
            self._shared.result.keys_deleted += deleted.keys
