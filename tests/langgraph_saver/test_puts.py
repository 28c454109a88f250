"""What a put leads to: threads stay short, and no put waits or fails for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from langgraph.checkpoint.redis import RedisSaver

from redis_retention import InvalidPolicy, Policy, Retention
from redis_retention.engine import Engine
from redis_retention.langgraph import (
    AsyncRetentionRedisSaver,
    Mode,
    RetentionRedisSaver,
    background,
    with_retention,
)
from redis_retention.transport import Transport
from tests.graphs.savers import OrderedSaver
from tests.integration.threads import fill, ids, place, put
from tests.langgraph_saver.conftest import MakeSaver
from tests.model.snapshot import Prefixes
from tests.servers.start import Server

STACK = "redis-stack"
ONE = pytest.mark.parametrize("server", [STACK], indirect=True)
MODES: tuple[Mode, ...] = ("background", "inline")
KEEP = Policy(keep_last=3)
TRIGGER = 8


def count(client: redis.Redis, thread: str = "a") -> int:
    """Checkpoints of a thread that there are, in all namespaces."""
    return sum(1 for _ in client.scan_iter(match=f"checkpoint:{thread}:*", count=1000))


def newest(client: redis.Redis, thread: str = "a") -> list[str]:
    names = client.scan_iter(match=f"checkpoint:{thread}:__empty__:*", count=1000)
    return sorted(name.decode().rpartition(":")[2] for name in names)


@pytest.mark.parametrize("mode", MODES)
def test_a_thread_is_cut_down_to_what_its_policy_keeps_when_it_crosses_the_trigger(
    make_saver: MakeSaver, client: redis.Redis, mode: Mode
) -> None:
    saver = make_saver(retention=KEEP, trigger=TRIGGER, mode=mode)

    names = fill(saver, "a", TRIGGER)
    saver.close()
    assert count(client) == TRIGGER

    put(saver, "a", last := ids(1, newest_age=0)[0], parent=names[-1])
    saver.close()
    assert newest(client) == [*names[-2:], last]
    assert saver.trims.trims == 1
    assert saver.trims.checkpoints == TRIGGER - 2


@pytest.mark.parametrize("mode", MODES)
async def test_the_async_saver_cuts_a_thread_down_when_it_crosses_the_trigger(
    make_async_saver: Callable[..., Awaitable[AsyncRetentionRedisSaver]],
    client: redis.Redis,
    mode: Mode,
) -> None:
    saver = await make_async_saver(retention=KEEP, trigger=TRIGGER, mode=mode)
    names = ids(TRIGGER + 1)

    parent = None
    for name in names:
        checkpoint: Any = {
            "v": 4,
            "id": name,
            "ts": "2026-01-01T00:00:00+00:00",
            "channel_values": {},
            "channel_versions": {},
            "versions_seen": {},
        }
        metadata: Any = {"source": "loop", "step": 0, "parents": {}}
        await saver.aput(place("a", "", parent), checkpoint, metadata, {})
        parent = name
    await saver.aclose()

    assert newest(client) == names[-3:]


@ONE
def test_a_trim_in_the_background_leaves_nothing_when_the_context_ends(
    server: Server, client: redis.Redis, plain_saver: RedisSaver
) -> None:
    with RetentionRedisSaver.from_conn_string(server.url, retention=KEEP, trigger=TRIGGER) as saver:
        fill(saver, "a", TRIGGER + 1)

    assert count(client) == 3


@ONE
@pytest.mark.parametrize("mode", MODES)
def test_a_thread_never_has_more_than_the_trigger_when_its_trims_are_done(
    make_saver: MakeSaver, client: redis.Redis, mode: Mode
) -> None:
    saver = make_saver(retention=KEEP, trigger=TRIGGER, mode=mode)
    seen, parent = [], None
    for name in ids(40):
        put(saver, "a", name, parent=parent)
        parent = name
        saver.close()
        seen.append(count(client))

    assert max(seen) == TRIGGER
    assert min(seen[TRIGGER:]) == 3


@ONE
@pytest.mark.parametrize("mode", MODES)
def test_a_thread_that_several_processes_write_in_turn_never_has_more_than_the_trigger(
    make_saver: MakeSaver, client: redis.Redis, mode: Mode
) -> None:
    savers = [make_saver(retention=KEEP, trigger=TRIGGER, mode=mode) for _ in range(3)]
    seen, parent = [], None
    for number, name in enumerate(ids(40)):
        saver = savers[number % 7 % 3]
        put(saver, "a", name, parent=parent)
        parent = name
        saver.close()
        seen.append(count(client))

    assert max(seen) == TRIGGER


@pytest.mark.parametrize("mode", MODES)
def test_what_a_plain_saver_has_written_counts(
    make_saver: MakeSaver, plain_saver: RedisSaver, client: redis.Redis, mode: Mode
) -> None:
    names = fill(plain_saver, "a", 50)
    saver = make_saver(retention=KEEP, trigger=TRIGGER, mode=mode)

    put(saver, "a", last := ids(1, newest_age=0)[0], parent=names[-1])
    saver.close()

    assert newest(client) == [*names[-2:], last]


@ONE
@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_too_much_yet_counts_from_then_on(
    make_saver: MakeSaver, plain_saver: RedisSaver, client: redis.Redis, mode: Mode
) -> None:
    *_, parent = fill(plain_saver, "a", ids(TRIGGER - 1, newest_age=60))
    saver = make_saver(retention=KEEP, trigger=TRIGGER, mode=mode)
    first, second = ids(2)

    put(saver, "a", first, parent=parent)
    saver.close()
    assert count(client) == TRIGGER

    put(saver, "a", second, parent=first)
    saver.close()
    assert newest(client) == [parent, first, second]


@ONE
def test_what_a_process_has_put_that_died_before_it_could_index_it_counts(
    make_saver: MakeSaver, plain_saver: RedisSaver, client: redis.Redis
) -> None:
    saver = make_saver(retention=KEEP, trigger=TRIGGER)
    indexed = fill(saver, "a", ids(4, newest_age=60))
    saver.close()
    lost = ids(TRIGGER, newest_age=20)
    for parent, name in zip([indexed[-1], *lost], lost, strict=False):
        put(plain_saver, "a", name, parent=parent)

    put(saver, "a", last := ids(1, newest_age=0)[0], parent=lost[-1])
    saver.close()

    assert newest(client) == [*lost[-2:], last]


@ONE
def test_a_new_thread_costs_no_search(make_saver: MakeSaver, client: redis.Redis) -> None:
    saver = make_saver(retention=KEEP, trigger=TRIGGER, mode="inline")
    client.config_resetstat()

    fill(saver, "a", 4, writes=0)

    stats: Any = client.info("commandstats")
    assert not [name for name in stats if "FT." in name.upper()]


class CountingConnection(redis.Connection):
    """Counts what is sent in one go."""

    sent = 0

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        CountingConnection.sent += 1
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]


@ONE
def test_inline_costs_no_round_trip_and_puts_that_follow_closely_share_a_call(
    make_saver: MakeSaver, server: Server, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_INLINE_SECONDS", 3_600)
    pool = redis.ConnectionPool(connection_class=CountingConnection, port=server.port)
    with redis.Redis(connection_pool=pool) as counted:
        plain = RedisSaver(redis_client=counted)
        plain.setup()
        saver = make_saver(redis_client=counted, retention=KEEP, trigger=TRIGGER, mode="inline")
        fill(saver, "the scripts are there", TRIGGER + 1)

        def sent(of: RedisSaver, thread: str) -> int:
            before = CountingConnection.sent
            fill(of, thread, 4 * TRIGGER, writes=0)
            return CountingConnection.sent - before

        client.config_resetstat()
        assert sent(saver, "a") == sent(plain, "b") > 0

    stats: Any = client.info("commandstats")
    # The first waits for nothing, the ninth crosses the trigger, and so does each sixth after it.
    assert stats["cmdstat_evalsha"]["calls"] == 5
    assert count(client) <= TRIGGER


def indexed(client: redis.Redis) -> int:
    """How many checkpoints of thread a the index knows."""
    return Transport(client).run(Engine().counts([b"a"]))[0]


@ONE
@pytest.mark.parametrize("way", ["wait", "close"])
def test_inline_indexes_what_waits_with_the_next_put_or_at_the_end(
    make_saver: MakeSaver, client: redis.Redis, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_INLINE_SECONDS", 3_600)
    saver = make_saver(retention=KEEP, trigger=TRIGGER, mode="inline")
    first, second, third = ids(3)
    put(saver, "a", first)
    put(saver, "a", second, parent=first)
    assert indexed(client) == 1

    if way == "wait":
        monkeypatch.setattr(background, "_INLINE_SECONDS", 0)
        put(saver, "a", third, parent=second)
    else:
        saver.close()

    assert indexed(client) == (3 if way == "wait" else 2)


@ONE
def test_inline_keeps_the_ttl_of_the_saver(make_saver: MakeSaver, client: redis.Redis) -> None:
    saver = make_saver(retention=KEEP, trigger=TRIGGER, mode="inline", ttl={"default_ttl": 60})

    fill(saver, "a", 2, writes=0)

    ttls = [client.ttl(name) for name in client.scan_iter(match="checkpoint*")]
    assert len(ttls) == 3
    assert all(3_500 < ttl <= 3_600 for ttl in ttls)


@ONE
@pytest.mark.parametrize("mode", MODES)
def test_a_put_that_the_server_refuses_fails_as_ever(
    make_saver: MakeSaver, client: redis.Redis, server: Server, mode: Mode
) -> None:
    make_saver(mode=mode)
    client.acl_setuser("no-set", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-set"])
    with redis.Redis.from_url(server.url, username="no-set", password="any") as forbidden:
        saver = RetentionRedisSaver(redis_client=forbidden, retention=KEEP, mode=mode)
        with pytest.raises(redis.exceptions.NoPermissionError, match="set"):
            put(saver, "a", ids(1)[0])
        saver.close()
    client.acl_deluser("no-set")


@ONE
@pytest.mark.parametrize("mode", MODES)
def test_many_threads_that_put_at_once_are_all_kept_short(
    make_saver: MakeSaver, client: redis.Redis, mode: Mode
) -> None:
    saver = make_saver(retention=KEEP, trigger=TRIGGER, mode=mode)
    names = [f"thread {number}" for number in range(12)]

    def converse(name: str) -> list[str]:
        return fill(saver, name, 5 * TRIGGER, writes=1)

    with ThreadPoolExecutor(4) as pool:
        stored = list(pool.map(converse, names))
    saver.close()

    assert saver.trims.failed == saver.trims.dropped == 0
    for name, put_there in zip(names, stored, strict=True):
        left = newest(client, name)
        assert 3 <= len(left) <= TRIGGER
        assert left == put_there[-len(left) :]


@ONE
def test_a_client_that_decodes_replies_does_as_well(
    make_saver: MakeSaver, server: Server, client: redis.Redis
) -> None:
    with server.client(decode_responses=True) as decoding:
        saver = make_saver(redis_client=decoding, retention=KEEP, trigger=TRIGGER, mode="inline")
        names = fill(saver, "a", TRIGGER + 1)
        saver.copy_thread("a", "b")
        listed = [found.config["configurable"]["checkpoint_id"] for found in saver.list(place("b"))]
        assert saver.delete_for_runs(["nobody's"]) == []
        saver.delete_thread("a")

    assert listed == names[:-4:-1]
    assert count(client, "a") == 0
    assert count(client, "b") == 3


@ONE
@pytest.mark.parametrize("mode", MODES)
def test_stored_policies_count_when_none_is_given(
    make_saver: MakeSaver, client: redis.Redis, mode: Mode
) -> None:
    Retention(client).set_policy(KEEP, trigger=TRIGGER)
    Retention(client).set_policy(Policy(keep_last=2), "b*", trigger=4)
    saver = make_saver(mode=mode)

    fill(saver, "a", TRIGGER + 1)
    fill(saver, "b", TRIGGER + 1)
    fill(saver, "c", TRIGGER)
    saver.close()

    assert count(client) == 3
    assert count(client, "b") <= 4
    assert count(client, "c") == TRIGGER


@ONE
def test_without_any_policy_nothing_is_trimmed(make_saver: MakeSaver, client: redis.Redis) -> None:
    saver = make_saver(trigger=TRIGGER, mode="inline")

    fill(saver, "a", 2 * TRIGGER)

    assert count(client) == 2 * TRIGGER
    assert saver.trims.failed == 0


@ONE
def test_pins_hold_in_the_application_too(make_saver: MakeSaver, client: redis.Redis) -> None:
    saver = make_saver(retention=KEEP, trigger=TRIGGER, mode="inline")
    first, *rest = ids(TRIGGER + 1)
    put(saver, "a", first)
    Retention(client).pin("a", first)

    parent = first
    for name in rest:
        put(saver, "a", name, parent=parent)
        parent = name

    assert newest(client) == [first, *rest[-3:]]


@pytest.fixture
def forbidden(client: redis.Redis, server: Server) -> Any:
    """A client that may do what the plain saver needs, and may call no scripts."""
    client.acl_setuser(
        "no-scripts", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-@scripting"]
    )
    with redis.Redis.from_url(server.url, username="no-scripts", password="any") as forbidden:
        yield forbidden
    client.acl_deluser("no-scripts")


@ONE
@pytest.mark.parametrize("mode", MODES)
def test_a_trim_that_fails_fails_no_put_and_is_told(
    make_saver: MakeSaver,
    client: redis.Redis,
    forbidden: redis.Redis,
    mode: Mode,
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[tuple[Exception, list[str]]] = []
    saver = make_saver(
        redis_client=forbidden,
        retention=KEEP,
        trigger=TRIGGER,
        mode=mode,
        on_error=lambda error, threads: told.append((error, threads)),
    )

    names = fill(saver, "a", TRIGGER + 1)
    saver.close()

    assert newest(client) == names
    assert saver.trims.failed == len(told) > 0
    assert {name for _, threads in told for name in threads} == {"a"}
    assert isinstance(told[0][0], redis.exceptions.NoPermissionError)
    assert "cannot trim now" in caplog.text


@ONE
def test_an_on_error_that_fails_fails_no_put_either(
    make_saver: MakeSaver, client: redis.Redis, forbidden: redis.Redis
) -> None:
    def fail(error: Exception, threads: list[str]) -> None:
        raise ValueError("on_error")

    saver = make_saver(
        redis_client=forbidden, retention=KEEP, trigger=TRIGGER, mode="inline", on_error=fail
    )

    names = fill(saver, "a", 2)

    assert newest(client) == names


@ONE
def test_what_has_failed_is_made_up_for_by_the_next_put(
    make_saver: MakeSaver, client: redis.Redis
) -> None:
    saver = make_saver(retention=KEEP, trigger=TRIGGER, mode="inline")
    # Not a sorted set: the index cannot be written.
    client.set("retention:index:checkpoint:a", "taken")
    *names, last = ids(TRIGGER + 4)
    fill(saver, "a", names)
    assert saver.trims.failed == len(names)

    client.delete("retention:index:checkpoint:a")
    put(saver, "a", last, parent=names[-1])

    assert newest(client) == [*names[-2:], last]


@ONE
def test_a_saver_that_exists_is_given_retention_and_keeps_its_ways(client: redis.Redis) -> None:
    plain = OrderedSaver(redis_client=client)
    plain.setup()
    saver = with_retention(plain, KEEP, trigger=TRIGGER)
    assert isinstance(saver, OrderedSaver)
    assert isinstance(saver, RetentionRedisSaver)
    assert type(plain) is OrderedSaver

    fill(saver, "a", TRIGGER + 1)
    fill(plain, "b", TRIGGER + 1)
    saver.close()

    assert count(client) == 3
    assert count(client, "b") == TRIGGER + 1
    client.ping()


def test_other_savers_are_refused() -> None:
    with pytest.raises(TypeError, match="needs a RedisSaver"):
        with_retention(object(), KEEP)  # type: ignore[call-overload]


@ONE
def test_arguments_that_mean_nothing_are_refused(server: Server, client: redis.Redis) -> None:
    with pytest.raises(InvalidPolicy, match="must not be less than what is kept"):
        RetentionRedisSaver(redis_client=client, retention=Policy(keep_last=10), trigger=3)
    with pytest.raises(ValueError, match="mode must be background or inline"):
        RetentionRedisSaver(redis_client=client, mode="later")  # type: ignore[arg-type]
    pool = redis.ConnectionPool.from_url(server.url, max_connections=1)
    with (
        redis.Redis(connection_pool=pool) as narrow,
        pytest.raises(ValueError, match="a second connection"),
    ):
        RetentionRedisSaver(redis_client=narrow)


PROGRAM = """
import os, sys
from redis_retention import Policy
from redis_retention.langgraph import RetentionRedisSaver
from tests.integration.threads import fill, ids

