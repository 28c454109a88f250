"""What a second client waits for while a thread is trimmed, or planned."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.fill import SIZES, THREAD
from benchmarks.lab import KEEP, Lab, Say, opened
from benchmarks.measure import interleaved, short, spread
from benchmarks.pinger import Pinger
from benchmarks.report import Section
from benchmarks.scale import Scale
from benchmarks.trim import warm_up
from benchmarks.ways import DEFAULT, FLOOR, INDEXED, PLAN, PRUNE, SCAN, UNSEEN, WAYS

LIMIT_MS = 2.0
_SHORTEST_SECONDS = 0.02

BY_THREAD = (DEFAULT, UNSEEN, INDEXED, SCAN, PLAN, PRUNE, FLOOR)
BY_DOCUMENT = (DEFAULT, PLAN, PRUNE, FLOOR)
HEADER = ("", "worst PING, ms", "idle, ms", "beyond idle, ms")

ABOUT = f"""\
A client in a process of its own sends PING over a bare socket, with a tenth of a millisecond
between two, while a thread is cut down to {KEEP}, or the plan of that is made. Of each run only
the longest wait counts. Right after it the same client sends for as long to the idle server: a
machine with few cores makes it wait for the processor, too. Beyond idle is the difference of the
medians. Documents grow from 5 to 20 KB where no size is named."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The longest waits of one run, in milliseconds."""

    busy: float
    idle: float


def measure(server: str, scale: Scale, say: Say) -> Section:
    """Trim threads of several lengths, then of documents of several sizes."""
    section = Section("Stall", ABOUT)
    with opened(server) as lab, Pinger(lab.server.port) as pinger:
        warm_up(lab, [name for name in BY_THREAD if name != PLAN])

        def once(name: str, size: int, sizes: tuple[int, int]) -> Wait:
            with lab.thread(size, sizes, keep=size if name == PLAN else KEEP) as thread:
                return waited(lab, pinger, WAYS[name](lab, thread))

        def several(
            title: str, names: Sequence[str], repeats: int, size: int, sizes: tuple[int, int]
        ) -> None:
            say(title)
            ways = {name: partial(once, name, size, sizes) for name in names}
            add(section, title, interleaved(ways, repeats), (DEFAULT, PLAN))

        for size, repeats in scale.stalls.items():
            several(f"{size:,} → {KEEP}", BY_THREAD, repeats, size, SIZES)
        for length, repeats in scale.documents.items():
            title = f"{THREAD} → {KEEP}, documents of {shown(length)}"
            several(title, BY_DOCUMENT, repeats, THREAD, (length, length))
    return section


def shown(length: int) -> str:
    """A size in bytes, as people say it."""
    return f"{length / 1e6:g} MB" if length >= 1e6 else f"{length / 1e3:g} KB"


def waited(lab: Lab, pinger: Pinger, act: Callable[[], object]) -> Wait:
    """The longest that another client waits while something is done, and right after it."""
    lab.settle()
    begun = time.perf_counter()
    busy = pinger.worst_during(act)
    took = time.perf_counter() - begun
    lab.settle()
    return Wait(busy, pinger.worst_during(lambda: time.sleep(max(took, _SHORTEST_SECONDS))))


def add(
    section: Section, title: str, waits: Mapping[str, Sequence[Wait]], ours: Sequence[str]
) -> None:
    """Take the waits of some ways in."""
    beyond, rows = {}, []
    for name, some in waits.items():
        busy, idle = [wait.busy for wait in some], [wait.idle for wait in some]
        beyond[name] = max(statistics.median(busy) - statistics.median(idle), 0.0)
        rows.append([name, spread(busy), spread(idle), short(beyond[name])])
    section.table(title, HEADER, rows)
    for name in ours:
        section.aim(f"{title}: {name}", beyond[name], LIMIT_MS, unit=" ms")
