"""``redis-retention doctor``: whether everything works, and how to mend what does not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import click
from rich import box
from rich.table import Table
from rich.text import Text

from redis_retention.cli.connection import (
    Settings,
    async_client,
    database_of,
    is_cluster,
    pass_settings,
)
from redis_retention.cli.options import global_options
from redis_retention.cli.output import show, show_json, shown
from redis_retention.doctor import Check, State, events, examine
from redis_retention.sources.keyspace import Listener
from redis_retention.transport import AsyncTransport

_STYLES = {State.FINE: "green", State.WARNING: "yellow", State.BROKEN: "bold red"}
_FAILED = 1


@click.command
@global_options()
@pass_settings
def doctor(settings: Settings, /) -> int:
    """Check the server, and say how to mend what is wrong.

    It looks at modules, notifications, permissions, memory and the savers' data.

    It tries what can be tried without harm, and changes nothing. The exit code is 1 when
    something is broken.
    """
    checks = asyncio.run(_examined(settings, is_cluster(settings.url)))
    broken = any(check.state is State.BROKEN for check in checks)
    if settings.json:
        show_json({"ok": not broken, "checks": [_as_json(check) for check in checks]})
    else:
        show(_table(checks), *_mends(checks), Text(_outcome(checks)))
    return _FAILED if broken else 0


async def _examined(settings: Settings, in_cluster: bool) -> list[Check]:
    served = settings.served()
    client = async_client(settings.url, in_cluster)
    try:
        found = await AsyncTransport(client).run(examine(served))
        listener = Listener(client, found.served, (), database=database_of(client))
        return [*found.checks, events(await listener.prove(), found.events)]
    finally:
        await client.aclose()


def _as_json(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "state": check.state.value,
        "found": check.found,
        "mend": check.mend or None,
    }


def _table(checks: Sequence[Check]) -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("check", no_wrap=True)
    made.add_column("state", no_wrap=True)
    made.add_column("found", overflow="fold")
    for check in checks:
        state = Text(check.state.value, style=_STYLES[check.state])
        made.add_row(check.name, state, Text(shown(check.found)))
    return made


def _mends(checks: Sequence[Check]) -> list[Text]:
    return [
        Text.assemble((f"{check.name}: ", _STYLES[check.state]), check.mend, "\n")
        for check in checks
        if check.mend
    ]


def _outcome(checks: Sequence[Check]) -> str:
    broken = [check.name for check in checks if check.state is State.BROKEN]
    if broken:
        return f"Broken: {', '.join(broken)}."
    return "Everything works."
