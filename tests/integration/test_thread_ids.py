"""Any text is a thread id, and none is mistaken for another.

Each of the nastiest ids is trimmed beside threads that a glob, a search index, a cut at a colon
or a C string would take for it. Exactly the keys of its old checkpoints go.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import redis
from langgraph.checkpoint.redis import RedisSaver

from redis_retention import LookIn, Policy, Retention, RetentionError, ScanProgress
from redis_retention.engine import Engine, Rule
from redis_retention.transport import Transport
from tests.graphs.savers import without_search
from tests.integration.looking import WAYS
from tests.integration.threads import fill, ids, keys_of
from tests.integration.watching import Changes, changes, snapshot
from tests.servers.start import Server

HOUR = 3600.0

NASTY = {
    "empty": "",
    "empty namespace": "__empty__",
    "nil UUID": "00000000-0000-0000-0000-000000000000",
    "star": "*",
    "question marks": "???",
    "set": "[a-z]",
    "negated set": "[^a]",
    "open set": "a[",
    "backslash": "a\\",
    "escaped star": "a\\*",
    "upper case": "A",
    "comma": "a,b",
    "tag": "{a}",
    "half a tag": "a}{",
    "real": "wang1:20250729235038043",
    "colon": "a:b",
    "only a colon": ":",
    "leading colon": ":a",
    "trailing colon": "a:",
    "like a checkpoint": "a:__empty__:1f06cd04-0000-6000-8000-000000000000",
    "like a key": "checkpoint:a:__empty__",
    "newline": "a\nb",
    "line break of a terminal": "a\r\nb",
    "NUL": "a\0b",
    "quotes": "\"a\" 'b' `c`",
    "spaces": "  a  b ",
    "emoji": "\U0001f642 é 你好",
    "combining": "e\u0301",
    "percent": "%s %3A %d",
    "search syntax": "@thread_id:{a|b} -(c)",
    "Lua pattern": "(%a+)^$.[%",
    "JSON": '{"thread_id": "a"}',
    "option": "--json",
    "2,000 characters": "x" * 1999 + ":",
}


class Thread(NamedTuple):
    id: str
    ns: str = ""


def look_alikes(thread: str) -> Iterator[Thread]:
    """Other threads that something or other would take for this one."""
    texts = [
        *("a", "b", "A", "*", "%", "x" * 2000, "0"),
        thread.swapcase(),
        thread.strip(),
        thread[:-1],
        thread[1:],
        *(thread + end for end in (":", "x", "*", "\n", "\0", " ", ",b", ":b")),
        *(start + thread for start in (":", "*", "a,", "checkpoint:", "a:")),
        *thread.replace(",", ":").split(":"),
        thread.replace("*", "anything").replace("?", "z").replace("\\", ""),
        thread.split("\0")[0],
        thread.split("\n")[0],
    ]
    for text in texts:
        if text not in ("", thread):
            yield Thread(text)
    # The colons of the id belong to the namespace, and the other way round.
    for at, letter in enumerate(thread):
        if letter == ":" and 0 < at < len(thread) - 1:
            yield Thread(thread[:at], thread[at + 1 :])
            yield Thread(thread[:at], thread[at + 1 :] + ":__empty__")
    yield Thread((thread or "a") + ":x", "y")
    # And threads of its own, in namespaces with a colon.
    yield Thread(thread, "x:y")
    yield Thread(thread, "x")


def old_and_new(saver: RedisSaver, thread: Thread) -> tuple[list[str], list[str]]:
    """Store a thread of four checkpoints, of which the newest two are to stay."""
    names = fill(saver, thread.id, 4, ns=thread.ns, writes=1)
    return names[:-2], names[-2:]


def arrange(saver: RedisSaver, thread: str) -> Callable[[redis.Redis], frozenset[bytes]]:
    """Store the thread and its look-alikes; what comes back names the keys that are to go."""
    threads = dict.fromkeys([Thread(thread), *look_alikes(thread)])
    old = {one: old_and_new(saver, one)[0] for one in threads}
    # Its own namespaces are trimmed with it.
    own = {one: names for one, names in old.items() if one.id == thread}
    assert len(old) > len(own) > 1

    def doomed(client: redis.Redis) -> frozenset[bytes]:
        names: list[bytes] = list(client.scan_iter(count=1000))
        stored = thread or "00000000-0000-0000-0000-000000000000"
        found = (keys_of(names, stored, gone, one.ns) for one, gone in own.items())
        return frozenset().union(*found)

    return doomed


@pytest.mark.parametrize("look_in", WAYS)
@pytest.mark.parametrize("thread", NASTY.values(), ids=NASTY)
def test_exactly_the_old_checkpoints_of_this_thread_are_deleted(
    plain_saver: RedisSaver, stack: redis.Redis, thread: str, look_in: LookIn
) -> None:
    doomed = arrange(plain_saver, thread)(stack)
    before = snapshot(stack)

    result = Retention(stack).trim(thread, Policy(keep_last=2), look_in=look_in)

    assert changes(before, snapshot(stack)) == Changes(gone=doomed)
    assert result.keys_deleted == len(doomed) == 3 * result.checkpoints_deleted > 0


SEARCHABLE = {name: text for name, text in NASTY.items() if not set(text) & set(",\n\r\0")}
del SEARCHABLE["spaces"]


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("thread", SEARCHABLE.values(), ids=SEARCHABLE)
def test_a_search_deletes_exactly_the_same_where_a_query_can_name_the_thread(
    plain_saver: RedisSaver, stack: redis.Redis, thread: str, seen: bool
) -> None:
    doomed = arrange(plain_saver, thread)(stack)
    looks: list[ScanProgress] = []
    if seen:
        Retention(stack).trim(thread, Policy(keep_last=4))
    before = snapshot(stack)

    result = Retention(stack).trim(thread, Policy(keep_last=2), on_scan=looks.append)

    assert looks == []
    assert changes(before, snapshot(stack)) == Changes(gone=doomed)
    assert result.keys_deleted == len(doomed)


@pytest.mark.parametrize("thread", NASTY.values(), ids=NASTY)
def test_the_index_alone_deletes_exactly_the_same(plain_json: redis.Redis, thread: str) -> None:
    doomed = arrange(without_search(plain_json), thread)(plain_json)
    retention = Retention(plain_json)
    retention.trim(thread, Policy(keep_last=100))  # makes the index
    before = snapshot(plain_json)

    retention.trim(thread, Policy(keep_last=2), indexed_only=True)

    assert changes(before, snapshot(plain_json)) == Changes(gone=doomed)


def test_all_of_them_at_once(plain_saver: RedisSaver, stack: redis.Redis) -> None:
    # The empty one and the nil UUID are the same to the saver.
    nasty = [thread for thread in NASTY.values() if thread]
    kept = {thread: old_and_new(plain_saver, Thread(thread))[1] for thread in nasty}

    result = Retention(stack).trim(NASTY.values(), Policy(keep_last=2))

    assert result.threads == result.threads_trimmed == len(nasty)
    names: list[bytes] = list(stack.scan_iter(match="checkpoint:*", count=1000))
    assert len(names) == 2 * len(nasty)
    assert all(len(keys_of(names, thread, newest)) == 2 for thread, newest in kept.items())


@pytest.mark.parametrize("thread", [b"\xff\xfe", "not\udcffUTF-8", b"a\0b"])
def test_bytes_that_no_saver_writes_are_no_error(stack: redis.Redis, thread: bytes | str) -> None:
    result = Retention(stack).trim(thread, Policy(keep_last=2))
    assert (result.threads, result.keys_deleted) == (1, 0)


def program(server: Server, *arguments: str, stdin: bytes = b"") -> Any:
    """What the program prints, run as users run it."""
    start = "from redis_retention.cli import main; main()"
    command = [sys.executable, "-c", start, "--url", server.url, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, check=True)
    return json.loads(done.stdout)


# No program can be given a NUL as an argument.
ON_THE_COMMAND_LINE = ("escaped star", "newline", "emoji", "option", "2,000 characters", "empty")


@pytest.mark.parametrize("name", ON_THE_COMMAND_LINE)
def test_the_command_line_takes_the_id_as_it_is(
    plain_saver: RedisSaver, stack: redis.Redis, redis_stack: Server, name: str
) -> None:
    doomed = arrange(plain_saver, NASTY[name])(stack)
    before = snapshot(stack)

    said = program(redis_stack, "trim", "--keep-last", "2", "--json", "--", NASTY[name])

    assert changes(before, snapshot(stack)) == Changes(gone=doomed)
    assert said["keys_deleted"] == len(doomed)


def test_stdin_takes_ids_line_by_line(
    plain_saver: RedisSaver, stack: redis.Redis, redis_stack: Server
) -> None:
    nasty = [thread for thread in NASTY.values() if thread and not {"\n", "\r"} & set(thread)]
    for thread in nasty:
        old_and_new(plain_saver, Thread(thread))

    lines = "".join(f"{thread}\n" for thread in nasty).encode()
    said = program(redis_stack, "trim", "-", "--keep-last", "2", "--json", stdin=lines)

    assert said["threads"] == said["threads_trimmed"] == len(nasty)


@pytest.mark.parametrize("namespace", ["", "node:5f0b8c3e-0000-5000-8000-000000000001", "b:x|c"])
@pytest.mark.parametrize("thread", NASTY.values(), ids=NASTY.keys())
def test_after_a_sweep_there_are_no_orphans(
    stack: redis.Redis, thread: str, namespace: str
) -> None:
    """A stub with its writes, a registry alone, and a pointer to nothing, all of them old."""
    saver = without_search(stack)
    first, second = ids(2, newest_age=3 * HOUR)
    fill(saver, thread, [first, second], ns=namespace)
    for key in stack.scan_iter("checkpoint*"):
        if second.encode() in key:
            stack.delete(key)
        elif key.endswith(first.encode()):
            stack.json().set(key, "$", {"has_writes": True})

    Retention(stack).sweep(Policy(keep_last=2))

    assert list(stack.scan_iter("*")) == []


def test_what_is_longer_than_any_sane_id_is_refused_and_reported(stack: redis.Redis) -> None:
    saver = without_search(stack)
    for name in ("sane", "x" * 5000, "y" * 9000):
        fill(saver, name, 5)
    retention = Retention(stack)

    result = retention.sweep(Policy(keep_last=2))

    reasons = {left.thread: left.reason for left in result.left_alone}
    assert "may have 4096" in reasons.pop("x" * 5000)
    assert reasons
    assert all(reason.endswith("is too long to be looked at") for reason in reasons.values())
    left = {name: len(list(stack.scan_iter(f"checkpoint:{name}*"))) for name in "sxy"}
    assert left == {"s": 2, "x": 5, "y": 5}
    with pytest.raises(RetentionError, match="may have 4096"):
        retention.trim("x" * 5000, Policy(keep_last=2))


def test_events_of_such_a_thread_are_refused_and_cost_no_other(stack: redis.Redis) -> None:
    saver = without_search(stack)
    for name in ("sane", "x" * 5000):
        fill(saver, name, 5)
    engine, rule = Engine(), Rule(b"*", Policy(keep_last=2), 2)

    tracked = Transport(stack).run(engine.track(sorted(stack.scan_iter("checkpoint:*")), [rule]))

    assert {(len(row.thread), row.refused) for row in tracked} == {
        (4, None),
        (5000, "the id of the thread is too long"),
    }
    assert len(list(stack.scan_iter("checkpoint:sane:*"))) == 2
