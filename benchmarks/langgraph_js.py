"""Trim a thread of LangGraph.js' saver, and sweep it: documents, writes, and shared blobs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.fill import checkpoint_id_of, messages
from benchmarks.lab import KEEP, Lab, Say, opened
from benchmarks.measure import Sample, cpu, interleaved, ratio, spread, times, trips
from benchmarks.report import Section
from benchmarks.scale import Scale
from benchmarks.ways import KEYS_PER_UNLINK, least_calls
from benchmarks.wire import batches, pack
from redis_retention import Policy
from redis_retention.batches import batched
from redis_retention.engine import Engine, Rule
from redis_retention.layouts import LangGraphJs
from redis_retention.sources import scan, shared_keys
from redis_retention.sources.sweep import Sweeper
from redis_retention.transport import Transport

THREAD = "chat"
LARGEST = 1_000
POLICY = Policy(keep_last=KEEP)
TASK = "00000000-0000-5000-8000-000000000001"
TRIM, SWEEP = "redis-retention, one thread", "redis-retention sweep"
LOOP, LEAST, FLOOR = "KEYS and DEL, checkpoint by checkpoint", "the least scripts", "floor"
BLOBS_PER_SCRIPT = 200

HEADER = ("", "ms", "server CPU, ms", "round trips", "CPU to floor")

# What the saver's search indexes cover.
INDEXES = {
    "checkpoints": ("checkpoint:", ("thread_id", "checkpoint_ns", "checkpoint_id", "source")),
    "checkpoint_blobs": (
        "checkpoint_blob:",
        ("thread_id", "checkpoint_ns", "checkpoint_id", "channel", "version", "type"),
    ),
    "checkpoint_writes": (
        "checkpoint_write:",
        ("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "channel", "type"),
    ),
}

ABOUT = f"""\
One thread of @langchain/langgraph-checkpoint-redis, cut down to its newest {KEEP} checkpoints. It
has five channels: three are written in each step, one in each tenth, one in the first alone. Each
value is in its document and in a blob, and there are two writes a step. The trim is that of a named
thread: a look at the database, the trim, one more look, and the blobs. The loop asks KEYS for the
writes of each checkpoint, as the saver does, and deletes the blobs that no document names. The
least scripts are told which checkpoints go, as under Trim, and then which blobs, {BLOBS_PER_SCRIPT}
at a time; of each they read who has written it last, without which none may go, and look at nothing
else. The floor is UNLINK of exactly the same keys, as under Trim."""

_LEAST_OF_BLOBS = """
local call = { "JSON.MGET", unpack(ARGV) }
call[#call + 1] = "$.checkpoint_id"
local writers, deleted = redis.call(unpack(call)), {}
for at, key in ipairs(ARGV) do
  if writers[at] then deleted[#deleted + 1] = key end
end
return redis.call("UNLINK", unpack(deleted))
"""


@dataclass
class Thread:
    """A thread as it was written.

    Attributes:
        keys: The keys of each checkpoint, oldest first: document, registry, writes.
        named: The blobs that each names.
    """

    keys: list[list[bytes]] = field(default_factory=list)
    named: list[set[bytes]] = field(default_factory=list)

    def victims(self) -> list[bytes]:
        """What is to be deleted, documents first."""
        return [key for some in self.keys[:-KEEP] for key in some] + self.unneeded()

    def unneeded(self) -> list[bytes]:
        """The blobs that are to be deleted."""
        return sorted(set().union(*self.named) - set().union(*self.named[-KEEP:]))

    def survivors(self) -> list[bytes]:
        """What is to be left."""
        return [key for some in self.keys[-KEEP:] for key in some] + sorted(
            set().union(*self.named[-KEEP:])
        )


def measure(server: str, scale: Scale, say: Say) -> Section:
    """Trim and sweep one thread, in turns with the loop and the floor."""
    section = Section("LangGraph.js", ABOUT)
    size = max(one for one in scale.trims if one <= LARGEST)
    with opened(server) as lab:
        say(f"{size:,} checkpoints")
        make_indexes(lab)
        ways = {name: partial(_once, lab, size, way) for name, way in WAYS.items()}
        for once in ways.values():
            once()
        samples = interleaved(ways, scale.trims[size])
    title = f"{size:,} → {KEEP}"
    rows = [
        [
            name,
            spread([sample.wall_ms for sample in some]),
            spread([sample.cpu_ms for sample in some]),
            f"{trips(some):,}",
            "" if name == FLOOR else times(ratio(cpu(some), cpu(samples[FLOOR]))),
        ]
        for name, some in samples.items()
    ]
    section.table(title, HEADER, rows)
    for name in (TRIM, SWEEP):
        value = ratio(cpu(samples[name]), cpu(samples[FLOOR]))
        section.aim(f"{title}: {name} to the floor, CPU", value, 2.0)
    return section


def make_indexes(lab: Lab) -> None:
    """Have the search indexes of this saver, and not those of the other."""
    for name in ("checkpoint", "checkpoint_write"):
        lab.admin.execute_command("FT.DROPINDEX", name)  # type: ignore[no-untyped-call]
    for name, (prefix, tags) in INDEXES.items():
        schema = [word for tag in tags for word in (f"$.{tag}", "AS", tag, "TAG")]
        lab.admin.execute_command(  # type: ignore[no-untyped-call]
            "FT.CREATE", name, "ON", "JSON", "PREFIX", 1, prefix, "SCHEMA", *schema
        )


def _once(lab: Lab, size: int, way: Callable[[Lab, Thread], Callable[[], object]]) -> Sample:
    lab.admin.unlink(Engine(LangGraphJs()).index_key(THREAD.encode()))
    thread = fill(lab, size)
    sample = lab.measure(way(lab, thread))
    victims, survivors = thread.victims(), thread.survivors()
    left, kept = (sum(map(lab.admin.exists, some)) for some in (victims, survivors))
    if left or kept != len(survivors):
        raise RuntimeError(f"{left} keys are left that had to go, {kept} are kept")
    lab.admin.unlink(*survivors)
    return sample


# --- the ways ----------------------------------------------------------------------------------


def trim(lab: Lab, _: Thread) -> Callable[[], object]:
    """A trim of one thread by its name."""
    transport, engine, name = Transport(lab.client), Engine(LangGraphJs()), THREAD.encode()

    def act() -> None:
        found = transport.run(scan.find(engine.layout, [name]))[name]
        transport.run(shared_keys.trim(engine, name, found, POLICY))

    return act


def sweep(lab: Lab, _: Thread) -> Callable[[], object]:
    """A sweep, in which all threads come by."""
    transport, engine = Transport(lab.client), Engine(LangGraphJs())
    return lambda: transport.run(Sweeper(engine, [Rule(b"*", POLICY)]).sweep())


def loop(lab: Lab, thread: Thread) -> Callable[[], object]:
    """What users write, after the saver's `deleteThread`."""
    client = lab.client

    def act() -> None:
        found: Any = client.keys(f"checkpoint:{THREAD}::*")
        documents = sorted(found)
        for key in documents[:-KEEP]:
            name = key.decode().rpartition(":")[2]
            writes: Any = client.keys(f"checkpoint_write:{THREAD}::{name}:*")
            for one in (*writes, f"write_keys_zset:{THREAD}::{name}", key):
                client.delete(one)
        named = set()
        for key in documents[-KEEP:]:
            document: Any = client.json().get(key.decode())
            for channel, version in document["checkpoint"]["channel_versions"].items():
                named.add(f"checkpoint_blob:{THREAD}::{channel}:{version}".encode())
        blobs: Any = client.keys(f"checkpoint_blob:{THREAD}::*")
        for key in set(blobs) - named:
            client.delete(key)

    return act


def least(lab: Lab, thread: Thread) -> Callable[[], object]:
    """Scripts that are told what goes, and read of it what they have to."""
    delete_checkpoints = least_calls(lab, thread.keys[:-KEEP])
    parts = list(batched(thread.unneeded(), BLOBS_PER_SCRIPT))
    sha = lab.admin.script_load(_LEAST_OF_BLOBS)

    def act() -> None:
        delete_checkpoints()
        for part in parts:
            lab.client.evalsha(sha, 0, *part)

    return act


def floor(lab: Lab, thread: Thread) -> Callable[[], object]:
    """UNLINK of keys that are known beforehand."""
    keys = thread.victims()
    parts = [keys[at : at + KEYS_PER_UNLINK] for at in range(0, len(keys), KEYS_PER_UNLINK)]
    packed = [pack("UNLINK", *part) for part in parts]

    def act() -> None:
        for call in packed:
            lab.wire.ask(call)

    return act


WAYS = {TRIM: trim, SWEEP: sweep, LOOP: loop, LEAST: least, FLOOR: floor}


# --- a thread ------------------------------------------------------------------------------------


def fill(lab: Lab, size: int) -> Thread:
    """Write a thread as the saver does, past any client."""
    thread = Thread()
    for packed, lines in batches(_commands(thread, size), 64):
        lab.direct.ask(packed, lines)
    return thread


def _commands(thread: Thread, size: int) -> Iterator[bytes]:
    versions: dict[str, int] = {}
    parent = None
    chance = random.Random(THREAD)
    for number in range(size):
        name = checkpoint_id_of(number, chance)
        written = {
            "messages": messages(1 + number % 8),
            "step": str(number),
            "branch:to:model": "null",
        }
        if number % 10 == 0:
            written["notes"] = json.dumps("note " * 50)
        if number == 0:
            written["profile"] = json.dumps("profile " * 50)
        versions |= dict.fromkeys(written, number + 1)
        fields = {"thread_id": THREAD, "checkpoint_ns": "__empty__", "checkpoint_id": name}
        blobs = {
            channel: f"checkpoint_blob:{THREAD}::{channel}:{v}" for channel, v in versions.items()
        }
        for channel, value in written.items():
            blob = {**fields, "channel": channel, "version": str(versions[channel]), "type": "json"}
            yield pack("JSON.SET", blobs[channel], "$", _with(blob, f'"value":{value}'))
        writes = [f"checkpoint_write:{THREAD}::{name}:{TASK}:{n}" for n in range(2)]
        for n, key in enumerate(writes):
            write = {
                **fields,
                "checkpoint_ns": "",
                "task_id": TASK,
                "idx": n,
                "channel": "messages",
            }
            yield pack("JSON.SET", key, "$", _with({**write, "type": "json"}, '"value":["hello"]'))
        registry = f"write_keys_zset:{THREAD}::{name}"
        yield pack("ZADD", registry, *(word for n, key in enumerate(writes) for word in (n, key)))
        values = ",".join(f"{json.dumps(channel)}:{value}" for channel, value in written.items())
        checkpoint = _with(
            {"v": 4, "id": name, "channel_versions": versions, "versions_seen": {}},
            f'"channel_values":{{{values}}}',
        )
        details = {"source": "loop", "step": number - 1}
        document = {
            **fields,
            "parent_checkpoint_id": parent,
            "metadata": {**details, "parents": {}},
            "checkpoint_ts": 1_700_000_000_000 + number,
            "has_writes": "true",
            **details,
        }
        key = f"checkpoint:{THREAD}::{name}"
        yield pack("JSON.SET", key, "$", _with(document, f'"checkpoint":{checkpoint}'))
        thread.keys.append([one.encode() for one in (key, registry, *writes)])
        thread.named.append({blob.encode() for blob in blobs.values()})
        parent = name


def _with(fields: dict[str, Any], ready: str) -> str:
    """An object of some fields and one that is text already."""
    return f"{json.dumps(fields, separators=(',', ':'))[:-1]},{ready}}}"
