"""What the time is spent on: by command, and by how much a call may delete."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.fill import fill_threads
from benchmarks.lab import KEEP, Lab, Say, opened
from benchmarks.measure import Sample, cpu, interleaved, ratio, short, spread, times, trips
from benchmarks.report import Section
from benchmarks.scale import Scale
from benchmarks.ways import FLOOR, INDEXED, floor, indexed_only, load_scripts, sweep

BOUNDS = (100, 200, 400, 800)
LARGEST = 1_000
"""Trims of larger threads are more of the same."""

_SLOW_MICROSECONDS = 100
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
Where the server's CPU goes, by INFO commandstats, which counts the commands inside of scripts as
well. What is left of a script's time is Lua itself; what is left of the server's CPU is the
network, reading requests and writing replies. The bound of a call is `--keys-per-call`: the more
keys one call deletes, the less deciding costs, and the longer everybody else waits. How long the
calls take is what SLOWLOG says."""

HEADER = ("", "calls", "ms", "of all")
BOUND_HEADER = ("", "server CPU, ms", "CPU to floor", "calls", "median call, ms", "longest")


def measure(server: str, scale: Scale, say: Say) -> Section:
    """Take trims apart, a first sweep, and one with nothing to do."""
    section = Section("Profile", ABOUT)
    size = max(size for size in scale.trims if size <= LARGEST)
    with opened(server) as lab:
        load_scripts(lab)
        say("bounds of a call")
        _add_bounds(section, lab, size, scale.trims[size])
        say("by command")
        with lab.thread(size) as thread:
            _add(section, f"{size:,} → {KEEP}, {INDEXED}", lab, indexed_only(lab, thread))
        threads = fill_threads(lab.direct, "thread", scale.sweep_threads)
        _add(section, f"First sweep of {len(threads):,} threads", lab, lambda: sweep(lab))
        _add(section, "Sweep with nothing to do", lab, lambda: sweep(lab))
    return section


def bound_row(bound: int) -> str:
    """How the row of a bound begins."""
    return f"{bound} keys a call"


def _add_bounds(section: Section, lab: Lab, size: int, repeats: int) -> None:
    """A trim with different bounds of one call: what it costs, and how long it holds others up."""
    calls: dict[str, list[list[float]]] = {bound_row(bound): [] for bound in BOUNDS}

    def trimmed(bound: int) -> Sample:
        with lab.thread(size) as thread:
            act = indexed_only(lab, thread, bound)
            with _slow_calls(lab, calls[bound_row(bound)]):
                return lab.measure(act)

    def floored() -> Sample:
        with lab.thread(size) as thread:
            return lab.measure(floor(lab, thread))

    ways: dict[str, Callable[[], Sample]] = {FLOOR: floored}
    ways |= {bound_row(bound): partial(trimmed, bound) for bound in BOUNDS}
    samples = interleaved(ways, repeats)
    rows = []
    for name, runs in calls.items():
        some = samples[name]
        work = [short(cpu(some)), times(ratio(cpu(some), cpu(samples[FLOOR])))]
        medians, longest = [statistics.median(run) for run in runs], [max(run) for run in runs]
        rows.append([name, *work, f"{trips(some)}", spread(medians), spread(longest)])
    section.table(f"{size:,} → {KEEP}: the bound of a call", BOUND_HEADER, rows)


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
    lab.admin.config_resetstat()
    sample = lab.measure(act)
    stats = lab.admin.info("commandstats")

    def total(what: str, *names: str) -> float:
        found = (stats.get(f"cmdstat_{name.lower()}", {}) for name in names)
        return sum(float(one.get(what, 0)) for one in found)

    spent = {group: total("usec", *names) / 1000 for group, names in _GROUPS.items()}
    scripts, scan = total("usec", "EVALSHA") / 1000, spent["SCAN"]
    spent["Lua itself"] = max(scripts - sum(spent.values()) + scan, 0.0)
    spent["network and the rest"] = max(sample.cpu_ms - scripts - scan, 0.0)
    rows = []
    for group, ms in sorted(spent.items(), key=lambda item: -item[1]):
        calls = f"{total('calls', *_GROUPS[group]):,.0f}" if group in _GROUPS else ""
        rows.append([group, calls, short(ms), f"{100 * ratio(ms, sum(spent.values())):.0f} %"])
    section.table(title, HEADER, rows)
