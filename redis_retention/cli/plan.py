"""``redis-retention plan``: what a trim would do to each checkpoint of a thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone

import click
from rich.table import Table
from rich.text import Text

from redis_retention import bodies
from redis_retention.cli.connection import Settings, pass_settings, retention
from redis_retention.cli.options import as_bytes, global_options, look_in_options, policy_options
from redis_retention.cli.output import age, named, new_table, show, show_json, shown
from redis_retention.cli.scanning import scan_shown
from redis_retention.operations.named import LookIn
from redis_retention.operations.pins import Pin
from redis_retention.operations.plan import REASONS, Plan, PlannedCheckpoint
from redis_retention.policy import Policy
from redis_retention.wording import counted, size


@click.command
@click.argument("thread_id", metavar="THREAD_ID", type=as_bytes)
@policy_options
@look_in_options
@global_options()
@pass_settings
def plan(settings: Settings, thread_id: bytes, policy: Policy | None, look_in: LookIn) -> None:
    """Show what a trim would do to each checkpoint of a thread, and why."""
    with retention(settings) as found:
        with scan_shown() as on_scan:
            made = found.plan(thread_id, policy, look_in=look_in, on_scan=on_scan)
        pins = found.pins(thread_id)
    if settings.json:
        show_json(bodies.of_plan(made))
    else:
        unknown = "has no checkpoints that its index knows"
        show_plan(made, pins, unknown if look_in == "index" else "has no checkpoints")


def show_plan(made: Plan, pins: Sequence[Pin] = (), nothing: str = "has no checkpoints") -> None:
    """Print a plan for people; `nothing` is said where there is nothing to show."""
    if made.left_alone is not None:
        show(Text(f"Thread {shown(made.thread)} would be left alone: {made.left_alone}."))
        return
    if not made.checkpoints:
        show(Text(f"Thread {shown(made.thread)} {nothing}."))
        return
    show(
        Text(f"Thread {shown(made.thread)}", style="bold"),
        table(made.checkpoints, {(pin.namespace, pin.checkpoint_id): pin.note for pin in pins}),
        *legend(made.kept),
        totals(made),
    )


def table(
    checkpoints: Iterable[PlannedCheckpoint | None],
    notes: Mapping[tuple[str | None, str | None], str] | None = None,
) -> Table:
    """Checkpoints, each with its fate.

    Args:
        checkpoints: The rows; None stands for some that are left out.
        notes: Notes of pins by namespace and id; both are None for the whole thread.
    """
    rows, notes = list(checkpoints), notes or {}
    now = datetime.now(timezone.utc)
    subgraphs = any(one is not None and one.namespace for one in rows)
    made = new_table()
    # Narrowed last, and then folded after all: `named` says so of its cells.
    made.add_column("checkpoint", no_wrap=True)
    if subgraphs:
        made.add_column("namespace", overflow="fold", min_width=9)
    for title in ("age", "step"):
        made.add_column(title, justify="right", no_wrap=True)
    made.add_column("source", no_wrap=True)
    made.add_column("size", justify="right", no_wrap=True)
    made.add_column("fate", overflow="fold")
    for one in rows:
        if one is None:
            made.add_row("…", style="dim")
            continue
        made.add_row(
            named(one.checkpoint_id),
            *([named(one.namespace)] if subgraphs else []),
            age(one.age_seconds(now)),
            "?" if one.step is None else str(one.step),
            Text(shown(one.source or "?")),
            size(one.size),
            _fate(one, notes),
            style=None if one.kept else "dim",
        )
    return made


def _fate(one: PlannedCheckpoint, notes: Mapping[tuple[str | None, str | None], str]) -> Text:
    if not one.kept:
        return Text("delete", style="red")
    fate = Text(f"retain: {', '.join(one.reasons)}", style="green")
    note = notes.get((one.namespace, one.checkpoint_id)) or notes.get((None, None))
    if "pinned" in one.reasons and note:
        fate.append(f" ({shown(note)})")
    return fate


def legend(retained: Iterable[PlannedCheckpoint]) -> list[Text]:
    """What the given reasons mean."""
    given = {reason for one in retained for reason in one.reasons}
    return [
        Text(f"{reason:>10}  {meaning}", style="dim")
        for reason, meaning in REASONS.items()
        if reason in given
    ]


def totals(made: Plan) -> Text:
    """How much is retained, how much is deleted."""
    retained, deleted = len(made.kept), len(made.deleted)
    are = "is" if retained == 1 else "are"
    text = Text(f"\n{counted(retained, 'checkpoint')} {are} retained, ")
    text.append(f"{deleted:,} deleted", style="bold")
    if deleted:
        text.append(f", with {counted(sum(one.keys for one in made.deleted), 'key')}")
    if deleted and made.bytes_deleted is not None:
        text.append(f" and {size(made.bytes_deleted)} of memory")
    return text.append(".")
