"""What all formats have in common whose checkpoints are JSON documents."""

from __future__ import annotations

from typing import ClassVar

from redis_retention.layouts.ids import as_bytes
from redis_retention.layouts.layout import Events, Family, Requirement


class Documents:
    """A format with a document for each checkpoint, and for each pending write."""

    __slots__ = ()

    events: ClassVar[Events] = Events("d", frozenset({b"json.set"}), ("JSON.SET", "$", "1"))
    lists_itself: ClassVar[bool] = False
    lists_names: ClassVar[bool] = False
    write_parts: ClassVar[int] = 2
    """A task id and a number."""
    requirement: ClassVar[Requirement] = Requirement(
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

    def lists_of(self, _thread: bytes) -> list[bytes]:
        """There are no lists."""
        return []
