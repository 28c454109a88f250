"""Trim one thread, in every way that there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from benchmarks.fill import SMALL, THREAD, fill_threads
from benchmarks.lab import KEEP, Lab, Say, opened
from benchmarks.measure import Sample, cpu, interleaved, ratio, spread, times, trips, wall
from benchmarks.report import Section
from benchmarks.scale import Scale
from benchmarks.ways import (
    CHECKPOINTS_PER_SCRIPT,
    DEFAULT,
    FLOOR,
    INDEXED,
    KEYS_PER_UNLINK,
    LEAST,
    LOOP,
    NEED_SEARCH,
    PRUNE,
    SCAN,
    SERVICE,
    UNSEEN,
    WAYS,
    load_scripts,
)

HEADER = ("", "ms", "server CPU, ms", "round trips", "prune takes", "CPU to floor")
SMALL_TRIM = 200
"""Below so many checkpoints less is aimed at: deciding costs the same and deletes less."""

ALL = (DEFAULT, UNSEEN, SERVICE, INDEXED, SCAN, PRUNE, LOOP, LEAST, FLOOR)

ABOUT = f"""\
One thread is cut down to its newest {KEEP} checkpoints, beside other threads of {THREAD}. Its
documents grow from 5 to 20 KB, with two writes each; those of the others have 1 KB. Each sample is
a thread written anew, measured once the server is at rest; afterwards it is made sure that exactly
the same keys are gone whoever deleted them. The default command is measured with an index that is
ready, for a thread that it never saw, and where the service says that the indexes are complete.
The floor is UNLINK of the keys that go, in batches of {KEYS_PER_UNLINK}, packed before the clock
starts and sent over a bare socket. The least script is told which checkpoints go,
{CHECKPOINTS_PER_SCRIPT} at a time, and finds their writes by their registries: no decision, no
proof, no index. The loop and `prune` need RediSearch."""

Samples = Mapping[str, Sequence[Sample]]


def measure(server: str, scale: Scale, say: Say) -> Section:
    """Trim threads of several sizes, beside populations of several sizes."""
    section = Section("Trim", ABOUT)
    with opened(server) as lab:
        names = [name for name in ALL if lab.server.has_search or name not in NEED_SEARCH]
        warm_up(lab, names)
        seconds: dict[tuple[int, str], list[float]] = {}
        for population in scale.populations:
            lab.clear()
            fill_threads(lab.direct, "other", population, SMALL)
            for size, repeats in scale.trims.items():
                say(f"{size:,} checkpoints, {population:,} other threads")
                samples = interleaved(trims(lab, size, names), repeats)
                add(section, size, f"{population:,} other threads", samples)
                for name in (DEFAULT, UNSEEN):
                    seconds.setdefault((size, name), []).append(wall(samples[name]))
        for (size, name), some in seconds.items():
            what = f"{size:,} → {KEEP}: {name}, time beside the most threads to the fewest"
            section.aim(what, ratio(some[-1], some[0]), 1.2)
    return section


def warm_up(lab: Lab, names: Sequence[str]) -> None:
    """Let each way have done its work once: what is made at the first time is no cost of it."""
    load_scripts(lab)
    interleaved(trims(lab, THREAD, names), 1)


def trims(lab: Lab, size: int, names: Sequence[str]) -> dict[str, Callable[[], Sample]]:
    """Some ways to trim; each call writes a thread of that size, trims it and removes it."""

    def once(name: str) -> Sample:
        with lab.thread(size) as thread:
            return lab.measure(WAYS[name](lab, thread))

    return {name: partial(once, name) for name in names}


def add(section: Section, size: int, where: str, samples: Samples) -> None:
    """Take the samples of one thread size in."""
    title, small = f"{size:,} → {KEEP}, {where}", size < SMALL_TRIM
    section.table(title, HEADER, [_row(name, samples) for name in samples])
    if INDEXED in samples:
        to_floor = ratio(cpu(samples[INDEXED]), cpu(samples[FLOOR]))
        section.aim(f"{title}: {INDEXED} to the floor, CPU", to_floor, 1.5 if small else 1.2)
        for name in (DEFAULT, UNSEEN):
            if PRUNE in samples and name in samples:
                what = f"{title}: prune to {name}, time"
                section.aim(what, faster(samples, name), 6 if small else 10, at_least=True)


def faster(samples: Samples, name: str) -> float:
    """How many times as long `prune` takes."""
    return ratio(wall(samples[PRUNE]), wall(samples[name]))


def _row(name: str, samples: Samples) -> list[str]:
    some = samples[name]
    cells = [name, spread([s.wall_ms for s in some]), spread([s.cpu_ms for s in some])]
    cells += [f"{trips(some):,}"]
    cells += [times(faster(samples, name)) if PRUNE in samples and name != PRUNE else ""]
    cells += [times(ratio(cpu(some), cpu(samples[FLOOR]))) if name != FLOOR else ""]
    return cells
