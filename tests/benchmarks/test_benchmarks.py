"""The benchmark works, measures what it says, and publishes nothing but the full run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import PICTURE, PUBLISHED, TRIED, places
from benchmarks.report import Results, Section
from benchmarks.scale import FULL, QUICK
from tests.servers.start import Server

ROOT = Path(__file__).parents[2]
# Before each measurement garbage is collected: what was imported need not be searched through.
PROGRAM = "import gc, benchmarks.__main__ as it; gc.freeze(); raise SystemExit(it.main())"

TITLES = (
    "Trim",
    "Sweep",
    "Stall",
    "Writers",
    "At a distance",
    "Profile",
    "Savers",
    "LangGraph.js",
    "What it saves",
)


def test_all_measurements_run_to_their_end(redis_stack: Server, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--tiny", "--output", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    sections = json.loads((tmp_path / "RESULTS.json").read_text(encoding="utf-8"))["sections"]
    assert len(sections) == len(TITLES)
    assert all(f"\n## {title}, Redis " in results for title in TITLES)
    assert all(table["rows"] for section in sections.values() for table in section["tables"])
    assert (tmp_path / "savings.svg").exists()


def a_section(title: str, value: float = 1.0) -> Section:
    section = Section(title, "how")
    section.table("", ("", "what"), [["one", f"{value}"]])
    section.aim("what", value, limit=1.5)
    return section


def test_one_measurement_alone_keeps_the_others(tmp_path: Path) -> None:
    Results(tmp_path, "full", again=False).add("trim redis-8", "Redis 8", a_section("Trim"))
    Results(tmp_path, "full", again=True).add("sweep redis-8", "Redis 8", a_section("Sweep", 2))
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "## Trim, Redis 8" in text
    assert "## Sweep, Redis 8" in text
    assert "Aims: 1 of 2 are met" in text


def test_a_run_of_another_size_keeps_nothing(tmp_path: Path) -> None:
    Results(tmp_path, "full", again=False).add("trim redis-8", "Redis 8", a_section("Trim"))
    Results(tmp_path, "quick", again=True).add("sweep redis-8", "Redis 8", a_section("Sweep"))
    assert "## Trim" not in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("value", "at_least", "met"), [(1.5, False, "yes"), (1.51, False, "**no**"), (1.5, True, "yes")]
)
def test_an_aim_that_is_just_reached_is_met(value: float, at_least: bool, met: str) -> None:
    section = Section("Trim", "how")
    section.aim("what", value, limit=1.5, at_least=at_least)
    assert section.aims[0][-1] == met


def test_only_the_full_run_is_published() -> None:
    assert places(FULL, None) == (PUBLISHED, PICTURE)
    assert places(QUICK, None) == (TRIED, TRIED / "savings.svg")
    assert "The full run." in (PUBLISHED / "RESULTS.md").read_text(encoding="utf-8")


def test_each_row_of_a_table_is_one_line_of_the_results(tmp_path: Path) -> None:
    Results(tmp_path, "full", again=False).add("trim redis-8", "Redis 8", a_section("Trim"))
    assert '["one", "1.0"]' in (tmp_path / "RESULTS.json").read_text(encoding="utf-8")
