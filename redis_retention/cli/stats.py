"""``redis-retention stats``: how much there is."""

from __future__ import annotations

import click
from rich import box
from rich.table import Table
from rich.text import Text

from redis_retention import bodies
from redis_retention.cli.connection import Settings, pass_settings, retention
from redis_retention.cli.options import global_options, warn_checkpoint_bytes_option
from redis_retention.cli.output import named, show, show_json
from redis_retention.operations.stats import LayoutSize, Stats
from redis_retention.wording import counted, size


@click.command
@click.option(
    "--top",
    type=click.IntRange(min=0),
    default=20,
    metavar="N",
    show_default=True,
    help="How many of the largest threads to show.",
)
@warn_checkpoint_bytes_option
@global_options()
@pass_settings
def stats(settings: Settings, /, top: int, warn_checkpoint_bytes: int | None) -> None:
    """Show how many threads and checkpoints there are, and how large.

    It is read from the indexes, which a sweep completes; sizes are estimated from samples.
    """
    with retention(settings) as it:
        found = it.stats(top, warn_checkpoint_bytes)
    if settings.json:
        show_json(bodies.of_stats(found))
    else:
        show_stats(found, warn_checkpoint_bytes)


def show_stats(found: Stats, above: int | None = None) -> None:
    """Print the numbers for people.

    Args:
        found: The numbers.
        above: Above how many bytes a checkpoint is large.
    """
    if not found.threads:
        show(Text("No thread is indexed; `redis-retention sweep` indexes all there are."))
        return
    total = f"{counted(found.threads, 'thread')}, {counted(found.checkpoints, 'checkpoint')}"
    if found.bytes is not None:
        total += f", about {size(found.bytes)} (estimated from {found.sampled:,} of them)"
    show(Text(total + "."))
    if len(found.layouts) > 1:
        show(*(Text(f"  {layout}: {_of_layout(one)}.") for layout, one in found.layouts.items()))
    if found.largest:
        show(_table(found))
    if above is not None:
        show(Text(_sentence_of_large(found, above)))
        if found.largest_checkpoints:
            show(_table_of_large(found))


def _of_layout(one: LayoutSize) -> str:
    """How much there is in one storage format."""
    known = f"{counted(one.threads, 'thread')}, {counted(one.checkpoints, 'checkpoint')}"
    return known if one.bytes is None else f"{known}, about {size(one.bytes)}"


def _sentence_of_large(found: Stats, above: int) -> str:
    if found.large_checkpoints is None:
        return "The server does not tell how large checkpoints are (MEMORY USAGE)."
    threads = counted(found.large_checkpoints, "thread")
    has = "has" if found.large_checkpoints == 1 else "have"
    return f"{threads} {has} a newest checkpoint above {size(above)}."


def _table_of_large(found: Stats) -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("thread", overflow="fold")
    made.add_column("checkpoint", overflow="fold")
    made.add_column("bytes", justify="right", no_wrap=True)
    for one in found.largest_checkpoints:
        made.add_row(named(one.thread), named(one.checkpoint_id), size(one.size))
    return made


def _table(found: Stats) -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("thread", overflow="fold")
    made.add_column("checkpoints", justify="right", no_wrap=True)
    made.add_column("about", justify="right", no_wrap=True)
    for one in found.largest:
        made.add_row(named(one.thread), f"{one.checkpoints:,}", size(one.bytes))
    return made
