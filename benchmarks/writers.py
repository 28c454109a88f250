"""4. What writers notice: nothing, notifications, the daemon."""

from __future__ import annotations

import itertools
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import redis
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.redis import RedisSaver

from benchmarks.lab import Lab, Say, opened
from benchmarks.measure import TIMES, Spread, settle, short, spread
from benchmarks.report import Section, Table, Target, ratio
from benchmarks.scale import KEEP, TRIGGER, Scale
from redis_retention.sources.notifications import NEEDED, SETTING
from tests.daemon.service import Service

OFF = "no notifications"
ON = f"notifications {NEEDED}"
DAEMON = "the daemon attached"

GRACE_SECONDS = 0.05
_WARM_UP = 20
_BEYOND = f"beyond the trigger and the last {GRACE_SECONDS * 1000:.0f} ms"
_TICKS = os.sysconf("SC_CLK_TCK")

ABOUT = f"""\
A real `RedisSaver` writes checkpoints of 5 to 20 KB with two writes each into several threads in
turns, as fast as it can, in rounds: with no notifications, with those that the daemon needs, and
with `redis-retention listen --keep-last {KEEP} --trigger {TRIGGER}` attached. Each round begins in
an empty database, and each kind has its turn in each. The times are the medians of the rounds'
medians. The most that a thread ever held is looked for in a round of its own: after each `put`
its own client asks how many of the thread's checkpoints exist. Over the trigger may only be what
was written in the last {GRACE_SECONDS * 1000:.0f} ms."""


@dataclass(slots=True)
class Round:
    """What one round of writing found; times in milliseconds."""

    put: list[float] = field(default_factory=list)
    put_writes: list[float] = field(default_factory=list)
    seconds: float = 0.0
    daemon_cpu: float = 0.0


@dataclass(slots=True)
class Held:
    """The most checkpoints that a thread held, the most beyond what it may, trims seen."""

    most: int = 0
    excess: int = 0
    trims: int = 0


def measure(server: str, scale: Scale, say: Say) -> Section:
    """Write in rounds, then look for the most that a thread holds."""
    section = Section("Writers", ABOUT)
    with opened(server, collecting=True) as lab:
        _add_latencies(section, _rounds(lab, scale, say))
        _add_most_held(section, lab, scale, say)
    return section


# --- rounds --------------------------------------------------------------------------------


def _rounds(lab: Lab, scale: Scale, say: Say) -> dict[str, list[Round]]:
    kinds: dict[str, Callable[[], AbstractContextManager[Service | None]]] = {
        OFF: lambda: _notifications(lab, ""),
        ON: lambda: _notifications(lab, NEEDED),
        DAEMON: lambda: _daemon(lab),
    }
    rounds: dict[str, list[Round]] = {name: [] for name in kinds}
    names = list(kinds)
    for number in range(scale.writer_rounds):
        say(f"round {number + 1} of {scale.writer_rounds}")
        at = number % len(names)
        for name in names[at:] + names[:at]:
            with kinds[name]() as service:
                rounds[name].append(
                    _write(lab, scale.writer_threads, scale.writer_seconds, service)
                )
    return rounds


@contextmanager
def _notifications(lab: Lab, flags: str) -> Iterator[None]:
    lab.clear()
    lab.admin.config_set(SETTING, flags)
    settle(lab.admin)
    yield


@contextmanager
def _daemon(lab: Lab) -> Iterator[Service]:
    """The daemon, attached to an empty database and listening."""
    options = ("--url", lab.server.url, "--keep-last", f"{KEEP}", "--trigger", f"{TRIGGER}")
    with _notifications(lab, NEEDED), Service(*options, command="listen") as service:
        service.wait_for("ready: listening")
        settle(lab.admin)
        yield service


def _write(lab: Lab, threads: int, seconds: float, service: Service | None) -> Round:
    writer = _Writer(lab.server.client(), threads)
    for _ in range(_WARM_UP):
        writer.step()
    result = Round()
    before = _cpu_seconds(service)
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        put, put_writes = writer.step()
        result.put.append(put * 1000)
        result.put_writes.append(put_writes * 1000)
    result.seconds = time.perf_counter() - begun
    result.daemon_cpu = (_cpu_seconds(service) - before) / result.seconds
    writer.client.close()
    return result


def _cpu_seconds(service: Service | None) -> float:
    """Seconds of CPU that the daemon's process has used."""
    if service is None:
        return 0.0
    stat = Path(f"/proc/{service.process.pid}/stat").read_text(encoding="utf-8")
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


