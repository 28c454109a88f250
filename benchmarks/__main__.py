"""``python -m benchmarks``: measure, and write RESULTS.md and RESULTS.json as it goes."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import distance, langgraph_js, profile, saver, savings, stall, sweep, trim, writers
from benchmarks.lab import Say
from benchmarks.report import Results, Section, server_versions
from benchmarks.scale import FULL, SCALES, WITHOUT_SEARCH, Scale
from tests.servers.fetch import ServerUnavailable
from tests.servers.start import Server

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "benchmarks"
PICTURE = ROOT / "docs" / "savings.svg"
TRIED = ROOT / "build" / "benchmarks"
"""Where a run goes that is not the full one: what is published is that of the full one."""

MEASURES: dict[str, Callable[[str, Scale, Say], Section]] = {
    "trim": trim.measure,
    "stall": stall.measure,
    "sweep": sweep.measure,
    "writers": writers.measure,
    "distance": distance.measure,
    "profile": profile.measure,
    "saver": saver.measure,
    "langgraph-js": langgraph_js.measure,
    "savings": savings.measure,
}
ON_ONE_SERVER = ("distance", "profile", "savings")


def main() -> int:
    options = _options()
    scale = SCALES[options.scale]
    servers = tuple(options.server) or scale.servers
    output, picture = places(scale, options.output)
    results = Results(output, scale.name, again=bool(options.only))
    missing = 0
    for name in options.only or MEASURES:
        for server in servers[:1] if name in ON_ONE_SERVER else servers:
            if name == "trim" or server != WITHOUT_SEARCH:
                missing += not _run(results, name, server, scale.on(server), picture)
    _say("all", f"written to {output}")
    return 1 if missing else 0


def places(scale: Scale, output: Path | None) -> tuple[Path, Path]:
    """The folder of the results, and the picture: published is only the full run."""
    if scale.name == FULL.name and output is None:
        return PUBLISHED, PICTURE
    folder = output or TRIED
    return folder, folder / PICTURE.name


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    for name, what in (
        ("full", "measure everything, on all servers; takes long"),
        ("tiny", "only show that it works; the numbers mean nothing"),
    ):
        size.add_argument(f"--{name}", dest="scale", action="store_const", const=name, help=what)
    parser.set_defaults(scale="quick")
    only = "measure this alone and keep the other results; may be repeated"
    parser.add_argument("--only", action="append", default=[], choices=MEASURES, help=only)
    where = "measure on this one; may be repeated"
    parser.add_argument("--server", action="append", default=[], help=where)
    parser.add_argument("--output", type=Path, help="folder of RESULTS.md and the picture")
    return parser.parse_args()


def _run(results: Results, name: str, server: str, scale: Scale, picture: Path) -> bool:
    """Measure once; False when that is not possible here."""
    say = partial(_say, f"{name} on {server}")
    try:
        with Server(server) as running, running.client() as client:
            versions = server_versions(client)
        measure = partial(savings.measure, picture=picture) if name == "savings" else MEASURES[name]
        section = measure(server, scale, say)
    except ServerUnavailable as error:
        say(f"left out: {error}")
        return False
    results.add(f"{name} {server}", versions, section)
    for aim in section.aims:
        say(" | ".join(aim))
    return True


def _say(what: str, message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
