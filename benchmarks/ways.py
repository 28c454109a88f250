"""The ways to trim one thread: as people do it today, at the least cost there can be, and ours.

Each gets a lab and a thread, prepares what the clock does not count, and returns what it does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, get_args

from langchain_core.runnables import RunnableConfig

from benchmarks.fill import Filled
from benchmarks.lab import KEEP, Lab
from benchmarks.wire import pack
from redis_retention import LookIn, Policy, Retention
from redis_retention.engine import Engine
from redis_retention.scripts import load

POLICY = Policy(keep_last=KEEP)
KEYS_PER_UNLINK = 500
CHECKPOINTS_PER_SCRIPT = 50
"""As many as a trim of 200 keys a call deletes, here with four keys each."""
SERVED = "served:"

Way: TypeAlias = Callable[[Lab, Filled], Callable[[], object]]


def loop(lab: Lab, thread: Filled) -> Callable[[], object]:
    """What users write: list the checkpoints, delete the old ones one after the other.

    It knows of the registry, so that it leaves no writes behind.
    """
    place: RunnableConfig = {"configurable": {"thread_id": thread.name}}

    def act() -> None:
        for found in list(lab.saver.list(place))[KEEP:]:
            suffix = f"{thread.name}:__empty__:{found.config['configurable']['checkpoint_id']}"
            writes: Any = lab.client.zrange(f"write_keys_zset:{suffix}", 0, -1)
            for key in (*writes, f"write_keys_zset:{suffix}", f"checkpoint:{suffix}"):
                lab.client.delete(key)

    return act


def prune(lab: Lab, thread: Filled) -> Callable[[], object]:
    """What the saver has to offer itself."""
    return lambda: lab.saver.prune([thread.name], keep_last=KEEP)


def floor(lab: Lab, *threads: Filled, scan: bool = False) -> Callable[[], object]:
    """UNLINK of keys that are known beforehand, after one SCAN of everything if that is asked for.

    No client and no decision costs anything, so nothing that deletes the same keys can be much
    faster.
    """
    keys = [key for thread in threads for key in thread.victims(KEEP)]
    parts = [keys[at : at + KEYS_PER_UNLINK] for at in range(0, len(keys), KEYS_PER_UNLINK)]
    packed = [pack("UNLINK", *part) for part in parts]

    def act() -> None:
        if scan:
            lab.wire.scan()
        for call in packed:
            lab.wire.ask(call)

    return act


_LEAST = """
local documents, others = {}, {}
for at = 3, #ARGV do
  documents[#documents + 1] = ARGV[1] .. ARGV[at]
  for _, key in ipairs(redis.call("ZRANGE", ARGV[2] .. ARGV[at], 0, -1)) do
    others[#others + 1] = key
  end
  others[#others + 1] = ARGV[2] .. ARGV[at]
end
return redis.call("UNLINK", unpack(documents)) + redis.call("UNLINK", unpack(others))
"""


def least_script(lab: Lab, thread: Filled) -> Callable[[], object]:
    """A script that is told which checkpoints go, and finds their writes.

    It decides nothing, proves nothing and keeps no index, so that no script that trims can cost
    much less.
    """
    return least_calls(lab, thread.checkpoints[:-KEEP])


def least_calls(lab: Lab, checkpoints: Sequence[Sequence[bytes]]) -> Callable[[], object]:
    """The same of checkpoints of one namespace; the first two keys are document and registry."""
    ids = [keys[0].rpartition(b":")[2] for keys in checkpoints]
    starts = [key[: -len(ids[0])] for key in checkpoints[0][:2]]
    sha = lab.admin.script_load(_LEAST)

    def act() -> None:
        for at in range(0, len(ids), CHECKPOINTS_PER_SCRIPT):
            lab.client.evalsha(sha, 0, *starts, *ids[at : at + CHECKPOINTS_PER_SCRIPT])

    return act


def default(lab: Lab, thread: Filled) -> Callable[[], object]:
    """What `redis-retention trim` does when nothing else is said, to a thread it never saw."""
    return lambda: Retention(lab.client).trim(thread.name, POLICY)


def default_indexed(lab: Lab, thread: Filled) -> Callable[[], object]:
    """The same to a thread whose index is ready."""
    _index(lab, thread)
    return default(lab, thread)


def beside_service(lab: Lab, thread: Filled) -> Callable[[], object]:
    """What the default command does where `run` says that the indexes are complete.

    Below a prefix of its own, so that no other way believes it.
    """
    engine = Engine(prefix=SERVED)
    key = f"{SERVED}complete:{engine.layout.tag}"
    lab.admin.unlink(key, engine.index_key(thread.name.encode()))
    retention = Retention(lab.client, prefix=SERVED)
    retention.trim(thread.name, Policy(keep_last=len(thread.checkpoints)))
    lab.admin.set(key, "the benchmark")
    return lambda: retention.trim(thread.name, POLICY)


def indexed_only(lab: Lab, thread: Filled, keys: int | None = None) -> Callable[[], object]:
    """By the index alone, as `listen` and `run` trim.

    Each call deletes so many keys, or as many as the server deletes in the time that it may take.
    """
    _index(lab, thread)
    retention = Retention(lab.client)
    if keys is not None:
        retention = Retention(lab.client, keys_per_call=keys, max_stall=None)
    return lambda: retention.trim(thread.name, POLICY, indexed_only=True)


def by_scan(lab: Lab, thread: Filled) -> Callable[[], object]:
    """By a look at the whole database."""
    return lambda: Retention(lab.client).trim(thread.name, POLICY, look_in="scan")


def plan(lab: Lab, thread: Filled) -> Callable[[], object]:
    """What `redis-retention plan` does to a thread whose index is ready."""
    _index(lab, thread)
    return lambda: Retention(lab.client).plan(thread.name, POLICY)


def sweep(lab: Lab) -> None:
    """Trim all threads."""
    Retention(lab.client).sweep(POLICY)


def load_scripts(lab: Lab) -> None:
    """Let the server know the scripts, as it does from the first call on."""
    for look_in in get_args(LookIn):
        Retention(lab.client).trim("nobody", POLICY, look_in=look_in)
    Retention(lab.client).plan("nobody", POLICY)
    lab.admin.script_load(load("continue", Engine().layout.name).text)


def _index(lab: Lab, thread: Filled) -> None:
    """Let the index be ready, by a trim that keeps everything."""
    Retention(lab.admin).trim(thread.name, Policy(keep_last=len(thread.checkpoints)))


LOOP, PRUNE, FLOOR = "list, then delete one by one", f"RedisSaver.prune(keep_last={KEEP})", "floor"
DEFAULT = "redis-retention trim, index ready"
UNSEEN = "redis-retention trim, never seen"
SERVICE = "redis-retention trim, beside run"
INDEXED = "redis-retention trim --indexed-only"
SCAN = "redis-retention trim --scan"
LEAST = "the least script"
PLAN = "redis-retention plan"

WAYS: dict[str, Way] = {
    DEFAULT: default_indexed,
    UNSEEN: default,
    SERVICE: beside_service,
    INDEXED: indexed_only,
    SCAN: by_scan,
    PRUNE: prune,
    LOOP: loop,
    LEAST: least_script,
    FLOOR: floor,
    PLAN: plan,
}
NEED_SEARCH = (PRUNE, LOOP)
