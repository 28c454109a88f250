"""The clock: wall time, CPU time of the server's main thread, round trips, medians, spread.

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
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import ResponseError

INDEXES = ("checkpoint", "checkpoint_write")
TIMES = "\N{MULTIPLICATION SIGN}"
_CALIBRATIONS = 31
_SETTLE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement.

    Attributes:
        wall_ms: How long it took.
        cpu_ms: What the server's main thread worked meanwhile.
        trips: How often the client sent something and waited.
    """

    wall_ms: float
    cpu_ms: float
    trips: int


class _Trips:
    """How often any counted client has sent something."""

    count = 0


class CountedConnection(redis.Connection):
    """Counts round trips: what is sent in one go counts once, a whole pipeline too."""

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        _Trips.count += 1
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]


def counted_client(port: int) -> redis.Redis:
    """A client whose round trips a `Meter` counts."""
    pool = redis.ConnectionPool(
        connection_class=CountedConnection, host="127.0.0.1", port=port, socket_timeout=600
    )
    client = redis.Redis(connection_pool=pool)
    client.ping()
    return client


class Meter:
    """Measures one action at a time on one server."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._asking_ms = 0.0
        idle = [self.measure(lambda: None).cpu_ms for _ in range(_CALIBRATIONS)]
        self._asking_ms = statistics.median(idle)

    def measure(self, action: Callable[[], object], trips: int | None = None) -> Sample:
        """Do it once.

        Args:
            action: What to do.
            trips: Its round trips, where it is no counted client that makes them.
        """
        with _no_garbage_collection():
            sent, cpu = _Trips.count, self._cpu_ms()
            begun = time.perf_counter()
            action()
            wall = (time.perf_counter() - begun) * 1000
            used = self._cpu_ms() - cpu - self._asking_ms
        return Sample(wall, max(used, 0.0), _Trips.count - sent if trips is None else trips)

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


def settle(client: redis.Redis) -> None:
    """Let the server finish what it does by itself, so that no measurement pays for it.

    RediSearch collects garbage, and freed memory is given back in the background.
    """
    collect_garbage(client)
    while client.info("memory")["lazyfree_pending_objects"]:
        time.sleep(0.001)
    time.sleep(_SETTLE_SECONDS)


def collect_garbage(client: redis.Redis) -> None:
    """Let RediSearch collect its garbage now."""
    _of_each_index(client, "GC_FORCEINVOKE")


def keep_garbage(client: redis.Redis) -> None:
    """Let RediSearch collect garbage only when it is told to.

    By itself it does so every 30 s after something was deleted, in a fork: of a server that holds
    much, all clients wait for the fork, and until it ends each page of memory that is written to
    is copied first, whoever writes. That would hit one measurement and not the other.
    """
    _of_each_index(client, "GC_STOP_SCHEDULE")


def _of_each_index(client: redis.Redis, what: str) -> None:
    for index in INDEXES:
        # Some servers do not let it be asked for.
        with contextlib.suppress(ResponseError):
            client.execute_command("FT.DEBUG", what, index)  # type: ignore[no-untyped-call]


def interleaved(
    variants: Mapping[str, Callable[[], Sample]], repeats: int
) -> dict[str, list[Sample]]:
    """Measure all variants in turns, each round beginning with another one.

    What the machine does beside it then hits all of them alike.
    """
    names = list(variants)
    samples: dict[str, list[Sample]] = {name: [] for name in names}
    for number in range(repeats):
        at = number % len(names)
        for name in names[at:] + names[:at]:
            samples[name].append(variants[name]())
    return samples


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values, their smallest and their largest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{short(self.median)} ({short(self.low)} to {short(self.high)})"


def spread(values: Sequence[float]) -> Spread:
    """The median and the range of some values."""
    return Spread(statistics.median(values), min(values), max(values))


def wall(samples: Sequence[Sample]) -> Spread:
    return spread([sample.wall_ms for sample in samples])


def cpu(samples: Sequence[Sample]) -> Spread:
    return spread([sample.cpu_ms for sample in samples])


def trips(samples: Sequence[Sample]) -> int:
    return round(statistics.median(sample.trips for sample in samples))


def short(value: float) -> str:
    """A number with about three digits."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    return f"{value:,.{digits}f}"


def times(value: float) -> str:
    """A ratio."""
    return f"{short(value)} {TIMES}"


def memory_of(process: int | str = "self") -> tuple[float, float]:
    """Megabytes of memory that a process has, and that it had at most."""
    found = {}
    for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "VmHWM"):
            found[name] = int(value.split()[0]) / 1024
    return found["VmRSS"], found["VmHWM"]
