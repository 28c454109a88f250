"""What the saver's own search indexes find, and whether they can be relied on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from redis_retention.layouts import Family, SearchIndex
from redis_retention.sans_io import Command, Nodes, Operation, command

# A page holds the server up, some 6 microseconds for each key.
_KEYS_PER_PAGE = 250
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


class SearchIndexes:
    """The search indexes of one saver.

    They are examined once: use it for one run of some threads.

    Args:
        indexes: That of each family.

    Attributes:
        complete: They have all documents, as far as they say.
    """

    def __init__(self, indexes: Mapping[Family, SearchIndex]) -> None:
        self._indexes = indexes
        self._examined = False
        self.complete = True

    def search(
        self,
        value: bytes,
        families: Sequence[Family],
        others: Sequence[Command] = (),
        field: str | None = None,
    ) -> Operation[tuple[dict[Family, list[bytes]], list[Any]]]:
        """The keys that the search indexes of some families find, the first page of each in one go.

        Args:
            value: The thread as it stands in the keys, or what `field` is to be.
            families: Which indexes to ask.
            others: Commands to send along.
            field: The tag that has the value, if that is not the thread's.

        Returns:
            The keys of each family, and the replies to the others.

        Raises:
            NotSearchable: That cannot be done here, or not for this value.
            redis.exceptions.ResponseError: The server has refused to search, or one of the others.
        """
        if not self._indexes:
            raise NotSearchable("the saver has no search index")
        pages = self.pages(value, families, field)
        if (yield Nodes()) != [None]:
            raise NotSearchable("the server is a cluster, of which RediSearch knows a part")
        examine = [] if self._examined else self._questions()
        replies = yield [*examine, *pages, *others]
        self._examine(replies[: len(examine)])
        found = replies[len(examine) : len(examine) + len(pages)]
        hits = yield from self.hits(families, found)
        return hits, replies[len(examine) + len(pages) :]

    def pages(
        self, value: bytes, families: Sequence[Family], field: str | None = None
    ) -> list[Command]:
        """What asks for the first page of each family.

        Raises:
            NotSearchable: No query can name this value.
        """
        query = self._query(value, field or self._indexes[Family.CHECKPOINT].thread_field)
        return [self._first_page(self._indexes[family], query) for family in families]

    def hits(
        self, families: Sequence[Family], replies: Sequence[Any]
    ) -> Operation[dict[Family, list[bytes]]]:
        """All that is found, by the replies that have the first pages.

        Raises:
            redis.exceptions.ResponseError: The server has refused to search.
        """
        hits = {}
        for family, page in zip(families, replies, strict=True):
            if isinstance(page, ResponseError):
                raise page
            hits[family] = yield from self._all_pages(self._indexes[family], page)
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
        self.complete = self.complete and not float(info[b"hash_indexing_failures"])


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


def refused(error: ResponseError) -> NotSearchable:
    """What it means that the server has refused to search."""
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
