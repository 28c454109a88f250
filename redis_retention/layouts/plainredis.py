"""The format of langgraph-checkpoint-plainredis: strings and hashes, without any modules.

Its Lua half is ``lua/layouts/plainredis.lua``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from redis_retention.layouts.documents import Documents, read_root, read_shared
from redis_retention.layouts.layout import Events, Family, RootKey
from redis_retention.layouts.prefixed import Prefixed


@dataclass(frozen=True, slots=True)
class PlainRedis(Prefixed, Documents):
    """The format of `RedisSaver` and `AsyncRedisSaver` of langgraph-checkpoint-plainredis.

    Attributes:
        prefix: The saver's ``prefix``.
    """

    prefix: str = "lg"

    name: ClassVar[str] = "plainredis"
    events: ClassVar[Events] = Events("$", frozenset({b"set"}), ("SET", "1"))
    write_parts: ClassVar[int] = 0
    documents_per_call: ClassVar[int] = 20
    requirement: ClassVar[None] = None

    def families(self) -> dict[bytes, Family]:
        """What the names of each family's keys begin with; a hash of writes is a registry."""
        return {
            self._start("cp"): Family.CHECKPOINT,
            self._start("idx"): Family.LATEST,
            self._start("wr"): Family.REGISTRY,
            self._start("blob"): Family.SHARED,
        }

    def _start(self, kind: str) -> bytes:
        return f"{self.prefix}:{kind}:".encode()

    def checkpoint_key(self, thread: bytes, namespace: bytes, checkpoint_id: bytes) -> bytes:
        """The key of a checkpoint's document; the root namespace is ``b""``."""
        suffix = self.checkpoint_suffix(thread, namespace, checkpoint_id)
        return self._start("cp")[:-1] + suffix

    def latest_key(self, suffix: bytes) -> bytes:
        """The sorted set of a namespace, whose last member is the newest checkpoint."""
        return self._start("idx")[:-1] + self.split(suffix)[0]

    def root_key(self, key: bytes) -> RootKey | None:
        """What the name of a root checkpoint's key says, or whose a blob is likely to be."""
        for start, family in self.families().items():
            if not key.startswith(start):
                continue
            suffix = key[len(start) - 1 :]
            if family is Family.SHARED:
                return read_shared(suffix[1:])
            if family is Family.LATEST:
                is_root = suffix.endswith(b":") and len(suffix) > 1
                return RootKey(family, suffix[1:-1], suffix, b"") if is_root else None
            found = read_root(family, suffix)
            is_document = family is Family.CHECKPOINT
            return found if found and (found.certain or is_document) else None
        return None
