"""What Python reads of index entries; ``lua/include/entry.lua`` makes them.

Lists of entries are in the order of bytes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence

from redis_retention.engine.results import Place

# Digits of the time at the end of a leaf's entry.
_LEAF_TIME = 13
_NO_ID = len(b"s\0\0!")

# Ranges of entries, as ZRANGEBYLEX takes them.
CHECKPOINTS = (b"[s", b"(u")
UNSUPPORTED = (b"[x", b"(y")
CHECKPOINTS_TO_UNSUPPORTED = (b"[s", b"(y")
IDLE_TO_CHECKPOINTS = (b"[e", b"(u")


def of_namespace(namespace: bytes) -> tuple[bytes, bytes]:
    """The range of the checkpoints in an independent namespace."""
    start = b"s" + namespace
    return b"[" + start + b"\0", b"(" + start + b"\1"


def of_checkpoint(namespace: bytes, checkpoint_id: bytes) -> tuple[bytes, bytes]:
    """The range of the entries of one checkpoint in an independent namespace."""
    start = b"s" + namespace + b"\0" + checkpoint_id
    return b"[" + start, b"(" + start + b"\1"


def is_checkpoint(entry: bytes) -> bool:
    """Whether an entry is a checkpoint's, and not what somebody else has put there."""
    return entry[:1] in (b"s", b"t") and b"\0" in entry


def is_unsupported(entry: bytes) -> bool:
    """Whether an entry is of a checkpoint that this version does not understand."""
    return entry[:1] == b"x"


def is_leaf(entry: bytes) -> bool:
    """Whether an entry is of a leaf."""
    return entry[:1] == b"l"


def is_idle(entry: bytes) -> bool:
    """Whether an entry says since when its thread is idle."""
    return entry[:1] == b"e"


def place(entry: bytes) -> Place:
    """Which checkpoint an entry is about."""
    namespace, checkpoint_id = [*entry[1:].split(b"\0", 2), b""][:2]
    return Place(namespace, checkpoint_id)


def checkpoints(entries: Sequence[bytes]) -> Sequence[bytes]:
    """The entries of checkpoints, those of independent namespaces first."""
    return _between(entries, b"s", b"u")


def roots(entries: Sequence[bytes]) -> Sequence[bytes]:
    """The entries of root checkpoints, oldest first."""
    return _between(entries, b"s\0", b"s\1")


def root_id(entry: bytes) -> bytes:
    """The id in the entry of a root checkpoint."""
    return entry[2:].split(b"\0", 1)[0]


def unread(entries: Sequence[bytes]) -> list[bytes]:
    """The entries of checkpoints of which only the name is known."""
    return [root for root in roots(entries) if root.endswith(b"\0!") and len(root) > _NO_ID]


def has_old_invocation(entries: Sequence[bytes]) -> bool:
    """Whether an invocation says that it was started before the oldest root checkpoint."""
    oldest = next(map(root_id, roots(entries)), b"")
    return any(e[1:].split(b"\0", 1)[0] < oldest for e in _between(entries, b"p", b"q"))


def is_shared_mark(entries: Sequence[bytes]) -> bool:
    """Whether the first entries of an index say that shared keys of the thread may be left."""
    return bool(entries) and entries[0].startswith(b"a")


def newest_of_each_namespace(entries: Iterable[bytes], without: Collection[Place]) -> list[bytes]:
    """The newest entry of each namespace, some checkpoints left out."""
    newest: dict[bytes, bytes] = {}
    for entry in entries:
        if entry[:1] in (b"s", b"t") and (where := place(entry)) not in without:
            newest[entry[:1] + where.namespace] = entry
    return list(newest.values())


def leaf_start(entry: bytes) -> bytes:
    """What a checkpoint's entry as a leaf begins with, from the entry of the checkpoint."""
    where = place(entry)
    return b"l" + where.namespace + b"\0" + where.checkpoint_id + b"\0"


def without_time(leaf: bytes) -> bytes:
    """What the entry of a leaf begins with, before the time at which it was first seen."""
    return leaf[:-_LEAF_TIME]


def says_without_old_leaves(entry: bytes) -> bool:
    """Whether an entry says that old leaves of a namespace are not noted any more."""
    return is_leaf(entry) and not place(entry).checkpoint_id


def _between(entries: Sequence[bytes], start: bytes, end: bytes) -> Sequence[bytes]:
    """The entries from `start` on and before `end`."""
    return entries[bisect_left(entries, start) : bisect_left(entries, end)]
