"""How much is measured: a quick run, the full one, and a tiny one that only shows that it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

KEEP = 10
"""Checkpoints that every trim keeps."""

TRIGGER = 30
"""Checkpoints from which on the daemon trims a thread."""

THREAD = 36
"""Checkpoints in each of the other threads, and in each thread that is swept."""


# The most checkpoints of a thread on servers other than the first.
_ELSEWHERE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Sizes and repeats of all measurements.

    Attributes:
        name: What this is called in the results.
        servers: Servers of ``tests/servers`` to measure on; the first one does what needs but one.
        populations: How many other threads there are while one is trimmed.
        writes: Writes of each checkpoint. The others than the first are measured beside the first
            population only.
        repeats: For each thread size that is trimmed, how often.
        stalls: For each thread size that is trimmed while another client looks, how often.
        sweep_threads: Threads to sweep.
        sweep_repeats: How often.
        weighed: Threads to sweep for the memory that it takes.
        writer_seconds: How long each round of writing takes.
        writer_rounds: How many rounds there are of each kind.
        writer_threads: Threads that are written to in turns.
        growth: For each thread size of which the cost per checkpoint is taken, how often.
        service_threads: Threads in the database for the memory of the daemon.
        distances: Milliseconds that the network adds, each way.
        distant: For each thread size that is trimmed at a distance, how often.
        turns: Turns of the conversation whose memory is shown.
    """

    name: str
    servers: tuple[str, ...]
    populations: tuple[int, ...]
    writes: tuple[int, ...]
    repeats: Mapping[int, int]
    stalls: Mapping[int, int]
    sweep_threads: int
    sweep_repeats: int
    weighed: tuple[int, ...]
    writer_seconds: float
    writer_rounds: int
    writer_threads: int
    growth: Mapping[int, int]
    service_threads: int
    distances: tuple[float, ...]
    distant: Mapping[int, int]
    turns: int

    def on(self, server: str) -> Scale:
        """What is measured on one server: on all but the first it is less, so that it ends."""
        if server == self.servers[0]:
            return self
        return replace(
            self,
            populations=self.populations[:1],
            writes=self.writes[:1],
            stalls={size: n for size, n in self.stalls.items() if size <= _ELSEWHERE},
            sweep_threads=min(self.sweep_threads, _ELSEWHERE // 10),
            weighed=self.weighed[:1],
            growth={size: n for size, n in self.growth.items() if size <= _ELSEWHERE},
            service_threads=min(self.service_threads, _ELSEWHERE // 10),
            distant={size: n for size, n in self.distant.items() if size < _ELSEWHERE},
        )


QUICK = Scale(
    name="quick",
    servers=("redis-stack",),
    populations=(1_000,),
    writes=(2,),
    repeats={36: 5, 200: 3, 1_000: 3},
    stalls={200: 3, 1_000: 3},
    sweep_threads=300,
    sweep_repeats=3,
    weighed=(100, 500),
    writer_seconds=1.5,
    writer_rounds=3,
    writer_threads=5,
    growth={1_000: 3, 5_000: 2},
    service_threads=300,
    distances=(1.0,),
    distant={36: 3, 200: 3},
    turns=100,
)

FULL = Scale(
    name="full",
    servers=("redis-stack", "redis-8", "valkey-8"),
    populations=(1_000, 10_000),
    writes=(2, 4),
    repeats={36: 15, 200: 9, 1_000: 7, 10_000: 3},
    stalls={36: 9, 200: 9, 1_000: 9, 10_000: 5, 100_000: 3},
    sweep_threads=10_000,
    sweep_repeats=3,
    weighed=(1_000, 10_000, 30_000),
    writer_seconds=10.0,
    writer_rounds=5,
    writer_threads=20,
    growth={1_000: 9, 10_000: 5, 100_000: 3},
    service_threads=7_000,
    distances=(0.5, 1.0),
    distant={36: 7, 200: 5, 1_000: 5, 10_000: 3},
    turns=200,
)

TINY = Scale(
    name="tiny",
    servers=("redis-stack",),
    populations=(5,),
    writes=(2,),
    repeats={36: 2, 200: 2},
    stalls={200: 2},
    sweep_threads=10,
    sweep_repeats=2,
    weighed=(5, 10),
    writer_seconds=1.0,
    writer_rounds=1,
    writer_threads=3,
    growth={100: 2, 300: 2},
    service_threads=10,
    distances=(1.0,),
    distant={36: 2},
    turns=20,
)

SCALES = {scale.name: scale for scale in (QUICK, FULL, TINY)}
