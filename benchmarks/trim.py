"""1. Trim one thread: as people do it today, at the least cost there can be, and as we do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from benchmarks import ours, rivals
from benchmarks.fill import Filled, fill_thread, fill_threads
from benchmarks.lab import Lab, Say, opened
from benchmarks.measure import Sample, cpu, interleaved, times, trips, wall
from benchmarks.report import Section, Table, Target, ratio
from benchmarks.scale import KEEP, THREAD, Scale
from redis_retention.engine import DEFAULT_KEYS_PER_CALL

LOOP = "list, then delete one by one"
PRUNE = f"RedisSaver.prune(keep_last={KEEP})"
FLOOR = "floor: the UNLINKs alone"
FLOOR_SCAN = "floor with one SCAN"
DEFAULT = "redis-retention, default, indexed"
DEFAULT_UNSEEN = "redis-retention, default, never seen"
INDEXED = "redis-retention, indexed"
UNSEEN = "redis-retention, never seen"

HEADER = ("", "ms", "server CPU, ms", "round trips", "prune takes", "CPU to its floor")

ABOUT = f"""\
One thread is cut down to its newest {KEEP} checkpoints, beside other threads of {THREAD}. Its
documents grow from 5 to 20 KB. Each sample is a thread written anew, measured once the server is
at rest; afterwards it is made sure that exactly the same keys are gone whoever deleted them.
The default command searches by RediSearch for what the index does not know, whether the thread is
indexed or was never seen. "Indexed" alone is `--indexed-only`, and "never seen" alone is `--scan`,
which is also what the default command does where there is no RediSearch.
The floor is UNLINK of these keys in batches of {rivals.KEYS_PER_UNLINK}, packed before the clock
starts and sent over a bare socket. That of `--scan` includes one bare SCAN of the whole database.
The loop and `prune` go by RediSearch, and keep none of
our safety rules. Nothing can be much faster than the floor: how many floors `prune` takes is as
much as can be won over it."""

Samples = Mapping[str, Sequence[Sample]]


def measure(server: str, scale: Scale, say: Say) -> Section:
    """Trim threads of several sizes, beside populations of several sizes."""
    section = Section("Trim", ABOUT)
    with opened(server) as lab:
        ours.load_scripts(lab.client)
        warm_up(lab)
        for population in scale.populations:
            lab.clear()
            fill_threads(lab.direct, "other", population, THREAD, scale.writes[0])
            for writes in scale.writes if population == scale.populations[0] else scale.writes[:1]:
                for size, repeats in scale.repeats.items():
                    say(f"{size:,} checkpoints of {writes} writes, {population:,} other threads")
                    samples = interleaved(variants(lab, size, writes), repeats)
                    title = f"{size:,} → {KEEP}, {writes} writes each, {population:,} other threads"
                    add(section, title, size, writes, samples)
    return section


def warm_up(lab: Lab) -> None:
    """Let each way have done its work once: what is made at the first time is no cost of it."""
    interleaved(variants(lab, THREAD, 2), 1)


def variants(
    lab: Lab, size: int, writes: int, only: Sequence[str] | None = None
) -> dict[str, Callable[[], Sample]]:
    """All ways to trim a thread of that size; each call writes one, trims it and removes it."""

    def trimmed(
        act: Callable[[Filled], object], prepare: Callable[[Filled], object] = lambda _: None
    ) -> Callable[[], Sample]:
        def once() -> Sample:
            thread = fill_thread(lab.direct, "chat", size, writes)
            prepare(thread)
            sample = lab.measure(lambda: act(thread))
            lab.check(thread, KEEP)
            lab.remove(thread)
            return sample

        return once

    def index(thread: Filled) -> None:
        ours.index(lab.admin, thread.documents(), thread.name)

    found = {
        LOOP: trimmed(lambda t: rivals.list_and_delete(lab.saver, lab.client, t.name, KEEP)),
        PRUNE: trimmed(lambda t: rivals.prune(lab.saver, t.name, KEEP)),
        FLOOR: lambda: _floor(lab, size, writes, scan=False),
        FLOOR_SCAN: lambda: _floor(lab, size, writes, scan=True),
        DEFAULT: trimmed(lambda t: ours.trim(lab.client, t.name), index),
        DEFAULT_UNSEEN: trimmed(lambda t: ours.trim(lab.client, t.name)),
        INDEXED: trimmed(lambda t: ours.trim_indexed(lab.client, t.name), index),
        UNSEEN: trimmed(lambda t: ours.trim_by_scan(lab.client, t.name)),
    }
    return {name: once for name, once in found.items() if only is None or name in only}


def measure_packed(lab: Lab, calls: rivals.Packed, *, scan: bool) -> Sample:
    """Measure packed calls, after one look at the whole database if `scan` says so."""
    scans = 0

    def act() -> None:
        nonlocal scans
        scans = lab.wire.scan() if scan else 0
        calls.delete(lab.wire)

    sample = lab.measure(act)
    return Sample(sample.wall_ms, sample.cpu_ms, calls.trips + scans)


def _floor(lab: Lab, size: int, writes: int, *, scan: bool) -> Sample:
    thread = fill_thread(lab.direct, "chat", size, writes)
    floor = rivals.Floor(thread.victims(KEEP))
    sample = measure_packed(lab, floor, scan=scan)
    lab.check(thread, KEEP)
    lab.remove(thread)
    return sample


def add(section: Section, title: str, size: int, writes: int, samples: Samples) -> None:
    """Take the samples of one thread size in."""
    section.tables.append(Table(title, HEADER, [table_row(name, samples) for name in samples]))
    section.targets += _targets(title, size, writes, samples)
    section.data[title] = as_data(samples)


def as_data(samples: Samples) -> dict[str, list[dict[str, float]]]:
    """Samples for RESULTS.json."""
    return {name: [asdict(sample) for sample in some] for name, some in samples.items()}


def table_row(name: str, samples: Samples) -> list[str]:
    some = samples[name]
    cells = [name, str(wall(some)), str(cpu(some)), f"{trips(some):,}"]
    faster = times_faster(samples, name)
    cells.append("" if faster is None or name == PRUNE else f"{times(faster)} as long")
    floor = FLOOR_SCAN if name in (UNSEEN, FLOOR_SCAN) else FLOOR
    is_floor = name in (FLOOR, FLOOR_SCAN)
    cells.append("" if is_floor or floor not in samples else times(to_floor(samples, name)))
    return cells


def times_faster(samples: Samples, name: str) -> float | None:
    """How many times as long `prune` takes."""
    if PRUNE not in samples:
        return None
    return ratio(wall(samples[PRUNE]).median, wall(samples[name]).median)


def to_floor(samples: Samples, name: str) -> float:
    """Server CPU as a ratio to that of the floor that the same work has."""
    floor = FLOOR_SCAN if name == UNSEEN else FLOOR
    return ratio(cpu(samples[name]).median, cpu(samples[floor]).median)


def _targets(title: str, size: int, writes: int, samples: Samples) -> list[Target]:
    # A call takes whole checkpoints, and sets one key aside.
    calls = math.ceil((size - KEEP) / ((DEFAULT_KEYS_PER_CALL - 1) // (writes + 2)))
    unseen = ratio(wall(samples[UNSEEN]).median, wall(samples[FLOOR_SCAN]).median)
    aim = 6 if size < 200 else 10
    targets = [
        Target(f"{title}: prune to {name}, time", faster or 0.0, aim, at_least=True)
        for name in (DEFAULT, DEFAULT_UNSEEN)
        for faster in [times_faster(samples, name)]
    ]
    targets += [
        Target(f"{title}: round trips when indexed", trips(samples[INDEXED]), calls, unit=""),
        Target(f"{title}: never seen to floor with SCAN, CPU", to_floor(samples, UNSEEN), 1.5),
        Target(f"{title}: never seen to floor with SCAN, time", unseen, 1.5),
    ]
    if size >= 200:
        targets.append(Target(f"{title}: indexed to floor, CPU", to_floor(samples, INDEXED), 1.3))
    return targets
