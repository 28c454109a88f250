"""A round or two of every attack; `make attack` does hundreds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.attack import hostile, meetings, mishaps
from tests.attack.arena import Arena, Attack
from tests.conftest import real_server
from tests.servers.start import Server


@pytest.mark.parametrize("attack", [*hostile.ATTACKS, *mishaps.ATTACKS, *meetings.ATTACKS], ids=str)
def test_the_rules_hold_under(attack: Attack, started: Callable[..., Server]) -> None:
    """Nothing retained is missing, nobody else is touched, and a last sweep finds all in order."""
    own = attack.config or attack.disruptive
    server = started(config=dict(attack.config)) if own else real_server("redis-stack")
    arena = Arena(server, seed=1)
    try:
        attack.round(arena)
    finally:
        arena.close()
