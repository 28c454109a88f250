"""Scripts that look at next to nothing in a call, so that small threads take many calls."""

from __future__ import annotations

from functools import cache

from redis_retention.scripts import Script, load

SMALLER = {
    "MOST_RETAINED, OF_NAMESPACE = 60, 3": "MOST_RETAINED, OF_NAMESPACE = 1, 1",
    "FEW, MOST_RECENT, MOST_OLD = 200, 200, 1000": "FEW, MOST_RECENT, MOST_OLD = 0, 200, 2",
}


@cache
def load_small(name: str, layout: str, *, beside: bool = False) -> Script:
    """What `load` loads, with smaller bounds."""
    text = load(name, layout, beside=beside).text
    if name == "trim":
        assert all(bound in text for bound in SMALLER), "the bounds are written otherwise"
    for bound, smaller in SMALLER.items():
        text = text.replace(bound, smaller)
    return Script.of(name, text)
