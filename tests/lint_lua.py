"""Lint the Lua scripts, each with its includes in place, as the server gets it.

luacheck, a Lua program, finds what is wrong. It runs in lupa, so that no Lua need be installed,
and comes from the package `lua-check` of Debian and Ubuntu, which is unpacked into a cache
folder. Where it cannot be got, only the syntax is checked, and that is an error only if the
environment has ``CI=true``. As a program: ``python -m tests.lint_lua [FOLDER]``.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lupa.lua51 import LuaRuntime, LuaSyntaxError

from redis_retention.scripts import module_name

ROOT = Path(__file__).parents[1]
INCLUDE = "--@include "
AROUND_SCRIPTS = "include/beside.lua"
MAX_LINE_LENGTH = 100

# The globals that a script has on every server from Redis 7.0 and Valkey 8.1 on.
GLOBALS = {
    "": """_G _VERSION assert collectgarbage error getmetatable ipairs load loadstring next pairs
        pcall rawequal rawget rawset select setmetatable tonumber tostring type unpack xpcall""",
    "bit": "arshift band bnot bor bswap bxor lshift rol ror rshift tobit tohex",
    "cjson": """decode decode_invalid_numbers decode_max_depth encode encode_invalid_numbers
        encode_keep_buffer encode_max_depth encode_number_precision encode_sparse_array new null""",
    "cmsgpack": "pack unpack unpack_limit unpack_one",
    "coroutine": "create resume running status wrap yield",
    "math": """abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10
        max min modf pi pow rad random randomseed sin sinh sqrt tan tanh""",
    "redis": """LOG_DEBUG LOG_NOTICE LOG_VERBOSE LOG_WARNING REDIS_VERSION REDIS_VERSION_NUM
        REPL_ALL REPL_AOF REPL_NONE REPL_REPLICA REPL_SLAVE acl_check_cmd breakpoint call debug
        error_reply log pcall replicate_commands set_repl setresp sha1hex status_reply""",
    "string": "byte char find format gmatch gsub len lower match rep reverse sub upper",
    "struct": "pack size unpack",
    "table": "concat insert maxn remove sort",
}
ARGUMENTS = ("ARGV", "KEYS")


class LuacheckUnavailable(Exception):
    """luacheck cannot be had on this machine; the message says why."""


@dataclass(frozen=True, order=True)
class Place:
    """A line of a file."""

    path: Path
    line: int

    def __str__(self) -> str:
        path = self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path
        return f"{path}:{self.line}"


@dataclass(frozen=True, order=True)
class Complaint:
    """What is wrong, and where."""

    place: Place
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.place}:{self.column}: {self.message}"


@dataclass
class Script:
    """A script with its includes in place: its lines, and where each of them comes from."""

    path: Path
    lines: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    files: set[Path] = field(default_factory=set)
    missing: list[Complaint] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def read_script(path: Path, folder: Path, layout: str) -> Script:
    """Read a script, and in place of its include lines the modules that it needs.

    Args:
        path: The script.
        folder: Where all of them are.
        layout: The storage format to check it with: a file's name below ``layouts/``.
    """
    script = Script(path)

    def add(line: str, place: Place) -> None:
        script.lines.append(line)
        script.places.append(place)

    def read(file: Path) -> None:
        script.files.add(file)
        for number, line in enumerate(file.read_text("utf-8").removesuffix("\n").split("\n"), 1):
            place = Place(file, number)
            if not line.startswith(INCLUDE):
                add(line, place)
            elif file == path:
                include(line, place)

    def include(line: str, place: Place) -> None:
        name = line.removeprefix(INCLUDE).strip().replace("${layout}", layout)
        file = folder / name
        if not file.is_file():
            message = f"there is no file {name} to include"
            script.missing.append(Complaint(place, 1, message))
            return
        if file in script.files:
            return
        script.files.add(file)
        for number, inner in enumerate(file.read_text("utf-8").split("\n"), 1):
            if inner.startswith(INCLUDE):
                include(inner, Place(file, number))
        add(f"local {module_name(name)} = (function()", place)
        read(file)
        add("end)()", place)

    read(path)
    return script


class Linter:
    """Lua 5.1, as in the server, with luacheck in it or, without a folder, alone."""

    def __init__(self, luacheck: Path | None) -> None:
        self._lua = LuaRuntime()
        self._luacheck: Any = None
        if luacheck is not None:
            search = f"{luacheck}/?.lua;{luacheck}/?/init.lua"
            require = "package.path, package.cpath = ..., ''; return (require 'luacheck')"
            self._luacheck = self._lua.execute(require, search)
            options = {"std": _standard(), "max_line_length": MAX_LINE_LENGTH}
            self._options = self._lua.table_from(options, recursive=True)

    def complaints(self, script: Script) -> Iterator[Complaint]:
        """Yield what is wrong with a script."""
        yield from script.missing
        readable = True
        if self._luacheck is not None:
            texts = self._lua.table_from([script.text])
            for warning in self._luacheck.check_strings(texts, self._options)[1].values():
                readable = readable and not warning.code.startswith("0")
                message = f"{self._luacheck.get_message(warning)} ({warning.code})"
                yield _complaint(script, warning.line, warning.column, message)
        # luacheck reads newer Lua too, and knows no limits such as that of 200 local variables.
        if readable:
            yield from self._compile(script)

    def _compile(self, script: Script) -> Iterator[Complaint]:
        try:
            self._lua.compile(script.text)
        except LuaSyntaxError as error:
            match = re.search(r":(\d+): (.*)", str(error))
            line, message = (int(match[1]), match[2]) if match else (1, str(error))
            yield _complaint(script, line, 1, message)


def _standard() -> dict[str, Any]:
    """The globals, as luacheck wants them."""

    def whole(names: Sequence[str]) -> dict[str, Any]:
        # A dictionary each: lupa makes something else of one that occurs twice.
        return {name: {"other_fields": True} for name in names}

    known = whole((*GLOBALS[""].split(), *ARGUMENTS))
    for library, names in GLOBALS.items():
        if library:
            known[library] = {"fields": whole(names.split())}
    return {"read_globals": known}


def _complaint(script: Script, line: int, column: int, message: str) -> Complaint:
    def place(line: int) -> Place:
        return script.places[min(line, len(script.places)) - 1]

    message = re.sub(r"\b(?:on|at) line (\d+)", lambda match: f"at {place(int(match[1]))}", message)
    # An include may be faultless in one script and, say, of no use in another.
    if place(line).path != script.path:
        message += f" (in {script.path.name})"
    return Complaint(place(line), column, message)


def luacheck_folder() -> Path:
    """Return the folder with luacheck's modules, getting it into the cache if need be."""
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    tree = Path(user_cache).absolute() / "redis-retention" / "luacheck"
    if not tree.is_dir():
        try:
            tree.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=tree.parent) as work:
                _unpack_luacheck(Path(work)).rename(tree)
        except OSError as error:
            raise LuacheckUnavailable(str(error)) from error
    for module in tree.glob("usr/share/lua/*/luacheck/init.lua"):
        return module.parents[1]
    raise LuacheckUnavailable(f"{tree} has no such module; delete that folder")


