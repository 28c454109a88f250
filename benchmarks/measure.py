"""The clock: wall time, CPU time of the server's main thread, round trips, and their medians.

Wall time is what somebody waits. On a noisy machine the CPU time of the server's main thread says
more: it is what all other clients are kept from. What asking for it costs is subtracted.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import redis

T = TypeVar("T")
TIMES = "\N{MULTIPLICATION SIGN}"
_CALIBRATIONS = 31


@dataclass(frozen=True, slots=True)
class Sample:
    """How long it took, what the server's main thread worked meanwhile, and round trips."""

    wall_ms: float
    cpu_ms: float
    trips: int


class Trips:
    """How often any counted client has sent something and waited."""

    count = 0


class _CountedConnection(redis.Connection):
    """What is sent in one go counts once, a whole pipeline too."""

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        Trips.count += 1
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]


def counted_client(port: int) -> redis.Redis:
    """A client whose round trips a `Meter` counts."""
    pool = redis.ConnectionPool(
        connection_class=_CountedConnection, host="127.0.0.1", port=port, socket_timeout=600
    )
    return redis.Redis(connection_pool=pool)


class Meter:
    """Measures one action at a time on one server."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._asking_ms = 0.0
        idle = [self.measure(lambda: None).cpu_ms for _ in range(_CALIBRATIONS)]
        self._asking_ms = statistics.median(idle)

    def measure(self, action: Callable[[], object]) -> Sample:
        """Do it once."""
        with _no_garbage_collection():
            sent, cpu = Trips.count, self._cpu_ms()
            begun = time.perf_counter()
            action()
            wall = (time.perf_counter() - begun) * 1000
            used = self._cpu_ms() - cpu - self._asking_ms
        return Sample(wall, max(used, 0.0), Trips.count - sent)

    def _cpu_ms(self) -> float:
        info = self._client.info("cpu")
        seconds = info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"]
        return float(seconds) * 1000


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def interleaved(ways: Mapping[str, Callable[[], T]], repeats: int) -> dict[str, list[T]]:
    """Do all in turns, each round beginning with another one.

    What the machine does beside it then hits all of them alike.
    """
    names = list(ways)
    results: dict[str, list[T]] = {name: [] for name in names}
    for number in range(repeats):
        at = number % len(names)
        for name in names[at:] + names[:at]:
            results[name].append(ways[name]())
    return results


def wall(samples: Sequence[Sample]) -> float:
    """The median of the wall times, in milliseconds."""
    return statistics.median(sample.wall_ms for sample in samples)


def cpu(samples: Sequence[Sample]) -> float:
    """The median of the server's CPU times, in milliseconds."""
    return statistics.median(sample.cpu_ms for sample in samples)


def trips(samples: Sequence[Sample]) -> int:
    """The median of the round trips."""
    return round(statistics.median(sample.trips for sample in samples))


def ratio(one: float, other: float) -> float:
    """How many times as much; infinite when there is nothing to compare with."""
    return one / other if other else float("inf")


def spread(values: Sequence[float]) -> str:
    """The median of some values, with the smallest and the largest."""
    return f"{short(statistics.median(values))} ({short(min(values))} to {short(max(values))})"


def short(value: float) -> str:
    """A number with about three digits."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    return f"{value:,.{digits}f}"


def times(value: float) -> str:
    """A ratio."""
    return f"{short(value)} {TIMES}"
