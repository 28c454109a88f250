"""5. How cost and memory grow: with the length of a thread, and with the database."""

from __future__ import annotations

import time

from benchmarks import ours
from benchmarks.fill import Filled, fill_thread, fill_threads
from benchmarks.lab import Lab, Say, opened
from benchmarks.measure import Sample, cpu, interleaved, memory_of, short, wall
from benchmarks.report import Section, Table, Target, ratio
from benchmarks.scale import KEEP, THREAD, TRIGGER, Scale
from benchmarks.trim import FLOOR, INDEXED, as_data, variants, warm_up
from redis_retention.engine import Engine
from tests.daemon.service import Service

HEADER = (
    "checkpoints",
    "µs for each deleted",
    "server CPU, µs",
    "CPU of the floor, µs",
    "our bytes for each, before",
    "our bytes for each of those kept",
)

ABOUT = f"""\
A thread that is known is cut down to {KEEP}. Our own bytes are MEMORY USAGE of the thread's index,
before the trim divided by all checkpoints and after it by the {KEEP} that are kept. The daemon is
`redis-retention run` as a process; its memory is read when its first sweep is done."""

_LOOK_SECONDS = 0.05
_PATIENCE_SECONDS = 1800.0


class _Silent(Exception):
    """The daemon does not say what it should."""


def measure(server: str, scale: Scale, say: Say) -> Section:
    """Trim threads of growing length, then let the daemon look at a large database."""
    section = Section("Growth", ABOUT)
    with opened(server) as lab:
        ours.load_scripts(lab.client)
        warm_up(lab)
        rows, costs, kept = [], {}, 0.0
        for size, repeats in scale.growth.items():
            say(f"{size:,} checkpoints")
            ways = variants(lab, size, scale.writes[0], (FLOOR, INDEXED))
            samples = interleaved(ways, repeats)
            before, kept = _own_bytes(lab, size, scale.writes[0])
            costs[size] = _each(samples[INDEXED], size)[1]
            rows.append(_row(size, samples, before, kept))
            section.data[f"{size}"] = {
                "samples": as_data(samples),
                "own_bytes": before,
                "own_bytes_kept": kept,
            }
        section.tables.append(Table("", HEADER, rows))
        first, last = min(costs), max(costs)
        grown = ratio(costs[last], costs[first])
        section.targets += [
            Target(f"CPU for each deleted checkpoint, {last:,} to {first:,}", grown, 1.2),
            Target(f"our bytes for each kept, after {last:,}", kept, 80, unit="bytes"),
        ]
        say("memory of the daemon")
        try:
            _add_service(section, lab, scale)
        except _Silent as error:
            section.missing.append(f"the memory of the daemon, for {error}")
    return section


def _each(samples: list[Sample], size: int) -> tuple[float, float]:
    """Microseconds for each deleted checkpoint: wall time and server CPU."""
    gone = size - KEEP
    return wall(samples).median * 1000 / gone, cpu(samples).median * 1000 / gone


def _row(size: int, samples: dict[str, list[Sample]], before: float, kept: float) -> list[str]:
    time_each, work_each = _each(samples[INDEXED], size)
    floor = _each(samples[FLOOR], size)[1]
    return [f"{size:,}", *(short(value) for value in (time_each, work_each, floor, before, kept))]


def _own_bytes(lab: Lab, size: int, writes: int) -> tuple[float, float]:
    """Bytes of our own keys for each checkpoint, before a trim and after it."""
    thread = fill_thread(lab.direct, "chat", size, writes)
    ours.index(lab.admin, thread.documents(), thread.name)
    before = _index_bytes(lab, thread) / size
    ours.trim_indexed(lab.client, thread.name)
    after = _index_bytes(lab, thread) / KEEP
    lab.remove(thread)
    return before, after


def _index_bytes(lab: Lab, thread: Filled) -> int:
    key = Engine().index_key(thread.name.encode())
    # 0 samples: every element is counted.
    return int(lab.admin.memory_usage(key, samples=0) or 0)


def _add_service(section: Section, lab: Lab, scale: Scale) -> None:
    """Memory of the daemon after a first sweep of a database full of threads over the trigger."""
    lab.clear()
    fill_threads(lab.direct, "thread", scale.service_threads, THREAD, scale.writes[0])
    keys = lab.admin.dbsize()
    options = ("--url", lab.server.url, "--keep-last", f"{KEEP}", "--trigger", f"{TRIGGER}")
    with Service(*options, command="run") as service:
        _wait_for(service, "started")
        started, _ = memory_of(service.process.pid)
        _wait_for(service, "swept")
        now, most = memory_of(service.process.pid)
    row = [f"{keys:,} keys", *(f"{short(value)} MB" for value in (started, now, most))]
    header = ("", "when it has started", "after the first sweep", "at most")
    section.tables.append(Table("Memory of the daemon", header, [row]))
    section.data["service"] = {"keys": keys, "mb": now, "most_mb": most, "started_mb": started}


def _wait_for(service: Service, message: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not service.said(message):
        if service.process.poll() is not None or time.monotonic() > deadline:
            raise _Silent(f"the daemon ended or hung before it said {message!r}")
        time.sleep(_LOOK_SECONDS)
