"""What the keys of a storage format are called. Its Lua half is ``lua/layouts/{name}.lua``.

Names only sort keys into families here. Whose a key is, the documents say, in Lua.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import ClassVar

# Bytes of a thread id. What is longer is refused: a name is read byte by byte in many places.
LONGEST_THREAD = 4_096
# The same of a whole key, with namespace, checkpoint, task and prefix.
LONGEST_KEY = 2 * LONGEST_THREAD

# Bytes that are shown of such a key.
_SHOWN = 60

_ROOT_NAMESPACE = b"__empty__"
# A UUID of version 6 or a ULID, as LangGraph makes them (``lua/include/clock.lua``).
_UUID = rb"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-6[0-9a-fA-F]{3}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_ID = rb"(?:" + _UUID + rb"|[0-7][0-9A-HJKMNP-TV-Z]{25})"
_is_uuid = re.compile(_UUID).fullmatch
_UUID_LENGTH = 36
# What stands between a thread and the id of a root checkpoint.
_ROOT_MARK = b":" + _ROOT_NAMESPACE + b":"
_ROOT_LENGTH = len(_ROOT_MARK) + _UUID_LENGTH
_EMPTY_ID = b"00000000-0000-0000-0000-000000000000"


def too_long(key: bytes) -> tuple[bytes, str] | None:
    """What to show of a key that is longer than `LONGEST_KEY`, and why it is left alone."""
    if len(key) <= LONGEST_KEY:
        return None
    return key[:_SHOWN], f"a key of {len(key)} bytes is too long to be looked at"


class Family(Enum):
    """What a key of the saver is for."""

    CHECKPOINT = auto()
    WRITE = auto()
    REGISTRY = auto()
    LATEST = auto()


@dataclass(frozen=True, slots=True)
class SearchIndex:
    """An index of RediSearch that a saver makes for itself.

    Attributes:
        name: What it is called.
        start: What the names of the documents in it begin with.
        thread_path: Where in these the thread id is.
    """

    name: str
    start: bytes
    thread_path: bytes


@dataclass(frozen=True, slots=True)
class LangGraphRedis:
    """The format of `RedisSaver` and `AsyncRedisSaver` of langgraph-checkpoint-redis.

    Attributes:
        checkpoint_prefix: The saver's ``checkpoint_prefix``.
        write_prefix: The saver's ``checkpoint_write_prefix``.
    """

    checkpoint_prefix: str = "checkpoint"
    write_prefix: str = "checkpoint_write"

    name: ClassVar[str] = "langgraph_redis"

    thread_field: ClassVar[str] = "thread_id"
    """What the saver's search indexes call the tag of the thread."""

    def arguments(self) -> list[str]:
        """The two values that the scripts hand to ``layout.use``."""
        return [self.checkpoint_prefix, self.write_prefix]

    @property
    def tag(self) -> str:
        """The saver's prefix as one part of our own keys: a thread may begin after it."""
        return self.checkpoint_prefix.replace("%", "%25").replace(":", "%3A")

    def families(self) -> dict[bytes, Family]:
        """What the names of each family's keys begin with."""
        return {
            f"{self.checkpoint_prefix}:".encode(): Family.CHECKPOINT,
            f"{self.checkpoint_prefix}_latest:".encode(): Family.LATEST,
            f"{self.write_prefix}:".encode(): Family.WRITE,
            b"write_keys_zset:": Family.REGISTRY,
        }

    def search_indexes(self) -> dict[Family, SearchIndex]:
        """The saver's search indexes, by the family of the documents in them."""
        path = f"$.{self.thread_field}".encode()
        return {
            family: SearchIndex(prefix, f"{prefix}:".encode(), path)
            for family, prefix in (
                (Family.CHECKPOINT, self.checkpoint_prefix),
                (Family.WRITE, self.write_prefix),
            )
        }

    def stored_thread(self, thread: str | bytes) -> bytes:
        """A thread id as it stands in keys and documents."""
        name = thread.encode("utf-8", "surrogateescape") if isinstance(thread, str) else thread
        return name or _EMPTY_ID

    def checkpoint_key(self, thread: bytes, namespace: bytes, checkpoint_id: bytes) -> bytes:
        """The key of a checkpoint's document; the root namespace is ``b""``."""
        parts = self.checkpoint_prefix.encode(), thread, namespace or _ROOT_NAMESPACE, checkpoint_id
        return b":".join(parts)

    def pointer_key(self, place: bytes) -> bytes:
        """The newest-checkpoint pointer of a namespace, ``:{thread}:{ns}``."""
        return f"{self.checkpoint_prefix}_latest".encode() + place

    def suffix(self, family: Family, rest: bytes) -> bytes:
        """What a key has in common with the others of its checkpoint.

        Args:
            family: CHECKPOINT, WRITE or REGISTRY.
            rest: The key without what its family's names begin with.
        """
        if family is Family.WRITE:
            # A task id and a number follow; neither has a colon.
            rest = rest.rsplit(b":", 2)[0]
        return b":" + rest

    def root_thread(self, checkpoint_key: bytes) -> bytes | None:
        """The thread of what reads like a root checkpoint's key; None for other keys."""
        start = f"{self.checkpoint_prefix}:".encode()
        thread, found, _ = checkpoint_key.rpartition(b":" + _ROOT_NAMESPACE + b":")
        return thread[len(start) :] if found and thread.startswith(start) else None

    def root_name(self) -> re.Pattern[bytes]:
        """A pattern for names that can only be those of a root checkpoint's keys.

        No other namespace ends like the root's. Of a match, ``lastindex`` is 1 for a document, 3
        for a write, 5 for a registry; the group of that number is what all keys of the checkpoint
        have in common, the next one the thread.
        """
        return _root_name(self.checkpoint_prefix.encode(), self.write_prefix.encode())

    @staticmethod
    def split_root(suffix: bytes) -> tuple[bytes, bytes] | None:
        """Thread and id of what a root checkpoint's keys have in common.

        None for others, and for ids that are no UUIDs, which only `root_name` knows: it is slower.
        """
        if suffix[-_ROOT_LENGTH:-_UUID_LENGTH] != _ROOT_MARK:
            return None
        checkpoint_id = suffix[-_UUID_LENGTH:]
        return (suffix[1:-_ROOT_LENGTH], checkpoint_id) if _is_uuid(checkpoint_id) else None

    def root_pointer(self, key: bytes) -> bytes | None:
        """The thread of what reads like the root's newest-checkpoint pointer; None for others."""
        start, end = f"{self.checkpoint_prefix}_latest:".encode(), b":" + _ROOT_NAMESPACE
        if key.startswith(start) and key.endswith(end):
            return key[len(start) : -len(end)]
        return None

    def checkpoint_suffix(self, thread: bytes, namespace: bytes, checkpoint_id: bytes) -> bytes:
        """The same from the fields of a checkpoint."""
        return b":" + b":".join((thread, namespace or _ROOT_NAMESPACE, checkpoint_id))


@lru_cache
def _root_name(checkpoint: bytes, write: bytes) -> re.Pattern[bytes]:
    suffix = rb"(:(.*):" + _ROOT_NAMESPACE + rb":" + _ID + rb")"
    names = (
        re.escape(checkpoint) + suffix,
        re.escape(write) + suffix + rb":[^:]*:-?\d+",
        rb"write_keys_zset" + suffix,
    )
    return re.compile(b"(?:" + b"|".join(names) + rb")\Z", re.DOTALL)
