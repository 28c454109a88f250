"""The index of a thread: filling it, reading it, and forgetting what is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from redis.exceptions import ResponseError

from redis_retention.batches import batched
from redis_retention.engine import entries as entry
from redis_retention.engine.calls import ScriptCalls, words
from redis_retention.engine.results import (
    CHECKPOINTS,
    Added,
    Deleted,
    Rule,
    ThreadDocuments,
    Tracked,
)
from redis_retention.errors import RetentionError, is_script_error, wrong_type
from redis_retention.sans_io import Argument, Operation, T, command

# Documents read by one call: some 20 microseconds each, more when they are cold.
DOCUMENTS_PER_CALL = 50
# Root checkpoints added by one call by their names: some 10 microseconds each, to confirm them.
NAMES_PER_CALL = 100
# Entries read by one call, about a microsecond each.
_ENTRIES_PER_CALL = 1_500


class IndexCalls(ScriptCalls):
    """What can be done with the indexes of threads."""

    # --- adding -----------------------------------------------------------------------------------

    def track(
        self, documents: Sequence[bytes], rules: Sequence[Rule] = ()
    ) -> Operation[list[Tracked]]:
        """Add documents that were just written to their indexes; trim what crosses its trigger.

        One call: the caller bounds the number of documents, some 10 microseconds each.

        Args:
            documents: Keys that may be checkpoint documents, or lists of checkpoints where the
                format has these; what is none is passed over.
            rules: The first whose pattern matches a thread counts for it.
        """
        if self.layout.lists_itself:
            reply = yield from self.call("notice", documents, self._trimming_by(rules))
        else:
            # Of any thread, as events have told.
            arguments = [b"", 1, *self._trimming_by(rules)]
            reply = yield from self.call("track", documents, arguments)
        return [self._tracked(*row) for row in reply[1:]]

    def add(
        self, documents: Sequence[bytes], thread: bytes = b"", writes_seen: Sequence[int] = ()
    ) -> Operation[Added]:
        """Add documents to the indexes of their threads.

        One call: the caller bounds the number of documents.

        Args:
            documents: Keys that may be checkpoint documents; what is none is passed over.
            thread: The only thread whose documents to add, empty for any.
            writes_seen: How many write documents were seen for each, if that was counted.

        Raises:
            RetentionError: The server would not change the index of that thread.
        """
        arguments = [thread, 0, *self._trimming_by(()), *writes_seen]
        reply = yield from self.call("track", documents, arguments)
        rows = [self._tracked(*row) for row in reply[1:]]
        refused = {row.thread: row.refused for row in rows if row.refused is not None}
        if thread in refused:
            raise RetentionError(refused[thread])
        return Added(list(words(reply[0])), refused)

    def add_all(self, documents: Iterable[bytes], thread: bytes) -> Operation[None]:
        """Add any number of documents to the index of one thread."""
        for some in batched(documents, DOCUMENTS_PER_CALL):
            yield from self.add(some, thread)

    def _trimming_by(self, rules: Sequence[Rule]) -> list[Argument]:
        """The arguments of scripts that trim what crosses the trigger of one of these rules."""
        return [
            self._index_start,
            self._pins_start,
            *self.layout.arguments(),
            self.keys_per_call,
            int(self._estimate_memory),
            self.grace_ms,
            len(rules),
            *(value for rule in rules for value in rule.arguments()),
        ]

    def _tracked(self, thread: bytes, state: bytes, *rest: Any) -> Tracked:
        if state == b"refused":
            error = self._explained(ResponseError(rest[0].decode()), self.index_key(thread))
            return Tracked(thread, Deleted(), refused=str(error))
        checkpoints, keys, left, bytes_freed = rest
        deleted = Deleted(checkpoints, keys, self._estimated(bytes_freed))
        return Tracked(thread, deleted, state == b"more", state == b"unsupported", left)

    def add_roots(self, thread: bytes, ids: Sequence[bytes]) -> Operation[None]:
        """Add root checkpoints to the index of a thread by their names alone.

        Args:
            thread: The thread as it stands in the keys.
            ids: What the names say; those are added whose documents confirm it.
        """
        # Oldest first: a checkpoint is no leaf once a child of it is added.
        for some in batched(sorted(ids), NAMES_PER_CALL):
            yield from self._add_roots(thread, some, [0] * len(some))

    def _add_roots(
        self, thread: bytes, ids: Sequence[bytes], writes_seen: Sequence[int]
    ) -> Operation[list[bytes]]:
        arguments: list[Argument] = [thread, *self.layout.arguments(), len(ids), *ids, *writes_seen]
        statuses: list[bytes] = yield from self.call(
            "index/add_roots", [self.index_key(thread)], arguments
        )
        return statuses

    def roots_by_name(self, thread: bytes, documents: Iterable[bytes]) -> dict[bytes, bytes]:
        """Those of some documents that can only be a thread's root checkpoints, with their ids."""
        roots = ((key, self.layout.root_key(key)) for key in documents)
        return {
            key: root.checkpoint_id
            for key, root in roots
            if root and root.certain and root.thread == thread
        }

    def read_roots(self, thread: bytes, ids: Sequence[bytes]) -> Operation[None]:
        """Add root checkpoints to the index of a thread by what their documents say.

        Args:
            thread: The thread as it stands in the keys.
            ids: What names say; what is no checkpoint of this thread is passed over.
        """
        yield from self.add_all([self.layout.checkpoint_key(thread, b"", i) for i in ids], thread)

    def read_unread(self, thread: bytes, unread: Sequence[bytes]) -> Operation[None]:
        """Read the documents of unread entries.

        Args:
            thread: The thread as it stands in the keys.
            unread: The entries.
        """
        for some in batched(unread, DOCUMENTS_PER_CALL):
            yield from self.add(self._documents(thread, some), thread)
            yield from command("ZREM", self.index_key(thread), *some)

    def update_index(
        self, thread: bytes, documents: Mapping[bytes, int], *, by_names: bool = False
    ) -> Operation[ThreadDocuments]:
        """Bring a thread's index up to date with its documents.

        It is never empty meanwhile: others may trim by it, and add to it.

        Args:
            thread: The thread as it stands in the keys.
            documents: Keys of documents that may be its checkpoints, each with the number of
                write documents seen for it.
            by_names: Do not read root checkpoints, of which the names say it all, but make sure
                that they are the thread's: a trim reads what it retains.
        """
        known = yield from self.indexed_documents(thread)
        yield from self.forget_unsupported(thread)
        found = ThreadDocuments()
        if by_names:
            found.statuses = yield from self._add_by_names(thread, documents)
        # In the order of their ids: each is asked for by the next one.
        unread = sorted(documents.keys() - found.statuses.keys())
        for some in batched(unread, DOCUMENTS_PER_CALL):
            added = yield from self.add(some, thread, [documents[key] for key in some])
            found.statuses.update(zip(some, added.statuses, strict=True))
        yield from self.forget_all(known - documents.keys())
        return found

    def _add_by_names(
        self, thread: bytes, documents: Mapping[bytes, int]
    ) -> Operation[dict[bytes, str]]:
        """Add those of a thread's documents that are root checkpoints, and say what they are."""
        roots = self.roots_by_name(thread, documents)
        statuses: dict[bytes, str] = {}
        for some in batched(sorted(roots), NAMES_PER_CALL):
            ids = [roots[key] for key in some]
            reply = yield from self._add_roots(thread, ids, [documents[key] for key in some])
            found = zip(some, words(reply), strict=True)
            statuses.update((key, status) for key, status in found if status in CHECKPOINTS)
        return statuses

    # --- reading ----------------------------------------------------------------------------------

    def read(self, thread: bytes, documents: Mapping[bytes, int]) -> Operation[ThreadDocuments]:
        """Read what `update_index` would put into the index, without writing anything."""
        found, leaves, parents = ThreadDocuments(), {}, set()
        # Once the index knows checkpoints, it alone knows which are leaves, and since when.
        entries = yield from command(
            "ZRANGEBYLEX", self.index_key(thread), *entry.IDLE_TO_CHECKPOINTS
        )
        since = {entry.without_time(one): one for one in entries if entry.is_leaf(one)}
        known = {entry.leaf_start(one) for one in entries if entry.is_checkpoint(one)}
        found.entries += [
            one for one in entries if entry.is_idle(one) or entry.says_without_old_leaves(one)
        ]
        for some in batched(sorted(documents), DOCUMENTS_PER_CALL):
            seen = [documents[key] for key in some]
            reply = yield from self.call(
                "index/read", some, [*self.layout.arguments(), thread, *seen]
            )
            found.statuses.update(zip(some, words(reply[0]), strict=True))
            for leaf, parent, *of_checkpoint in reply[1:]:
                found.entries.extend(of_checkpoint)
                parents.add(parent)
                if leaf:
                    leaves[entry.without_time(leaf)] = leaf
        found.entries += [
            since.get(name, leaf)
            for name, leaf in leaves.items()
            if name not in parents and (name in since or name not in known)
        ]
        found.entries.sort()
        return found

    def index_entries(
        self, threads: Sequence[bytes], most: int
    ) -> Operation[list[list[bytes] | RetentionError]]:
        """The index entries of some threads, of each the first `most`, or what is wrong with it."""
        keys = [self.index_key(thread) for thread in threads]
        found: list[Any] = []
        while len(found) < len(keys):
            found += yield from self.call(
                "index/entries", keys[len(found) :], [most, _ENTRIES_PER_CALL]
            )
        return [
            entries if isinstance(entries, list) else wrong_type(key, "zset")
            for key, entries in zip(keys, found, strict=True)
        ]

    def indexed_documents(self, thread: bytes) -> Operation[set[bytes]]:
        """The keys of the checkpoint documents that a thread's index knows."""
        entries = yield from command("ZRANGEBYLEX", self.index_key(thread), *entry.CHECKPOINTS)
        return set(self._documents(thread, filter(entry.is_checkpoint, entries)))

    def document(self, thread: bytes, of_checkpoint: bytes) -> bytes:
        """The key of the document that an index entry of a checkpoint speaks of."""
        place = entry.place(of_checkpoint)
        return self.layout.checkpoint_key(thread, place.namespace, place.checkpoint_id)

    def _documents(self, thread: bytes, entries: Iterable[bytes]) -> list[bytes]:
        return [self.document(thread, one) for one in entries]

    def counts(self, threads: Sequence[bytes]) -> Operation[list[int]]:
        """How many checkpoints are known of some threads."""
        return [row[0] for row in (yield from self._measured(threads, count_keys=False))]

    def count_with_keys(self, thread: bytes) -> Operation[tuple[int, int]]:
        """How many checkpoints and keys are known of a thread, as `Trimmed.keys_left` has them."""
        [row] = yield from self._measured([thread], count_keys=True)
        return row[0], row[1]

    def _measured(self, threads: Sequence[bytes], *, count_keys: bool) -> Operation[list[Any]]:
        arguments: list[Argument] = [
            self._index_start,
            *self.layout.arguments(),
            0,
            int(count_keys),
        ]
        rows: list[Any] = yield from self.call(
            "index/measure", [self.index_key(thread) for thread in threads], arguments
        )
        return rows

    # --- forgetting -------------------------------------------------------------------------------

    def forget(self, documents: Sequence[bytes]) -> Operation[int]:
        """Remove checkpoints from their indexes that others have deleted, and say how many.

        One call, or more for names with many colons: the caller bounds the number of documents,
        some 8 microseconds each.

        Args:
            documents: Keys that may have been checkpoint documents; what exists is not forgotten.
        """
        arguments = self._forget_arguments()
        forgotten, left = 0, list(documents)
        while left:
            found, worked_off = yield from self.call("index/forget", left, arguments)
            forgotten += found
            left = left[worked_off:]
        return forgotten

    def forget_all(self, documents: Iterable[bytes]) -> Operation[None]:
        """Remove any number of checkpoints from their indexes, as `forget` does."""
        for some in batched(documents, DOCUMENTS_PER_CALL):
            yield from self.forget(some)

    def forget_thread(self, thread: bytes) -> Operation[None]:
        """Delete the pins and the index of a thread, if it is gone."""
        yield from self.call("index/forget", (), [*self._forget_arguments(), thread])

    def _forget_arguments(self) -> list[Argument]:
        return [self._index_start, *self.layout.arguments(), self._pins_start]

    def forget_unsupported(self, thread: bytes) -> Operation[None]:
        """Forget which checkpoints of a thread are not supported, so that they are read again."""
        yield from command("ZREMRANGEBYLEX", self.index_key(thread), *entry.UNSUPPORTED)

    def drop_index(self, thread: bytes) -> Operation[None]:
        """Delete a thread's index, on which the scripts fail; it is built anew when needed."""
        yield from command("UNLINK", self.index_key(thread))

    def with_sound_index(self, thread: bytes, make: Callable[[], Operation[T]]) -> Operation[T]:
        """Run an operation, and a second time without the index if the scripts fail on it.

        What is in the index then is not from us. It is only a cache, and is built anew.

        Args:
            thread: Whose index it is.
            make: Makes the operation.
        """
        try:
            return (yield from make())
        except ResponseError as error:
            if not is_script_error(error):
                raise
        yield from self.drop_index(thread)
        return (yield from make())
