"""What all formats have in common that list the checkpoints of a thread by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from redis_retention.layouts.ids import as_bytes
from redis_retention.layouts.layout import Family, RootKey
from redis_retention.layouts.prefixed import Prefixed


@dataclass(frozen=True, slots=True)
class Listing(Prefixed):
    """A format without namespaces, pending writes and pointers, whose lists say it all."""

    lists_itself: ClassVar[bool] = True
    write_parts: ClassVar[int] = 0
    documents_per_call: ClassVar[int] = 0
    requirement: ClassVar[None] = None

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
