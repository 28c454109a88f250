"""What holds in any interleaving, where each call looks at next to nothing.

All leaves are a crowd then (``lua/include/leaves.lua``), and each namespace takes a call.
"""

from __future__ import annotations

import pytest

from redis_retention.engine import calls
from tests.model.bounds import load_small
from tests.model.test_interleavings import *  # noqa: F403


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "load", load_small)
