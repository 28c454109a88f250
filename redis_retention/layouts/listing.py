"""What all formats have in common that list the checkpoints of a thread by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from redis_retention.layouts.ids import as_bytes
from redis_retention.layouts.layout import Family, RootKey, SearchIndex


@dataclass(frozen=True, slots=True)
class Listing:
    """A format without namespaces, pending writes and pointers, whose lists say it all.

    Attributes:
        prefix: What all keys of the saver begin with.
    """

    prefix: str

    name: ClassVar[str]
    lists_itself: ClassVar[bool] = True
    write_parts: ClassVar[int] = 0
    documents_per_call: ClassVar[int] = 0
    requirement: ClassVar[None] = None

    def __post_init__(self) -> None:
        """Make sure that it can be told which keys are the saver's.

        Raises:
            ValueError: The prefix is empty.
        """
        if not self.prefix:
            raise ValueError("the prefix must not be empty: it tells the saver's keys from others")

    @property
    def tag(self) -> str:
        """The prefix as one part of our own keys, with what tells this format from others."""
        escaped = self.prefix.replace("%", "%25").replace(":", "%3A")
        return f"{self.name}-{escaped}"

    def arguments(self) -> list[str]:
        """The prefix."""
        return [self.prefix, ""]

    def search_indexes(self) -> dict[Family, SearchIndex]:
        """There are none."""
        return {}

    def stored_thread(self, thread: str | bytes) -> bytes:
        """A thread id as it stands in keys."""
        return as_bytes(thread)

    def checkpoint_key(self, thread: bytes, namespace: bytes, checkpoint_id: bytes) -> bytes:
        """What tells a checkpoint from all others, which may be no key."""
        return self.prefix.encode() + self.checkpoint_suffix(thread, namespace, checkpoint_id)

    def checkpoint_suffix(self, thread: bytes, namespace: bytes, checkpoint_id: bytes) -> bytes:
        """What tells a checkpoint from all others of the saver."""
        return b"\0".join((thread, namespace, checkpoint_id))

    def suffix(self, _family: Family, rest: bytes) -> bytes:
        """A list is not of one checkpoint."""
        return rest

    def split(self, name: bytes) -> tuple[bytes, bytes]:
        """The name of a list."""
        return name, b""

    def latest_key(self, _suffix: bytes) -> None:
        """There are no pointers."""

    def _root_key(self, thread: bytes, key: bytes) -> RootKey:
        return RootKey(Family.CHECKPOINT, thread, key, b"", certain=False)
