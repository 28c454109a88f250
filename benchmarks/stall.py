"""3. What a second client sees while one thread is trimmed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import ours, rivals
from benchmarks.fill import Filled, fill_thread
from benchmarks.lab import Lab, Say, opened
from benchmarks.measure import settle, short, spread
from benchmarks.pinger import Pinger
from benchmarks.report import Section, Table, Target
from benchmarks.scale import KEEP, Scale
from benchmarks.trim import FLOOR, INDEXED, PRUNE, UNSEEN, warm_up

LIMIT_MS = 2.0
# RediSearch answers no more than this many.
MOST_FOR_PRUNE = 10_000
_SHORTEST_SECONDS = 0.02

HEADER = ("", "worst PING, ms", "idle, ms", "beyond idle, ms")

ABOUT = f"""\
A client in a process of its own sends PING over a bare socket, with a tenth of a millisecond
between two, while a thread is cut down to {KEEP}. Of each run only the longest wait counts. Right
after it the same client sends for as long to the idle server: a machine with few cores makes it
wait for the processor, too. Shown are the medians over the runs."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The longest waits of one run, in milliseconds."""

    busy: float
    idle: float


def measure(server: str, scale: Scale, say: Say) -> Section:
    """Trim threads of several sizes while another client looks."""
    section = Section("Stall", ABOUT)
    with opened(server) as lab, Pinger(lab.server.port) as pinger:
        ours.load_scripts(lab.client)
        warm_up(lab)
        for size, repeats in scale.stalls.items():
            say(f"{size:,} checkpoints")
            add(section, lab, pinger, size, scale.writes[0], repeats)
    return section


def add(
    section: Section,
    lab: Lab,
    pinger: Pinger,
    size: int,
    writes: int,
    repeats: int,
    where: str = "",
) -> None:
    """Measure one thread size, in turns."""
    ways = _ways(lab, size)
    waits: dict[str, list[Wait]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, act in ways.items():
            waits[name].append(_once(lab, pinger, size, writes, act))
    title = f"{size:,} → {KEEP}{where}"
    rows = [row(name, some) for name, some in waits.items()]
    section.tables.append(Table(title, HEADER, rows))
    section.targets += [
        Target(f"{title}: {name}", beyond_idle(waits[name]), LIMIT_MS, unit="ms")
        for name in (INDEXED, UNSEEN)
    ]
    section.data[title] = {n: [[w.busy, w.idle] for w in some] for n, some in waits.items()}


def beyond_idle(waits: list[Wait]) -> float:
    """What the server adds to the longest wait: the difference of the medians."""
    busy = spread([wait.busy for wait in waits]).median
    return max(busy - spread([wait.idle for wait in waits]).median, 0.0)


def _ways(lab: Lab, size: int) -> dict[str, Callable[[Filled], Callable[[], object]]]:
    """For each way what has to be prepared; it returns what is then done."""

    def indexed(thread: Filled) -> Callable[[], object]:
        ours.index(lab.admin, thread.documents(), thread.name)
        return lambda: ours.trim_indexed(lab.client, thread.name)

    def floor(thread: Filled) -> Callable[[], object]:
        prepared = rivals.Floor(thread.victims(KEEP))
        return lambda: prepared.delete(lab.wire)

    ways: dict[str, Callable[[Filled], Callable[[], object]]] = {
        FLOOR: floor,
        INDEXED: indexed,
        UNSEEN: lambda thread: lambda: ours.trim_by_scan(lab.client, thread.name),
    }
    if size <= MOST_FOR_PRUNE:
        ways[PRUNE] = lambda thread: lambda: rivals.prune(lab.saver, thread.name, KEEP)
    return ways


def _once(
    lab: Lab,
    pinger: Pinger,
    size: int,
    writes: int,
    prepare: Callable[[Filled], Callable[[], object]],
) -> Wait:
    thread = fill_thread(lab.direct, "chat", size, writes)
    act = prepare(thread)
    settle(lab.admin)
    begun = time.perf_counter()
    busy, _ = pinger.worst_during(act)
    took = time.perf_counter() - begun
    lab.check(thread, KEEP)
    settle(lab.admin)
    idle = pinger.worst_while_idle(max(took, _SHORTEST_SECONDS))
    lab.remove(thread)
    return Wait(busy, idle)


def row(name: str, waits: list[Wait]) -> list[str]:
    busy, idle = spread([w.busy for w in waits]), spread([w.idle for w in waits])
    return [name, str(busy), str(idle), short(beyond_idle(waits))]
