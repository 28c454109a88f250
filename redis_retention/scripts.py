"""The Lua scripts: found, put together from their includes, and named by their SHA1.

Redis' Lua has no ``require``. A line ``--@include PATH`` in a script stands for the module in that
file below ``lua/``, as a local variable with the file's name: ``--@include include/index.lua`` is
``local index = ...``. A module may include others, which then stand before it; each is there once.
``${layout}`` in the path is the name of the storage format, whose module is called ``layout``.
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
_INCLUDES = re.compile(r"(?:^--@include \S+\n)+", re.MULTILINE)

_BESIDE = """{module}local names = beside.take(ARGV)
return beside.add((function()
{script}
end)(), names)
"""


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

    @classmethod
    def of(cls, name: str, text: str) -> Script:
        """The script with this text."""
        return cls(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def lua_folder() -> Traversable:
    """The folder with the Lua files: inside the wheel, or beside the package in a checkout."""
    package = resources.files("redis_retention")
    inside = package / "lua"
    return inside if inside.is_dir() else package / ".." / "lua"


@cache
def load(name: str, layout: str, *, beside: bool = False) -> Script:
    """Read a script.

    Args:
        name: The file's name below ``lua/``, without its ending: ``"trim"``.
        layout: The storage format, a file's name below ``lua/layouts/`` or a path that ends with
            ``.lua``, in a folder of that name.
        beside: Let it say, too, which keys of other formats exist (``lua/include/beside.lua``).

    Raises:
        FileNotFoundError: There is no such script, or an include of it is missing.
    """
    text = _with_modules(_read(f"{name}.lua"), layout)
    if beside:
        module: dict[str, str] = {}
        _add_module("include/beside.lua", layout, module)
        text = _BESIDE.format(module="".join(module.values()), script=text)
    return Script.of(name, text)


def module_source(path: str, layout: str) -> str:
    """The source of one module below ``lua/`` with what it includes, to be run by itself."""
    return _with_modules(_read(path), layout)


def _with_modules(text: str, layout: str) -> str:
    """The text of a file with all modules that it needs in place of its include lines."""
    modules: dict[str, str] = {}
    for path in _included(text, layout):
        _add_module(path, layout, modules)
    return _INCLUDES.sub(lambda _: "".join(modules.values()), text, count=1)


def _add_module(path: str, layout: str, modules: dict[str, str]) -> None:
    """Add the module in a file, after those that it includes itself; each only once."""
    if path in modules:
        return
    text = _read(path)
    for included in _included(text, layout):
        _add_module(included, layout, modules)
    body = _INCLUDES.sub("", text)
    modules[path] = f"local {module_name(path)} = (function()\n{body}end)()\n"


def _included(text: str, layout: str) -> list[str]:
    # A layout that is not ours is named by its path.
    module = layout if layout.endswith(".lua") else f"layouts/{layout}.lua"
    return [path.replace("layouts/${layout}.lua", module) for path in _INCLUDE.findall(text)]


def module_name(path: str) -> str:
    """What the module in a file below ``lua/`` is called in the scripts that include it."""
    folder, _, file = path.rpartition("/")
    return "layout" if folder.rpartition("/")[2] == "layouts" else file.removesuffix(".lua")


def _read(path: str) -> str:
    # An absolute path stays what it is.
    return lua_folder().joinpath(path).read_text(encoding="utf-8")
