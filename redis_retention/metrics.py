"""Metrics for Prometheus: what a service has done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from redis_retention.activity import Activity, Distribution
from redis_retention.errors import RetentionError
from redis_retention.layouts.names import LAYOUT_NAMES

try:
    from prometheus_client import (
        CollectorRegistry,
        GCCollector,
        PlatformCollector,
        ProcessCollector,
    )
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector
except ImportError as error:
    raise RetentionError(
        "metrics need one more package: pip install 'redis-retention[daemon]'"
    ) from error

_PREFIX = "redis_retention_"

_COUNTERS: dict[str, str] = {
    "events": "Events of checkpoint documents that have arrived.",
    "events_dropped": "Events for which there was no room.",
    "gaps": "Times in which events may have been lost.",
    "bytes_deleted": "Memory that these took, estimated; 0 where MEMORY USAGE is not permitted.",
    "index_entries_forgotten": "Index entries of checkpoints that others have deleted.",
    "large_checkpoints": "New checkpoint documents above --warn-checkpoint-bytes.",
}
# In the order of what is counted for each storage format.
_OF_LAYOUTS: dict[str, str] = {
    "trims": "Trims of one thread.",
    "checkpoints_deleted": "Checkpoint documents deleted.",
    "keys_deleted": "Keys deleted, checkpoint documents with them.",
}
_GAUGES: dict[str, str] = {
    "listening": "Whether events arrive.",
    "threads": "Threads that the last sweep of this process has found.",
    "checkpoints": "Checkpoints that it has left.",
    "threads_refused": "Threads with which something has failed in that sweep.",
    "sweep_running": "Whether this process is sweeping.",
    "sweep_progress": "How far the sweep is, or the last one was, from 0 to 1.",
    "sweep_seconds": "How long the last sweep of this process took.",
    "sweep_finished": "When the last sweep of this process was done, in seconds since 1970.",
    "sweep_next": "When the next sweep is due, in seconds since 1970; 0 while that is not known.",
}
_LAG = "From an event to the reply of the call that has worked it off."
_SCRIPTS = "One call of a script, as the client sees it."


class Service(Protocol):
    """What is asked of the service."""

    activity: Activity

    @property
    def waiting(self) -> int:
        """Changed documents that have not been worked off."""


class _Activities(Collector):
    """The numbers of a service, read when they are asked for."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        activity = self._service.activity
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(_PREFIX + name, text, getattr(activity, name))
        # A copy: the service counts in another thread.
        layouts = dict(activity.layouts) or {LAYOUT_NAMES[0]: [0] * len(_OF_LAYOUTS)}
        for at, (name, text) in enumerate(_OF_LAYOUTS.items()):
            counts = {layout: tally[at] for layout, tally in layouts.items()}
            yield _labelled(name, text, "layout", counts)
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(_PREFIX + name, text, getattr(activity, name))
        waiting = "Changed documents that have not been worked off."
        yield GaugeMetricFamily(f"{_PREFIX}waiting", waiting, self._service.waiting)
        yield _histogram("lag_seconds", _LAG, activity.lag)
        yield _scripts(activity.scripts)
        yield _labelled("errors", "What went wrong.", "kind", activity.errors)
        yield _labelled("sweeps", "Sweeps of this process.", "outcome", activity.sweeps)


def _histogram(name: str, text: str, seen: Distribution) -> Metric:
    return HistogramMetricFamily(
        _PREFIX + name, text, buckets=seen.cumulative(), sum_value=seen.total
    )


def _scripts(scripts: dict[str, Distribution]) -> Metric:
    family = HistogramMetricFamily(f"{_PREFIX}script_seconds", _SCRIPTS, labels=["script"])
    # A copy: the service counts in another thread.
    for name, seen in dict(scripts).items():
        family.add_metric([name], buckets=seen.cumulative(), sum_value=seen.total)
    return family


def _labelled(name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, text, labels=[label])
    # A copy: the service counts in another thread.
    for value, count in dict(counts).items():
        family.add_metric([value], count)
    return family


def registry_of(service: Service) -> CollectorRegistry:
    """All metrics of a process: those of the service in it, and of Python."""
    registry = CollectorRegistry()
    registry.register(_Activities(service))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
