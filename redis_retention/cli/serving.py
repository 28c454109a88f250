"""What `listen` and `run` share: their options, the client, and the process around the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import click

from redis_retention import logs
from redis_retention.cli.api import open_backend, serve_api
from redis_retention.cli.configured import config_option
from redis_retention.cli.connection import Settings, async_client, database_of, is_cluster
from redis_retention.cli.http import HttpOptions
from redis_retention.cli.options import (
    policy_options,
    together,
    trigger_option,
    warn_checkpoint_bytes_option,
)
from redis_retention.engine import Rule
from redis_retention.errors import RetentionError
from redis_retention.logs import logger
from redis_retention.sans_io import Operation
from redis_retention.served import Served
from redis_retention.service.daemon import Daemon, Told
from redis_retention.service.rules import Options
from redis_retention.service.sweeping import SweepResult

if TYPE_CHECKING:
    from redis_retention.http.backend import Backend

log = logger("service")


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
        http: How to serve the HTTP API, None for not at all.
    """

    settings: Settings
    options: Options
    metrics_port: int | None
    metrics_address: str
    log_format: Literal["auto", "text", "json"]
    verbose: bool
    check_every: float
    http: HttpOptions | None = None


log_format_option = click.option(
    "--log-format",
    type=click.Choice(["auto", "text", "json"]),
    default="auto",
    show_default=True,
    help="How to log: auto is text.",
)


service_options = together(
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
    log_format_option,
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


def serve(
    service: Service,
    reread: Callable[[], Service],
    sweep: Callable[[Served, Sequence[Rule], Told], Operation[SweepResult]] | None = None,
) -> None:
    """Serve until told to stop."""
    logs.configure("json" if service.log_format == "json" else "text", verbose=service.verbose)
    in_cluster = is_cluster(service.settings.url)
    if in_cluster and sweep is not None:
        log.warning("this is a cluster, which cannot be swept: only new checkpoints are trimmed")
        sweep = None
    asyncio.run(_serve(service, reread, sweep, in_cluster))


async def _serve(
    service: Service,
    reread: Callable[[], Service],
    sweep: Callable[[Served, Sequence[Rule], Told], Operation[SweepResult]] | None,
    in_cluster: bool,
) -> None:
    settings = service.settings
    # It costs a trim some 10 microseconds, and only the metrics and the page show it.
    shown = service.metrics_port is not None or service.http is not None
    served = settings.served(estimate_memory=shown)
    client = async_client(settings.url, in_cluster)
    given = service.options
    async with AsyncExitStack() as serving:
        backend: Backend | None = None
        if service.http is not None:
            opened = open_backend(settings, in_cluster, given.policy, given.trigger)
            backend = await serving.enter_async_context(opened)

        def read_again() -> Options:
            again = reread()
            logs.set_verbose(again.verbose)
            if backend is not None:
                backend.use(again.options.policy, again.options.trigger)
            return again.options

        daemon = Daemon(
            client,
            served,
            given,
            None if sweep is None else partial(sweep, served),
            reread=read_again,
            database=database_of(client),
            check_every=service.check_every,
        )
        if service.metrics_port is not None:
            await serving.enter_async_context(_metrics(service, daemon))
        if backend is not None and service.http is not None:
            await serving.enter_async_context(serve_api(backend, service.http, daemon))
        await daemon.run()


@asynccontextmanager
async def _metrics(service: Service, daemon: Daemon) -> AsyncIterator[None]:
    try:
        from redis_retention.http.probes import application
        from redis_retention.http.serving import bind, serving
    except ImportError as error:
        raise RetentionError(
            "metrics need more packages: pip install 'redis-retention[daemon]'"
        ) from error
    assert service.metrics_port is not None
    listening = bind(service.metrics_address, service.metrics_port, "--metrics-port")
    async with serving(application(daemon), listening, "metrics"):
        yield
