"""``redis-retention trim``: trim threads now."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click

from redis_retention import bodies
from redis_retention.cli.connection import Settings, pass_settings, retention
from redis_retention.cli.options import (
    as_bytes,
    dry_run_option,
    global_options,
    look_in_options,
    policy_options,
)
from redis_retention.cli.output import show_json, show_result
from redis_retention.cli.scanning import scan_shown
from redis_retention.errors import RetentionError
from redis_retention.operations.named import LookIn
from redis_retention.policy import Policy

_STANDARD_INPUT = b"-"


@click.command
@click.argument("thread_ids", metavar="THREAD_ID...", nargs=-1, required=True, type=as_bytes)
@policy_options
@look_in_options
@dry_run_option
@global_options()
@pass_settings
def trim(
    settings: Settings,
    thread_ids: Sequence[bytes],
    policy: Policy | None,
    look_in: LookIn,
    dry_run: bool,
) -> None:
    """Trim threads now.

    THREAD_ID is taken byte for byte; - reads ids from standard input, one a line. Without any
    option that says what to keep, the stored policies decide (see `redis-retention policy`).
    """
    threads = list(_threads(thread_ids))
    with retention(settings) as found, scan_shown() as on_scan:
        result = found.trim(threads, policy, look_in=look_in, dry_run=dry_run, on_scan=on_scan)
    if settings.json:
        show_json(bodies.of_trim(result))
    else:
        show_result(result)
    if result.threads_refused:
        raise RetentionError(
            f"{result.threads_refused} of {len(threads)} threads could not be trimmed: "
            f"{result.left_alone[0].reason}"
        )


def _threads(thread_ids: Sequence[bytes]) -> Iterator[bytes]:
    for thread_id in thread_ids:
        if thread_id == _STANDARD_INPUT:
            lines = sys.stdin.buffer.read().split(b"\n")
            yield from (line for line in lines if line)
        else:
            yield thread_id
