"""The properties of the suite on many more random threads: ``make soak``, an hour by default.

Each round takes every property through some hundred new random threads, on a server of its own,
until the time is up. A failure is shrunk, shown as a thread that can be played again, and ends
the soak.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import hypothesis
import redis
from hypothesis import HealthCheck, Phase

from tests.conftest import WITH_MODULES, real_server
from tests.model import test_engine
from tests.model.threads import Example, examples

PER_ROUND = 200
PROPERTIES: list[Callable[..., None]] = [
    value for name, value in vars(test_engine).items() if name.startswith("test_")
]


def soak(server: str, seconds: float, seed: int) -> Counter[str]:
    """Try random threads until the time is up; how many for each property."""
    database = real_server(server).client()
    tried: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for check in PROPERTIES:
            if time.monotonic() >= end:
                break
            seed += 1
            _round(check, database, seed, tried)
        shown = ", ".join(f"{name.removeprefix('test_')} {count}" for name, count in tried.items())
        print(f"{sum(tried.values())} threads: {shown}", flush=True)
    return tried


def _round(
    check: Callable[..., None], database: redis.Redis, seed: int, tried: Counter[str]
) -> None:
    inner: Any = check.hypothesis.inner_test  # type: ignore[attr-defined]

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=PER_ROUND,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @hypothesis.given(examples(now=test_engine.NOW))
    def play(example: Example) -> None:
        tried[check.__name__] += 1
        inner(database, example)

    play()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", choices=WITH_MODULES, default=WITH_MODULES[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed} on {options.server}, for {options.minutes:g} minutes", flush=True)
    tried = soak(options.server, options.minutes * 60, options.seed)
    print(f"{sum(tried.values())} random threads tried, all in order")


if __name__ == "__main__":
    main()
