"""``redis-retention run``: the listener and the sweeper, as a service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any

import click

from redis_retention.cli.configured import Configured
from redis_retention.cli.connection import Settings, pass_settings
from redis_retention.cli.http import Address, http_of, http_options
from redis_retention.cli.options import as_span, global_options
from redis_retention.cli.serving import Service, serve, service_options
from redis_retention.engine import Rule
from redis_retention.policy import Policy
from redis_retention.sans_io import Operation
from redis_retention.served import Served
from redis_retention.service.daemon import Told
from redis_retention.service.rules import Options
from redis_retention.service.schedule import Schedule, as_cron, as_zone, local_zone
from redis_retention.sources.sweep import Progress, SweepResult, sweep_formats

DEFAULT_EVERY = timedelta(hours=1)


def as_time(value: str) -> str:
    """A time of day, as in ``02:00``, or a cron expression."""
    try:
        as_cron(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error
    return value.strip()


def as_time_zone(value: str) -> tzinfo:
    """A time zone by its name."""
    try:
        return as_zone(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error


def _serve(service: Service, reread: Callable[[], Service]) -> None:
    serve(service, reread, _sweep)


def _sweep(served: Served, rules: Sequence[Rule], told: Told) -> Operation[SweepResult]:
    def progress(done: Progress) -> None:
        told(done.keys / max(done.total, 1))

    return sweep_formats(served, rules, progress=progress, alone=True)


@click.command(cls=Configured, serve=_serve)
@click.option(
    "--sweep-every",
    type=as_span,
    metavar="TIME",
    help="How long after the last sweep began to sweep again.  [default: 1h, without --sweep-at]",
)
@click.option(
    "--sweep-at",
    type=as_time,
    multiple=True,
    metavar="TIME",
    help="At what time to sweep, too: 02:00, or a cron expression. May be given several times.",
)
@click.option(
    "--time-zone",
    type=as_time_zone,
    metavar="ZONE",
    help="The time zone of --sweep-at, such as Europe/Berlin.  [default: that of this machine]",
)
@http_options(default=None)
@service_options
@global_options()
@pass_settings
def run(
    settings: Settings,
    /,
    policy: Policy | None,
    trigger: int | None,
    warn_checkpoint_bytes: int | None,
    sweep_every: timedelta | None,
    sweep_at: tuple[str, ...],
    time_zone: tzinfo | None,
    http: Address | None,
    token_file: Path | None,
    read_only: bool,
    allow_host: str | None,
    **rest: Any,
) -> Service:
    """Keep all threads trimmed: listener and sweeper, as a service.

    SIGTERM ends it within a second. SIGHUP reads the configuration again. Several may run on one
    database: one of them sweeps.
    """
    if sweep_every is None and not sweep_at:
        sweep_every = DEFAULT_EVERY
    schedule = Schedule(sweep_every, sweep_at, _zone(time_zone, sweep_at))
    options = Options(policy, trigger, schedule, warn_checkpoint_bytes)
    served = http_of(http, token_file, read_only, allow_host)
    return Service(replace(settings), options, http=served, **rest)


def _zone(given: tzinfo | None, times: Sequence[str]) -> tzinfo:
    """The time zone that times are meant in; without any it is of no importance."""
    if given is not None or not times:
        return given or timezone.utc
    try:
        return local_zone()
    except ValueError as error:
        raise click.UsageError(f"{error}; say it with --time-zone") from error
