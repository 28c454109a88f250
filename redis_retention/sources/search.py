"""Finds the keys of one thread by the saver's own search indexes, for what its thread costs.

RediSearch decides nothing. It ignores case and has its own idea of where a tag ends, so that it
may find too much: every hit is verified by its document, in Lua, as those of a SCAN are. A document
that it does not find is only retained for too long.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from redis_retention.engine import Engine, OrphanGroup
from redis_retention.layouts import Family, SearchIndex
from redis_retention.policy import Policy
from redis_retention.sans_io import Command, Nodes, Operation, command
from redis_retention.sources import one_thread
from redis_retention.sources.one_thread import Found, ThreadResult

_KEYS_PER_PAGE = 1000
# Cursors that are not read to their end are few, and expire soon.
_CURSOR_MS = 10_000
# Longer tags are cut off.
_LONGEST_TAG = 4_000
# A tag loses what is blank at its ends, and a comma parts it; no query can name control characters.
_UNSEARCHABLE = re.compile(r"[\x00-\x1f\x7f,]|\A\s|\s\Z")
_SYNTAX = re.compile(r"([^0-9A-Za-z\x80-\U0010ffff])")

_SWEPT = "`--indexed-only` after a sweep, or beside `redis-retention run`, avoids that"


class NotSearchable(Exception):
    """A thread cannot be searched for.

    Attributes:
        why: Why not.
        mend: What would avoid looking at the whole database instead.
        alone: Others may be searched for.
    """

    def __init__(self, why: str, mend: str = _SWEPT, *, alone: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.mend = mend
        self.alone = alone


class Search:
    """Looks for threads by the search indexes of the saver, and trims them.

    The indexes are examined once: use it for one run of some threads.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._layout = engine.layout
        self._indexes = engine.layout.search_indexes()
        self._examined = False
        self._complete = True

    def find(self, thread: bytes) -> Operation[Found]:
        """Look for all of a thread's keys that a search index or our own index names.

        Raises:
            NotSearchable: That cannot be done here, or not for this thread.
        """
        hits, entries = yield from self._look_up(thread, [Family.CHECKPOINT, Family.WRITE])
        found = Found(complete=self._complete)
        for family, keys in hits.items():
            self._sort(thread, family, keys, found)
        for entry in entries:
            key = self.engine.document(thread, entry)
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
        hits = yield from self._search(value, [Family.CHECKPOINT], field=field)
        return hits[Family.CHECKPOINT]

    def trim(self, thread: bytes, policy: Policy) -> Operation[ThreadResult]:
        """Index what our index does not know of a thread, trim it, and clean up after its writers.

        Raises:
            NotSearchable: That cannot be done here, or not for this thread; nothing has been done.
        """
        trim = partial(self._trim, thread, policy)
        return (yield from self.engine.with_sound_index(thread, trim))

    def _trim(self, thread: bytes, policy: Policy) -> Operation[ThreadResult]:
        before = Found()
        hits, entries = yield from self._look_up(thread, [Family.CHECKPOINT])
        self._sort(thread, Family.CHECKPOINT, hits[Family.CHECKPOINT], before)
        known = {self.engine.document(thread, entry) for entry in entries}
        missing = known - set(before.documents.values())
        before.documents.update((self._suffix(Family.CHECKPOINT, key), key) for key in known)
        names = yield from self._update_index(thread, before, entries, missing, policy)

        trimmed = yield from self.engine.trim(
            thread, policy, complete=self._complete, names=names or None
        )
        result = one_thread.done(trimmed)
        if trimmed.unsupported is not None:
            read = yield from self.engine.read(thread, before.writes_seen())
            result.left = one_thread.checkpoints(read)
            return result
        yield from self._delete_orphans(thread, before, missing, result)
        return result

    def _update_index(
        self,
        thread: bytes,
        found: Found,
        entries: Sequence[bytes],
        missing: Iterable[bytes],
        policy: Policy,
    ) -> Operation[list[bytes]]:
        """Update our index, but for the root checkpoints that a trim may add by their names."""
        engine = self.engine
        unsupported = {engine.document(thread, e) for e in entries if e.startswith(b"x")}
        if unsupported:
            yield from engine.forget_unsupported(thread)
        yield from engine.forget_all(missing)
        known = {engine.document(thread, e) for e in entries} - unsupported
        new = sorted(set(found.documents.values()) - known)
        # Where runs begin, only documents say.
        roots = {} if policy.keep_runs else engine.roots_by_name(thread, new)
        by_name = {key: name for key, name in roots.items() if key not in unsupported}
        yield from engine.add_all([key for key in new if key not in by_name], thread)
        return list(by_name.values())

    def _delete_orphans(
        self, thread: bytes, before: Found, missing: Iterable[bytes], result: ThreadResult
    ) -> Operation[None]:
        """Delete what writers left of checkpoints that are gone.

        It is searched for after the trim: then there is little to find.
        """
        try:
            hits = yield from self._search(thread, [Family.CHECKPOINT, Family.WRITE])
        except NotSearchable:
            # An index that was there a moment ago; the next trim will do it.
            return
        after = Found()
        for family, keys in hits.items():
            self._sort(thread, family, keys, after)
        lost = {self._suffix(Family.CHECKPOINT, key) for key in missing}
        orphaned = sorted((lost | after.writes.keys()) - after.documents.keys())
        # What was there a moment ago was trimmed: whatever is left of it is deleted too.
        trimmed = before.documents.keys() - lost
        groups = [
            OrphanGroup(suffix, sorted(after.writes.get(suffix, ())), suffix in trimmed)
            for suffix in orphaned
        ]
        pointers = sorted(self._pointers(orphaned) - self._pointers(after.documents))
        orphans, stubs = yield from self.engine.delete_orphans(thread, groups, pointers)
        result.left += stubs
        result.deleted.add(orphans.checkpoints, orphans.keys)

    # --- names ------------------------------------------------------------------------------------

    def _sort(self, thread: bytes, family: Family, keys: Iterable[bytes], found: Found) -> None:
        """Take in the hits whose names begin like the thread's: those of a look-alike do not."""
        start = self._indexes[family].start
        own, beside = start + thread + b":", self.engine.beside
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
        entries = Command(("ZRANGEBYLEX", key, b"[s", b"(y"))
        found: list[bytes] = []
        hits = yield from self._search(thread, families, entries, found)
        return hits, [entry for entry in found if entry[:1] in (b"s", b"t", b"x")]

    def _search(
        self,
        thread: bytes,
        families: Sequence[Family],
        other: Command | None = None,
        reply: list[bytes] | None = None,
        field: str | None = None,
    ) -> Operation[dict[Family, list[bytes]]]:
        """The keys that the search indexes of some families find, the first page of each in one go.

        Args:
            thread: The thread as it stands in the keys.
            families: Which indexes to ask.
            other: A command to send along.
            reply: Gets the reply to that one.
            field: The tag that has the value `thread`, if that is not the thread's.
        """
        if not self._indexes:
            raise NotSearchable("the saver has no search index")
        thread_field = self._indexes[Family.CHECKPOINT].thread_field
        query = self._query(thread, field or thread_field)
        if (yield Nodes()) != [None]:
            raise NotSearchable("the server is a cluster, of which RediSearch knows a part")
        examine = [] if self._examined else self._questions()
        pages = [self._first_page(self._indexes[family], query) for family in families]
        try:
            replies = yield [*examine, *pages, *([other] if other else [])]
            self._examine(replies[: len(examine)])
            hits = {}
            for family, page in zip(families, replies[len(examine) :], strict=False):
                hits[family] = yield from self._all_pages(self._indexes[family], page)
        except ResponseError as error:
            # It may be a key of ours that is something else.
            yield from self.engine.check_keys(thread)
            raise _refused(error) from error
        if reply is not None:
            reply += replies[-1]
        return hits

    def _query(self, thread: bytes, field: str) -> str:
        try:
            text = thread.decode()
        except UnicodeDecodeError:
            text = "\0"
        if _UNSEARCHABLE.search(text) or len(thread) > _LONGEST_TAG:
            raise NotSearchable("RediSearch cannot search for such an id", alone=True)
        return f"@{field}:{{{_SYNTAX.sub(_BACKSLASHED, text)}}}"

    @staticmethod
    def _first_page(index: SearchIndex, query: str) -> Command:
        return Command(
            (
                *("FT.AGGREGATE", index.name, query, "LOAD", 1, "@__key"),
                *("WITHCURSOR", "COUNT", _KEYS_PER_PAGE, "MAXIDLE", _CURSOR_MS),
                # A search that is cut off would not say so.
                *("TIMEOUT", 0, "DIALECT", 2),
            )
        )

    @staticmethod
    def _all_pages(index: SearchIndex, page: Any) -> Operation[list[bytes]]:
        keys: list[bytes] = []
        while True:
            rows, cursor = page
            keys += _keys(rows)
            if not int(cursor):
                return keys
            page = yield from command("FT.CURSOR", "READ", index.name, cursor)

    # --- whether an index can be relied on --------------------------------------------------------

    def _questions(self) -> list[Command]:
        infos = [Command(("FT.INFO", index.name)) for index in self._indexes.values()]
        return [Command(("CLIENT", "INFO")), *infos]

    def _examine(self, replies: Sequence[Any]) -> None:
        if not replies:
            return
        if b" db=0 " not in _bytes(replies[0]):
            # It answers elsewhere too, with what is in database 0.
            raise NotSearchable("RediSearch indexes database 0 alone")
        for index, reply in zip(self._indexes.values(), replies[1:], strict=True):
            self._examine_index(index, _as_map(reply))
        self._examined = True

    def _examine_index(self, index: SearchIndex, info: dict[bytes, Any]) -> None:
        if not _is_made_like(index, info):
            raise NotSearchable(
                f"the search index {index.name} is not one that RedisSaver has made",
                "let RedisSaver.setup() make it",
            )
        if float(info[b"indexing"]) or float(info[b"percent_indexed"]) < 1:
            raise NotSearchable(
                f"the search index {index.name} is still being built", "wait until it is"
            )
        # Then there may be older checkpoints than those that it finds.
        self._complete = self._complete and not float(info[b"hash_indexing_failures"])


