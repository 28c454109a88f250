"""``redis-retention sweep``: trim all threads, in one pass over the database."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.text import Text

from redis_retention import bodies
from redis_retention.cli.connection import Settings, pass_settings, retention
from redis_retention.cli.options import (
    COUNT,
    as_bytes,
    dry_run_option,
    global_options,
    policy_options,
)
from redis_retention.cli.output import show_json, show_result
from redis_retention.policy import Policy
from redis_retention.sources.sweep import Progress

_LOG_EVERY_SECONDS = 10.0


@click.command
@policy_options
@click.option("--match", metavar="GLOB", type=as_bytes, default="*", help="Only these threads.")
@click.option(
    "--trigger",
    metavar="M",
    type=COUNT,
    help="Only threads with more than M checkpoints.  [default: more than the policy keeps]",
)
@click.option(
    "--max-keys-per-second", metavar="N", type=COUNT, help="Look at no more keys than this."
)
@dry_run_option
@global_options()
@pass_settings
def sweep(
    settings: Settings,
    policy: Policy | None,
    match: bytes,
    trigger: int | None,
    max_keys_per_second: int | None,
    dry_run: bool,
) -> None:
    """Trim all threads, in one pass over the database.

    Without any option that says what to keep, the stored policies decide (see `redis-retention
    policy`). It can be interrupted at any time and started again.
    """
    with retention(settings) as found, _progress() as progress:
        result = found.sweep(
            policy,
            trigger=trigger,
            match=match,
            dry_run=dry_run,
            max_keys_per_second=max_keys_per_second,
            progress=progress,
        )
    if settings.json:
        show_json(bodies.of_trim(result))
    else:
        show_result(result)


class _Rate(ProgressColumn):
    """Keys a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal, a line now and then elsewhere; both on standard error."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("keys"),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("sweeping", total=None)

        def show(now: Progress) -> None:
            if bar.tasks[task].description != now.stage.value:
                # Rate and remaining time are those of the stage.
                bar.reset(task, description=now.stage.value)
            bar.update(task, completed=now.keys, total=now.total)

        yield show


def _lines() -> Callable[[Progress], None]:
    stage, begun, last = None, monotonic(), monotonic()

    def show(now: Progress) -> None:
        nonlocal stage, begun, last
        if now.stage is not stage:
            stage, begun = now.stage, monotonic()
        if monotonic() - last < _LOG_EVERY_SECONDS:
            return
        last = monotonic()
        rate = now.keys / max(last - begun, 0.001)
        counted = f"{now.keys:,} of {now.total:,} keys, {rate:,.0f}/s"
        click.echo(f"sweeping: {now.stage.value}, {counted}", err=True)

    return show
