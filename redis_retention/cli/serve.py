"""``redis-retention serve``: the HTTP API and its page, by themselves."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import click

from redis_retention import logs
from redis_retention.cli.api import open_backend, serve_api
from redis_retention.cli.configured import Configured, config_option
from redis_retention.cli.connection import Settings, is_cluster, pass_settings
from redis_retention.cli.http import DEFAULT_ADDRESS, HttpOptions, http_of, http_options
from redis_retention.cli.options import global_options, policy_options, trigger_option
from redis_retention.cli.serving import log_format_option
from redis_retention.logs import logger
from redis_retention.policy import Policy

log = logger("service")


@dataclass(frozen=True, slots=True)
class _Serving:
    """Everything that the options say."""

    settings: Settings
    http: HttpOptions
    policy: Policy | None
    trigger: int | None
    log_format: Literal["auto", "text", "json"]


def _serve(options: _Serving, _: Callable[[], _Serving]) -> None:
    logs.configure("json" if options.log_format == "json" else "text")
    asyncio.run(_serve_until_told(options, is_cluster(options.settings.url)))


async def _serve_until_told(options: _Serving, in_cluster: bool) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    opened = open_backend(options.settings, in_cluster, options.policy, options.trigger)
    async with opened as backend, serve_api(backend, options.http):
        await stop.wait()
        log.info("stopping")
    log.info("stopped")


@click.command(cls=Configured, serve=_serve)
@policy_options
@trigger_option
@http_options(default=DEFAULT_ADDRESS)
@log_format_option
@config_option
@global_options()
@pass_settings
def serve(
    settings: Settings,
    /,
    policy: Policy | None,
    trigger: int | None,
    log_format: Literal["auto", "text", "json"],
    **http: Any,
) -> _Serving:
    """Serve the HTTP API, and a page to look at it.

    The policy given here counts where a request does not say what to keep and no stored policy
    but the default matches. `redis-retention run --http` serves the same beside the daemon.
    """
    served = http_of(**http)
    assert served is not None
    return _Serving(replace(settings), served, policy, trigger, log_format)
