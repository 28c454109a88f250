"""``redis-retention trim``: trim threads now."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click

from redis_retention.cli.connection import Settings, pass_settings, retention
from redis_retention.cli.options import (
    NO_POLICY,
    as_bytes,
    dry_run_option,
    global_options,
    indexed_only_option,
    policy_options,
)
from redis_retention.cli.output import result_json, show_json, show_result
from redis_retention.policy import Policy
from redis_retention.retention import NoPolicy

_STANDARD_INPUT = b"-"


@click.command
@click.argument("thread_ids", metavar="THREAD_ID...", nargs=-1, required=True, type=as_bytes)
@policy_options
@indexed_only_option
@dry_run_option
@global_options()
@pass_settings
def trim(
    settings: Settings,
    thread_ids: Sequence[bytes],
    policy: Policy | None,
    indexed_only: bool,
    dry_run: bool,
) -> None:
    """Trim threads now.

    THREAD_ID is taken byte for byte; - reads ids from standard input, one a line. Without any
    option that says what to keep, the stored policies decide (see `redis-retention policy`).
    """
    threads = list(_threads(thread_ids))
    with retention(settings) as found:
        try:
            result = found.trim(threads, policy, indexed_only=indexed_only, dry_run=dry_run)
        except NoPolicy as error:
            raise click.UsageError(f"{error}: {NO_POLICY}") from error
    if settings.json:
        show_json(result_json(result))
    else:
        show_result(result)


def _threads(thread_ids: Sequence[bytes]) -> Iterator[bytes]:
    for thread_id in thread_ids:
        if thread_id == _STANDARD_INPUT:
            lines = sys.stdin.buffer.read().split(b"\n")
            yield from (line for line in lines if line)
        else:
            yield thread_id
