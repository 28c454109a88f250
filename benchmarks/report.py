"""What a measurement hands back, and RESULTS.md and RESULTS.json made of it."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis

from benchmarks.measure import TIMES, short
from redis_retention import __version__

PACKAGES = ("langgraph", "langgraph-checkpoint-redis", "redis")
AIMS = "aim", "measured", "should be", "met"
_MODULES = {"search": "RediSearch", "ReJSON": "RedisJSON"}
# A list of texts alone: a row of a table.
_ROW = re.compile(r'\[\s+("(?:[^"\\]|\\.)*"(?:,\s+"(?:[^"\\]|\\.)*")*)\s+\]')

ABOUT = """\
Written by the benchmark itself: `make bench` takes minutes, `make bench-full` hours and is what is
published, `python -m benchmarks --only trim` measures one thing again. Times are medians of runs in
turns, in brackets the smallest and the largest. CPU is that of the server's main thread, which all
clients share."""


@dataclass(slots=True)
class Section:
    """One measurement on one server: its title, how it is done, tables, and what was aimed at."""

    title: str
    about: str
    tables: list[dict[str, Any]] = field(default_factory=list)
    aims: list[list[str]] = field(default_factory=list)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table; a row begins with its name."""
        self.tables.append({"title": title, "header": header, "rows": rows})

    def aim(
        self, what: str, value: float, limit: float, *, at_least: bool = False, unit: str = TIMES
    ) -> None:
        """Add what a number is, and the most that it should be, or the least."""
        unit = f" {unit}" if unit == TIMES else unit
        met = value >= limit if at_least else value <= limit
        sign = "≥" if at_least else "≤"
        row = [what, short(value) + unit, f"{sign} {limit:g}{unit}", "yes" if met else "**no**"]
        self.aims.append(row)


class Results:
    """The results of a run, written anew after each measurement.

    Args:
        folder: Where RESULTS.md and RESULTS.json are.
        scale: What the run is called.
        again: Whether sections of an earlier run of the same scale and machine stay, each with the
            versions that it was measured with.
    """

    def __init__(self, folder: Path, scale: str, *, again: bool) -> None:
        self._folder = folder
        self._run: dict[str, Any] = {"scale": scale, **environment(), "sections": {}}
        if again:
            self._run["sections"] = self._earlier()

    def add(self, name: str, server: str, section: Section) -> None:
        """Take a section in and write the files."""
        date = f"{datetime.now(timezone.utc):%Y-%m-%d}"
        told = {"server": server, "date": date, "packages": packages()}
        self._run["sections"][name] = {**told, **asdict(section)}
        self._folder.mkdir(parents=True, exist_ok=True)
        text = _ROW.sub(_one_line, json.dumps(self._run, indent=1, ensure_ascii=False))
        (self._folder / "RESULTS.json").write_text(text + "\n", encoding="utf-8")
        markdown = "\n".join(_markdown(self._run)) + "\n"
        (self._folder / "RESULTS.md").write_text(markdown, encoding="utf-8")

    def _earlier(self) -> dict[str, Any]:
        try:
            run = json.loads((self._folder / "RESULTS.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        same = all(run.get(name) == self._run[name] for name in self._run if name != "sections")
        return dict(run["sections"]) if same else {}


def _one_line(found: re.Match[str]) -> str:
    return "[" + re.sub(r",\n\s+", ", ", found[1]) + "]"


def _markdown(run: Mapping[str, Any]) -> Iterator[str]:
    sections = run["sections"].values()
    aims = [row for section in sections for row in section["aims"]]
    met = sum(row[-1] == "yes" for row in aims)
    yield from ("# Results", "", f"The {run['scale']} run.\n{ABOUT}", "")
    if run["scale"] == "tiny":
        yield from ("**This run only shows that the benchmark works.**", "")
    for what in ("machine", "python"):
        yield f"- {what.capitalize()}: {run[what]}"
    if aims:
        yield f"- Aims: {met} of {len(aims)} are met"
    told = ""
    for section in sorted(sections, key=_by_title(sections)):
        name = section["server"].partition(" with ")[0]
        yield from ("", f"## {section['title']}, {name}", "")
        yield from (f"{section['server']}, {section['date']}, {section['packages']}.", "")
        # How it is done is the same on all servers.
        if section["title"] != told:
            yield from (section["about"], "")
        told = section["title"]
        for table in section["tables"]:
            yield from (f"### {table['title']}", "") if table["title"] else ()
            yield from _rows(table["header"], table["rows"])
        if section["aims"]:
            yield from _rows(AIMS, section["aims"])


def _by_title(sections: Iterable[Mapping[str, Any]]) -> Any:
    """What was measured on several servers stands together, in the order of the run."""
    titles = [section["title"] for section in sections]
    return lambda section: titles.index(section["title"])


def _rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for cells in (header, ["---", *["---:"] * (len(header) - 1)], *rows):
        yield "| " + " | ".join(cells) + " |"
    yield ""


def server_versions(client: redis.Redis) -> str:
    """A server and its modules."""
    info = client.info("server")
    name, number = "Redis", info["redis_version"]
    if "valkey_version" in info:
        name, number = "Valkey", info["valkey_version"]
    return f"{name} {number} with {' and '.join(sorted(_modules(client)))}"


def _modules(client: redis.Redis) -> Iterator[str]:
    loaded: Any = client.module_list()
    for module in loaded:
        fields = {_text(key): value for key, value in module.items()}
        name, number = _text(fields["name"]), int(fields["ver"])
        shown = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
        yield f"{_MODULES.get(name, name)} {shown}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def packages() -> str:
    """The versions of what is measured, and of what it is measured with."""
    ours = f"redis-retention {__version__}"
    return ", ".join([ours, *(f"{name} {version(name)}" for name in PACKAGES)])


def environment() -> dict[str, str]:
    """The machine, and nothing that says whose machine it is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
