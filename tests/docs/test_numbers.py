"""The numbers in the README and in docs/performance.md are those of benchmarks/RESULTS.json."""

from __future__ import annotations

import pytest

from benchmarks.measure import TIMES
from benchmarks.ways import INDEXED, PRUNE
from tests.docs.numbers import FASTER, NOT_MEASURED, Cell, Quote, quotes

QUOTES = list(quotes())


@pytest.mark.parametrize(
    "quote", QUOTES, ids=[f"{q.page.stem}-{q.table}-{q.start}" for q in QUOTES]
)
def test_a_row_that_is_quoted_was_measured(quote: Quote) -> None:
    lines = quote.page.read_text(encoding="utf-8").split("\n")
    assert lines[quote.position(lines)] == str(quote), "run python -m tests.docs.numbers"


def a_cell(row: str) -> Cell:
    return Cell("trim redis-stack", "1,000 → 10, 1,000 other threads", row, FASTER, TIMES)


def test_what_was_measured_is_quoted_with_its_unit() -> None:
    number, unit = str(a_cell(INDEXED)).split()
    assert float(number) > 1
    assert unit == TIMES


def test_a_dash_stands_for_what_was_not_measured() -> None:
    assert str(a_cell(PRUNE)) == NOT_MEASURED
    assert str(a_cell("no such way")) == NOT_MEASURED
