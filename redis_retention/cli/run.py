"""``redis-retention run``: the listener and the sweeper, as a service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import click

from redis_retention.cli.configured import Configured
from redis_retention.cli.connection import Settings, pass_settings
from redis_retention.cli.http import Address, http_of, http_options
from redis_retention.cli.options import as_span, global_options
from redis_retention.cli.serving import Service, serve, service_options
from redis_retention.daemon import Options, Told
from redis_retention.engine import Engine, Rule
from redis_retention.policy import Policy
from redis_retention.sources.sweep import Progress, Sweeper, SweepResult
from redis_retention.sweeping import Schedule
from redis_retention.transport import Steps

DEFAULT_EVERY = timedelta(hours=1)


def as_time_of_day(value: str) -> time:
    """A time of day, as in ``02:00``."""
    try:
        return datetime.strptime(value, "%H:%M").time()
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a time of day such as 02:00.") from error


def _serve(service: Service, reread: Callable[[], Service]) -> None:
    serve(service, reread, _sweep)


def _sweep(engine: Engine, rules: Sequence[Rule], told: Told) -> Steps[SweepResult]:
    def progress(done: Progress) -> None:
        told(done.keys / max(done.total, 1))

    return Sweeper(engine, rules, progress=progress).steps()


@click.command(cls=Configured, serve=_serve)
@click.option(
    "--sweep-every",
    type=as_span,
    metavar="TIME",
    help="How long after the last sweep began to sweep again.  [default: 1h, without --sweep-at]",
)
@click.option(
    "--sweep-at",
    type=as_time_of_day,
    metavar="HH:MM",
    help="At what time of day to sweep, by the clock of this machine.",
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
    sweep_every: timedelta | None,
    sweep_at: time | None,
    http: Address | None,
    token_file: Path | None,
    read_only: bool,
    allow_host: str | None,
    **rest: Any,
) -> Service:
    """Trim all threads by itself: the listener and the sweeper, as a service.

    SIGTERM ends it within a second. SIGHUP reads the configuration again. Several may run on one
    database: one of them sweeps.
    """
    if sweep_every is None and sweep_at is None:
        sweep_every = DEFAULT_EVERY
    schedule = Schedule(sweep_every, sweep_at)
    served = http_of(http, token_file, read_only, allow_host)
    options = Options(policy, trigger, schedule)
    return Service(replace(settings), options, http=served, **rest)
