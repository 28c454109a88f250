"""Metrics for Prometheus: what a service has done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
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


def _described(kind: str) -> dict[str, str]:
    """What of an `Activity` is such a metric, and its text."""
    return {one.name: one.metadata[kind] for one in fields(Activity) if kind in one.metadata}


_COUNTERS, _OF_LAYOUTS, _GAUGES = map(_described, ("counter", "of_layouts", "gauge"))
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
