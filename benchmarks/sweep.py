"""2. Sweep all threads, and sweep again when nothing is to be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import ours, rivals
from benchmarks.fill import Filled, fill_threads
from benchmarks.lab import Lab, Say, opened
from benchmarks.measure import TIMES, Sample, cpu, interleaved, short, times, trips, wall
from benchmarks.pinger import Pinger
from benchmarks.report import Section, Table, Target, ratio
from benchmarks.scale import KEEP, THREAD, Scale
from benchmarks.trim import Samples, as_data, measure_packed

SWEEP = "redis-retention sweep"
FLOOR = "floor: one SCAN and the UNLINKs"
LEAST = "one SCAN, and the least script for each thread"
SCAN = "floor: one SCAN"

HEADER = ("", "ms", "server CPU, ms", "round trips", "time to floor", "CPU to floor")

ABOUT = f"""\
Threads of {THREAD} checkpoints that nobody has seen are all cut down to {KEEP}. The floor looks
at every key once (SCAN with COUNT 1000, nothing done with the keys) and deletes exactly the same
ones, packed beforehand, over a bare socket. In the steady state there is nothing to delete, and
the floor is the bare SCAN. Memory is that of a process that only sweeps: its peak beyond what it
had when it began. The least script (see the profile) is told the ids and keeps no rule. The other
client sends PING all the time; what it had to wait at most when the server was idle is subtracted.

The floor knows what to delete. A first sweep has to find out: it puts the name of each checkpoint
into the index of its thread, makes sure that what is to go is that thread's, reads what stays and
the registry of what goes (the profile shows what each of these takes). A sweep with nothing to do
costs the server the SCAN and one look at each index; what it takes longer is the client, which
holds each name against the indexes in Python and keeps nobody else waiting."""


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
        say("memory, and what others see")
        _add_memory(section, lab, scale)
    return section


def _filled(lab: Lab, scale: Scale, threads: int | None = None) -> list[Filled]:
    lab.clear()
    count = scale.sweep_threads if threads is None else threads
    return fill_threads(lab.direct, "thread", count, THREAD, scale.writes[0])


def _floor(lab: Lab, threads: list[Filled]) -> Sample:
    floor = rivals.Floor([key for thread in threads for key in thread.victims(KEEP)])
    return measure_packed(lab, floor, scan=True)


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


def _add_memory(section: Section, lab: Lab, scale: Scale) -> None:
    """Sweep a tenth of the threads and all of them, each in a process of its own."""
    rows, weights, data = [], [], []
    for threads in (max(1, scale.sweep_threads // 10), scale.sweep_threads):
        _filled(lab, scale, threads)
        with ours.Apart(lab.server.url) as apart, Pinger(lab.server.port) as pinger:
            idle = pinger.worst_while_idle(1.0)
            worst, swept = pinger.worst_during(apart.sweep)
        weights.append(swept.memory_mb)
        row: dict[str, Any] = {"threads": threads, "memory_mb": swept.memory_mb}
        data.append(row | {"worst_ping_ms": worst, "idle_ping_ms": idle})
        stall = short(max(worst - idle, 0.0))
        rows.append([f"{threads:,} threads", f"{short(swept.memory_mb)} MB", f"{stall} ms"])
    header = ("", "memory of the sweep", "worst PING meanwhile, beyond idle")
    section.tables.append(Table("Memory, and what another client sees", header, rows))
    growth = weights[1] - weights[0]
    section.targets.append(
        Target("memory: ten times as many threads, more by", growth, 5, unit="MB")
    )
    section.data["memory"] = data