_BACKSLASHED = r"\\\1"


def _is_made_like(index: SearchIndex, info: dict[bytes, Any]) -> bool:
    definition = _as_map(info[b"index_definition"])
    fields = [_as_map(field) for field in info[b"attributes"]]
    return (
        definition[b"key_type"] == b"JSON"
        and b"filter" not in definition
        and any(index.start.startswith(prefix) for prefix in definition[b"prefixes"])
        and any(
            field.get(b"identifier") == index.thread_path and field.get(b"type") == b"TAG"
            for field in fields
        )
    )


def _refused(error: ResponseError) -> NotSearchable:
    said = str(error).lower()
    if isinstance(error, NoPermissionError):
        return NotSearchable("this user may not search", "allow it what docs/deploy/users.acl says")
    if "unknown command" in said:
        return NotSearchable("the server has no RediSearch")
    if "index" in said and ("unknown" in said or "no such" in said):
        return NotSearchable("the saver's search index is not there", "RedisSaver.setup() makes it")
    return NotSearchable(f"RediSearch refuses: {error}")


def _keys(rows: Any) -> Iterator[bytes]:
    """The keys in a page, which has maps in RESP3 and lists in RESP2."""
    if isinstance(rows, dict):
        rows = [row[b"extra_attributes"] for row in rows[b"results"]]
    else:
        rows = rows[1:]
    for row in rows:
        # A document that has gone meanwhile has none.
        if row:
            yield _as_map(row)[b"__key"]


def _as_map(reply: Any) -> dict[bytes, Any]:
    if isinstance(reply, dict):
        return reply
    # Flags may follow the pairs.
    return dict(zip(reply[::2], reply[1::2], strict=False))


def _bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text
