"""All attacks at full scale, ``make attack``: for a given time, or until each has its rounds.

Each round has a number of its own, from which everything random in it follows. What was found is
printed as it is found; at the end there is a table of what was tried, and how long the server has
answered nobody at most.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from tests.attack import hostile, meetings, mishaps
from tests.attack.arena import Arena, Attack, Broken
from tests.conftest import WITH_MODULES
from tests.servers.start import Server, ServerFailed

ATTACKS = [*hostile.ATTACKS, *mishaps.ATTACKS, *meetings.ATTACKS]


@dataclass
class Tried:
    """What one attack has come to."""

    rounds: int = 0
    halfway: int = 0
    """Rounds after which there was something left to do."""
    longest: float = 0.0
    found: list[str] = field(default_factory=list)


def attack_all(
    server: str, wanted: list[Attack], seconds: float, seed: int, most: int | None
) -> dict[str, Tried]:
    """Take turns, so that each attack has its share of the time."""
    tried: defaultdict[str, Tried] = defaultdict(Tried)
    end = time.monotonic() + seconds
    left = {attack.name: min(attack.rounds, most or attack.rounds) for attack in wanted}
    while any(left.values()) and time.monotonic() < end:
        for attack in wanted:
            if left[attack.name] and time.monotonic() < end:
                some = min(left[attack.name], 10)
                left[attack.name] -= some
                _rounds(server, attack, range(seed, seed + some), tried[attack.name], end)
        seed += 10
    return tried


def _rounds(server: str, attack: Attack, seeds: range, tried: Tried, end: float) -> None:
    with Server(server, config=dict(attack.config)) as running:
        for seed in seeds:
            if time.monotonic() >= end:
                return
            arena = Arena(running, seed)
            tried.rounds += 1
            try:
                attack.round(arena)
            except (Broken, RedisError, ServerFailed) as problem:
                tried.found.append(str(problem))
                print(f"{attack.name}, round {seed}: {problem}", flush=True)
                if not running.running:
                    running.restart()
            finally:
                tried.halfway += arena.halfway
                tried.longest = max(tried.longest, arena.longest)
                arena.close()


def table(tried: dict[str, Tried]) -> list[str]:
    """Rows of Markdown: attack, rounds, what was asked, outcome."""
    asked = {attack.name: attack.asked for attack in ATTACKS}
    rows = [
        "| attack | rounds | what was asked | outcome | left half-way | longest stall |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in tried.items():
        outcome = f"{len(one.found)} broke it" if one.found else "held"
        stall = f"{one.longest * 1000:.0f} ms"
        rows.append(
            f"| {name} | {one.rounds} | {asked[name]} | {outcome} | {one.halfway} | {stall} |"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", choices=WITH_MODULES, default=WITH_MODULES[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rounds", type=int, help="of each attack at most")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--only", help="attacks whose names contain this")
    parser.add_argument("--without", action="append", default=[], help="leave such ones out")
    options = parser.parse_args()
    wanted = [
        attack
        for attack in ATTACKS
        if (options.only or "") in attack.name
        and not any(word in attack.name for word in options.without)
    ]
    print(f"seed {options.seed} on {options.server}, for {options.minutes:g} minutes", flush=True)
    tried = attack_all(options.server, wanted, options.minutes * 60, options.seed, options.rounds)
    print("\n".join(table(tried)))
    sys.exit(any(one.found for one in tried.values()))


if __name__ == "__main__":
    main()