class _Writer:
    """Threads that grow by one checkpoint after the other, written by the saver."""

    def __init__(self, client: redis.Redis, threads: int) -> None:
        self.client = client
        self._saver = RedisSaver(redis_client=client)
        self._saver.setup()
        self.names = [f"writer{number}" for number in range(threads)]
        self._turns = itertools.cycle(self.names)
        self._configs: dict[str, RunnableConfig] = {}
        self._steps: defaultdict[str, int] = defaultdict(int)
        self.last: tuple[str, str] = ("", "")

    def step(self) -> tuple[float, float]:
        """One checkpoint and its two writes; the seconds that `put` and `put_writes` took."""
        name = next(self._turns)
        number = self._steps[name]
        self._steps[name] += 1
        first: RunnableConfig = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
        before = self._configs.get(name, first)
        checkpoint = _checkpoint(number)
        begun = time.perf_counter()
        after = self._saver.put(
            before, checkpoint, {"source": "loop", "step": number, "parents": {}}, {}
        )
        between = time.perf_counter()
        self._saver.put_writes(after, [("messages", "hi"), ("count", number)], str(uuid4()))
        ended = time.perf_counter()
        self._configs[name] = after
        self.last = (name, checkpoint["id"])
        return between - begun, ended - between


_MESSAGES = [
    HumanMessage("The quick brown fox jumps over the lazy dog. " * 12, id=f"{n}") for n in range(28)
]


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


def _add_latencies(section: Section, rounds: dict[str, list[Round]]) -> None:
    header = ["", "put, ms", "99 %", "put_writes, ms", "99 %", "put to none", "put_writes to none"]
    header += ["checkpoints/s", "CPU of the daemon"]
    rows = [_row(rounds, name) for name in rounds]
    section.tables.append(Table("", header, rows))
    section.targets += [
        Target(f"{what}: daemon attached to no notifications", _slower(rounds, DAEMON, what), 1.05)
        for what in ("put", "put_writes")
    ]
    section.data |= {name: [_as_data(one) for one in some] for name, some in rounds.items()}


def _row(rounds: dict[str, list[Round]], name: str) -> list[str]:
    some = rounds[name]
    cells = [name]
    for what in ("put", "put_writes"):
        cells += [str(_medians(some, what)), short(_tail(some, what))]
    cells += [f"{_slower(rounds, name, what):.3f} {TIMES}" for what in ("put", "put_writes")]
    return [*cells, _rate(some), _daemon_share(some)]


def _as_data(one: Round) -> dict[str, float]:
    return {
        "put_ms": spread(one.put).median,
        "put_writes_ms": spread(one.put_writes).median,
        "checkpoints": len(one.put),
        "seconds": one.seconds,
        "daemon_cpu": one.daemon_cpu,
    }


def _medians(rounds: list[Round], what: str) -> Spread:
    return spread([spread(getattr(one, what)).median for one in rounds])


def _tail(rounds: list[Round], what: str) -> float:
    times = sorted(time for one in rounds for time in getattr(one, what))
    return float(times[len(times) * 99 // 100])


def _slower(rounds: dict[str, list[Round]], name: str, what: str) -> float:
    """The median over the rounds, each compared with the one without notifications beside it."""
    pairs = zip(rounds[name], rounds[OFF], strict=True)
    medians = [
        ratio(spread(getattr(one, what)).median, spread(getattr(none, what)).median)
        for one, none in pairs
    ]
    return spread(medians).median


def _rate(rounds: list[Round]) -> str:
    return short(spread([len(one.put) / one.seconds for one in rounds]).median)


def _daemon_share(rounds: list[Round]) -> str:
    share = spread([one.daemon_cpu for one in rounds]).median
    return f"{share * 100:.0f} %" if share else ""


# --- the most that a thread holds -------------------------------------------------------------


def _most_held(lab: Lab, threads: int, seconds: float) -> Held:
    """Write, and ask after each step how many of the thread's checkpoints there are."""
    writer = _Writer(lab.server.client(), threads)
    there: defaultdict[str, deque[tuple[float, str]]] = defaultdict(deque)
    held = Held()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        writer.step()
        name, checkpoint_id = writer.last
        mine = there[name]
        mine.append((time.monotonic(), f"checkpoint:{name}:__empty__:{checkpoint_id}"))
        count = int(lab.admin.exists(*(key for _, key in mine)))
        # The oldest go first, so that the newest are those that are left.
        held.trims += len(mine) > count
        while len(mine) > count:
            mine.popleft()
        fresh = sum(at > time.monotonic() - GRACE_SECONDS for at, _ in mine)
        held.most = max(held.most, count)
        held.excess = max(held.excess, count - TRIGGER - fresh)
    writer.client.close()
    return held


def _add_most_held(section: Section, lab: Lab, scale: Scale, say: Say) -> None:
    rows = []
    for threads in (1, scale.writer_threads):
        title = f"at full speed into {threads} thread{'s' * (threads > 1)}"
        say(f"the most that is held, {title}")
        with _daemon(lab):
            held = _most_held(lab, threads, scale.writer_seconds)
        if not held.trims:
            section.missing.append(f"what is held {title}, for nothing was trimmed in that time")
            continue
        rows.append([title, f"{TRIGGER}", f"{held.most}", f"{held.excess}"])
        section.targets.append(Target(f"{title}: {_BEYOND}", held.excess, 0, unit=""))
        section.data[title] = {"most": held.most, "excess": held.excess, "trims": held.trims}
    section.tables.append(Table("", ("", "trigger", "the most a thread held", _BEYOND), rows))
