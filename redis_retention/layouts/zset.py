"""One sorted set of serialized checkpoints a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from redis_retention.layouts.layout import Events, Family, RootKey
from redis_retention.layouts.listing import Listing


@dataclass(frozen=True, slots=True)
class SortedSets(Listing):
    """A saver of one's own, as articles show it: each checkpoint is a member of a sorted set.

    Its score is when it was made, in seconds since 1970. What is in it does not matter.

    Attributes:
        prefix: What the keys begin with; the thread follows.
    """

    prefix: str = "checkpoint:"

    lists_names: ClassVar[bool] = False
    name: ClassVar[str] = "zset"
    events: ClassVar[Events] = Events("z", frozenset({b"zadd"}), ("ZADD", "0", "1"))

    def families(self) -> dict[bytes, Family]:
        """What the names of the sorted sets begin with."""
        return {self.prefix.encode(): Family.CHECKPOINT}

    def lists_of(self, thread: bytes) -> list[bytes]:
        """The sorted set of a thread."""
        return [self.prefix.encode() + thread]

    def root_key(self, key: bytes) -> RootKey | None:
        """Whose sorted set a key is by its name: its type decides, which Lua looks at."""
        start = self.prefix.encode()
        return self._root_key(key[len(start) :], key) if key.startswith(start) else None
