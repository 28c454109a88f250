"""What we are compared with: two ways in which people trim today, and the least it can cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import redis
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.redis import RedisSaver

from benchmarks.fill import Filled
from benchmarks.wire import Wire, pack
from redis_retention.engine import DEFAULT_KEYS_PER_CALL, chunks

KEYS_PER_UNLINK = 500


class Packed:
    """Calls that are packed before the clock starts, and sent over a bare socket one by one."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []

    @property
    def trips(self) -> int:
        """How many calls there are."""
        return len(self._packed)

    def delete(self, wire: Wire) -> None:
        for packed in self._packed:
            wire.ask(packed)


class Floor(Packed):
    """Deletes keys that are known beforehand.

    No client and no decision costs anything, so nothing that deletes the same keys can be much
    faster.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        super().__init__()
        parts = range(0, len(keys), KEYS_PER_UNLINK)
        self._packed += [pack("UNLINK", *keys[at : at + KEYS_PER_UNLINK]) for at in parts]


_LEAST = """
local ids, keys, count = ARGV, {}, 0
for at = 4, #ids do
  local registry, start = ARGV[2] .. ids[at], ARGV[3] .. ids[at] .. ":"
  local writes = redis.call("ZRANGE", registry, 0, -1)
  for number = 1, #writes do
    if string.find(writes[number], start, 1, true) ~= 1 then return 0 end
    count = count + 1
    keys[count] = writes[number]
  end
  keys[count + 1], keys[count + 2], count = ARGV[1] .. ids[at], registry, count + 2
end
return redis.call("UNLINK", unpack(keys))
"""


class LeastScript(Packed):
    """Deletes checkpoints whose ids are known beforehand, by a script that only reads registries.

    It is what every script has to do that learns the names of the writes on the server.
    """

    def __init__(self, client: redis.Redis, threads: Iterable[Filled], keep: int) -> None:
        sha: Any = client.script_load(_LEAST)
        super().__init__()
        for thread in threads:
            ids = [keys[0].rpartition(b":")[2] for keys in thread.checkpoints[:-keep]]
            each = len(thread.checkpoints[0])
            place = f":{thread.name}:__empty__:"
            starts = ("checkpoint" + place, "write_keys_zset" + place, "checkpoint_write" + place)
            for some in chunks(ids, DEFAULT_KEYS_PER_CALL // each):
                self._packed.append(pack("EVALSHA", sha, 0, *starts, *some))


def prune(saver: RedisSaver, thread: str, keep: int) -> None:
    """What the saver has to offer itself."""
    saver.prune([thread], keep_last=keep)


def list_and_delete(saver: RedisSaver, client: redis.Redis, thread: str, keep: int) -> None:
    """The loop that users write: list the checkpoints, delete the old ones one after the other.

    It knows of the registry, so that it leaves no writes behind.
    """
    place: RunnableConfig = {"configurable": {"thread_id": thread}}
    for found in list(saver.list(place))[keep:]:
        checkpoint_id = found.config["configurable"]["checkpoint_id"]
        suffix = f"{thread}:__empty__:{checkpoint_id}"
        writes: Any = client.zrange(f"write_keys_zset:{suffix}", 0, -1)
        for key in writes:
            client.delete(key)
        client.delete(f"write_keys_zset:{suffix}")
        client.delete(f"checkpoint:{suffix}")
