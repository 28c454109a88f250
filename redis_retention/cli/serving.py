"""What `listen` and `run` share: their options, the client, and the process around the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import click
import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from redis_retention import logs
from redis_retention.cli.configured import config_option
from redis_retention.cli.connection import Settings, connect
from redis_retention.cli.http import HttpOptions
from redis_retention.cli.options import policy_options, trigger_option, warn_checkpoint_bytes_option
from redis_retention.daemon import Daemon, Options, Told
from redis_retention.engine import Engine, Rule
from redis_retention.errors import RetentionError
from redis_retention.logs import logger
from redis_retention.policy import Policy
from redis_retention.sans_io import Operation
from redis_retention.sweeping import SweepResult
from redis_retention.transport import AsyncClient

if TYPE_CHECKING:
    from redis_retention.http.backend import Backend

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
    # It costs a trim some 10 microseconds, and only the metrics and the page show it.
    shown = service.metrics_port is not None or service.http is not None
    engine = settings.served(estimate_memory=shown).first
    client = async_client(settings.url, in_cluster)

    follow: list[Callable[[Options], None]] = []

    def read_again() -> Options:
        again = reread()
        logs.set_verbose(again.verbose)
        for told in follow:
            told(again.options)
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
    async with AsyncExitStack() as serving:
        if service.metrics_port is not None:
            await serving.enter_async_context(_metrics(service, daemon))
        if service.http is not None:
            options = service.options
            api = api_of(
                settings, service.http, in_cluster, options.policy, options.trigger, daemon
            )
            backend = await serving.enter_async_context(api)
            follow.append(lambda now: backend.use(now.policy, now.trigger))
        await daemon.run()


@asynccontextmanager
async def api_of(
    settings: Settings,
    http: HttpOptions,
    in_cluster: bool,
    policy: Policy | None,
    trigger: int | None,
    daemon: Daemon | None = None,
) -> AsyncIterator[Backend]:
    """Serves the HTTP API while the context lasts.

    Args:
        settings: Which server and which saver.
        http: How to serve it.
        in_cluster: Whether the server is one of a cluster.
        policy: What to keep where no stored policy but the default counts.
        trigger: The trigger that goes with it.
        daemon: The daemon of this process.

    Raises:
        RetentionError: The port is taken, or packages are missing.
    """
    try:
        from redis_retention.http.access import Access
        from redis_retention.http.app import application
        from redis_retention.http.backend import Backend
        from redis_retention.http.serving import bind, serving
    except ImportError as error:
        raise RetentionError(
            "the HTTP API needs more packages: pip install 'redis-retention[http]'"
        ) from error

    # Requests are patient with a connection that has broken meanwhile.
    client = async_client(settings.url, in_cluster, retries=1)
    backend = Backend(
        client,
        policy,
        trigger=trigger,
        checkpoint_prefix=settings.checkpoint_prefix,
        write_prefix=settings.write_prefix,
        go_prefix=settings.go_prefix,
        zset_prefix=settings.zset_prefix,
        layout=settings.layouts,
        prefix=settings.prefix,
        keys_per_call=settings.keys_per_call,
        max_stall=settings.max_stall,
        grace=settings.grace,
    )
    try:
        app = application(backend, Access(http.token, http.read_only, http.hosts), daemon)
        listening = bind(http.address.host, http.address.port, "--http")
        async with serving(app, listening, "the HTTP API"):
            yield backend
    finally:
        with suppress(RedisError, OSError):
            await client.aclose()


def async_client(url: str, in_cluster: bool, retries: int = 0) -> AsyncClient:
    """A client that answers bytes.

    Args:
        url: Where the server is.
        in_cluster: Whether it is one of a cluster.
        retries: How often to try again by itself what a broken connection has prevented: a
            service knows best what to try again, and when.
    """
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": REPLY_SECONDS,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), retries),
    }
    if in_cluster:
        return redis.asyncio.RedisCluster.from_url(url, **options)
    return redis.asyncio.Redis.from_url(url, **options)


def database_of(client: AsyncClient) -> int:
    """The number of the database; a cluster has but one."""
    if isinstance(client, redis.asyncio.RedisCluster):
        return 0
    return int(client.connection_pool.connection_kwargs.get("db") or 0)


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