saver = RetentionRedisSaver(sys.argv[1], retention=Policy(keep_last=3), trigger=8)
fill(saver, "a", ids(9, newest_age=60))
if sys.argv[2] == "fork" and (child := os.fork()) == 0:
    fill(saver, "b", 9)
    saver.close()
    os._exit(0)
elif sys.argv[2] == "fork":
    os.waitpid(child, 0)
"""


@ONE
@pytest.mark.parametrize("how", ["end", "fork"])
def test_a_program_that_ends_without_closing_its_saver_finishes_what_waits(
    server: Server, client: redis.Redis, plain_saver: RedisSaver, how: str
) -> None:
    run = [sys.executable, "-W", "ignore", "-c", PROGRAM, server.url, how]
    subprocess.run(run, check=True, timeout=120)

    assert count(client, "a") == 3
    assert count(client, "b") == (3 if how == "fork" else 0)


def test_prefixes_are_those_of_the_saver(make_saver: MakeSaver, client: redis.Redis) -> None:
    saver = make_saver(
        checkpoint_prefix="app:c",
        checkpoint_write_prefix="app:w",
        retention=KEEP,
        trigger=TRIGGER,
        mode="inline",
    )
    fill(saver, "a", TRIGGER + 1)

    prefixes = Prefixes("app:c", "app:w")
    left = list(client.scan_iter(match=prefixes.document("a", "", "*"), count=1000))
    assert len(left) == 3
