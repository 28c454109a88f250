"""The Lua scripts: found, put together from their includes, and named by their SHA1.

Redis' Lua has no ``require``. A line ``--@include PATH`` in a script stands for the text of that
file below ``lua/``, each file once; ``${layout}`` in the path is the name of the storage format.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

_INCLUDE = re.compile(r"^--@include (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script as the server gets it.

    Attributes:
        name: The file's name below ``lua/``, without its ending.
        text: The whole source, includes resolved.
        sha: SHA1 of the text in hexadecimal, by which EVALSHA knows it.
    """

    name: str
    text: str = field(repr=False)
    sha: str


def lua_folder() -> Traversable:
    """The folder with the Lua files: inside the wheel, or beside the package in a checkout."""
    package = resources.files("redis_retention")
    inside = package / "lua"
    return inside if inside.is_dir() else package / ".." / "lua"


@cache
def load(name: str, layout: str) -> Script:
    """Read a script.

    Args:
        name: The file's name below ``lua/``, without its ending: ``"trim"``.
        layout: The storage format, a file's name below ``lua/layouts/``.

    Raises:
        FileNotFoundError: There is no such script, or an include of it is missing.
    """
    text = _resolved(f"{name}.lua", layout, set())
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _resolved(path: str, layout: str, seen: set[str]) -> str:
    def included(line: re.Match[str]) -> str:
        inner = line.group(1).replace("${layout}", layout)
        if inner in seen:
            return ""
        seen.add(inner)
        return _resolved(inner, layout, seen)

    text = lua_folder().joinpath(*path.split("/")).read_text(encoding="utf-8")
    return _INCLUDE.sub(included, text)
