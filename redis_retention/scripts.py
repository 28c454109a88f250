"""The Lua scripts: found, put together from their includes, and named by their SHA1.

Redis' Lua has no ``require``. A line ``--@include PATH`` in a script stands for the module in that
file below ``lua/``, as a local variable with the file's name: ``--@include include/index.lua`` is
``local index = ...``. ``${layout}`` in the path is the name of the storage format, whose module is
called ``layout``.
"""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

if sys.version_info >= (3, 11):
    from importlib.resources.abc import Traversable
else:
    from importlib.abc import Traversable

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

    def included(line: re.Match[str]) -> str:
        path = line.group(1).replace("${layout}", layout)
        return f"local {module_name(path)} = (function()\n{_read(path)}end)()"

    text = _INCLUDE.sub(included, _read(f"{name}.lua"))
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def module_name(path: str) -> str:
    """What the module in a file below ``lua/`` is called in the scripts that include it."""
    folder, _, file = path.rpartition("/")
    return "layout" if folder == "layouts" else file.removesuffix(".lua")


def _read(path: str) -> str:
    return lua_folder().joinpath(*path.split("/")).read_text(encoding="utf-8")
