"""2. Sweep all threads, and sweep again when nothing is to be done."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from benchmarks import ours, rivals
from benchmarks.fill import Filled, fill_threads
from benchmarks.lab import Lab, Say, opened
from benchmarks.measure import (
    TIMES,
    Sample,
    collect_garbage,
    cpu,
    interleaved,
    settle,
    short,
    times,
    trips,
    wall,
)
from benchmarks.pinger import Pinger
from benchmarks.report import Section, Table, Target, ratio
from benchmarks.scale import KEEP, THREAD, Scale
from benchmarks.stall import HEADER as STALL_HEADER
from benchmarks.stall import LIMIT_MS, Wait, beyond_idle, row
from benchmarks.trim import FLOOR as UNLINKS
from benchmarks.trim import Samples, as_data, measure_packed

SWEEP = "redis-retention sweep"
FLOOR = "floor: one SCAN and the UNLINKs"
LEAST = "one SCAN, and the least script for each thread"
SCAN = "floor: one SCAN"
GARBAGE = "RediSearch collects the garbage of the sweep"

MOST_MB = 64
"""Memory of a sweep is bounded: names of new threads, and hashes of those that are known."""

# Of the threads that are swept, one in so many is swept again and again while others look.
_LESS = 10
# What a sweep keeps in memory are names: documents may be small, so that there is room for many.
_SMALL_BYTES = 1_000

HEADER = ("", "ms", "server CPU, ms", "round trips", "time to floor", "CPU to floor")

ABOUT = f"""\
Threads of {THREAD} checkpoints that nobody has seen are all cut down to {KEEP}. The floor looks
at every key once (SCAN with COUNT 1000, nothing done with the keys) and deletes exactly the same
ones, packed beforehand, over a bare socket, thread by thread in a random order: a sweep meets
them in one, and who deletes in the order of writing has the processor's caches to help. In the
steady state there is nothing to delete, and the floor is the bare SCAN. Memory is that of a
process that only sweeps: its peak beyond what it had when it began; documents are small there,
so that many threads fit. The least script (see the profile) is told the ids and keeps no rule.
Another client sends PING all the time, as under Stall.

The floor knows what to delete. A first sweep has to find out: it puts the name of each checkpoint
into the index of its thread, makes sure that what is to go is that thread's, reads what stays and
the registry of what goes (the profile shows what each of these takes). Each call waits for the
reply to the one before, so that two of them never keep others waiting together: the server rests
meanwhile, which is the difference between time and CPU. A sweep with nothing to do costs the
server the SCAN and one look at each index; what it takes longer is the client, which holds each
name against the indexes in Python and keeps nobody else waiting.

