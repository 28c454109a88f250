"""``redis-retention listen``: the listener alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from redis_retention.cli.configured import Configured
from redis_retention.cli.connection import Settings, pass_settings
from redis_retention.cli.options import global_options
from redis_retention.cli.serving import Service, serve, service_options
from redis_retention.policy import Policy
from redis_retention.service.rules import Options


@click.command(cls=Configured, serve=serve)
@service_options
@global_options()
@pass_settings
def listen(
    settings: Settings,
    /,
    policy: Policy | None,
    trigger: int | None,
    warn_checkpoint_bytes: int | None,
    **rest: Any,
) -> Service:
    """Trim each thread the moment it crosses its trigger.

    It does not trim what was there before, or what is written while it does not run: that takes
    `redis-retention sweep`. `redis-retention run` does both.
    """
    if policy is not None and trigger is None:
        raise click.UsageError("say when to trim, as in --trigger 30")
    options = Options(policy, trigger, None, warn_checkpoint_bytes)
    return Service(replace(settings), options, **rest)
