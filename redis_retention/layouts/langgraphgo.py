"""The format of langgraphgo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from redis_retention.layouts.layout import Events, Family, RootKey
from redis_retention.layouts.listing import Listing

_END = b":checkpoints"


@dataclass(frozen=True, slots=True)
class LangGraphGo(Listing):
    """The format of langgraphgo's ``RedisCheckpointStore``, with sorted sets or with sets.

    A thread is what its checkpoints call so, or an execution of which no thread has them.

    Attributes:
        prefix: The store's ``Prefix``, with its colon.
    """

    prefix: str = "langgraph:"

    lists_names: ClassVar[bool] = True
    name: ClassVar[str] = "langgraphgo"
    events: ClassVar[Events] = Events("zs", frozenset({b"zadd", b"sadd"}), ("SADD", "1"))

    def families(self) -> dict[bytes, Family]:
        """What the names of the lists begin with."""
        return {
            f"{self.prefix}thread:".encode(): Family.CHECKPOINT,
            f"{self.prefix}execution:".encode(): Family.CHECKPOINT,
        }

    def lists_of(self, thread: bytes) -> list[bytes]:
        """The lists of a thread, which may be an execution."""
        return [start + thread + _END for start in self.families()]

    def root_key(self, key: bytes) -> RootKey | None:
        """Whose list a key is by its name, None for other keys."""
        for start in self.families():
            if key.startswith(start) and key.endswith(_END) and len(key) >= len(start) + len(_END):
                return self._root_key(key[len(start) : -len(_END)], key)
        return None