RediSearch collects its garbage in a fork, every 30 s after something was deleted, whoever deleted
it. Here it is told not to, but for the line that shows what others see of it."""


def measure(server: str, scale: Scale, say: Say) -> Section:
    """Sweep a database, floor and sweep in turns, and weigh the sweeper."""
    section = Section("Sweep", ABOUT)
    threads = scale.sweep_threads
    with opened(server) as lab:
        ours.load_scripts(lab.client)
        say(f"{threads:,} threads, {scale.sweep_repeats} times each way")
        kinds = {
            FLOOR: lambda: _floor(lab, _filled(lab, scale)),
            LEAST: lambda: _least(lab, _filled(lab, scale)),
            SWEEP: lambda: _swept(lab, _filled(lab, scale)),
        }
        title = f"{threads:,} threads {TIMES} {THREAD}"
        _add(section, title, interleaved(kinds, scale.sweep_repeats))
        say("steady state")
        _add(section, "Steady state, nothing to do", _steady(lab, scale))
        say("what others see")
        _add_stall(section, lab, scale)
        say("memory")
        _add_memory(section, lab, scale)
    return section


def _filled(lab: Lab, scale: Scale, threads: int | None = None) -> list[Filled]:
    """Threads in an empty database, in an order that says nothing of where in memory they are."""
    lab.clear()
    count = scale.sweep_threads if threads is None else threads
    filled = fill_threads(lab.direct, "thread", count, THREAD, scale.writes[0])
    random.Random(count).shuffle(filled)
    return filled


def _packed_floor(threads: list[Filled]) -> rivals.Floor:
    return rivals.Floor([key for thread in threads for key in thread.victims(KEEP)])


def _floor(lab: Lab, threads: list[Filled]) -> Sample:
    return measure_packed(lab, _packed_floor(threads), scan=True)


def _least(lab: Lab, threads: list[Filled]) -> Sample:
    return measure_packed(lab, rivals.LeastScript(lab.client, threads, KEEP), scan=True)


def _swept(lab: Lab, threads: list[Filled]) -> Sample:
    sample = lab.measure(lambda: ours.sweep(lab.client))
    for thread in (threads[0], threads[-1]):
        lab.check(thread, KEEP)
    return sample


def _steady(lab: Lab, scale: Scale) -> dict[str, list[Sample]]:
    """Measured in a database that was swept."""
    _filled(lab, scale)
    ours.sweep(lab.client)
    kinds: dict[str, Callable[[], Sample]] = {
        SCAN: lambda: measure_packed(lab, rivals.Packed(), scan=True),
        SWEEP: lambda: lab.measure(lambda: ours.sweep(lab.client)),
    }
    return interleaved(kinds, 2 * scale.sweep_repeats + 1)


def _add(section: Section, title: str, samples: Samples) -> None:
    floor, *_, sweep = samples.values()

    def to_floor(some: Sequence[Sample]) -> tuple[float, float]:
        time = ratio(wall(some).median, wall(floor).median)
        return time, ratio(cpu(some).median, cpu(floor).median)

    rows = []
    for name, some in samples.items():
        ratios = ["", ""] if some is floor else [times(value) for value in to_floor(some)]
        rows.append([name, str(wall(some)), str(cpu(some)), f"{trips(some):,}", *ratios])
    time, work = to_floor(sweep)
    section.tables.append(Table(title, HEADER, rows))
    section.targets += [
        Target(f"{title}: sweep to floor, time", time, 1.5),
        Target(f"{title}: sweep to floor, CPU", work, 1.5),
    ]
    section.data[title] = as_data(samples)


def _add_stall(section: Section, lab: Lab, scale: Scale) -> None:
    """What another client sees while threads are swept, and while garbage is collected."""
    waits: dict[str, list[Wait]] = {UNLINKS: [], SWEEP: [], GARBAGE: []}
    threads = max(1, scale.sweep_threads // _LESS)
    with Pinger(lab.server.port) as pinger:

        def waited(name: str, act: Callable[[], object]) -> None:
            begun = time.perf_counter()
            busy, _ = pinger.worst_during(act)
            idle = pinger.worst_while_idle(time.perf_counter() - begun)
            waits[name].append(Wait(busy, idle))

        for _ in range(2 * scale.sweep_repeats + 1):
            packed = _packed_floor(_filled(lab, scale, threads))
            settle(lab.admin)
            waited(UNLINKS, lambda packed=packed: packed.delete(lab.wire))  # type: ignore[misc]
            _filled(lab, scale, threads)
            settle(lab.admin)
            waited(SWEEP, lambda: ours.sweep(lab.client))
            waited(GARBAGE, lambda: collect_garbage(lab.admin))
    title = f"What another client sees, {threads:,} threads"
    section.tables.append(Table(title, STALL_HEADER, [row(n, some) for n, some in waits.items()]))
    aim = Target(f"{title}: {SWEEP}", beyond_idle(waits[SWEEP]), LIMIT_MS, unit="ms")
    section.targets.append(aim)
    section.data["stall"] = {n: [[w.busy, w.idle] for w in some] for n, some in waits.items()}


def _add_memory(section: Section, lab: Lab, scale: Scale) -> None:
    """Sweep databases of several sizes, each in a process of its own."""
    weights, rows = [], []
    for threads in scale.weighed:
        lab.clear()
        fill_threads(lab.direct, "thread", threads, THREAD, scale.writes[0], _SMALL_BYTES)
        with ours.Apart(lab.server.url) as apart:
            weights.append(apart.sweep().memory_mb)
        keys = lab.admin.info("keyspace")["db0"]["keys"]
        rows.append([f"{threads:,} threads", f"{keys:,}", f"{short(weights[-1])} MB"])
    header = ("", "keys that stay", "memory of the sweep")
    section.tables.append(Table("Memory", header, rows))
    most = Target("memory of a sweep", max(weights), MOST_MB, unit="MB")
    section.targets.append(most)
    section.data["memory"] = dict(zip(map(str, scale.weighed), weights, strict=True))
