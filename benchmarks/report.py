"""What a measurement hands back, and RESULTS.md and RESULTS.json made of it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis

from benchmarks.measure import TIMES, short
from redis_retention import __version__

PACKAGES = ("langgraph", "langgraph-checkpoint-redis", "redis")
_MODULES = {"search": "RediSearch", "ReJSON": "RedisJSON"}


@dataclass(frozen=True, slots=True)
class Target:
    """What one number should be.

    Attributes:
        what: What is compared, as a ratio where it is one.
        value: What it is.
        limit: What it should be.
        at_least: Whether larger is better.
        unit: Written behind both.
    """

    what: str
    value: float
    limit: float
    at_least: bool = False
    unit: str = TIMES

    @property
    def met(self) -> bool:
        """Whether it is what it should be."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def row(self) -> list[str]:
        sign = "≥" if self.at_least else "≤"
        unit = self.unit if self.unit == TIMES else f" {self.unit}"
        met = "yes" if self.met else "**no**"
        return [self.what, f"{short(self.value)}{unit}", f"{sign} {self.limit:g}{unit}", met]


@dataclass(frozen=True, slots=True)
class Table:
    """Some rows of text."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(slots=True)
class Section:
    """One measurement on one server.

    Attributes:
        title: What was measured.
        about: How, and why that is fair.
        tables: The results.
        targets: What they should be.
        missing: What could not be measured, and why.
        data: The single values, for RESULTS.json.
    """

    title: str
    about: str
    tables: list[Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)


def ratio(one: float, other: float) -> float:
    """How many times as much; infinite when there is nothing to compare with."""
    return one / other if other else float("inf")


def server_versions(client: redis.Redis) -> str:
    """A server and its modules."""
    info = client.info("server")
    name, number = "Redis", info["redis_version"]
    if "valkey_version" in info:
        name, number = "Valkey", info["valkey_version"]
    modules = " and ".join(sorted(_modules(client)))
    return f"{name} {number} with {modules}"


def _modules(client: redis.Redis) -> Iterable[str]:
    loaded: Any = client.module_list()
    for module in loaded:
        fields = {_text(key): value for key, value in module.items()}
        name = _text(fields["name"])
        number = int(fields["ver"])
        shown = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
        yield f"{_MODULES.get(name, name)} {shown}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def environment() -> dict[str, str]:
    """The machine and the versions, and nothing that says whose machine it is."""
    packages = [f"redis-retention {__version__}"]
    packages += [f"{name} {version(name)}" for name in PACKAGES]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "packages": ", ".join(packages),
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


class Results:
    """The results of a run, written anew after each measurement.

    Args:
        folder: Where RESULTS.md and RESULTS.json are.
        scale: What the run is called.
        again: Whether sections of an earlier run of the same scale and machine stay.
    """

    def __init__(self, folder: Path, scale: str, *, again: bool) -> None:
        self._folder = folder
        self._run: dict[str, Any] = {"scale": scale, **environment(), "sections": {}}
        if again:
            self._run["sections"] = self._earlier()

    def add(self, name: str, server: str, section: Section) -> None:
        """Take a section in and write the files."""
        now = datetime.now(timezone.utc)
        targets = [{**asdict(target), "met": target.met} for target in section.targets]
        self._run["sections"][name] = {
            "server": server,
            "date": f"{now:%Y-%m-%d}",
            "title": section.title,
            "about": section.about,
            "tables": [asdict(table) for table in section.tables],
            "targets": targets,
            "missing": section.missing,
            "data": section.data,
        }
        self._write()

    def _earlier(self) -> dict[str, Any]:
        try:
            run = json.loads((self._folder / "RESULTS.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        same = all(run.get(name) == self._run[name] for name in self._run if name != "sections")
        return dict(run["sections"]) if same else {}

    def _write(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self._run, indent=1, ensure_ascii=False)
        (self._folder / "RESULTS.json").write_text(text + "\n", encoding="utf-8")
        (self._folder / "RESULTS.md").write_text(_markdown(self._run), encoding="utf-8")


def _markdown(run: Mapping[str, Any]) -> str:
    sections = _by_title(run["sections"].values())
    command = "make bench-full" if run["scale"] == "full" else "make bench"
    missed = sum(not target["met"] for section in sections for target in section["targets"])
    total = sum(len(section["targets"]) for section in sections)
    lines = [
        "# Results",
        "",
        f"Written by the benchmark itself (`{command}`), the {run['scale']} run.",
        "Times are medians of interleaved runs, in brackets the smallest and the largest. CPU is",
        "that of the server's main thread, which all clients share.",
        "",
        f"- Machine: {run['machine']}",
        f"- Python: {run['python']}",
        f"- Packages: {run['packages']}",
        f"- Targets: {total - missed} of {total} are met",
        "",
    ]
    if run["scale"] == "tiny":
        lines += ["**This run only shows that the benchmark works; its numbers mean nothing.**", ""]
    for section in sections:
        lines += _section_lines(section)
    lines += [
        "## Again",
        "",
        "```",
        "make bench                                   # a few minutes, one server",
        "make bench-full                              # all sizes, all servers; takes long",
        "python -m benchmarks --only trim --only sweep",
        "```",
        "",
    ]
    return "\n".join(lines)


def _by_title(sections: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What was measured on several servers, one after the other."""
    titles: dict[str, list[Mapping[str, Any]]] = {}
    for section in sections:
        titles.setdefault(section["title"], []).append(section)
    return [section for some in titles.values() for section in some]


def _section_lines(section: Mapping[str, Any]) -> Iterable[str]:
    name = section["server"].partition(" with ")[0]
    yield from (f"## {section['title']}, {name}", "")
    yield from (f"{section['server']}, {section['date']}.", "")
    yield from (section["about"], "")
    for table in section["tables"]:
        if table["title"]:
            yield from (f"### {table['title']}", "")
        yield from _rows(table["header"], table["rows"])
    for missing in section["missing"]:
        yield from (f"Not measured: {missing}.", "")
    if section["targets"]:
        targets = [_target(values).row() for values in section["targets"]]
        yield from _rows(["target", "measured", "aim", "met"], targets)


def _target(values: Mapping[str, Any]) -> Target:
    return Target(**{name: value for name, value in values.items() if name != "met"})


def _rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield _row(header)
    yield _row(["---"] + ["---:"] * (len(header) - 1))
    for row in rows:
        yield _row(row)
    yield ""


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
