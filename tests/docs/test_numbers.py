"""The numbers in the README and in docs/performance.md are those of benchmarks/RESULTS.json."""

from __future__ import annotations

import json
import re
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.measure import TIMES
from benchmarks.profile import LEAST
from benchmarks.trim import FLOOR, INDEXED, PRUNE, UNSEEN

ROOT = Path(__file__).parents[2]
README = "README.md"
PERFORMANCE = "docs/performance.md"

NUMBER = r"([\d.,]*\d)"
FACTOR, RATIO = f"{NUMBER} {TIMES}", f"# {TIMES}"
TRIPS, TIME, CPU = "round trips", "prune takes", "CPU to its floor"
WORST, BEYOND = "worst PING, ms", "beyond idle, ms"
TRIMMED = "2 writes each, 1,000 other threads"
BOUND = "1,000 → 10: the bound of a call"
SWEEP, STEADY = "redis-retention sweep", "Steady state"
NEW = f"10,000 threads {TIMES} 36"
PROFILE = "First sweep of 10,000 threads"
SIZES = "36 checkpoints", "200", "1,000", "10,000"


class Cell(NamedTuple):
    """Where a number stands: the section, how the title of the table begins, row and column."""

    section: str
    table: str
    row: str
    column: str


def trim(size: str, row: str, column: str) -> Cell:
    return Cell("trim redis-stack", f"{size.split()[0]} → 10, {TRIMMED}", row, column)


def stall(size: str, row: str, column: str) -> Cell:
    return Cell("stall redis-stack", f"{size.split()[0]} → 10", row, column)


def sweep(table: str, row: str, column: str) -> Cell:
    return Cell("sweep redis-stack", table, row, column)


def writers(server: str, column: str) -> Cell:
    return Cell(f"writers {server}", "", "the daemon attached", column)


def bound(row: str) -> list[Cell]:
    columns = "CPU to floor", "median call, ms", "longest"
    return [Cell("profile redis-stack", BOUND, row, column) for column in columns]


def line(start: str, *columns: str) -> str:
    """A row of a table, with a number in each of the columns that say #."""
    cells = " | ".join((start, *columns))
    return "^" + re.escape(f"| {cells} |").replace(r"\#", NUMBER).replace(r"\ ", " ")


QUOTED: list[tuple[str, str, list[Cell]]] = [
    (README, line("time", RATIO), [trim("1,000", INDEXED, TIME)]),
    (
        README,
        line("round trips", "#", "#"),
        [trim("1,000", PRUNE, TRIPS), trim("1,000", INDEXED, TRIPS)],
    ),
    (
        README,
        line("time with 1 ms of network each way", RATIO),
        [Cell("distance redis-stack", "1,000 → 10, 1 ms each way (", INDEXED, TIME)],
    ),
    (
        README,
        rf"^\| CPU of the server.* \| {FACTOR} \| {FACTOR} \|",
        [trim("1,000", PRUNE, CPU), trim("1,000", INDEXED, CPU)],
    ),
    (
        README,
        rf"^\| what another client has to wait.* \| {NUMBER} ms \| {NUMBER} ms \|",
        [stall("1,000", PRUNE, WORST), stall("1,000", INDEXED, WORST)],
    ),
    (
        README,
        rf"as without \({FACTOR} of its median time\), `put_writes` {NUMBER} times as long",
        [writers("redis-stack", "put to none"), writers("redis-stack", "put_writes to none")],
    ),
    (
        README,
        rf"costs the server {NUMBER} times a bare SCAN, and takes {NUMBER} times as long",
        [sweep(STEADY, SWEEP, "CPU to floor"), sweep(STEADY, SWEEP, "time to floor")],
    ),
    (README, rf"costs {NUMBER} times as much", [sweep(NEW, SWEEP, "CPU to floor")]),
    *(
        (
            PERFORMANCE,
            line(shown, RATIO, RATIO, RATIO, "#"),
            [
                trim(shown, INDEXED, TIME),
                trim(shown, FLOOR, TIME),
                trim(shown, INDEXED, CPU),
                trim(shown, INDEXED, TRIPS),
            ],
        )
        for shown in SIZES
    ),
    *(
        (
            PERFORMANCE,
            line(shown, "# ms", "# ms", "# ms", "# ms"),
            [stall(shown, row, BEYOND) for row in (FLOOR, INDEXED, UNSEEN, PRUNE)],
        )
        for shown in SIZES
    ),
    *(
        (
            PERFORMANCE,
            line(shown, RATIO, "# ms", "# ms"),
            bound(f"redis-retention, {shown.partition(',')[0]} keys a call"),
        )
        for shown in ("100", "200, the default", "400", "800")
    ),
    (PERFORMANCE, line("least script, 200", RATIO, "# ms", "# ms"), bound(LEAST)),
    (
        PERFORMANCE,
        line("a first sweep", RATIO, RATIO),
        [sweep(NEW, SWEEP, "CPU to floor"), sweep(NEW, SWEEP, "time to floor")],
    ),
    (
        PERFORMANCE,
        line("a sweep with nothing to do, against the bare SCAN", RATIO, RATIO),
        [sweep(STEADY, SWEEP, "CPU to floor"), sweep(STEADY, SWEEP, "time to floor")],
    ),
    *(
        (
            PERFORMANCE,
            line(shown, "# %"),
            [Cell("profile redis-stack", PROFILE, row, "of all")],
        )
        for shown, row in (
            ("Lua itself", "Lua itself"),
            ("UNLINK", "UNLINK"),
            ("documents read", "documents read (JSON.MGET, JSON.GET)"),
            ("SCAN", "SCAN"),
            ("network", "network and the rest"),
        )
    ),
    *(
        (
            PERFORMANCE,
            rf"^\| {shown} \| {FACTOR} \| {FACTOR} \| .* \| {NUMBER} % \|",
            [
                writers(server, "put to none"),
                writers(server, "put_writes to none"),
                writers(server, "CPU of the daemon"),
            ],
        )
        for shown, server in (
            ("Redis Stack", "redis-stack"),
            ("Redis 8", "redis-8"),
            ("Valkey 8", "valkey-8"),
        )
    ),
]


@cache
def results() -> dict[str, Any]:
    text = (ROOT / "benchmarks" / "RESULTS.json").read_text(encoding="utf-8")
    sections: dict[str, Any] = json.loads(text)["sections"]
    return sections


def measured(cell: Cell) -> Decimal:
    """The first number in a cell: the median."""
    for table in results()[cell.section]["tables"]:
        if table["title"].startswith(cell.table) and cell.column in table["header"]:
            rows = {row[0]: row for row in table["rows"]}
            found = re.match(NUMBER, rows[cell.row][table["header"].index(cell.column)])
            assert found, cell
            return Decimal(found[1].replace(",", ""))
    raise AssertionError(f"nothing is measured of {cell}")


@pytest.mark.parametrize(
    ("page", "pattern", "cells"),
    QUOTED,
    ids=[f"{page}-{at}" for at, (page, *_) in enumerate(QUOTED)],
)
def test_a_number_that_is_quoted_was_measured(page: str, pattern: str, cells: list[Cell]) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.search(pattern.replace(" ", r"\s+"), text, re.MULTILINE)
    assert found, pattern
    for quoted, cell in zip(found.groups(), cells, strict=True):
        number = Decimal(quoted.replace(",", ""))
        assert number == measured(cell).quantize(number, ROUND_HALF_UP), cell
