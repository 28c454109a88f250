"""The savers that retain: what a put takes, and how many checkpoints a thread ever has."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import redis
from langgraph.checkpoint.redis import RedisSaver

from benchmarks.lab import KEEP, Lab, Say, opened
from benchmarks.measure import TIMES, interleaved, ratio, spread
from benchmarks.report import Section
from benchmarks.scale import TRIGGER, Scale
from benchmarks.writers import BEYOND, GRACE_SECONDS, WARM_UP, Writer
from redis_retention import Policy
from redis_retention.langgraph import Mode, RetentionRedisSaver

PLAIN = "RedisSaver"
BACKGROUND = "RetentionRedisSaver"
INLINE = 'RetentionRedisSaver, mode="inline"'
LIMITS = {BACKGROUND: 1.05, INLINE: 1.3}

# Many short rounds: what disturbs one is in all three kinds of it, or in none of the others.
_SHORTER = 4

ABOUT = f"""\
A saver puts checkpoints of 5 to 20 KB with two writes each into several threads in turns, as fast
as it can, in rounds: the plain one, and ours with `Policy(keep_last={KEEP})` and a trigger of
{TRIGGER}, which trims in the background or within the put. Each round begins in an empty database,
and each kind has its turn in each. The times are the medians of the rounds' medians, and the ratios
the medians of those within a round. What a thread holds is asked after each put, in a round of its
own."""

Make = Callable[[redis.Redis], RedisSaver]


def measure(server: str, scale: Scale, say: Say) -> Section:
    """Put in rounds, then look for the most that a thread holds."""
    section = Section("Savers", ABOUT)
    kinds = {PLAIN: _plain, BACKGROUND: _retaining("background"), INLINE: _retaining("inline")}
    with opened(server, collecting=True) as lab:
        say("rounds of putting")
        ways = {name: partial(_round, lab, make, scale) for name, make in kinds.items()}
        rounds = interleaved(ways, scale.writer_rounds * _SHORTER)
        rows = []
        for name, puts in rounds.items():
            slower = statistics.median(map(ratio, puts, rounds[PLAIN]))
            rows.append([name, spread(puts), f"{slower:.3f} {TIMES}"])
            if name in LIMITS:
                section.aim(f"put: {name} to {PLAIN}", slower, LIMITS[name])
        section.table("", ("", "put, ms", f"to {PLAIN}"), rows)
        rows = []
        for name in LIMITS:
            say(f"the most that is held, {name}")
            most, excess = _most_held(lab, kinds[name], scale.writer_seconds)
            rows.append([name, f"{TRIGGER}", f"{most}", f"{excess}"])
            section.aim(f"{name}: {BEYOND}", excess, 0, unit="")
        section.table("", ("", "trigger", "the most a thread held", BEYOND), rows)
    return section


def _plain(client: redis.Redis) -> RedisSaver:
    return RedisSaver(redis_client=client)


def _retaining(mode: Mode) -> Make:
    def make(client: redis.Redis) -> RedisSaver:
        return RetentionRedisSaver(
            redis_client=client, retention=Policy(keep_last=KEEP), trigger=TRIGGER, mode=mode
        )

    return make


@contextmanager
def _begun(lab: Lab, make: Make) -> Iterator[RedisSaver]:
    """A saver on an empty database, with a client of its own."""
    lab.clear()
    lab.settle()
    with lab.server.client() as client:
        saver = make(client)
        saver.setup()
        yield saver
        if isinstance(saver, RetentionRedisSaver):
            saver.close()


def _round(lab: Lab, make: Make, scale: Scale) -> float:
    """The median of the puts of one round, in milliseconds."""
    with _begun(lab, make) as saver:
        writer = Writer(saver, scale.writer_threads)
        for _ in range(WARM_UP):
            writer.step()
        end, puts = time.perf_counter() + scale.writer_seconds / _SHORTER, list[float]()
        while not puts or time.perf_counter() < end:
            puts.append(writer.step()[0] * 1000)
        return statistics.median(puts)


def _most_held(lab: Lab, make: Make, seconds: float) -> tuple[int, int]:
    """The most checkpoints that one thread had, and by how many it was above what it may have."""
    with _begun(lab, make) as saver:
        writer, most, excess = Writer(saver, 1), 0, 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            writer.step()
            mine = writer.keys[writer.name]
            count = int(lab.admin.exists(*(key for _, key in mine[-10 * TRIGGER :])))
            fresh = sum(at > time.monotonic() - GRACE_SECONDS for at, _ in mine)
            most, excess = max(most, count), max(excess, count - TRIGGER - fresh)
        return most, excess
