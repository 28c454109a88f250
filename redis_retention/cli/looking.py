"""What commands say on standard error while they look at the whole database for some threads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from redis_retention.retention import Looking

_PATIENCE_SECONDS = 1.0


@contextmanager
def looking_shown() -> Iterator[Callable[[Looking], None]]:
    """A line that says why, if nobody has asked for it, and on a terminal a bar after a second."""
    with ExitStack() as stack:
        bar: Progress | None = None
        begun = monotonic()

        def show(now: Looking) -> None:
            nonlocal bar
            if not now.keys and now.why:
                click.echo(
                    f"looking at all {now.total:,} keys, since {now.why}; {now.mend}", err=True
                )
            if bar is None:
                if not sys.stderr.isatty() or monotonic() - begun < _PATIENCE_SECONDS:
                    return
                columns = TextColumn("looking"), BarColumn(), MofNCompleteColumn()
                console = Console(stderr=True)
                bar = stack.enter_context(Progress(*columns, console=console, transient=True))
                bar.add_task("", total=now.total)
            bar.update(bar.tasks[0].id, completed=now.keys)
            if now.keys >= now.total:
                # Before anything else is printed.
                bar.stop()

        yield show
