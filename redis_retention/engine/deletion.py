"""The deletion: trims of one thread, and orphans."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence

from redis_retention.batches import batched
from redis_retention.engine.index import NAMES_PER_CALL, IndexCalls
from redis_retention.engine.results import Deleted, Inspection, OrphanGroup, Place, Trimmed
from redis_retention.policy import Policy
from redis_retention.sans_io import Argument, Command, Operation

# An hour, and the largest difference of clocks (``lua/include/clock.lua``) beside it.
ORPHAN_AGE_MS = 7_200_000


class DeletionCalls(IndexCalls):
    """What deletes keys of the saver, a bounded number by each call."""

    def trim(
        self,
        thread: bytes,
        policy: Policy,
        *,
        complete: bool = False,
        names: Sequence[bytes] | None = None,
        afterwards: Sequence[Command] = (),
    ) -> Operation[Trimmed]:
        """Trim a thread by its index, call after call until nothing is left to delete.

        Each call waits for the reply to the one before, so that others are served in between,
        and each leaves the thread whole.

        Args:
            thread: The thread as it stands in the keys.
            policy: What to keep.
            complete: The index is known to have all of the thread's checkpoints. Otherwise the
                subgraphs of root checkpoints that it does not know are retained.
            names: Ids of root checkpoints that the index may not know, in their order, oldest or
                newest first, which go into it by their names alone. If there is such a list,
                `keys_left` is counted.
            afterwards: What to send right after the first call, in the same go: if that is the
                only one, the result has the replies.
        """
        result, handed_on, again, cursor = Trimmed(), list[bytes](), 0, b""
        token = secrets.token_hex(8)
        names, count = names or (), int(names is not None)
        if len(names) > NAMES_PER_CALL:
            yield from self.add_roots(thread, names)
            names = ()
        own = [self.index_key(thread), self.pins_key(thread)]
        saver: list[Argument] = [thread, *self.layout.arguments()]
        while True:
            how: list[Argument] = [self.keys_per_call, int(self._estimate_memory), count, token]
            if handed_on:
                reply, _ = yield from self.paced("continue", own, [*saver, *how, *handed_on])
            else:
                how += [again, int(complete), self.grace_ms, cursor]
                how += [*policy.arguments(), *names]
                arguments = [*saver, *how]
                reply, result.afterwards = yield from self.paced("trim", own, arguments, afterwards)
                cursor, handed_on = reply[8], reply[9:]
            state, checkpoints, keys, result.left, bytes_freed, result.keys_left = reply[:6]
            result.deleted.add(checkpoints, keys, self._estimated(bytes_freed))
            if state == b"unsupported":
                result.unsupported = Place(*reply[6:8])
            if state == b"decide":
                handed_on = []
            elif state != b"more":
                return result
            again, names, afterwards, result.afterwards = 1, (), (), []

    def inspect(self, keys: Sequence[bytes], match: bytes = b"*") -> Operation[Inspection]:
        """Say which keys of the saver need something.

        One call: the caller bounds the number of keys, some 5 microseconds each.

        Args:
            keys: Documents, write documents, registries and pointers of any threads.
            match: A glob for the threads to inspect.
        """
        arguments: list[Argument] = [self._index_start, *self.layout.arguments(), match]
        return Inspection(*(yield from self.call("sweep/inspect", keys, arguments)))

    def delete_orphans(
        self,
        thread: bytes,
        groups: Iterable[OrphanGroup],
        pointers: Iterable[bytes],
        *,
        older_than_ms: int = ORPHAN_AGE_MS,
        entries: Sequence[bytes] | None = None,
    ) -> Operation[tuple[Deleted, int]]:
        """Delete what writers left of checkpoints that are gone.

        Args:
            thread: The thread as it stands in the keys; empty for what cannot be said whose it is.
            groups: What may be left of its checkpoints.
            pointers: Latest pointers that may point at nothing.
            older_than_ms: Milliseconds, by the time in an id, after which something is an orphan
                that is not newer than the newest checkpoint.
            entries: The thread's index entries in the order of bytes, to count and not delete;
                None to delete, by the index.

        Returns:
            What was deleted, and how many stubs are left.
        """
        head: list[Argument] = [
            thread,
            *self.layout.arguments(),
            older_than_ms,
            int(entries is not None),
            *([-1] if entries is None else [len(entries), *entries]),
        ]
        deleted, stubs = Deleted(), 0
        for arguments in self._in_calls(_parts(groups, pointers, self.keys_per_call - 2)):
            reply = yield from self.call(
                "sweep/orphans", [self.index_key(thread)], [*head, *arguments]
            )
            deleted.add(reply[0], reply[1])
            stubs += reply[2]
        return deleted, stubs

    def _in_calls(
        self, parts: Iterable[tuple[str, bytes, Sequence[bytes]]]
    ) -> Iterator[list[Argument]]:
        """The arguments of as many calls as the bound on deleted keys makes necessary."""
        arguments: list[Argument] = []
        room = self.keys_per_call
        for kind, name, writes in parts:
            cost = 2 + len(writes)
            if cost > room and arguments:
                yield arguments
                arguments, room = [], self.keys_per_call
            arguments += [kind, name, len(writes), *writes]
            room -= cost
        if arguments:
            yield arguments


def _parts(
    groups: Iterable[OrphanGroup], pointers: Iterable[bytes], most_writes: int
) -> Iterator[tuple[str, bytes, Sequence[bytes]]]:
    """Groups as ``lua/sweep/orphans.lua`` reads them, each with no more than a call may delete."""
    for group in groups:
        kind = "deleted" if group.deleted else "unknown"
        for writes in list(batched(group.writes, most_writes)) or [[]]:
            yield kind, group.suffix, writes
    for pointer in pointers:
        yield "pointer", pointer, ()
