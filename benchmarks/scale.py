"""How much is measured: a quick run, the full one, and a tiny one that only shows that it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

TRIGGER = 30
"""Checkpoints from which on the daemon trims a thread."""

WITHOUT_SEARCH = "redis-7.0"
"""The server that has RedisJSON and no RediSearch: trims are measured on it, nothing else."""

# The most threads of a sweep on all servers but the first.
_THREADS_ELSEWHERE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Sizes and repeats of all measurements.

    Attributes:
        name: What this is called in the results.
        servers: Servers of ``tests/servers`` to measure on.
        populations: How many other threads there are while one is trimmed, the fewest first.
        trims: For each thread size that is trimmed, how often.
        stalls: For each thread size that is trimmed while another client looks, how often.
        documents: For each size of document that is trimmed while another client looks, how often.
        sweep_threads: Threads to sweep.
        sweep_repeats: How often.
        weighed: Threads to sweep for the memory that it takes.
        writer_seconds: How long each round of writing takes.
        writer_rounds: How many rounds there are of each kind.
        writer_threads: Threads that are written to in turns.
        distant: For each thread size that is trimmed at a distance, how often.
        turns: Turns of the conversation whose memory is shown.
    """

    name: str
    servers: tuple[str, ...]
    populations: tuple[int, ...]
    trims: Mapping[int, int]
    stalls: Mapping[int, int]
    documents: Mapping[int, int]
    sweep_threads: int
    sweep_repeats: int
    weighed: tuple[int, ...]
    writer_seconds: float
    writer_rounds: int
    writer_threads: int
    distant: Mapping[int, int]
    turns: int

    def on(self, server: str) -> Scale:
        """What is measured on one server: on all but the first it is less, so that it ends."""
        if server == self.servers[0]:
            return self
        return replace(
            self,
            sweep_threads=min(self.sweep_threads, _THREADS_ELSEWHERE),
            weighed=self.weighed[:1],
        )


QUICK = Scale(
    name="quick",
    servers=("redis-stack",),
    populations=(1_000, 10_000),
    trims={36: 5, 200: 3, 1_000: 3},
    stalls={200: 3, 1_000: 3},
    documents={5_000: 3, 500_000: 3, 5_000_000: 1},
    sweep_threads=300,
    sweep_repeats=2,
    weighed=(100, 500),
    writer_seconds=1.5,
    writer_rounds=3,
    writer_threads=5,
    distant={36: 3, 200: 3},
    turns=100,
)

FULL = Scale(
    name="full",
    servers=("redis-stack", "redis-8", "valkey-8", WITHOUT_SEARCH),
    populations=(1_000, 10_000),
    trims={36: 11, 200: 7, 1_000: 5, 10_000: 2},
    stalls={36: 7, 200: 7, 1_000: 7, 10_000: 3},
    documents={5_000: 7, 500_000: 7, 5_000_000: 3},
    sweep_threads=10_000,
    sweep_repeats=3,
    weighed=(1_000, 10_000, 30_000),
    writer_seconds=10.0,
    writer_rounds=5,
    writer_threads=20,
    distant={36: 7, 200: 5, 1_000: 5},
    turns=200,
)

TINY = Scale(
    name="tiny",
    servers=("redis-stack",),
    populations=(5, 10),
    trims={36: 1, 60: 1},
    stalls={36: 1},
    documents={5_000: 1, 50_000: 1},
    sweep_threads=10,
    sweep_repeats=1,
    weighed=(5, 10),
    writer_seconds=0.2,
    writer_rounds=1,
    writer_threads=3,
    distant={36: 1},
    turns=10,
)

SCALES = {scale.name: scale for scale in (QUICK, FULL, TINY)}
