"""8. The savers that retain: what a put takes, and how many checkpoints a thread ever has."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import redis
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.redis import RedisSaver

from benchmarks.lab import Lab, Say, opened
from benchmarks.measure import TIMES, settle, short, spread
from benchmarks.report import Section, Table, Target, ratio
from benchmarks.scale import KEEP, TRIGGER, Scale
from redis_retention import Policy
from redis_retention.langgraph import Mode, RetentionRedisSaver

PLAIN = "RedisSaver"
BACKGROUND = "RetentionRedisSaver"
INLINE = 'RetentionRedisSaver, mode="inline"'
LIMITS = {BACKGROUND: 1.05, INLINE: 1.3}

_WARM_UP = 20
# Many short rounds: what disturbs one is in all three kinds of it, or in none of the others.
_SHORTER = 4
# What is written while one trim is under way, at full speed: some milliseconds' worth.
_TRIM_SECONDS = 0.05
_BEYOND = f"beyond the trigger and the last {_TRIM_SECONDS * 1000:.0f} ms"

ABOUT = f"""\
A saver puts checkpoints of 5 to 20 KB with two writes each into several threads in turns, as fast
as it can, in rounds: the plain one, and ours with `Policy(keep_last={KEEP})` and a trigger of
{TRIGGER}, which trims in the background or within the put. Each round begins in an empty database,
and each kind has its turn in each. The times are the medians of the rounds' medians, and the ratios
the medians of those within a round. What a thread holds is asked after each put, in a round of its
own."""


def measure(server: str, scale: Scale, say: Say) -> Section:
    """Put in rounds, then look for the most that a thread holds."""
    section = Section("Savers", ABOUT)
    kinds = {PLAIN: _plain, BACKGROUND: _retaining("background"), INLINE: _retaining("inline")}
    with opened(server, collecting=True) as lab:
        _add_puts(section, _rounds(lab, scale, kinds, say))
        rows = []
        for name in (BACKGROUND, INLINE):
            say(f"the most that is held, {name}")
            with _begun(lab, kinds[name]) as saver:
                most, beyond = _most_held(lab, saver, scale.writer_seconds)
            rows.append([name, f"{TRIGGER}", f"{most}", f"{beyond}"])
            section.targets.append(Target(f"{name}: {_BEYOND}", beyond, 0, unit=""))
        section.tables.append(Table("", ("", "trigger", "the most a thread held", _BEYOND), rows))
    return section


Make = Callable[[redis.Redis], RedisSaver]


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
    settle(lab.admin)
    with lab.server.client() as client:
        saver = make(client)
        saver.setup()
        yield saver
        if isinstance(saver, RetentionRedisSaver):
            saver.close()


# --- what a put takes -----------------------------------------------------------------------------


def _rounds(
    lab: Lab, scale: Scale, kinds: dict[str, Make], say: Say
) -> dict[str, list[list[float]]]:
    """The milliseconds of each put, by kind and round."""
    rounds: dict[str, list[list[float]]] = {name: [] for name in kinds}
    names = list(kinds)
    count, seconds = scale.writer_rounds * _SHORTER, scale.writer_seconds / _SHORTER
    for number in range(count):
        say(f"round {number + 1} of {count}")
        at = number % len(names)
        for name in names[at:] + names[:at]:
            with _begun(lab, kinds[name]) as saver:
                writer = _Writer(saver, scale.writer_threads)
                for _ in range(_WARM_UP):
                    writer.step()
                end, took = time.perf_counter() + seconds, []
                while time.perf_counter() < end:
                    took.append(writer.step() * 1000)
                rounds[name].append(took)
    return rounds


def _add_puts(section: Section, rounds: dict[str, list[list[float]]]) -> None:
    rows = []
    for name, some in rounds.items():
        medians = [spread(took).median for took in some]
        plain = [spread(took).median for took in rounds[PLAIN]]
        slower = spread([ratio(*pair) for pair in zip(medians, plain, strict=True)]).median
        times = sorted(itertools.chain.from_iterable(some))
        tail = short(times[len(times) * 99 // 100])
        rows.append([name, str(spread(medians)), tail, f"{slower:.3f} {TIMES}"])
        section.data[name] = {"put_ms": medians, "puts": len(times)}
        if name in LIMITS:
            section.targets.append(Target(f"put: {name} to {PLAIN}", slower, LIMITS[name]))
    section.tables.append(Table("", ("", "put, ms", "99 %", f"to {PLAIN}"), rows))


# --- the most that a thread holds -----------------------------------------------------------------


def _most_held(lab: Lab, saver: RedisSaver, seconds: float) -> tuple[int, int]:
    """The most checkpoints that one thread had, and by how many it was above what it may have."""
    writer, there = _Writer(saver, 1), list[tuple[float, str]]()
    most = beyond = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        writer.step()
        there.append((time.monotonic(), f"checkpoint:writer0:__empty__:{writer.last}"))
        count = int(lab.admin.exists(*(key for _, key in there)))
        # The oldest go first, so that the newest are those that are left.
        there = there[len(there) - count :]
        fresh = sum(at > time.monotonic() - _TRIM_SECONDS for at, _ in there)
        most, beyond = max(most, count), max(beyond, count - TRIGGER - fresh)
    return most, beyond


# --- what is written ------------------------------------------------------------------------------

_MESSAGES = [
    HumanMessage("The quick brown fox jumps over the lazy dog. " * 12, id=f"{n}") for n in range(28)
]


class _Writer:
    """Threads that grow by one checkpoint after the other."""

    def __init__(self, saver: RedisSaver, threads: int) -> None:
        self._saver = saver
        self._turns = itertools.cycle(f"writer{number}" for number in range(threads))
        self._configs: dict[str, RunnableConfig] = {}
        self._steps: defaultdict[str, int] = defaultdict(int)
        self.last = ""

    def step(self) -> float:
        """One checkpoint and its two writes; the seconds that the put took."""
        name = next(self._turns)
        number = self._steps[name]
        self._steps[name] += 1
        first: RunnableConfig = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
        checkpoint = _checkpoint(number)
        before = self._configs.get(name, first)
        begun = time.perf_counter()
        after = self._saver.put(
            before, checkpoint, {"source": "loop", "step": number, "parents": {}}, {}
        )
        took = time.perf_counter() - begun
        self._saver.put_writes(after, [("messages", "hi"), ("count", number)], str(uuid4()))
        self._configs[name], self.last = after, checkpoint["id"]
        return took


def _checkpoint(number: int) -> Checkpoint:
    """One of 5 to 20 KB: it grows as a chat does, and begins anew when it is large."""
    return Checkpoint(
        v=4,
        id=str(uuid6(clock_seq=number)),
        ts="2025-01-01T00:00:00+00:00",
        channel_values={"messages": _MESSAGES[: 7 + number % 21]},
        channel_versions={"messages": f"{number:032}.0"},
        versions_seen={},
        updated_channels=["messages"],
    )
