"""What all formats have in common whose checkpoints are JSON documents."""

from __future__ import annotations

import re
from typing import ClassVar

from redis_retention.layouts.ids import as_bytes, is_ulid, is_uuid
from redis_retention.layouts.layout import Events, Family, Requirement, RootKey

# What stands between a thread and what follows in a root namespace that is empty in keys.
_ROOT_MARK = b"::"
# The thread before the namespace of an invocation, ``node:{uuid}``.
_UUID = rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_invocation = re.compile(rb"(.*?):[^:|]*:" + _UUID + rb"[:|]", re.DOTALL).match


class Documents:
    """A format with a document for each checkpoint, and for each pending write."""

    __slots__ = ()

    events: ClassVar[Events] = Events("d", frozenset({b"json.set"}), ("JSON.SET", "$", "1"))
    lists_itself: ClassVar[bool] = False
    lists_names: ClassVar[bool] = False
    write_parts: ClassVar[int] = 2
    """A task id and a number."""
    documents_per_call: ClassVar[int] = 100
    """Some 6 microseconds each."""
    requirement: ClassVar[Requirement | None] = Requirement(
        "JSON.GET",
        "the server does not have RedisJSON, which LangGraph's RedisSaver needs: use "
        "Redis 8, Redis Stack, or load the module rejson.so",
    )

    def stored_thread(self, thread: str | bytes) -> bytes:
        """A thread id as it stands in keys and documents."""
        return as_bytes(thread)

    def suffix(self, family: Family, rest: bytes) -> bytes:
        """What all keys of a checkpoint have in common, from one without its family's beginning."""
        if family is Family.WRITE:
            rest = rest.rsplit(b":", self.write_parts)[0]
        return b":" + rest

    def checkpoint_suffix(self, thread: bytes, namespace: bytes, checkpoint_id: bytes) -> bytes:
        """What all keys of a checkpoint have in common, ``:{thread}:{ns}:{id}``."""
        return b":" + b":".join((thread, namespace, checkpoint_id))

    def split(self, name: bytes) -> tuple[bytes, bytes]:
        """A checkpoint's key or suffix without the id, which has no colon, and the id."""
        place, _, checkpoint_id = name.rpartition(b":")
        return place, checkpoint_id

    def lists_of(self, _thread: bytes) -> list[bytes]:
        """There are no lists."""
        return []


def read_root(family: Family, suffix: bytes) -> RootKey | None:
    """What a suffix says that looks like a root checkpoint's, where the root is empty in keys."""
    thread, mark, checkpoint_id = suffix.rpartition(_ROOT_MARK)
    if not mark:
        return None
    certain = bool(is_uuid(checkpoint_id) or is_ulid(checkpoint_id))
    return RootKey(family, thread[1:], suffix, checkpoint_id, certain)


def read_shared(rest: bytes) -> RootKey | None:
    """The thread that the name of a blob speaks of, where threads have no such marks in them."""
    found = _invocation(rest)
    thread, mark, _ = (found[1], b":", b"") if found else rest.partition(_ROOT_MARK)
    return RootKey(Family.SHARED, thread, b"", b"", certain=False) if mark else None
