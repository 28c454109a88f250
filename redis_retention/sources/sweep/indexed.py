"""The threads that a pass meets: their indexes are read, and what is too long is trimmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redis_retention.batches import batched
from redis_retention.engine import Rule
from redis_retention.engine.entries import checkpoints, has_old_invocation, is_shared_mark, unread
from redis_retention.errors import RetentionError
from redis_retention.layouts import too_long_id
from redis_retention.policies import is_eligible
from redis_retention.sans_io import Operation, command
from redis_retention.sources.sweep.known import Known, State
from redis_retention.sources.sweep.pages import Page
from redis_retention.sources.sweep.shared import Shared

_THREADS_PER_BATCH = 250


class IndexedThreads:
    """Works off threads by their indexes, as far as these go."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._engine = shared.engine
        # Threads that can only be trimmed to the end when it is sure that their indexes are whole.
        self._unfinished: list[bytes] = []

    def meet(self, page: Page) -> Operation[None]:
        """Read the indexes of threads that are met for the first time, and trim long ones."""
        known, wanted = self._shared.known, []
        for thread in page.threads:
            if not self._shared.wanted(thread):
                known.set(thread, State.UNWANTED)
            elif excess := too_long_id(thread):
                self._shared.refuse(thread, excess)
            elif not known.full or thread in page.indexed:
                wanted.append(thread)
        for some in batched(wanted, _THREADS_PER_BATCH):
            yield from self._work_off(some)

    def finish(self) -> Operation[None]:
        """Trim once more what had to wait, now that no document was met that no index knew."""
        threads, self._unfinished = self._unfinished, []
        for thread in threads if self._are_whole else []:
            rule = self._shared.rule(thread)
            if rule:
                trimmed = yield from self._shared.trim(thread, rule.policy, complete=True)
                self._shared.result.checkpoints_kept -= trimmed.deleted.checkpoints

    @property
    def _are_whole(self) -> bool:
        """Whether this sweep will add nothing more to indexes before its end."""
        return self._shared.second_pass or not self._shared.needs_second_pass

    def _work_off(self, threads: Sequence[bytes]) -> Operation[None]:
        shared = self._shared
        indexes = yield from self._read(threads)
        shared.result.threads += sum(map(bool, indexes.values()))
        for thread, entries in indexes.items():
            if not entries or is_shared_mark(entries):
                shared.shared_keys_left.add(thread)
        for thread in (yield from self._outdated(indexes)):
            shared.shared_keys_left.add(thread)
            yield from shared.attempt(thread, self._forget_missing(thread), None)
            indexes |= yield from self._read([thread])
        indexed = [thread for thread, entries in indexes.items() if entries]
        # An index to which this sweep may still add is left to the second pass.
        if self._are_whole:
            eligible = yield from self._eligible(indexes)
            for thread, rule in eligible.items():
                yield from shared.trim(thread, rule.policy, complete=shared.second_pass)
            indexes |= yield from self._read(list(eligible))
            for thread in indexed:
                names = unread(indexes[thread])
                if names:
                    operation = self._engine.read_unread(thread, names)
                    yield from shared.attempt(thread, operation, None)
                    indexes |= yield from self._read([thread])
            self._unfinished += [name for name in eligible if has_old_invocation(indexes[name])]
        for thread, entries in indexes.items():
            if thread not in shared.result.refused:
                shared.known.remember(self._engine.layout, thread, entries)
        for thread in indexed:
            shared.result.checkpoints_kept += yield from self._count(thread, indexes[thread])

    def _read(self, threads: Sequence[bytes]) -> Operation[dict[bytes, list[bytes]]]:
        if not threads:
            return {}
        found: dict[bytes, list[bytes]] = {}
        replies = yield from self._engine.index_entries(threads, Known.MOST_ENTRIES)
        for thread, entries in zip(threads, replies, strict=True):
            if isinstance(entries, RetentionError):
                self._shared.refuse(thread, str(entries))
            else:
                found[thread] = entries
        return found

    def _count(self, thread: bytes, entries: Sequence[bytes]) -> Operation[int]:
        if len(entries) >= Known.MOST_ENTRIES:
            [known] = yield from self._engine.counts([thread])
            return known
        return len(checkpoints(entries))

    def _outdated(self, indexes: Mapping[bytes, list[bytes]]) -> Operation[set[bytes]]:
        """The threads of which the oldest checkpoint is gone, or all are."""
        oldest, outdated = {}, set()
        for thread, entries in indexes.items():
            of_checkpoints = checkpoints(entries)
            if of_checkpoints:
                oldest[thread] = self._engine.document(thread, of_checkpoints[0])
            elif entries:
                outdated.add(thread)
        if oldest and (yield from command("EXISTS", *oldest.values())) < len(oldest):
            for thread, key in oldest.items():
                if not (yield from command("EXISTS", key)):
                    outdated.add(thread)
        return outdated

    def _forget_missing(self, thread: bytes) -> Operation[None]:
        """Remove from an index what others have deleted."""
        documents = yield from self._engine.indexed_documents(thread)
        yield from self._engine.forget_all(documents)

    def _eligible(self, indexes: Mapping[bytes, list[bytes]]) -> Operation[dict[bytes, Rule]]:
        """The threads of which something may be deleted, each with its rule."""
        eligible = {}
        for thread, entries in indexes.items():
            rule = self._shared.rule(thread) if entries else None
            if rule and is_eligible((yield from self._count(thread, entries)), rule):
                eligible[thread] = rule
        return eligible
