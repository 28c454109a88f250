"""Metrics, and whether the service is alive and ready."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import redis
from prometheus_client.parser import text_string_to_metric_families

from tests.daemon.conftest import POLICY
from tests.daemon.proxy import Proxy
from tests.daemon.service import Service, eventually
from tests.daemon.writers import Writer, shrunk
from tests.servers.start import Server

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana-dashboard.json"


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def samples(port: int) -> dict[str, float]:
    _, text = get(port, "/metrics")
    families = text_string_to_metric_families(text)
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_metrics_and_health(
    redis_stack: Server, stack: redis.Redis, service: Callable[..., Service]
) -> None:
    with Proxy(redis_stack.port) as proxy:
        running = service(proxy.url, *POLICY, "--metrics-port", "0")
        port = running.wait_for("serving metrics")["port"]
        running.wait_for("swept")
        assert get(port, "/healthz") == (200, "ok\n")
        assert get(port, "/readyz") == (200, "ok\n")
        writer = Writer(redis_stack.client(), ["a", "b"])
        writer.write(40)
        eventually(lambda: shrunk(stack, writer, 30))
        eventually(lambda: samples(port)["redis_retention_trims_total"] >= 2)
        # The trims are done before the last documents are.
        eventually(lambda: samples(port)["redis_retention_lag_seconds_count"] >= 80)
        found = samples(port)
        assert found["redis_retention_events_total"] >= 80
        assert found["redis_retention_checkpoints_deleted_total"] >= 40
        # Documents of at least a hundred bytes each, with their writes.
        assert found["redis_retention_bytes_deleted_total"] >= 40 * 100
        assert found["redis_retention_sweep_progress"] == 1
        assert found["redis_retention_script_seconds_count"] >= 1
        assert found["redis_retention_listening"] == 1
        proxy.cut()
        eventually(lambda: get(port, "/readyz")[0] == 503)
        assert get(port, "/healthz")[0] == 200
        assert get(port, "/")[0] == 404


def test_the_dashboard_shows_only_metrics_that_there_are(
    redis_stack: Server, stack: redis.Redis, service: Callable[..., Service]
) -> None:
    running = service(redis_stack, *POLICY, "--metrics-port", "0")
    port = running.wait_for("serving metrics")["port"]
    running.wait_for("swept")
    # Nothing has gone wrong, and there was nothing to call a script for.
    unseen = {"redis_retention_errors_total", "redis_retention_script_seconds_bucket"}
    known = set(samples(port)) | unseen
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    shown = {
        word
        for panel in panels
        for target in panel.get("targets", ())
        for word in target["expr"].replace("(", " ").replace("[", " ").replace(")", " ").split()
        if word.startswith("redis_retention_")
    }
    assert shown
    assert shown <= known


def test_a_port_that_is_taken(redis_stack: Server, service: Callable[..., Service]) -> None:
    running = service(redis_stack, *POLICY, "--metrics-port", str(redis_stack.port))
    assert running.process.wait(20) == 1
    assert "choose another port" in running.output()
