"""Imports point one way: the files and folders of the package stand above what they import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import redis_retention

PACKAGE = Path(redis_retention.__file__).parent


def imports(path: Path) -> Iterator[str]:
    """The files and folders of the package from which a file imports something."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        package, *rooms = node.module.split(".")
        if package == PACKAGE.name:
            yield from rooms[:1] or (name.name for name in node.names)


def test_no_two_files_or_folders_import_from_each_other() -> None:
    below: TopologicalSorter[str] = TopologicalSorter()
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room != "__init__":
            below.add(room, *(set(imports(path)) - {room}))

    order = list(below.static_order())

    for lower, upper in (("engine", "sources"), ("sources", "service"), ("service", "cli")):
        assert order.index(lower) < order.index(upper)
