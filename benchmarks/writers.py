"""What writers notice: nothing, notifications, the daemon; and how much a thread ever holds."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.redis import RedisSaver

from benchmarks.lab import KEEP, Lab, Say, opened
from benchmarks.measure import TIMES, interleaved, ratio, short, spread
from benchmarks.report import Section
from benchmarks.scale import TRIGGER, Scale
from redis_retention.layouts import LangGraphRedis
from redis_retention.sources.notifications import SETTING, needed
from tests.daemon.service import PATIENCE, Service

NEEDED = needed(LangGraphRedis.events)
OFF, ON, DAEMON = "no notifications", f"notifications {NEEDED}", "the daemon attached"
WARM_UP, GRACE_SECONDS = 20, 0.05
HEADER = ("", "put, ms", "put_writes, ms", "put to none", "put_writes to none", "checkpoints/s")
BEYOND = f"beyond the trigger and the last {GRACE_SECONDS * 1000:.0f} ms"

ABOUT = f"""\
A real `RedisSaver` writes checkpoints of 5 to 20 KB with two writes each into several threads in
turns, as fast as it can: with no notifications, with those that the daemon needs, and with
`redis-retention listen --keep-last {KEEP} --trigger {TRIGGER}` attached. Each round begins in an
empty database, and each kind has its turn in each. The times are the medians of the rounds'
medians, the ratios are taken round by round. The most that a thread ever held is looked for in a
round of its own: after each `put` another client asks how many of its checkpoints exist. Over the
trigger may only be what was written in the last {GRACE_SECONDS * 1000:.0f} ms."""


@dataclass(slots=True)
class Round:
    """The medians of one round, in milliseconds, and what was done in a second of it."""

    put: float
    put_writes: float
    checkpoints: float
    daemon_cpu: float = 0.0


def measure(server: str, scale: Scale, say: Say) -> Section:
    """Write in rounds, then look for the most that a thread holds."""
    section = Section("Writers", ABOUT)
    with opened(server, collecting=True) as lab:
        say("rounds of writing")
        kinds = {name: partial(_round, lab, name, scale) for name in (OFF, ON, DAEMON)}
        _add_rounds(section, interleaved(kinds, scale.writer_rounds))
        rows = []
        for threads in (1, scale.writer_threads):
            title = f"at full speed into {threads} thread{'s' * (threads > 1)}"
            say(f"the most that is held, {title}")
            with _prepared(lab, DAEMON):
                most, excess = _most_held(lab, threads, scale.writer_seconds)
            rows.append([title, f"{TRIGGER}", f"{most}", f"{excess}"])
            section.aim(f"{title}: {BEYOND}", excess, 0, unit="")
        section.table("", ("", "trigger", "the most a thread held", BEYOND), rows)
    return section


@contextmanager
def _prepared(lab: Lab, kind: str) -> Iterator[Service | None]:
    """An empty database, with the daemon attached and listening if that is asked for."""
    lab.clear()
    lab.admin.config_set(SETTING, "" if kind == OFF else NEEDED)
    if kind != DAEMON:
        lab.settle()
        yield None
        return
    options = ("--url", lab.server.url, "--keep-last", f"{KEEP}", "--trigger", f"{TRIGGER}")
    with Service(*options, command="listen") as service:
        service.wait_for("ready: listening")
        lab.settle()
        yield service


def _round(lab: Lab, kind: str, scale: Scale) -> Round:
    with _prepared(lab, kind) as service:
        writer = Writer(_saver(lab), scale.writer_threads)
        for _ in range(WARM_UP):
            writer.step()
        seconds: list[tuple[float, float]] = []
        worked, begun = _cpu_seconds(service), time.perf_counter()
        while time.perf_counter() - begun < scale.writer_seconds:
            seconds.append(writer.step())
        took = time.perf_counter() - begun
        put, put_writes = (1000 * statistics.median(some) for some in zip(*seconds, strict=True))
        return Round(put, put_writes, len(seconds) / took, (_cpu_seconds(service) - worked) / took)


def _saver(lab: Lab) -> RedisSaver:
    saver = RedisSaver(redis_client=lab.server.client())
    saver.setup()
    return saver


def _cpu_seconds(service: Service | None) -> float:
    """Seconds of CPU that the daemon's process has used."""
    if service is None:
        return 0.0
    stat = Path(f"/proc/{service.process.pid}/stat").read_text(encoding="utf-8")
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Writer:
    """Threads that grow by one checkpoint after the other, written by the saver."""

    saver: RedisSaver
    threads: int
    keys: defaultdict[str, list[tuple[float, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Of each thread, when its checkpoints were written, and where they are."""

    def __post_init__(self) -> None:
        self._turns = itertools.cycle([f"writer{number}" for number in range(self.threads)])
        self._configs: dict[str, RunnableConfig] = {}

    def step(self) -> tuple[float, float]:
        """One checkpoint and its two writes; the seconds that `put` and `put_writes` took."""
        self.name = next(self._turns)
        mine = self.keys[self.name]
        number = len(mine)
        first: RunnableConfig = {"configurable": {"thread_id": self.name, "checkpoint_ns": ""}}
        before, checkpoint = self._configs.get(self.name, first), _checkpoint(number)
        begun = time.perf_counter()
        after = self.saver.put(
            before, checkpoint, {"source": "loop", "step": number, "parents": {}}, {}
        )
        between = time.perf_counter()
        self.saver.put_writes(after, [("messages", "hi"), ("count", number)], str(uuid4()))
        ended = time.perf_counter()
        self._configs[self.name] = after
        mine.append((time.monotonic(), f"checkpoint:{self.name}:__empty__:{checkpoint['id']}"))
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


def _add_rounds(section: Section, rounds: dict[str, list[Round]]) -> None:
    def slower(name: str, what: Callable[[Round], float]) -> float:
        """The median over the rounds, each compared with the one without notifications."""
        pairs = zip(rounds[name], rounds[OFF], strict=True)
        return statistics.median(ratio(what(one), what(none)) for one, none in pairs)

    def put(one: Round) -> float:
        return one.put

    def put_writes(one: Round) -> float:
        return one.put_writes

    rows = []
    for name, some in rounds.items():
        cells = [name, *(spread([what(one) for one in some]) for what in (put, put_writes))]
        cells += [f"{slower(name, what):.3f} {TIMES}" for what in (put, put_writes)]
        cells += [short(statistics.median(one.checkpoints for one in some))]
        share = statistics.median(one.daemon_cpu for one in some)
        rows.append([*cells, f"{share * 100:.0f} %" if name == DAEMON else ""])
    section.table("", (*HEADER, "CPU of the daemon"), rows)
    for what in (put, put_writes):
        title = f"{what.__name__}: daemon attached to no notifications"
        section.aim(title, slower(DAEMON, what), 1.05)


def _most_held(lab: Lab, threads: int, seconds: float) -> tuple[int, int]:
    """The most checkpoints that a thread had after a step, and the most beyond what it may."""
    writer, most, excess, trims = Writer(_saver(lab), threads), 0, 0, 0
    end = time.monotonic() + seconds
    while time.monotonic() < end or not trims:
        if time.monotonic() > end + PATIENCE:
            raise RuntimeError("the daemon has trimmed nothing")
        writer.step()
        mine = writer.keys[writer.name]
        count = int(lab.admin.exists(*(key for _, key in mine[-10 * TRIGGER :])))
        trims += count < len(mine)
        fresh = sum(at > time.monotonic() - GRACE_SECONDS for at, _ in mine)
        most, excess = max(most, count), max(excess, count - TRIGGER - fresh)
    return most, excess
