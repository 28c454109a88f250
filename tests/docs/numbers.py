"""The rows of tables that quote a benchmark: ``python -m tests.docs.numbers`` writes them anew.

A row is written whole, from benchmarks/RESULTS.json; a dash stands for what was not measured.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.fill import THREAD
from benchmarks.lab import KEEP
from benchmarks.langgraph_js import LEAST as LEAST_SCRIPTS
from benchmarks.langgraph_js import LOOP as JS_LOOP
from benchmarks.langgraph_js import SWEEP as JS_SWEEP
from benchmarks.langgraph_js import TRIM as JS_TRIM
from benchmarks.measure import TIMES
from benchmarks.profile import BOUNDS, bound_row
from benchmarks.saver import BACKGROUND, INLINE
from benchmarks.saver import PLAIN as PLAIN_SAVER
from benchmarks.scale import FULL
from benchmarks.stall import shown
from benchmarks.ways import DEFAULT, FLOOR, INDEXED, LEAST, LOOP, PLAN, PRUNE, SCAN, SERVICE, UNSEEN

ROOT = Path(__file__).parents[2]
README, PERFORMANCE = ROOT / "README.md", ROOT / "docs" / "performance.md"

NUMBER = re.compile(r"[\d.,]*\d")
MS, MB, PERCENT, PLAIN = "ms", "MB", "%", ""
TRIPS, FASTER, CPU = "round trips", "prune takes", "CPU to floor"
WORST, BEYOND = "worst PING, ms", "beyond idle, ms"
SWEEP, NEW, STEADY = "redis-retention sweep", f"10,000 threads {TIMES} 36", "Nothing to do"
FIRST = "First sweep of 10,000 threads"
SERVERS = {"redis-stack": "Redis Stack", "redis-8": "Redis 8", "valkey-8": "Valkey 8"}
NOT_MEASURED = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a number stands in the results, and its unit."""

    section: str
    table: str
    row: str
    column: str
    unit: str

    def __str__(self) -> str:
        """The median with two digits or so, as it is quoted."""
        found = NUMBER.match(self._measured())
        if found is None:
            return NOT_MEASURED
        number = float(found[0].replace(",", ""))
        digits = 0 if number >= 10 or "." not in found[0] else 1 if number >= 2 else 2
        return f"{number:,.{digits}f} {self.unit}".strip()

    def _measured(self) -> str:
        for table in results().get(self.section, {"tables": []})["tables"]:
            if table["title"].startswith(self.table) and self.column in table["header"]:
                rows = {row[0]: row for row in table["rows"]}
                at = table["header"].index(self.column)
                return str(rows[self.row][at]) if self.row in rows else ""
        return ""


@dataclass(frozen=True, slots=True)
class Quote:
    """A row of a table: the page, how the header of the table begins, and what stands in it."""

    page: Path
    table: str
    start: str
    cells: Sequence[Cell | str]

    def __str__(self) -> str:
        return "| " + " | ".join([self.start, *map(str, self.cells)]) + " |"

    def position(self, lines: Sequence[str]) -> int:
        """Which of the lines of the page it is."""
        [header] = [n for n, line in enumerate(lines) if line.startswith(f"| {self.table} |")]
        for number, line in enumerate(lines[header:], header):
            if line.startswith(f"| {self.start} |"):
                return number
            if not line:
                break
        raise ValueError(f"{self.page.name} has no row {self.start!r} below {self.table!r}")


@cache
def results() -> dict[str, Any]:
    text = (ROOT / "benchmarks" / "RESULTS.json").read_text(encoding="utf-8")
    sections: dict[str, Any] = json.loads(text)["sections"]
    return sections


def quotes() -> Iterator[Quote]:
    """All rows that are quoted."""
    yield from _readme()
    for size in FULL.trims:
        yield from _trims(size)
    yield from _stalls()
    for size in FULL.distant:
        table = f"{size:,} → {KEEP}, 1 ms each way"
        ways = [
            Cell("distance redis-stack", table, n, FASTER, TIMES)
            for n in (DEFAULT, UNSEEN, INDEXED)
        ]
        yield Quote(PERFORMANCE, "with 1 ms of network each way", f"{size:,} checkpoints", ways)
    for bound in BOUNDS:
        table, name = f"1,000 → {KEEP}: the bound of a call", bound_row(bound)
        columns = (CPU, TIMES), ("calls", PLAIN), ("median call, ms", MS), ("longest", MS)
        cells = [Cell("profile redis-stack", table, name, *column) for column in columns]
        yield Quote(PERFORMANCE, "`--keys-per-call`", f"{bound}", cells)
    yield from _sweeps()
    yield from _langgraph_js()
    yield from _writers()
    yield from _savers()


def _trim(size: int, others: int, row: str, column: str, unit: str) -> Cell:
    table = f"{size:,} → {KEEP}, {others:,} other threads"
    return Cell("trim redis-stack", table, row, column, unit)


