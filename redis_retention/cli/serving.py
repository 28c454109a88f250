"""What `listen` and `run` share: their options, the client, and the process around the service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Literal

import click
import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from redis_retention import logs
from redis_retention.cli.configured import config_option
from redis_retention.cli.connection import Settings, connect
from redis_retention.cli.options import (
    policy_options,
    trigger_option,
    warn_checkpoint_bytes_option,
)
from redis_retention.daemon import Daemon, Options, Told
from redis_retention.engine import Engine, Rule
from redis_retention.layouts import LangGraphRedis
from redis_retention.logs import logger
from redis_retention.sans_io import Operation
from redis_retention.sweeping import SweepResult
from redis_retention.transport import AsyncClient

log = logger("service")

CONNECT_SECONDS = 5.0
REPLY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that the options of a service say.

    Attributes:
        settings: Which server and which saver.
        options: What to do there.
        metrics_port: Where to serve metrics, None for nowhere.
        metrics_address: On which of the machine's addresses.
        log_format: ``text``, ``json``, or ``auto``: for people on a terminal.
        verbose: Log every single trim, too.
        check_every: Seconds between two proofs that events still arrive.
    """

    settings: Settings
    options: Options
    metrics_port: int | None
    metrics_address: str
    log_format: Literal["auto", "text", "json"]
    verbose: bool
    check_every: float


def service_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a service, beside what it is to do."""
    for option in reversed(
        (
            policy_options,
            trigger_option,
            warn_checkpoint_bytes_option,
            click.option(
                "--metrics-port",
                type=click.IntRange(0, 65535),
                metavar="PORT",
                help="Serve /metrics for Prometheus, /healthz and /readyz; 0 for any free port.",
            ),
            click.option(
                "--metrics-address",
                default="0.0.0.0",
                metavar="ADDRESS",
                show_default=True,
                help="The address of this machine on which to serve them.",
            ),
            click.option(
                "--log-format",
                type=click.Choice(["auto", "text", "json"]),
                default="auto",
                show_default=True,
                help="How to log: auto is text.",
            ),
            click.option("--verbose", is_flag=True, help="Log each trim."),
            click.option(
                "--check-every",
                type=click.FloatRange(min=0.1),
                default=15.0,
                metavar="SECONDS",
                show_default=True,
                help="How often to prove that events still arrive.",
            ),
            config_option,
        )
    ):
        function = option(function)
    return function


def serve(
    service: Service,
    reread: Callable[[], Service],
    sweep: Callable[[Engine, Sequence[Rule], Told], Operation[SweepResult]] | None = None,
) -> None:
    """Serve until told to stop."""
    logs.configure("json" if service.log_format == "json" else "text", verbose=service.verbose)
    in_cluster = is_cluster(service.settings.url)
    if in_cluster and sweep is not None:
        log.warning("this is a cluster, which cannot be swept: only new checkpoints are trimmed")
        sweep = None
    asyncio.run(_serve(service, reread, sweep, in_cluster))


def is_cluster(url: str) -> bool:
    """Ask the server, which also shows that it can be reached at all."""
    client = connect(url)
    client.close()
    return isinstance(client, redis.RedisCluster)


async def _serve(
    service: Service,
    reread: Callable[[], Service],
    sweep: Callable[[Engine, Sequence[Rule], Told], Operation[SweepResult]] | None,
    in_cluster: bool,
) -> None:
    settings = service.settings
    engine = Engine(
        LangGraphRedis(settings.checkpoint_prefix, settings.write_prefix),
        prefix=settings.prefix,
        keys_per_call=settings.keys_per_call,
        grace_ms=settings.grace // timedelta(milliseconds=1),
        # It costs a trim some 10 microseconds, and only the metrics show it.
        weigh=service.metrics_port is not None,
    )
    client = async_client(settings.url, in_cluster)

    def read_again() -> Options:
        again = reread()
        logs.set_verbose(again.verbose)
        return again.options

    daemon = Daemon(
        client,
        engine,
        service.options,
        None if sweep is None else partial(sweep, engine),
        reread=read_again,
        database=database_of(client),
        check_every=service.check_every,
    )
    with _metrics(service, daemon):
        await daemon.run()


def async_client(url: str, in_cluster: bool) -> AsyncClient:
    """A client that answers bytes and tries nothing again by itself."""
    # The service itself knows best what to try again, and when.
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": REPLY_SECONDS,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
    }
    if in_cluster:
        return redis.asyncio.RedisCluster.from_url(url, **options)
    return redis.asyncio.Redis.from_url(url, **options)


def database_of(client: AsyncClient) -> int:
    """The number of the database; a cluster has but one."""
    if isinstance(client, redis.asyncio.RedisCluster):
        return 0
    return int(client.connection_pool.connection_kwargs.get("db") or 0)


def _metrics(service: Service, daemon: Daemon) -> AbstractContextManager[object]:
    if service.metrics_port is None:
        return nullcontext()
    from redis_retention.metrics import Metrics

    return Metrics(daemon, service.metrics_address, service.metrics_port)