def _unpack_luacheck(work: Path) -> Path:
    """Get the package from the machine's own apt sources; neither step needs root."""
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise LuacheckUnavailable(f"it takes {tool}, which is not installed")
    (work / "lists/partial").mkdir(parents=True)
    (work / "cache/archives/partial").mkdir(parents=True)
    folders = (f"Dir::State::lists={work}/lists", f"Dir::Cache={work}/cache")
    options = (*folders, "Acquire::Languages=none", "APT::Sandbox::User=root")
    apt_get = ("apt-get", "--quiet", *(f"--option={option}" for option in options))
    _run((*apt_get, "update"), work)
    _run((*apt_get, "download", "lua-check"), work)
    package = next(work.glob("lua-check_*.deb"))
    _run(("dpkg", "--extract", str(package), str(work / "tree")), work)
    return work / "tree"


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise LuacheckUnavailable(f"{command[0]} failed with: {last}")


def lint(folder: Path, luacheck: Path | None) -> list[Complaint]:
    """Check every script in a folder with each layout, and that each file is part of one."""
    linter = Linter(luacheck)
    complaints: set[Complaint] = set()
    used: set[Path] = set()
    layouts = sorted(path.stem for path in folder.glob("layouts/*.lua")) or [""]
    modules = {*folder.glob("include/**/*.lua"), *folder.glob("layouts/**/*.lua")}
    # One module is put around scripts, and included by none.
    scripts = {*folder.rglob("*.lua")} - modules | {*folder.glob(AROUND_SCRIPTS)}
    for path, layout in itertools.product(sorted(scripts), layouts):
        script = read_script(path, folder, layout)
        used |= script.files
        complaints.update(linter.complaints(script))
    for path in set(folder.rglob("*.lua")) - used:
        complaints.add(Complaint(Place(path, 1), 1, "no script includes this file"))
    return sorted(complaints)


def main(arguments: Sequence[str] | None = None) -> int:
    """Lint the folder named on the command line, or the project's own."""
    parser = argparse.ArgumentParser(prog="python -m tests.lint_lua", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "lua", metavar="FOLDER")
    folder = parser.parse_args(arguments).folder.absolute()
    if not any(folder.glob("*.lua")):
        parser.error(f"there are no scripts in {folder}")
    try:
        luacheck = luacheck_folder()
    except LuacheckUnavailable as error:
        print(f"luacheck cannot be got, so only the syntax is checked: {error}", file=sys.stderr)
        if os.environ.get("CI") == "true":
            return 1
        luacheck = None
    complaints = lint(folder, luacheck)
    for complaint in complaints:
        print(complaint)
    print(f"{len(complaints)} complaints about the Lua scripts." if complaints else "Lua is clean.")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
