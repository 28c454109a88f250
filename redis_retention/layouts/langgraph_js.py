"""The format of LangGraph.js' `RedisSaver` (@langchain/langgraph-checkpoint-redis): JSON documents.

Its Lua half is ``lua/layouts/langgraph_js.lua``.
"""

from __future__ import annotations

from typing import ClassVar

from redis_retention.layouts.documents import Documents, read_root, read_shared
from redis_retention.layouts.ids import is_write_number
from redis_retention.layouts.layout import Family, RootKey, SearchIndex

# Names of the saver, which cannot be told others.
_CHECKPOINT, _WRITE, _REGISTRY = b"checkpoint:", b"checkpoint_write:", b"write_keys_zset:"
_SHARED = b"checkpoint_blob:"
# What stands for the id in the key of a shallow saver's document.
_SHALLOW = b"shallow"


class LangGraphJs(Documents):
    """The format of `RedisSaver` of LangGraph.js."""

    name: ClassVar[str] = "langgraph_js"
    tag: ClassVar[str] = "langgraph-js"

    def arguments(self) -> list[str]:
        """What the names of checkpoints and of writes begin with."""
        return [_CHECKPOINT[:-1].decode(), _WRITE[:-1].decode()]

    def families(self) -> dict[bytes, Family]:
        """What the names of each family's keys begin with."""
        return {
            _CHECKPOINT: Family.CHECKPOINT,
            _WRITE: Family.WRITE,
            _REGISTRY: Family.REGISTRY,
            _SHARED: Family.SHARED,
        }

    def search_indexes(self) -> dict[Family, SearchIndex]:
        """None: a search proves nothing of blobs, so a trim looks at the whole database anyway."""
        return {}

    def checkpoint_key(self, thread: bytes, namespace: bytes, checkpoint_id: bytes) -> bytes:
        """The key of a checkpoint's document; the root namespace is ``b""``."""
        return _CHECKPOINT[:-1] + self.checkpoint_suffix(thread, namespace, checkpoint_id)

    def latest_key(self, suffix: bytes) -> None:
        """There are no latest pointers."""

    def root_key(self, key: bytes) -> RootKey | None:
        """What the name of a root checkpoint's key says, or whose a blob is likely to be.

        No namespace of LangGraph ends with a colon, so that an id after two leaves no doubt.
        """
        if key.startswith(_CHECKPOINT):
            found = read_root(Family.CHECKPOINT, key[len(_CHECKPOINT) - 1 :])
            return found if found is None or found.checkpoint_id != _SHALLOW else None
        if key.startswith(_SHARED):
            return read_shared(key[len(_SHARED) :])
        if key.startswith(_WRITE):
            suffix, _, number = key[len(_WRITE) - 1 :].rpartition(b":")
            found = read_root(Family.WRITE, suffix.rpartition(b":")[0])
            return found if found and found.certain and is_write_number(number) else None
        if key.startswith(_REGISTRY):
            found = read_root(Family.REGISTRY, key[len(_REGISTRY) - 1 :])
            return found if found and found.certain else None
        return None
