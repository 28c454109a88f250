"""What can happen to our programs, to the server, and to the line between them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import redis
from redis.exceptions import RedisError

from tests.attack.arena import CHECKPOINTS, PATIENCE, VICTIMS, Arena, Attack, Broken
from tests.daemon.proxy import Proxy
from tests.integration.threads import fill_fast
from tests.servers.start import Server

# Enough, in calls that are small enough, that something can come in between.
CROWD = tuple(f"thread-{number}" for number in range(12)) + VICTIMS
SMALL = ("--keys-per-call", "10")


def begun(arena: Arena, command: str, url: str | None = None) -> subprocess.Popen[bytes]:
    """A program that is at work, or has been a moment ago."""
    before = arena.client.dbsize()
    if command == "trim":
        program = arena.begin("trim", *arena.policies, *SMALL, "--", *arena.victims, url=url)
    elif command == "sweep":
        program = arena.begin("sweep", *arena.policies, *SMALL, url=url)
    else:
        trigger = str(CHECKPOINTS)
        program = arena.begin("listen", *arena.policies, *SMALL, "--trigger", trigger, url=url)
    deadline = time.monotonic() + PATIENCE
    while program.poll() is None and time.monotonic() < deadline:
        if command == "listen":
            if arena.client.info("stats")["pubsub_patterns"] or arena.client.pubsub_numpat():
                break
        elif arena.client.dbsize() != before:
            break
        time.sleep(0.002)
    return program


def killed(command: str, arena: Arena) -> None:
    """SIGKILL at a random moment of its work; whatever it leaves, the next one finishes."""
    arena.prepare(threads=CROWD)
    with arena.measured():
        program = begun(arena, command)
        if command == "listen":
            grow(arena)
        time.sleep(arena.random.random() * 0.1)
        program.kill()
        arena.end(program, killed=True)
    arena.check()
    arena.check_in_order()


def grow(arena: Arena) -> None:
    """Let the listener see all documents once more, and trim."""
    for key in list(arena.client.scan_iter(match="checkpoint:*", count=1_000))[::3]:
        merge = arena.client.json().merge
        merge(key.decode(), "$", {"has_writes": True})


def again_and_again(
    arena: Arena, program: subprocess.Popen[bytes], act: Callable[[], object]
) -> None:
    """Do it until the program ends."""
    deadline = time.monotonic() + PATIENCE
    while program.poll() is None and time.monotonic() < deadline:
        with suppress(RedisError):  # SCRIPT KILL where none runs.
            act()
        time.sleep(arena.random.random() * 0.01)
    arena.end(program)


def disturbed(what: str, arena: Arena) -> None:
    """A trim or a sweep, while an operator does the same thing again and again."""
    arena.prepare(threads=CROWD)
    acts: dict[str, Callable[[], object]] = {
        "SCRIPT FLUSH": arena.client.script_flush,
        "SCRIPT KILL": arena.client.script_kill,
        "CLIENT KILL": lambda: arena.client.client_kill_filter(_type="normal", skipme=True),
        "CONFIG REWRITE": arena.client.config_rewrite,
    }
    with arena.measured():
        program = begun(arena, arena.random.choice(("trim", "sweep")))
        if what == "CLIENT KILL":
            time.sleep(arena.random.random() * 0.05)
            acts[what]()
            arena.end(program)
        else:
            again_and_again(arena, program, acts[what])
    arena.check()
    arena.check_in_order()


def restarted(arena: Arena) -> None:
    """The server crashes and comes back from its append-only file, which has all that was said."""
    arena.prepare(threads=CROWD)
    with arena.measured():
        program = begun(arena, arena.random.choice(("trim", "sweep")))
        time.sleep(arena.random.random() * 0.05)
        arena.server.kill()
        arena.server.restart()
        arena.end(program)
    arena.check()
    arena.check_in_order()


def promoted(arena: Arena) -> None:
    """The primary becomes a replica in the middle of the work, and refuses to be written to."""
    arena.prepare(threads=CROWD)
    with Server(arena.server.name, replica_of=arena.server) as replica:
        arena.client.wait(1, 10_000)
        with arena.measured():
            program = begun(arena, arena.random.choice(("trim", "sweep")))
            time.sleep(arena.random.random() * 0.05)
            with replica.client() as other:
                other.replicaof("NO", "ONE")
                arena.client.replicaof("127.0.0.1", replica.port)
                arena.end(program)
                look_there(arena, other)
        arena.client.replicaof("NO", "ONE")
    arena.check_in_order()


def look_there(arena: Arena, other: redis.Redis) -> None:
    """What the new primary has obeys the rules, and it can be swept."""
    here, arena.client = arena.client, other
    try:
        arena.check()
    finally:
        arena.client = here


def cut(arena: Arena) -> None:
    """The line is cut at a random moment, and comes back or not."""
    arena.prepare(threads=CROWD)
    with arena.measured(), Proxy(arena.server.port) as proxy:
        program = begun(arena, arena.random.choice(("trim", "sweep")), proxy.url)
        time.sleep(arena.random.random() * 0.05)
        proxy.cut()
        if arena.random.random() < 0.5:
            proxy.mend()
        arena.end(program)
    arena.check()
    arena.check_in_order()


def slowed(arena: Arena) -> None:
    """Everything takes some milliseconds more, from a random moment on."""
    arena.prepare(threads=CROWD)
    with arena.measured(), Proxy(arena.server.port) as proxy:
        program = begun(arena, arena.random.choice(("trim", "sweep")), proxy.url)
        proxy.slow(arena.random.choice((0.001, 0.002, 0.005)))
        if arena.end(program) != 0:
            raise Broken(f"a slow line was too much: {arena.said[-1:]}")
    arena.check()
    arena.check_in_order()


def two_at_a_time(arena: Arena) -> None:
    """Several trims and sweeps of the same threads, while a writer adds threads of its own."""
    arena.prepare(threads=CROWD)
    with arena.measured():
        programs = [begun(arena, command) for command in ("trim", "sweep", "trim")]
        fill_fast(arena.client, "meanwhile", 50)
        for program in programs:
            arena.end(program)
    arena.check()
    arena.check_in_order()


def operators(*names: str) -> list[Attack]:
    return [
        Attack(
            name, "ends well or in one line", partial(disturbed, name), rounds=30, disruptive=True
        )
        for name in names
    ]


AOF = (("appendonly", "yes"), ("appendfsync", "always"))

ATTACKS = [
    Attack("SIGKILL of trim", "each call alone is whole", partial(killed, "trim"), rounds=200),
    Attack("SIGKILL of sweep", "each call alone is whole", partial(killed, "sweep"), rounds=200),
    Attack(
        "SIGKILL of listen",
        "each call alone is whole",
        partial(killed, "listen"),
        (("notify-keyspace-events", "Kdgx"),),
        rounds=200,
    ),
    *operators("SCRIPT FLUSH", "SCRIPT KILL", "CLIENT KILL", "CONFIG REWRITE"),
    Attack("AOF restart", "ends well or in one line", restarted, AOF, rounds=20),
    Attack(
        "a replica is promoted", "ends well or in one line", promoted, rounds=20, disruptive=True
    ),
    Attack("the line is cut", "ends well or in one line", cut, rounds=50),
    Attack("the line is slow", "it ends well", slowed, rounds=20),
    Attack("several at a time", "each call alone is whole", two_at_a_time, rounds=30),
]
