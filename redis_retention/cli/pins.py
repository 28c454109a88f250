"""``redis-retention pin``, ``unpin`` and ``pins``: what is retained whatever the policy says."""

from __future__ import annotations

import click
from rich.table import Table
from rich.text import Text

from redis_retention import bodies
from redis_retention.cli.connection import Settings, pass_settings, retention
from redis_retention.cli.options import Function, as_bytes, global_options
from redis_retention.cli.output import named, new_table, show, show_json, shown
from redis_retention.engine import Place
from redis_retention.operations.pins import Pin


def _place_options(function: Function) -> Function:
    namespace = click.option(
        "--namespace", metavar="NS", type=as_bytes, default=b"", help="The checkpoint's subgraph."
    )
    checkpoint = click.argument("checkpoint_id", type=as_bytes, required=False)
    thread = click.argument("thread_id", type=as_bytes)
    return thread(checkpoint(namespace(function)))


@click.command
@_place_options
@click.option("--note", metavar="TEXT", default="", help="Why it is pinned.")
@global_options()
@pass_settings
def pin(
    settings: Settings,
    thread_id: bytes,
    checkpoint_id: bytes | None,
    namespace: bytes,
    note: str,
) -> None:
    """Keep a checkpoint, or the whole thread, whatever a policy says."""
    _require_checkpoint(checkpoint_id, namespace)
    with retention(settings) as found:
        found.pin(thread_id, checkpoint_id, namespace=namespace, note=note)
    if settings.json:
        show_json(bodies.of_pinned(thread_id, _pin(checkpoint_id, namespace, note)))
    else:
        show(Text(f"Pinned {_what(thread_id, checkpoint_id)}."))


@click.command
@_place_options
@global_options()
@pass_settings
def unpin(
    settings: Settings, thread_id: bytes, checkpoint_id: bytes | None, namespace: bytes
) -> None:
    """Remove the pin of a checkpoint, or of the whole thread."""
    _require_checkpoint(checkpoint_id, namespace)
    with retention(settings) as found:
        unpinned = found.unpin(thread_id, checkpoint_id, namespace=namespace)
    if settings.json:
        show_json(bodies.of_unpinned(thread_id, _pin(checkpoint_id, namespace), unpinned))
    elif unpinned:
        show(Text(f"No longer pinned: {_what(thread_id, checkpoint_id)}."))
    else:
        show(Text(f"Not pinned: {_what(thread_id, checkpoint_id)}."))


@click.command
@click.argument("thread_id", type=as_bytes, required=False)
@click.option("--all", "all_threads", is_flag=True, help="Show the pins of all threads.")
@global_options()
@pass_settings
def pins(settings: Settings, thread_id: bytes | None, all_threads: bool) -> None:
    """Show what is pinned of a thread, or of all."""
    if all_threads == (thread_id is not None):
        raise click.UsageError("give a THREAD_ID or --all")
    if thread_id is None:
        _show_all(settings)
        return
    with retention(settings) as found:
        pinned = found.pins(thread_id)
    if settings.json:
        show_json(bodies.of_pins(thread_id, pinned))
    elif pinned:
        show(Text(f"Thread {shown(thread_id)}", style="bold"), _table(pinned))
    else:
        show(Text(f"Nothing is pinned of thread {shown(thread_id)}."))


def _show_all(settings: Settings) -> None:
    with retention(settings) as found:
        pinned = found.all_pins()
    if settings.json:
        show_json(bodies.of_all_pins(pinned))
    elif not pinned:
        show(Text("Nothing is pinned."))
    for thread, some in pinned.items() if not settings.json else ():
        show(Text(f"Thread {shown(thread)}", style="bold"), _table(some))


def _require_checkpoint(checkpoint_id: bytes | None, namespace: bytes) -> None:
    if namespace and checkpoint_id is None:
        raise click.UsageError("--namespace goes with a CHECKPOINT_ID")


def _pin(checkpoint_id: bytes | None, namespace: bytes, note: str = "") -> Pin:
    return Pin(None if checkpoint_id is None else Place(namespace, checkpoint_id), note)


def _what(thread_id: bytes, checkpoint_id: bytes | None) -> str:
    if checkpoint_id is None:
        return f"the whole thread {shown(thread_id)}"
    return f"checkpoint {shown(checkpoint_id)} of thread {shown(thread_id)}"


def _table(pinned: list[Pin]) -> Table:
    made = new_table()
    for title in ("checkpoint", "namespace", "note"):
        made.add_column(title, overflow="fold")
    for one in pinned:
        made.add_row(
            named(one.checkpoint_id or "the whole thread"),
            named(one.namespace or ""),
            named(one.note),
        )
    return made