def _readme() -> Iterator[Quote]:
    table = f"a thread of 1,000 checkpoints, cut down to {KEEP}"

    def trim(row: str, column: str, unit: str) -> Cell:
        return _trim(1_000, 1_000, row, column, unit)

    def stall(row: str) -> Cell:
        return Cell("stall redis-stack", f"1,000 → {KEEP}", row, WORST, MS)

    def distant(row: str) -> Cell:
        return Cell("distance redis-stack", f"1,000 → {KEEP}, 1 ms", row, FASTER, TIMES)

    ours = (DEFAULT, UNSEEN, INDEXED)
    yield Quote(README, table, "`prune` takes", [*(trim(n, FASTER, TIMES) for n in ours), "1"])
    near = "the same beside 10,000 other threads"
    cells = [_trim(1_000, 10_000, name, FASTER, TIMES) for name in ours]
    yield Quote(README, table, near, [*cells, "1"])
    far = "the same with 1 ms of network each way"
    yield Quote(README, table, far, [*map(distant, ours), "1"])
    every = (*ours, PRUNE)
    yield Quote(README, table, "round trips", [trim(name, TRIPS, PLAIN) for name in every])
    work = "CPU of the server, to an UNLINK of the same keys"
    yield Quote(README, table, work, [trim(name, CPU, TIMES) for name in every])
    yield Quote(README, table, "another client waits at most", [stall(name) for name in every])


def _trims(size: int) -> Iterator[Quote]:
    for others in FULL.populations:
        where = f"{size:,} beside {others:,}"
        ways = DEFAULT, UNSEEN, INDEXED, SCAN, LOOP, FLOOR
        cells = [_trim(size, others, name, FASTER, TIMES) for name in ways]
        yield Quote(PERFORMANCE, "checkpoints, other threads", where, cells)
    for table, column, unit, more in (
        ("CPU to the floor", CPU, TIMES, (LEAST, PRUNE)),
        ("round trips", TRIPS, PLAIN, (PRUNE,)),
    ):
        ways = (DEFAULT, UNSEEN, SERVICE, INDEXED, *more)
        cells = [_trim(size, 1_000, name, column, unit) for name in ways]
        yield Quote(PERFORMANCE, table, f"{size:,} checkpoints", cells)


def _stalls() -> Iterator[Quote]:
    for size in FULL.stalls:
        ways = DEFAULT, UNSEEN, INDEXED, PLAN, PRUNE, FLOOR
        cells = [Cell("stall redis-stack", f"{size:,} → {KEEP}", n, BEYOND, MS) for n in ways]
        yield Quote(PERFORMANCE, "beyond idle, by length", f"{size:,} checkpoints", cells)
    for length in FULL.documents:
        table = f"{THREAD} → {KEEP}, documents of {shown(length)}"
        some = DEFAULT, PLAN, PRUNE, FLOOR
        cells = [Cell("stall redis-stack", table, name, BEYOND, MS) for name in some]
        yield Quote(PERFORMANCE, "beyond idle, by document", shown(length), cells)


def _sweeps() -> Iterator[Quote]:
    for table, start in ((NEW, "a first sweep"), (STEADY, "nothing to do, against the bare SCAN")):
        columns = CPU, "time to floor"
        cells = [Cell("sweep redis-stack", table, SWEEP, column, TIMES) for column in columns]
        yield Quote(PERFORMANCE, "10,000 threads of 36 checkpoints", start, cells)
    groups = "Lua itself", "UNLINK", "documents read (JSON.MGET, JSON.GET)", "SCAN"
    for group in groups:
        cell = Cell("profile redis-stack", FIRST, group, "of all", PERCENT)
        yield Quote(PERFORMANCE, "what a first sweep does", group, [cell])
    for threads in FULL.weighed:
        cell = Cell(
            "sweep redis-stack", "Memory", f"{threads:,} threads", "memory of the sweep", MB
        )
        yield Quote(PERFORMANCE, "memory of a sweep", f"{threads:,} threads", [cell])


def _langgraph_js() -> Iterator[Quote]:
    rows = ("`trim`", JS_TRIM), ("`sweep`", JS_SWEEP), (JS_LOOP, JS_LOOP), (LEAST_SCRIPTS,) * 2
    for start, name in rows:
        cells = [
            Cell("langgraph-js redis-stack", f"1,000 → {KEEP}", name, *column)
            for column in ((CPU, TIMES), (TRIPS, PLAIN))
        ]
        table = f"1,000 checkpoints of LangGraph.js, cut down to {KEEP}"
        yield Quote(PERFORMANCE, table, start, cells)


def _writers() -> Iterator[Quote]:
    for server, name in SERVERS.items():

        def cell(column: str, unit: str, section: str = f"writers {server}") -> Cell:
            return Cell(section, "", "the daemon attached", column, unit)

        cells = [cell("put to none", TIMES), cell("put_writes to none", TIMES)]
        cells += [cell("CPU of the daemon", PERCENT)]
        yield Quote(PERFORMANCE, "with `listen` attached", name, cells)


def _savers() -> Iterator[Quote]:
    for start, name in (("in the background", BACKGROUND), ("inline", INLINE)):
        cell = Cell("saver redis-stack", "", name, f"to {PLAIN_SAVER}", TIMES)
        yield Quote(PERFORMANCE, "`put`, to the plain saver's", start, [cell])


def write() -> None:
    """Bring the quoted rows of all pages up to date."""
    for page in (README, PERFORMANCE):
        lines = page.read_text(encoding="utf-8").split("\n")
        for quote in quotes():
            if quote.page == page:
                lines[quote.position(lines)] = str(quote)
        page.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    write()
