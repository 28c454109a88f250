"""Sweep all threads, and sweep again when nothing is to be done."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import redis

from benchmarks.fill import SIZES, SMALL, THREAD, Filled, fill_threads
from benchmarks.lab import KEEP, Lab, Say, opened
from benchmarks.measure import TIMES, Sample, cpu, interleaved, ratio, short, times, trips, wall
from benchmarks.pinger import Pinger
from benchmarks.report import Section
from benchmarks.scale import Scale
from benchmarks.stall import Wait, waited
from benchmarks.stall import add as add_waits
from benchmarks.ways import POLICY, floor, load_scripts, sweep
from redis_retention import Retention

SWEEP, FLOOR, SCAN = "redis-retention sweep", "floor: one SCAN and the UNLINKs", "floor: one SCAN"
UNLINKS, GARBAGE = "the UNLINKs alone", "RediSearch collects the garbage of the sweep"
MOST_MB = 64
"""Memory of a sweep is bounded: names of new threads, and hashes of those that are known."""

# Of the threads that are swept, one in so many is swept while others look.
_LESS = 10

HEADER = ("", "ms", "server CPU, ms", "round trips", "time to floor", "CPU to floor")

ABOUT = f"""\
Threads of {THREAD} checkpoints that were never seen are all cut down to {KEEP}. The floor looks at
every key once (SCAN with COUNT 1000, nothing done with the keys) and deletes exactly the same ones,
packed beforehand, over a bare socket, thread by thread in a random order, as a sweep meets them.
With nothing to delete the floor is the bare SCAN. Memory is that of a process that only sweeps: its
peak beyond what it had when it began; documents are small there, so that many threads fit. Another
client sends PING, as under Stall. RediSearch collects garbage in a fork every 30 s; here it is told
not to, but for the line that shows what others see of it."""


def measure(server: str, scale: Scale, say: Say) -> Section:
    """Sweep a database, floor and sweep in turns, and weigh the sweeper."""
    section = Section("Sweep", ABOUT)
    with opened(server) as lab, Pinger(lab.server.port) as pinger:
        load_scripts(lab)
        title = f"{scale.sweep_threads:,} threads {TIMES} {THREAD}"
        say(title)
        ways = {SWEEP: lambda: _first(lab, scale), FLOOR: lambda: _floor(lab, scale)}
        _add(section, title, interleaved(ways, scale.sweep_repeats), time=None, work=2.0)
        say("nothing to do")
        _first(lab, scale)
        steady = {
            SWEEP: lambda: lab.measure(lambda: sweep(lab)),
            SCAN: lambda: lab.measure(floor(lab, scan=True)),
        }
        samples = interleaved(steady, 2 * scale.sweep_repeats + 1)
        _add(section, "Nothing to do", samples, time=1.2, work=None)
        say("what others see")
        _add_stall(section, lab, pinger, scale)
        say("memory")
        _add_memory(section, lab, scale)
    return section


def _filled(lab: Lab, threads: int, sizes: tuple[int, int] = SIZES) -> list[Filled]:
    """Threads in an empty database, in an order that says nothing of where in memory they are."""
    lab.clear()
    filled = fill_threads(lab.direct, "thread", threads, sizes)
    random.Random(threads).shuffle(filled)
    return filled


def _floor(lab: Lab, scale: Scale) -> Sample:
    return lab.measure(floor(lab, *_filled(lab, scale.sweep_threads), scan=True))


def _first(lab: Lab, scale: Scale) -> Sample:
    threads = _filled(lab, scale.sweep_threads)
    sample = lab.measure(lambda: sweep(lab))
    for thread in (threads[0], threads[-1]):
        lab.check(thread, KEEP)
    return sample


def _add(
    section: Section,
    title: str,
    samples: Mapping[str, Sequence[Sample]],
    *,
    time: float | None,
    work: float | None,
) -> None:
    ours, least = samples.values()
    to_floor = ratio(wall(ours), wall(least)), ratio(cpu(ours), cpu(least))
    rows = []
    for name, some in samples.items():
        ratios = [times(value) for value in to_floor] if some is ours else ["", ""]
        rows.append([name, short(wall(some)), short(cpu(some)), f"{trips(some):,}", *ratios])
    section.table(title, HEADER, rows)
    for what, value, limit in zip(("time", "CPU"), to_floor, (time, work), strict=True):
        if limit is not None:
            section.aim(f"{title}: sweep to floor, {what}", value, limit)


def _add_stall(section: Section, lab: Lab, pinger: Pinger, scale: Scale) -> None:
    """What another client sees while threads are swept, and while garbage is collected."""
    threads = max(1, scale.sweep_threads // _LESS)
    waits: dict[str, list[Wait]] = {SWEEP: [], GARBAGE: [], UNLINKS: []}
    for _ in range(2 * scale.sweep_repeats + 1):
        unlinks = floor(lab, *_filled(lab, threads))
        waits[UNLINKS].append(waited(lab, pinger, unlinks))
        _filled(lab, threads)
        waits[SWEEP].append(waited(lab, pinger, lambda: sweep(lab)))
        _filled(lab, threads)
        lab.settle()
        sweep(lab)
        busy = pinger.worst_during(lab.collect_garbage)
        waits[GARBAGE].append(Wait(busy, waits[SWEEP][-1].idle))
    add_waits(section, f"What another client sees, {threads:,} threads", waits, [SWEEP])


def _add_memory(section: Section, lab: Lab, scale: Scale) -> None:
    """Sweep databases of several sizes, each in a process of its own."""
    rows, most = [], 0.0
    for threads in scale.weighed:
        _filled(lab, threads, SMALL)
        with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as apart:
            memory = apart.submit(_sweep_and_weigh, lab.server.url).result()
        rows.append([f"{threads:,} threads", f"{lab.admin.dbsize():,}", f"{short(memory)} MB"])
        most = max(most, memory)
    section.table("Memory", ("", "keys that stay", "memory of the sweep"), rows)
    section.aim("memory of a sweep", most, MOST_MB, unit=" MB")


def _sweep_and_weigh(url: str) -> float:
    with redis.Redis.from_url(url, socket_timeout=600) as client:
        Retention(client).trim("nobody", POLICY, indexed_only=True)
        before = _memory("VmRSS")
        Retention(client).sweep(POLICY)
        return max(_memory("VmHWM") - before, 0.0)


def _memory(name: str) -> float:
    """Megabytes of this process, now (VmRSS) or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    [value] = [line.split()[1] for line in lines if line.startswith(name)]
    return int(value) / 1024
