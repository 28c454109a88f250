"""Get a headless Chromium into the cache of the servers, without root and without installing it.

It comes from Debian's packages, with the libraries that it needs beside the machine's own libc.
As a program: ``python -m tests.page.chromium``.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.servers.fetch import ServerUnavailable, apt_of, default_cache, run, work_folder

NAME = "chromium"
SUITE = "bookworm"
PACKAGES = ("chromium-headless-shell", "fonts-inter", "fonts-dejavu-core")
# The libc must be the one of the machine's loader; the rest draws on graphics cards.
LEFT_OUT = ("libc6", "libllvm15", "libz3-4", "libgl1-mesa-dri", "xkb-data")
LIBRARIES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")

# What the page asks for by the names of no font is the same everywhere.
FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir>{tree}/usr/share/fonts</dir>
  <cachedir>{tree}/fonts-cache</cachedir>
  <alias><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
  <alias><family>sans-serif</family><prefer><family>Inter</family></prefer></alias>
  <alias><family>ui-monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"""


@dataclass(frozen=True)
class Browser:
    """A browser in the cache: its program, and the environment that it needs."""

    version: str
    program: Path
    environment: Mapping[str, str]


def fetch(cache: Path | None = None) -> Browser:
    """Return the browser, getting it into the cache first if it is not there.

    Raises `ServerUnavailable` when it is not there and cannot be got.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise ServerUnavailable(NAME, "it is built for Linux on x86-64 only.")
    tree = (cache.absolute() if cache else default_cache()) / NAME
    if not (tree / "VERSION").exists():
        with work_folder(NAME, tree.parent) as work:
            # Somebody else may have got it meanwhile.
            if not (tree / "VERSION").exists():
                _fetch_into(tree, work)
    return _browser(tree, (tree / "VERSION").read_text().strip())


def _fetch_into(tree: Path, work: Path) -> None:
    apt_get = apt_of(NAME, SUITE, work)
    options = ("--option", "APT::Install-Recommends=false", "--option", "Debug::NoLocking=true")
    download = ("install", "--yes", "--download-only", *PACKAGES)
    run(NAME, (*apt_get, *options, *download), work)
    new = work / "tree"
    for package in sorted((work / "cache" / "archives").glob("*.deb")):
        if package.name.split("_")[0] not in LEFT_OUT:
            run(NAME, ("dpkg", "--extract", str(package), str(new)), work)
    told = run(NAME, (str(_browser(new, "").program), "--version"), work, _environment(new))
    (new / "fonts.conf").write_text(FONTS.format(tree=tree))
    (new / "VERSION").write_text(told.strip().rpartition(" ")[2] + "\n")
    new.rename(tree)


def _browser(tree: Path, version: str) -> Browser:
    program = tree / "usr/lib/chromium/chromium-headless-shell"
    return Browser(version, program, _environment(tree))


def _environment(tree: Path) -> dict[str, str]:
    folders = [tree / folder for folder in LIBRARIES]
    # Sound has a library in a folder of its own.
    folders.append(folders[-1] / "pulseaudio")
    libraries = ":".join(str(folder) for folder in folders)
    return {**os.environ, "LD_LIBRARY_PATH": libraries, "FONTCONFIG_FILE": f"{tree}/fonts.conf"}


def main() -> int:
    """Fetch it, and say which it is."""
    try:
        print(NAME, fetch().version, sep="\t")
    except ServerUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
