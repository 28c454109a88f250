"""What somebody may store who chooses thread ids, or who can write to Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import redis

from tests.attack.arena import KEEP, Arena, Attack, Broken, everything
from tests.integration.threads import DEFAULT, fill_fast
from tests.model.threads import task_id, uuid6_at

# --------------------------------------------------------------------------------------
# Ids


def hostile_ids(arena: Arena) -> list[str]:
    """Thread ids that an application might pass on from whoever talks to it."""
    some = [
        ":" * 2_000,
        "a:" * 500 + "b",
        "two\nlines\r\n",
        "nul\0nul",
        "*",
        "[a-z]*?\\",
        "%d%s.*-",
        "-" * 100,
        "x" * 10_000,
        "\u202e\U0001f642" * 50,
        "broken \udcff\udcfe",
        "victim:__empty__",
        "__empty__",
        "retention:index:checkpoint:victim",
        "victim:__empty__:1",
        "checkpoint_latest:victim",
        "".join(arena.random.choice(":*?[]\\%\0\n -ab") for _ in range(200)),
    ]
    arena.random.shuffle(some)
    return some


def as_bytes(thread: str) -> bytes:
    return thread.encode("utf-8", "surrogateescape")


def store(client: redis.Redis, thread: bytes, count: int, ns: bytes = b"__empty__") -> None:
    """Checkpoints under any bytes; the field says the same where JSON can."""
    parent = ""
    with client.pipeline(transaction=False) as pipeline:
        send: Any = pipeline.execute_command
        for number in range(count):
            name = uuid6_at(time.time() - 60 + number, number)
            document = {
                "thread_id": thread.decode("utf-8", "replace"),
                "checkpoint_ns": ns.decode("utf-8", "replace"),
                "checkpoint_id": name,
                "parent_checkpoint_id": parent,
                "checkpoint": {"v": 4, "id": name, "channel_values": {}, "channel_versions": {}},
                "metadata": '{"source": "loop", "step": 0, "parents": {}}',
            }
            key = b"checkpoint:%s:%s:%s" % (thread, ns, name.encode())
            send("JSON.SET", key, "$", json.dumps(document))
            parent = name
            send("SET", b"checkpoint_latest:%s:%s" % (thread, ns), key)
        pipeline.execute()


def ids_of_strangers(arena: Arena) -> None:
    """Every id that JSON can say is trimmed, all others are left alone; nobody else is touched."""
    arena.prepare()
    for thread in hostile_ids(arena):
        store(arena.client, as_bytes(thread), KEEP + 3)
    with arena.measured():
        arena.sweep()
        for thread in hostile_ids(arena)[:5]:
            arena.trim(thread)
            arena.run("plan", *arena.policies, "--", thread)
    arena.check()
    arena.check_in_order()


def subgraphs_with_colons(arena: Arena) -> None:
    """A name of a thousand readings times forty namespaces."""
    arena.prepare()
    thread = b":" * 2_000
    for number in range(40):
        store(arena.client, thread, 2, f"node:{task_id(number)}".encode())
    with arena.measured():
        arena.sweep()
    arena.check()
    arena.check_in_order()


def patterns_against_long_ids(arena: Arena) -> None:
    """Many wildcards against ids that nearly match them."""
    arena.prepare()
    for length in (100, 1_000, 10_000):
        store(arena.client, b"-" * length, KEEP + 3)
    for pattern in ("*-*-*-*-*-prod", "*a*a*a*a*b", "**********x", "[-]*[-]*[-]*x"):
        arena.run("policy", "set", pattern, *arena.policies)
    with arena.measured():
        # Those that cannot match fast enough may be refused, in one line.
        arena.run("sweep")
        arena.sweep("--match", "*-*-*-*-*-prod")
    arena.check()
    arena.client.delete("retention:policies:checkpoint")
    arena.check_in_order()


# --------------------------------------------------------------------------------------
# Documents


def nested(depth: int) -> Any:
    value: Any = "deep"
    for level in range(depth):
        value = {"checkpoint": value} if level % 2 else [value]
    return value


ODD: tuple[Any, ...] = (None, True, -1, 1e308, "", "x", [], [[]], {}, {"a": None}, ["x"], 10**30)
FIELDS = (
    "thread_id",
    "checkpoint_ns",
    "checkpoint_id",
    "parent_checkpoint_id",
    "checkpoint",
    "metadata",
    "checkpoint_ts",
)


def odd_documents(arena: Arena) -> Iterable[Any]:
    """Documents that are none, and documents that are nearly one."""
    yield from ODD
    yield nested(100)
    sound: dict[str, Any] = {
        "thread_id": "odd",
        "checkpoint_ns": "__empty__",
        "checkpoint_id": "1",
        "parent_checkpoint_id": "",
        "checkpoint": {"v": 4, "channel_values": {}, "channel_versions": {}},
        "metadata": '{"source": "loop", "parents": {}}',
        "checkpoint_ts": 1.0,
    }
    for name in FIELDS:
        for value in ODD:
            yield {**sound, name: value}
    for text in (
        "",
        "[",
        "[]",
        "null",
        "7",
        '{"parents": []}',
        '{"parents": {"": 7}}',
        "{" * 5_000,
    ):
        yield {**sound, "metadata": text}
    for text in (
        '{"counters_since_delta_snapshot": 7}',
        '{"counters_since_delta_snapshot": {"": 1}}',
    ):
        yield {**sound, "metadata": text}
    for value in ODD:
        yield {**sound, "checkpoint": {"v": value, "channel_values": value}}


def documents_of_strangers(arena: Arena) -> None:
    """Whoever can write to Redis stores anything where a checkpoint belongs, in a victim too."""
    arena.prepare()
    put: Any = arena.client.execute_command
    documents = list(odd_documents(arena))
    arena.random.shuffle(documents)
    for number, document in enumerate(documents):
        # Each document in a thread of its own: what is not understood is left alone as a whole.
        name = f"{number:08}"
        key = f"checkpoint:odd{number}:__empty__:{name}"
        if isinstance(document, dict) and document.get("thread_id") == "odd":
            document = {**document, "thread_id": f"odd{number}"}
            if document.get("checkpoint_id") == "1":
                document["checkpoint_id"] = name
        put("JSON.SET", key, "$", json.dumps(document))
        put(
            "JSON.SET",
            f"checkpoint_write:odd{number}:__empty__:{name}:t:0",
            "$",
            json.dumps(document),
        )
    theirs: dict[bytes, Callable[[Any], Any]] = {
        b"checkpoint:set:__empty__:1": lambda key: arena.client.sadd(key, "x"),
        b"checkpoint:list:__empty__:1": lambda key: arena.client.rpush(key, "x"),
        b"checkpoint:string:__empty__:1": lambda key: arena.client.set(key, "{}"),
        b"checkpoint_write:hash:__empty__:1:t:0": lambda key: arena.client.hset(key, "a", "b"),
        b"write_keys_zset:string:__empty__:1": lambda key: arena.client.set(key, "x"),
        b"write_keys_zset:list:__empty__:1": lambda key: arena.client.rpush(key, "x"),
        b"checkpoint_latest:hash:__empty__": lambda key: arena.client.hset(key, "a", "b"),
        b"checkpoint_latest:zset:__empty__": lambda key: arena.client.zadd(key, {"a": 1}),
    }
    for other, make in theirs.items():
        make(other)
    before = everything(arena.client)
    with arena.measured():
        if arena.sweep() != 0:
            raise Broken(f"what a stranger has stored stops the sweep: {arena.said[-1:]}")
        for number in arena.random.sample(range(len(documents)), 5):
            arena.trim(f"odd{number}")
            arena.run("plan", *arena.policies, "--", f"odd{number}")
        arena.run("stats")
    after = everything(arena.client)
    changed = sorted(key for key in theirs if after.get(key) != before[key])
    if changed:
        raise Broken(f"what is no checkpoint was touched: {changed}")
    arena.check()
    arena.check_in_order()


def large_documents(arena: Arena) -> None:
    """Freed in the server's main thread: the more of them, the longer it answers nobody."""
    arena.prepare()
    size = arena.random.choice((1, 5, 50)) * 1_000_000
    large = "x" * 1_000
    values = json.dumps([large] * (size // 1_000))
    put: Any = arena.client.execute_command
    names = fill_fast(arena.client, "large", KEEP + 3, writes=1)
    for name in names:
        put("JSON.SET", DEFAULT.document("large", "", name), "$.checkpoint.channel_values", values)
    with arena.measured():
        arena.run("plan", *arena.policies, "--", "large")
        arena.trim("large")
    left = sorted(arena.client.scan_iter(match="checkpoint:large:*", count=1_000))
    if left != [DEFAULT.document("large", "", name) for name in names[-KEEP:]]:
        raise Broken(f"not the newest are left: {left}")
    arena.check()
    arena.check_in_order()


# --------------------------------------------------------------------------------------
# What is ours


Poison = Callable[[Arena, str], None]


def wrong_type(arena: Arena, key: str) -> None:
    arena.random.choice(
        (
            lambda: arena.client.set(key, "x"),
            lambda: arena.client.sadd(key, "x"),
            lambda: arena.client.rpush(key, "x"),
            lambda: arena.client.xadd(key, {"a": "b"}),
        )
    )()


def random_members(arena: Arena, key: str) -> None:
    for _ in range(50):
        kind = arena.random.choice(b"stpnubx?\0\xff")
        rest = arena.random.randbytes(arena.random.randrange(80))
        arena.client.zadd(key, {bytes([kind]) + rest: arena.random.choice((0, 1, -1e300))})


def others_documents(arena: Arena, key: str) -> None:
    """Entries by which this thread has the documents of all victims, and they are old."""
    for document in arena.client.scan_iter(match="checkpoint:*", count=1_000):
        _, _, rest = document.partition(b":")
        thread, ns, name = rest.rsplit(b":", 2)
        arena.client.zadd(key, {b"s\0" + name: 0, b"t" + thread + b":" + ns + b"\0" + name: 0})
        arena.client.zadd(key, {b"s:" + thread + b":__empty__\0" + name: 0})


def cycles(arena: Arena, key: str) -> None:
    """Chains whose ends are their beginnings, through delta channels."""
    members = [f"{number:08}".encode() for number in range(30)]
    for number, name in enumerate(members):
        parent = members[(number + 1) % len(members)]
        arena.client.zadd(key, {b"s\0" + name + b"\0" + parent + b"\0-log\0v": 0})
        arena.client.zadd(key, {b"p" + name + b"\0" + parent: 0, b"n" + parent + b"\0" + name: 0})


def thousands(arena: Arena, key: str) -> None:
    """Entries of checkpoints that there never were, all newer than what is there."""
    arena.client.zadd(key, {b"s\0f%07d" % number: 0 for number in range(5_000)})
    arena.client.zadd(key, {b"b%07d" % number: 0 for number in range(5_000)})


POISONS: tuple[Poison, ...] = (wrong_type, random_members, others_documents, cycles, thousands)


def poisoned_indexes(arena: Arena) -> None:
    """The index is a cache: whatever it says, only what the documents prove is deleted."""
    arena.prepare()
    for thread in (*arena.victims, "nobody"):
        arena.random.choice(POISONS)(arena, f"retention:index:checkpoint:{thread}")
    with arena.measured():
        for thread in arena.victims:
            arena.run("trim", *arena.policies, "--indexed-only", "--", thread)
            arena.check()
        arena.sweep()
        arena.check()
        arena.trim()
        arena.check()
    for thread in (*arena.victims, "nobody"):
        arena.client.delete(f"retention:index:checkpoint:{thread}")
    arena.check_in_order()


def one_poisoned_index(arena: Arena) -> None:
    """What is wrong with one thread is that thread's: all others are swept."""
    arena.prepare()
    bad = arena.random.choice(arena.victims)
    wrong_type(arena, f"retention:index:checkpoint:{bad}")
    with arena.measured():
        arena.sweep()
    arena.check()
    for thread in arena.victims:
        left = sum(
            key.startswith(DEFAULT.document(thread, "", "")[:-36])
            for key in arena.client.scan_iter(match="checkpoint:*", count=1_000)
        )
        if thread != bad and left > KEEP:
            raise Broken(f"{thread} was not swept, for the sake of {bad}")
    arena.client.delete(f"retention:index:checkpoint:{bad}")
    arena.check_in_order()


def poisoned_pins(arena: Arena) -> None:
    """Pins of anything, for as much as they like: they keep, and keep nothing else from going."""
    arena.prepare()
    for thread in arena.victims:
        key = f"retention:pins:checkpoint:{thread}"
        if arena.random.random() < 0.3:
            wrong_type(arena, key)
            continue
        fields = [arena.random.randbytes(arena.random.randrange(50)) for _ in range(20)]
        fields += [b"\0" * 5, b"\0", b"ns\0", b"\0*", b"x" * 100_000, b"\0" + b"f" * 10_000]
        for field in fields:
            if field:  # The empty one is a pin of the whole thread, as it is meant.
                arena.client.hset(key, field, arena.random.randbytes(10))
    with arena.measured():
        arena.trim()
        arena.sweep()
        arena.run("pins", "--", arena.victims[0])
    arena.check()
    for thread in arena.victims:
        arena.client.delete(f"retention:pins:checkpoint:{thread}")
    arena.check_in_order()


def poisoned_policies(arena: Arena) -> None:
    """A stored policy that says nothing sensible deletes nothing."""
    arena.prepare()
    key = "retention:policies:checkpoint"
    odd = [json.dumps(value) for value in ODD]
    odd += ["", "{", "nonsense", "\xff", "[" * 5_000, '{"keep_last": 0}', '{"keep_last": -1}']
    odd += ['{"keep_last": 1e400}', '{"keep_last": "1"}', '{"keep_last": true}', '{"unknown": 1}']
    odd += ['{"keep_last": 5, "trigger": -1}', '{"expire_after": -1}', '{"expire_after": 1e300}']
    odd += ['{"keep_within": NaN}', '{"keep_last": 5, "keep_within": Infinity}']
    patterns = ["*", "victim", "[", "[^", "\\", "**", "x" * 100_000, "\0", "*-" * 200, "user:*"]
    for _ in range(3):
        arena.client.hset(key, arena.random.choice(patterns), arena.random.choice(odd))
    before = everything(arena.client)
    with arena.measured():
        swept = arena.run("sweep")
        arena.run("trim", "--", *arena.victims)
        arena.run("policy", "list")
    if swept == 1 and everything(arena.client) != before:
        raise Broken("a policy that was refused has deleted something")
    if arena.random.random() < 0.3:
        arena.client.delete(key)
        wrong_type(arena, key)
        arena.run("sweep")
        arena.run("policy", "list")
    arena.check()
    arena.client.delete(key)
    arena.check_in_order()


ATTACKS = [
    Attack("hostile ids", "others untouched", ids_of_strangers),
    Attack("2,000 colons, 40 subgraphs", "others untouched", subgraphs_with_colons),
    Attack("many wildcards, long ids", "others untouched", patterns_against_long_ids),
    Attack("hostile documents", "the sweep goes on", documents_of_strangers),
    Attack("documents of up to 50 MB", "the newest are retained", large_documents, rounds=10),
    Attack("poisoned indexes", "nothing needed is deleted", poisoned_indexes, rounds=100),
    Attack("one poisoned index", "the sweep goes on", one_poisoned_index, rounds=50),
    Attack("poisoned pins", "nothing needed is deleted", poisoned_pins, rounds=50),
    Attack("poisoned policies", "nothing needed is deleted", poisoned_policies, rounds=100),
]
