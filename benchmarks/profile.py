"""8. What the time is spent on: by command, and beside the least that a script can do."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from benchmarks import ours, rivals
from benchmarks.fill import fill_thread, fill_threads
from benchmarks.lab import Lab, Say, opened
from benchmarks.measure import Sample, cpu, interleaved, short, spread, times, trips
from benchmarks.report import Section, Table, ratio
from benchmarks.scale import KEEP, THREAD, Scale
from benchmarks.trim import FLOOR, INDEXED, measure_packed, variants, warm_up
from redis_retention.engine import DEFAULT_KEYS_PER_CALL

LEAST = f"the least script, {DEFAULT_KEYS_PER_CALL} keys a call: read the registries, delete"
LARGEST = 1_000
"""Larger threads are not profiled: a trim of these is more of the same."""
BOUNDS = (100, DEFAULT_KEYS_PER_CALL, 400, 800)
_MOST_REPEATS = 5
_SLOW_MICROSECONDS = 100
_OTHER_THREADS = 300
_GROUPS = {
    "UNLINK": ("UNLINK",),
    "SCAN": ("SCAN",),
    "documents read (JSON.MGET, JSON.GET)": ("JSON.MGET", "JSON.GET", "JSON.OBJKEYS"),
    "registries and whole indexes read (ZRANGE)": ("ZRANGE",),
    "indexes read by ranges": ("ZRANGEBYLEX", "ZREVRANGEBYLEX", "ZLEXCOUNT", "ZCARD"),
    "indexes written": ("ZADD", "ZREM", "ZREMRANGEBYLEX"),
    "looked for (EXISTS, GET, HKEYS)": ("EXISTS", "GET", "HKEYS"),
}

ABOUT = """\
Where the work goes, by INFO commandstats, which counts the commands inside of scripts as well. What
is left of a script's time is Lua itself; what is left of the server's CPU is the network, reading
requests and writing replies. (The few ZRANGE and EXISTS that a sweep sends by itself are taken for
some inside of scripts: Lua is shown that much too small.) The least script is given the ids,
decides nothing, keeps no rule, reads each registry for the names of the writes, and deletes; no
trim in Lua can do with less.

