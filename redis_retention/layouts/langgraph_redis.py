"""The format of LangGraph's `RedisSaver` (langgraph-checkpoint-redis): JSON documents.

Its Lua half is ``lua/layouts/langgraph_redis.lua``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from redis_retention.layouts.documents import Documents
from redis_retention.layouts.ids import UUID_LENGTH, as_bytes, is_ulid, is_uuid, is_write_number
from redis_retention.layouts.layout import Family, RootKey, SearchIndex

_ROOT_NAMESPACE = b"__empty__"
# What stands between a thread and the id of a root checkpoint.
_ROOT_MARK = b":" + _ROOT_NAMESPACE + b":"
_ROOT_LENGTH = len(_ROOT_MARK) + UUID_LENGTH
_EMPTY_ID = b"00000000-0000-0000-0000-000000000000"
_REGISTRY = b"write_keys_zset"
_REGISTRY_START = _REGISTRY + b":"


@dataclass(frozen=True, slots=True)
class LangGraphRedis(Documents):
    """The format of `RedisSaver` and `AsyncRedisSaver` of langgraph-checkpoint-redis.

    Attributes:
        checkpoint_prefix: The saver's ``checkpoint_prefix``.
        write_prefix: The saver's ``checkpoint_write_prefix``.
    """

    checkpoint_prefix: str = "checkpoint"
    write_prefix: str = "checkpoint_write"
    _starts: tuple[bytes, bytes, bytes] = field(init=False, repr=False, compare=False)

    name: ClassVar[str] = "langgraph_redis"

    def __post_init__(self) -> None:
        """Make what `root_key` needs: what names of documents, writes and pointers begin with."""
        names = self.checkpoint_prefix, self.write_prefix, f"{self.checkpoint_prefix}_latest"
        checkpoint, write, latest = (f"{name}:".encode() for name in names)
        object.__setattr__(self, "_starts", (checkpoint, write, latest))

    def arguments(self) -> list[str]:
        """The saver's two prefixes."""
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
            _REGISTRY + b":": Family.REGISTRY,
        }

    def search_indexes(self) -> dict[Family, SearchIndex]:
        """The saver's search indexes, by the family of the documents in them."""
        return {
            family: SearchIndex(prefix, f"{prefix}:".encode(), b"$.thread_id", "thread_id")
            for family, prefix in (
                (Family.CHECKPOINT, self.checkpoint_prefix),
                (Family.WRITE, self.write_prefix),
            )
        }

    def stored_thread(self, thread: str | bytes) -> bytes:
        """A thread id as it stands in keys and documents."""
        return as_bytes(thread) or _EMPTY_ID

    def checkpoint_key(self, thread: bytes, namespace: bytes, checkpoint_id: bytes) -> bytes:
        """The key of a checkpoint's document; the root namespace is ``b""``."""
        suffix = self.checkpoint_suffix(thread, namespace, checkpoint_id)
        return self.checkpoint_prefix.encode() + suffix

    def checkpoint_suffix(self, thread: bytes, namespace: bytes, checkpoint_id: bytes) -> bytes:
        """What all keys of a checkpoint have in common, ``:{thread}:{ns}:{id}``."""
        return b":" + b":".join((thread, namespace or _ROOT_NAMESPACE, checkpoint_id))

    def latest_key(self, suffix: bytes) -> bytes:
        """The latest pointer of the namespace in which a checkpoint is."""
        return f"{self.checkpoint_prefix}_latest".encode() + self.split(suffix)[0]

    def root_key(self, key: bytes) -> RootKey | None:
        """What the name of a root checkpoint's key says, or that of the root's latest pointer.

        No other namespace ends like the root's, so that a UUID or a ULID after it leaves no doubt.
        """
        checkpoint, write, latest = self._starts
        is_document = key.startswith(checkpoint)
        if is_document:
            found = _read_root(Family.CHECKPOINT, key[len(checkpoint) - 1 :])
            if found is not None:
                return found
        if key.startswith(write):
            suffix, _, number = key[len(write) - 1 :].rpartition(b":")
            if is_write_number(number):
                return _read_root(Family.WRITE, suffix.rpartition(b":")[0])
        elif key.startswith(_REGISTRY_START):
            return _read_root(Family.REGISTRY, key[len(_REGISTRY) :])
        elif key.startswith(latest) and key.endswith(_ROOT_MARK[:-1]):
            thread = key[len(latest) : 1 - len(_ROOT_MARK)]
            return RootKey(Family.LATEST, thread, key[len(latest) - 1 :], b"")
        if not is_document:
            return None
        suffix = key[len(checkpoint) - 1 :]
        thread, mark, checkpoint_id = suffix.rpartition(_ROOT_MARK)
        if not mark:
            return None
        return RootKey(Family.CHECKPOINT, thread[1:], suffix, checkpoint_id, certain=False)


def _read_root(family: Family, suffix: bytes) -> RootKey | None:
    """What a suffix says that can only be a root checkpoint's."""
    if suffix[-_ROOT_LENGTH:-UUID_LENGTH] == _ROOT_MARK:
        checkpoint_id = suffix[-UUID_LENGTH:]
        if is_uuid(checkpoint_id):
            return RootKey(family, suffix[1:-_ROOT_LENGTH], suffix, checkpoint_id)
    thread, mark, checkpoint_id = suffix.rpartition(_ROOT_MARK)
    if mark and is_ulid(checkpoint_id):
        return RootKey(family, thread[1:], suffix, checkpoint_id)
    return None
