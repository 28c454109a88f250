"""``python -m benchmarks``: measure, and write RESULTS.md and RESULTS.json as it goes."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import distance, growth, profile, saver, savings, stall, sweep, trim, writers
from benchmarks.lab import Say
from benchmarks.report import Results, Section, server_versions
from benchmarks.scale import FULL, SCALES, Scale
from tests.servers.fetch import ServerUnavailable
from tests.servers.start import Server

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "benchmarks"
PICTURE = ROOT / "docs" / "savings.svg"
TRIED = ROOT / "build" / "benchmarks"
"""Where a run goes that is not the full one: what is published is that of the full one."""

Measure = Callable[[str, Scale, Say], Section]


def main() -> int:
    options = _options()
    scale = SCALES[options.scale]
    servers = tuple(options.server) or scale.servers
    output, picture = places(scale, options.output, options.picture)
    results = Results(output, scale.name, again=bool(options.only))
    begun = time.monotonic()
    missing = 0
    for name, measure in _measures(picture).items():
        if options.only and name not in options.only:
            continue
        # What it saves, and what it works on, is the same everywhere.
        for server in servers[:1] if name in ("savings", "profile") else servers:
            missing += not _run(results, name, measure, server, scale.on(server))
    _say("all", f"written to {output} after {time.monotonic() - begun:.0f} s")
    return 1 if missing else 0


def places(scale: Scale, output: Path | None, picture: Path | None) -> tuple[Path, Path]:
    """The folder of the results, and the picture, if nobody says otherwise."""
    published = scale.name == FULL.name and output is None
    folder = output or (PUBLISHED if published else TRIED)
    return folder, picture or (PICTURE if published else folder / PICTURE.name)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    for name, what in (
        ("full", "measure everything, on all servers; takes long"),
        ("tiny", "only show that it works; the numbers mean nothing"),
    ):
        size.add_argument(f"--{name}", dest="scale", action="store_const", const=name, help=what)
    parser.set_defaults(scale="quick")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=_measures(PICTURE),
        help="measure this alone and keep the other results; may be repeated",
    )
    parser.add_argument(
        "--server", action="append", default=[], help="measure on this one; may be repeated"
    )
    parser.add_argument("--output", type=Path, help="folder of RESULTS.md")
    parser.add_argument("--picture", type=Path, help="the picture for the README")
    return parser.parse_args()


def _measures(picture: Path) -> dict[str, Measure]:
    return {
        "trim": trim.measure,
        "sweep": sweep.measure,
        "stall": stall.measure,
        "writers": writers.measure,
        "growth": growth.measure,
        "distance": distance.measure,
        "profile": profile.measure,
        "saver": saver.measure,
        "savings": partial(savings.measure, picture=picture),
    }


def _run(results: Results, name: str, measure: Measure, server: str, scale: Scale) -> bool:
    """Measure once; False when that is not possible here."""
    try:
        versions = _versions(server)
        section = measure(server, scale, partial(_say, f"{name} on {server}"))
    except ServerUnavailable as error:
        _say(f"{name} on {server}", f"left out: {error}")
        return False
    results.add(f"{name} {server}", versions, section)
    for target in section.targets:
        _say(name, " | ".join(target.row()))
    return True


def _versions(server: str) -> str:
    with Server(server) as running, running.client() as client:
        return server_versions(client)


def _say(what: str, message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
