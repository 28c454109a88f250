"""What commands write to standard error while they scan the whole database for some threads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from redis_retention.results import ScanProgress

_PATIENCE_SECONDS = 1.0


class _Shown:
    """A line that says why, and on a terminal a bar; both only if it takes a while."""

    def __init__(self) -> None:
        self._begun = monotonic()
        self._reason: ScanProgress | None = None
        self._bar: Progress | None = None

    def show(self, now: ScanProgress) -> None:
        if not now.keys and now.why is not None:
            self._reason = now
        if monotonic() - self._begun >= _PATIENCE_SECONDS:
            self.explain()
            if sys.stderr.isatty():
                self._advance(now)

    def explain(self) -> None:
        """Write why, once."""
        reason, self._reason = self._reason, None
        if reason is not None:
            why = f"looking at all {reason.total:,} keys, since {reason.why}; {reason.mend}"
            click.echo(why, err=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _advance(self, now: ScanProgress) -> None:
        if self._bar is None:
            columns = TextColumn("looking"), BarColumn(), MofNCompleteColumn(), TextColumn("keys")
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.add_task("", total=now.total)
            self._bar.start()
        self._bar.update(self._bar.tasks[0].id, completed=now.keys)
        if now.keys >= now.total:
            self._bar.stop()


@contextmanager
def scan_shown() -> Iterator[Callable[[ScanProgress], None]]:
    """Shows the progress of a scan that takes more than a second, and why it is necessary.

    If it takes less, the line is written at its end; if it fails, the error stands alone.
    """
    shown = _Shown()
    try:
        yield shown.show
        shown.explain()
    finally:
        shown.close()
