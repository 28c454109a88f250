"""Finds the keys of one thread by the saver's own search indexes, for what its thread costs.

RediSearch decides nothing. It ignores case and has its own idea of where a tag ends, so that it
may find too much: every hit is verified by its document, in Lua, as those of a SCAN are. A document
that it does not find is only retained for too long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from functools import partial
from typing import Any

from redis.exceptions import ResponseError

from redis_retention.engine import Engine, OrphanGroup
from redis_retention.engine import entries as entry
from redis_retention.layouts import Family
from redis_retention.policy import Policy
from redis_retention.results import ThreadResult
from redis_retention.sans_io import Command, Operation, T
from redis_retention.sources import one_thread
from redis_retention.sources.one_thread import Found
from redis_retention.sources.search_index import NotSearchable, SearchIndexes, refused

_ALL = (Family.CHECKPOINT, Family.WRITE)
# Threads of so many documents are trimmed by one call, as a rule.
_FEW_DOCUMENTS = 50


class Search:
    """Looks for threads by the search indexes of the saver, and trims them.

    The indexes are examined once: use it for one run of some threads.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._layout = engine.layout
        self._indexes = engine.layout.search_indexes()
        self._search = SearchIndexes(self._indexes)

    def find(self, thread: bytes) -> Operation[Found]:
        """Look for all of a thread's keys that a search index or our own index names.

        Raises:
            NotSearchable: That cannot be done here, or not for this thread.
        """
        hits, entries = yield from self._look_up(thread, _ALL)
        found = Found(complete=self._search.complete)
        self._sort(thread, hits, found)
        for of_checkpoint in entries:
            key = self.engine.document(thread, of_checkpoint)
            suffix = self._suffix(Family.CHECKPOINT, key)
            found.documents[suffix] = key
            # A missing one may have left a registry, which is in no search index.
            found.registries.add(suffix)
        found.pointers = self._pointers({*found.documents, *found.writes})
        return found

    def tagged(self, value: bytes, field: str | None = None) -> Operation[list[bytes]]:
        """The checkpoint documents that may have a value in a tag, the thread's if none is named.

        Raises:
            NotSearchable: That cannot be done here, or not for this value.
        """
        search = self._search.search(value, [Family.CHECKPOINT], field=field)
        hits, _ = yield from self._understood(value, search)
        return hits[Family.CHECKPOINT]

    def trim(self, thread: bytes, policy: Policy) -> Operation[ThreadResult]:
        """Index what our index does not know of a thread, trim it, and clean up after its writers.

        Raises:
            NotSearchable: That cannot be done here, or not for this thread; nothing has been done.
        """
        trim = partial(self._trim, thread, policy)
        return (yield from self.engine.with_sound_index(thread, trim))

    def _trim(self, thread: bytes, policy: Policy) -> Operation[ThreadResult]:
        hits, entries = yield from self._look_up(thread, [Family.CHECKPOINT])
        known = {self.engine.document(thread, e): e for e in entries}
        missing = known.keys() - hits[Family.CHECKPOINT]
        found = Found()
        # What the index knows has been proved to be the thread's.
        new = [key for key in hits[Family.CHECKPOINT] if key not in known]
        self._sort(thread, {Family.CHECKPOINT: new}, found)
        documents = known.keys() | found.documents.values()
        names = yield from self._update_index(thread, documents, known, missing, policy)

        # A trim of one call is followed by the last search in the same go.
        pages = self._search.pages(thread, _ALL) if len(documents) <= _FEW_DOCUMENTS else []
        trimmed = yield from self.engine.trim(
            thread, policy, complete=self._search.complete, names=names or None, afterwards=pages
        )
        result = one_thread.done(trimmed)
        if trimmed.unsupported is not None:
            read = yield from self.engine.read(thread, dict.fromkeys(documents, 0))
            result.left = one_thread.checkpoints(read)
            return result
        after = yield from self._found_after(thread, trimmed.afterwards)
        if after is not None:
            yield from self._delete_orphans(thread, documents, missing, after, result)
        return result

    def _update_index(
        self,
        thread: bytes,
        documents: Set[bytes],
        known: Mapping[bytes, bytes],
        missing: Iterable[bytes],
        policy: Policy,
    ) -> Operation[list[bytes]]:
        """Update our index, but for the root checkpoints that a trim may add by their names."""
        engine = self.engine
        unsupported = {key for key, e in known.items() if entry.is_unsupported(e)}
        if unsupported:
            yield from engine.forget_unsupported(thread)
        yield from engine.forget_all(missing)
        new = sorted(documents - known.keys() | unsupported)
        # Where runs begin, only documents say.
        roots = {} if policy.keep_runs else engine.roots_by_name(thread, new)
        by_name = {key: name for key, name in roots.items() if key not in unsupported}
        yield from engine.add_all([key for key in new if key not in by_name], thread)
        return list(by_name.values())

    def _found_after(self, thread: bytes, replies: Sequence[Any]) -> Operation[Found | None]:
        """What the search indexes find after a trim, when there is little to find.

        Args:
            thread: The thread as it stands in the keys.
            replies: The first pages, if they are there already.
        """
        try:
            if not replies:
                replies = yield self._search.pages(thread, _ALL)
            hits = yield from self._search.hits(_ALL, replies)
        except (NotSearchable, ResponseError):
            # An index that was there a moment ago; the next trim will do it.
            return None
        found = Found()
        self._sort(thread, hits, found)
        return found

    def _delete_orphans(
        self,
        thread: bytes,
        before: Set[bytes],
        missing: Set[bytes],
        after: Found,
        result: ThreadResult,
    ) -> Operation[None]:
        """Delete what writers left of checkpoints that are gone.

        Args:
            thread: The thread as it stands in the keys.
            before: The documents that were known before the trim.
            missing: Those of them that were not there any more.
            after: What was found after it.
            result: What was done so far, to which this is added.
        """
        lost = {self._suffix(Family.CHECKPOINT, key) for key in missing}
        orphaned = sorted((lost | after.writes.keys()) - after.documents.keys())
        if not orphaned:
            return
        # What was there a moment ago was trimmed: whatever is left of it is deleted too.
        trimmed = {self._suffix(Family.CHECKPOINT, key) for key in before - missing}
        groups = [
            OrphanGroup(suffix, sorted(after.writes.get(suffix, ())), suffix in trimmed)
            for suffix in orphaned
        ]
        pointers = sorted(self._pointers(orphaned) - self._pointers(after.documents))
        orphans, stubs = yield from self.engine.delete_orphans(thread, groups, pointers)
        result.left += stubs
        result.deleted.add(orphans.checkpoints, orphans.keys)

    # --- names ------------------------------------------------------------------------------------

    def _sort(self, thread: bytes, hits: Mapping[Family, Iterable[bytes]], found: Found) -> None:
        """Take in the hits whose names begin like the thread's: those of a look-alike do not."""
        beside = self.engine.beside
        for family, keys in hits.items():
            start = self._indexes[family].start
            own = start + thread + b":"
            for key in keys:
                if key.startswith(own) and not (beside and beside.claims(thread, key)):
                    found.add(self._layout, family, key, key[len(start) :])

    def _suffix(self, family: Family, key: bytes) -> bytes:
        return self._layout.suffix(family, key[len(self._indexes[family].start) :])

    def _pointers(self, suffixes: Iterable[bytes]) -> set[bytes]:
        return {key for suffix in suffixes if (key := self._layout.latest_key(suffix)) is not None}

    # --- queries ----------------------------------------------------------------------------------

    def _look_up(
        self, thread: bytes, families: Sequence[Family]
    ) -> Operation[tuple[dict[Family, list[bytes]], list[bytes]]]:
        """What the search indexes find of a thread, and the entries of checkpoints in our own."""
        key = self.engine.index_key(thread)
        entries = Command(("ZRANGEBYLEX", key, *entry.CHECKPOINTS_TO_UNSUPPORTED))
        search = self._search.search(thread, families, [entries])
        hits, [found] = yield from self._understood(thread, search)
        return hits, [e for e in found if entry.is_checkpoint(e) or entry.is_unsupported(e)]

    def _understood(self, value: bytes, search: Operation[T]) -> Operation[T]:
        """A search, and what it means if the server refuses it."""
        try:
            return (yield from search)
        except ResponseError as error:
            # It may be a key of ours that is something else.
            yield from self.engine.check_keys(value)
            raise refused(error) from error
