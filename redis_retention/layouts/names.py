"""The storage formats by the names that people give them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import TypeAlias, TypeGuard, cast

from redis_retention.layouts.langgraph_js import LangGraphJs
from redis_retention.layouts.langgraph_redis import LangGraphRedis
from redis_retention.layouts.langgraphgo import LangGraphGo
from redis_retention.layouts.layout import Layout
from redis_retention.layouts.plainredis import PlainRedis
from redis_retention.layouts.zset import SortedSets

AUTO = "auto"
"""All formats: what there is of them is served."""


@dataclass(frozen=True, slots=True)
class Prefixes:
    """What the keys of savers begin with, where these can be told.

    Attributes:
        checkpoint: `RedisSaver`'s ``checkpoint_prefix``.
        write: `RedisSaver`'s ``checkpoint_write_prefix``.
        go: The ``Prefix`` of langgraphgo's store, with its colon.
        zset: What stands before the thread in the key of a sorted set of checkpoints.
        plain: The ``prefix`` of langgraph-checkpoint-plainredis.
    """

    checkpoint: str = "checkpoint"
    write: str = "checkpoint_write"
    go: str = "langgraph:"
    zset: str = "checkpoint:"
    plain: str = "lg"


_MADE: dict[str, Callable[[Prefixes], Layout]] = {
    "langgraph-redis": lambda prefixes: LangGraphRedis(prefixes.checkpoint, prefixes.write),
    "langgraph-js": lambda _: LangGraphJs(),
    "langgraphgo": lambda prefixes: LangGraphGo(prefixes.go),
    "zset": lambda prefixes: SortedSets(prefixes.zset),
    "plainredis": lambda prefixes: PlainRedis(prefixes.plain),
}

LAYOUT_NAMES = tuple(_MADE)
"""The formats that there are, in the order in which they are searched for."""

LayoutChoice: TypeAlias = "str | Layout | Iterable[str | Layout]"
"""Which formats to serve: `AUTO`, one, or several, by their names or as they are."""


class UnknownLayout(ValueError):
    """A name is none of a storage format."""


def check_layout_name(name: str) -> str:
    """A name as it is given, if it is `AUTO` or that of a format.

    Raises:
        UnknownLayout: It is none.
    """
    if name != AUTO and name not in _MADE:
        raise UnknownLayout(f"{name!r} is no layout; there are {_listed()}")
    return name


def title(layout: Layout) -> str:
    """What people call a format: ``langgraph-redis``."""
    return PurePath(layout.name).stem.replace("_", "-")


def chosen(choice: LayoutChoice, prefixes: Prefixes) -> tuple[list[Layout], bool]:
    """The formats of a choice, each once, and whether only what there is of them is served.

    Args:
        choice: Which formats.
        prefixes: What their keys begin with.

    Raises:
        UnknownLayout: There is none of such a name, or none is chosen at all.
    """
    several: list[str | Layout]
    if isinstance(choice, str) or _is_layout(choice):
        several = [choice]
    else:
        several = list(cast("Iterable[str | Layout]", choice))
    auto = AUTO in several
    if auto:
        # What is handed over as it is comes beside those that have names.
        several = [*LAYOUT_NAMES, *(one for one in several if not isinstance(one, str))]
    layouts = [_layout(one, prefixes) for one in several]
    if not layouts:
        raise UnknownLayout(f"no layout is chosen; there are {_listed()}")
    return list({layout.tag: layout for layout in layouts}.values()), auto


def _is_layout(choice: object) -> TypeGuard[Layout]:
    return hasattr(choice, "root_key")


def _layout(one: str | Layout, prefixes: Prefixes) -> Layout:
    return _MADE[check_layout_name(one)](prefixes) if isinstance(one, str) else one


def _listed() -> str:
    return ", ".join((AUTO, *LAYOUT_NAMES))