Each call decides anew, since much may have happened since the last one. The more keys it deletes,
the less that matters beside the floor, and the longer it holds others up: the table of the bounds
shows both, the calls as SLOWLOG has them."""

HEADER = ("", "calls", "ms", "of all")
BOUND_HEADER = (
    "",
    "server CPU, ms",
    "CPU to floor",
    "calls",
    "median call, ms",
    "longest",
)


def measure(server: str, scale: Scale, say: Say) -> Section:
    """Profile a trim, a first sweep, and one with nothing to do."""
    section = Section("Profile", ABOUT)
    with opened(server) as lab:
        ours.load_scripts(lab.client)
        warm_up(lab)
        others = min(_OTHER_THREADS, scale.populations[0])
        fill_threads(lab.direct, "other", others, THREAD, scale.writes[0])
        sizes = [size for size in scale.repeats if size <= LARGEST]
        for size in sizes:
            say(f"a trim of {size:,} checkpoints")
            _add_least(section, lab, scale, size)
            _add_trims(section, lab, scale, size, sizes[-1] // size)
        say("bounds of a call")
        _add_bounds(section, lab, scale, sizes[-1])
        say("sweeps")
        lab.clear()
        threads = fill_threads(lab.direct, "thread", scale.sweep_threads, THREAD, scale.writes[0])
        title = f"First sweep of {len(threads):,} threads of {THREAD}"
        _add(section, title, lab, lambda: ours.sweep(lab.client))
        _add(section, "Sweep with nothing to do", lab, lambda: ours.sweep(lab.client))
    return section


def _add_least(section: Section, lab: Lab, scale: Scale, size: int) -> None:
    """The floor, the least script and a trim, in turns."""
    writes = scale.writes[0]
    ways = variants(lab, size, writes, (FLOOR, INDEXED))
    least = partial(_least, lab, size, writes)
    repeats = min(_MOST_REPEATS, scale.repeats[size])
    samples = interleaved({FLOOR: ways[FLOOR], LEAST: least, INDEXED: ways[INDEXED]}, repeats)
    floor = cpu(samples[FLOOR]).median
    rows = [
        [name, str(cpu(some)), times(ratio(cpu(some).median, floor))]
        for name, some in samples.items()
    ]
    header = ("", "server CPU, ms", "CPU to floor")
    section.tables.append(Table(f"{size:,} → {KEEP}: the least that a script can do", header, rows))
    section.data[f"least {size}"] = {
        name: [s.cpu_ms for s in some] for name, some in samples.items()
    }


def _least(lab: Lab, size: int, writes: int) -> Sample:
    thread = fill_thread(lab.direct, "chat", size, writes)
    sample = measure_packed(lab, rivals.LeastScript(lab.client, [thread], KEEP), scan=False)
    lab.check(thread, KEEP)
    lab.remove(thread)
    return sample


def _add_trims(section: Section, lab: Lab, scale: Scale, size: int, count: int) -> None:
    """Where the time of trims goes; of small threads several are trimmed."""
    threads = fill_threads(lab.direct, "chat", count, size, scale.writes[0])
    for thread in threads:
        ours.index(lab.admin, thread.documents(), thread.name)

    def trim() -> None:
        for thread in threads:
            ours.trim_indexed(lab.client, thread.name)

    _add(section, f"{size:,} → {KEEP}, indexed, threads: {count}", lab, trim)
    for thread in threads:
        lab.remove(thread)


def _add_bounds(section: Section, lab: Lab, scale: Scale, size: int) -> None:
    """A trim with different bounds of one call: what it costs, and how long it holds others up."""
    writes = scale.writes[0]
    calls: dict[str, list[list[float]]] = {LEAST: []}

    def least() -> Sample:
        with _slow_calls(lab, calls[LEAST]):
            return _least(lab, size, writes)

    def trimmed(name: str, bound: int) -> Sample:
        thread = fill_thread(lab.direct, "chat", size, writes)
        ours.index(lab.admin, thread.documents(), thread.name)
        with _slow_calls(lab, calls[name]):
            sample = lab.measure(lambda: ours.trim_indexed(lab.client, thread.name, bound))
        lab.check(thread, KEEP)
        lab.remove(thread)
        return sample

    ways = {**variants(lab, size, writes, (FLOOR,)), LEAST: least}
    for bound in BOUNDS:
        name = f"redis-retention, {bound} keys a call"
        calls[name], ways[name] = [], partial(trimmed, name, bound)
    samples = interleaved(ways, scale.repeats[size])
    floor = cpu(samples[FLOOR]).median
    rows = [
        [
            name,
            str(cpu(samples[name])),
            times(ratio(cpu(samples[name]).median, floor)),
            f"{trips(samples[name])}",
            str(spread([statistics.median(run) for run in runs])),
            str(spread([max(run) for run in runs])),
        ]
        for name, runs in calls.items()
    ]
    section.tables.append(Table(f"{size:,} → {KEEP}: the bound of a call", BOUND_HEADER, rows))
    section.data["bounds"] = calls


@contextlib.contextmanager
def _slow_calls(lab: Lab, runs: list[list[float]]) -> Iterator[None]:
    """Add the milliseconds of each script that is called meanwhile, if it is long enough."""
    lab.admin.config_set("slowlog-max-len", 10_000)
    lab.admin.config_set("slowlog-log-slower-than", _SLOW_MICROSECONDS)
    lab.admin.slowlog_reset()
    yield
    logged: Any = lab.admin.slowlog_get(10_000)
    lab.admin.config_set("slowlog-log-slower-than", -1)
    runs.append([e["duration"] / 1000 for e in logged if e["command"].startswith(b"EVALSHA")])


def _add(section: Section, title: str, lab: Lab, act: Callable[[], object]) -> None:
    spent, calls = _profiled(lab, act)
    total = sum(spent.values())
    rows = [
        [name, f"{calls[name]:,}" if name in calls else "", short(ms), f"{100 * ms / total:.0f} %"]
        for name, ms in sorted(spent.items(), key=lambda item: -item[1])
    ]
    section.tables.append(Table(title, HEADER, rows))
    section.data[title] = spent


def _profiled(lab: Lab, act: Callable[[], object]) -> tuple[dict[str, float], dict[str, int]]:
    """Milliseconds, and calls, by what they were spent on."""
    lab.admin.config_resetstat()
    sample = lab.measure(act)
    stats = lab.admin.info("commandstats")

    def numbers(names: Iterable[str]) -> list[dict[str, float]]:
        return [stats[key] for name in names if (key := f"cmdstat_{name.lower()}") in stats]

    def milliseconds(*names: str) -> float:
        return sum(one["usec"] for one in numbers(names)) / 1000

    spent = {group: milliseconds(*names) for group, names in _GROUPS.items()}
    calls = {group: int(sum(n["calls"] for n in numbers(_GROUPS[group]))) for group in _GROUPS}
    scripts, scan = milliseconds("EVALSHA"), milliseconds("SCAN")
    spent["Lua itself"] = max(scripts - sum(spent.values()) + scan, 0.0)
    spent["network and the rest"] = max(sample.cpu_ms - scripts - scan, 0.0)
    return spent, calls
