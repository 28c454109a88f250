"""What commands print: sentences and tables for people, one JSON object for programs."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import click
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from redis_retention.results import LayoutResult, TrimResult
from redis_retention.wording import counted

# No line of a table is as long: what is piped is not cut off or folded.
_UNLIMITED = 10_000

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_AGES = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def show(*parts: RenderableType) -> None:
    """Print texts and tables; in a pipe no line is folded."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _UNLIMITED
    for part in parts:
        console.print(part)


def show_json(value: dict[str, Any]) -> None:
    """Print one JSON object."""
    click.echo(json.dumps(value))


def shown(name: str | bytes) -> str:
    """A name from the database as one line that no terminal stumbles over."""
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def named(name: str | bytes) -> Text:
    """A name from the database, in a table."""
    return Text(shown(name), overflow="fold", no_wrap=False)


def span(time: timedelta) -> str:
    """A time as the options take it: ``7d``, ``90m``."""
    seconds = time.total_seconds()
    for unit, size in _UNITS:
        if seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"


def age(seconds: float | None) -> str:
    """An age in its largest unit: ``3d``."""
    if seconds is None:
        return "?"
    for unit, size in _AGES:
        if seconds >= size:
            return f"{seconds // size:,.0f}{unit}"
    return "now"


def show_result(result: TrimResult) -> None:
    """Print what a trim or a sweep did, as a sentence."""
    show(sentence(result))
    if len(result.layouts) > 1:
        show(*(Text(f"  {layout}: {_of_layout(one)}.") for layout, one in result.layouts.items()))
    for left in result.left_alone:
        where = f" ({left.layout})" if left.layout and len(result.layouts) > 1 else ""
        show(Text(f"Left alone: {shown(left.thread)}{where}: {left.reason}.", style="yellow"))


def _of_layout(done: LayoutResult) -> str:
    """What was done in one storage format."""
    gone = (
        f"{counted(done.checkpoints_deleted, 'checkpoint')} ({counted(done.keys_deleted, 'key')})"
    )
    return f"{gone} of {counted(done.threads, 'thread')}, {done.checkpoints_kept:,} retained"


def sentence(result: TrimResult) -> Text:
    """What a trim or a sweep did, or would do."""
    looked_at = f"{counted(result.threads, 'thread')} in {result.elapsed_ms:,.0f} ms"
    begin = f"Dry run, {looked_at}:" if result.dry_run else f"{looked_at}:"
    if not result.keys_deleted:
        retained = counted(result.checkpoints_kept, "checkpoint")
        found = f"{retained} retained" if result.checkpoints_kept else "there are no checkpoints"
        return Text(f"{begin} nothing to delete, {found}.")
    would = "would be " if result.dry_run else ""
    some = counted(result.checkpoints_deleted, "checkpoint")
    if result.threads > 1:
        some += f" of {counted(result.threads_trimmed, 'thread')}"
    keys = counted(result.keys_deleted, "key")
    return Text(
        f"{begin} {some} {would}deleted ({keys}), {result.checkpoints_kept:,} {would}retained."
    )


def new_table() -> Table:
    """A table without borders."""
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
